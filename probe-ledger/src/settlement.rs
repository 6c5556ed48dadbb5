//! Who of a target's requests is charged what: its energy is shared over intervals in which nobody's phase changes.
//!
//! An interval can be settled once every domain has passed it and everything is known of those who were resident in it. A
//! request that is queued, or whose last token is out, does no work and gets nothing; an interval in which nobody
//! works is the target's background. What would have been charged by work is kept beside it, and how uncertain that is: a
//! part of the error bar.

use crate::apportion::{Remainders, apportion};
use crate::curve::Curve;
use crate::desk::{Desk, Slot};
use crate::fit::Fit;
use crate::flag::{Flag, Flags};
use crate::policy::{Share, equally};
use crate::steps::{Batch, Worker};

/// A weight of 1 among integers.
const ONE: f64 = (1u64 << 40) as f64;

/// What of one target is not settled.
#[derive(Debug, Default)]
pub(crate) struct Settlement {
    /// Requests, in order of arrival.
    open: Vec<Slot>,
    /// Settled up to here.
    until: u64,
    fit: Fit,
    turn: usize,
    scratch: Scratch,
}

/// Reused from interval to interval.
#[derive(Debug, Default)]
struct Scratch {
    instants: Vec<u64>,
    workers: Vec<Worker>,
    weights: Vec<u64>,
    parts: Vec<u64>,
    remainders: Remainders,
}

/// A domain's part in an interval: its number, whether it is summed, its energy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part<'a> {
    pub(crate) curve: &'a Curve,
    pub(crate) additive: bool,
}

impl Settlement {
    pub(crate) fn enter(&mut self, slot: Slot) {
        self.open.push(slot);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    pub(crate) fn until(&self) -> u64 {
        self.until
    }

    /// When somebody's last interval ends who has left; `None`: nobody's does.
    pub(crate) fn due(&self, desk: &Desk) -> Option<u64> {
        let leave = |slot: &Slot| desk.get(*slot).and_then(|request| request.leave);
        self.open.iter().filter_map(leave).map(|t| t.0).min()
    }

    /// Until when everything is known of everybody: nobody's phases are while he is resident, unless he has been for
    /// longer than `patience`.
    pub(crate) fn known(&self, desk: &Desk, now: u64, patience: u64) -> u64 {
        let resident = |slot: &Slot| desk.get(*slot).filter(|request| request.leave.is_none());
        let enters = self.open.iter().filter_map(resident).map(|request| request.enter.0);
        let given_up = now.saturating_sub(patience);
        enters.min().map_or(now, |enter| enter.max(given_up))
    }

    /// Settles up to an instant. Returns what each domain's requests were charged, and who is settled for good.
    pub(crate) fn settle(
        &mut self,
        to: u64,
        share: Share,
        domains: &[Part<'_>],
        cpu: &Curve,
        desk: &mut Desk,
    ) -> (Vec<u64>, Vec<Slot>) {
        let mut charged = vec![0; domains.len()];
        let mut instants = std::mem::take(&mut self.scratch.instants);
        instants.clear();
        for slot in &self.open {
            let Some(request) = desk.get(*slot) else { continue };
            let within = |t: &u64| *t > self.until && *t < to;
            instants.extend(request.phases().instants().filter(within));
        }
        instants.push(to);
        instants.sort_unstable();
        instants.dedup();
        for end in &instants {
            self.interval(self.until, *end, share, domains, cpu, desk, &mut charged);
            self.until = self.until.max(*end);
        }
        self.scratch.instants = instants;
        let mut done = Vec::new();
        self.open.retain(|slot| {
            let left = desk.get(*slot).and_then(|r| r.leave).is_some_and(|leave| leave.0 <= to);
            if left {
                done.push(*slot);
            }
            !left
        });
        done.sort_by_key(|slot| desk.get(*slot).and_then(|request| request.leave));
        (charged, done)
    }

    #[expect(clippy::too_many_arguments, reason = "an interval is cut out of all of these")]
    fn interval(
        &mut self,
        from: u64,
        to: u64,
        share: Share,
        domains: &[Part<'_>],
        cpu: &Curve,
        desk: &mut Desk,
        charged: &mut [u64],
    ) {
        if from >= to {
            return;
        }
        let Scratch { workers, weights, parts, remainders, .. } = &mut self.scratch;
        workers.clear();
        for slot in &self.open {
            let Some(phases) = desk.get(*slot).map(crate::desk::Request::phases) else { continue };
            if phases.resident(from, to) && phases.works(from, to) {
                let (amounts, decodes) = (phases.amounts(from, to), phases.decodes(from));
                workers.push(Worker { slot: *slot, phases, amounts, decodes });
            }
        }
        if workers.is_empty() {
            return;
        }
        let energy = |part: &Part<'_>| part.curve.at(to).saturating_sub(part.curve.at(from));
        let summed: u64 = domains.iter().filter(|d| d.additive).map(energy).sum();
        let batch = Batch::new(workers, summed as f64 / 1e9);
        let (wanted, flags) = fractions(share, workers, &self.fit, &batch);
        doubts(workers, (&wanted, share), &self.fit, &batch, summed, desk);
        weights.clear();
        weights.extend(wanted.iter().map(|part| (part * ONE) as u64));
        let even = weights.windows(2).all(|pair| pair[0] == pair[1]);
        let clock = cpu.at(to).saturating_sub(cpu.at(from));
        for (d, amount) in domains.iter().map(energy).chain([clock]).enumerate() {
            if even {
                equally(amount, workers.len(), &mut self.turn, parts);
            } else {
                apportion(amount, weights, parts, remainders);
            }
            for (worker, part) in workers.iter().zip(&*parts) {
                let Some(request) = desk.get_mut(worker.slot) else { continue };
                request.flags = request.flags.union(flags);
                let Some(tally) = request.tallies.get_mut(d) else {
                    request.cpu = request.cpu.saturating_add(*part);
                    continue;
                };
                tally.settled = tally.settled.saturating_add(*part);
                if worker.phases.first.is_some_and(|first| to <= first) {
                    tally.prefill = tally.prefill.saturating_add(*part);
                }
            }
            if let Some(sum) = charged.get_mut(d) {
                *sum += amount;
            }
        }
        learn(&mut self.fit, workers, &batch, to, desk);
    }
}

/// Everybody has seen the interval; who is done with a phase by its end tells what that cost.
fn learn(fit: &mut Fit, workers: &[Worker], batch: &Batch, to: u64, desk: &mut Desk) {
    if !workers.iter().all(|worker| worker.phases.counted()) {
        return;
    }
    let prices = fit.prices().copied();
    for worker in workers {
        let (Some(request), phases) = (desk.get_mut(worker.slot), &worker.phases) else { continue };
        let equation = if worker.decodes {
            request.decoding.add(batch, prices.as_ref());
            let done = phases.completion.filter(|_| to == phases.last);
            done.and_then(|tokens| request.decoding.equation(tokens))
        } else {
            request.reading.add(batch);
            phases.first.filter(|first| to == *first).and_then(|_| request.reading.equation())
        };
        if let Some((x, joules)) = equation {
            fit.learn(x, joules);
        }
    }
}

/// What each would be charged by work, and how uncertain that is.
fn doubts(
    workers: &[Worker],
    (chosen, share): (&[f64], Share),
    fit: &Fit,
    batch: &Batch,
    summed: u64,
    desk: &mut Desk,
) {
    let work = (share != Share::Work).then(|| fractions(Share::Work, workers, fit, batch).0);
    let priced = fit.prices().is_some() && workers.iter().all(|w| w.phases.counted());
    let best = work.as_deref().filter(|_| priced).unwrap_or(chosen);
    for ((worker, chosen), best) in workers.iter().zip(chosen).zip(best) {
        let Some(request) = desk.get_mut(worker.slot) else { continue };
        let (shares, summed) = (&mut request.shares, summed as f64);
        let moved = best * (1.0 - best) * summed;
        shares.chosen += chosen * summed;
        shares.best += best * summed;
        // Untried prices foretell nothing.
        if let Some(error) = fit.error().filter(|_| priced) {
            shares.foretold += error * moved;
            shares.steps += moved;
        } else {
            shares.unknown += moved;
        }
    }
}

/// Each worker's part of an interval under a policy; in equal parts, and said so, where it does not know.
fn fractions(policy: Share, workers: &[Worker], fit: &Fit, batch: &Batch) -> (Vec<f64>, Flags) {
    let n = workers.len();
    let equal = || vec![1.0 / n as f64; n];
    if n == 1 || policy == Share::Equal {
        return (equal(), Flags::NONE);
    }
    let counted = workers.iter().all(|worker| worker.phases.counted());
    let works: Option<Vec<f64>> = match (policy, fit.prices()) {
        _ if !counted => None,
        (Share::Work, None) => return (equal(), Flag::WorkUnfitted.into()),
        (Share::Work, Some(prices)) => Some(batch.works(prices, workers).collect()),
        _ => Some(workers.iter().map(|w| w.amounts.prefill + w.amounts.decode).collect()),
    };
    let total = works.iter().flatten().sum::<f64>();
    match works.filter(|_| total > 0.0 && total.is_finite()) {
        Some(works) => (works.into_iter().map(|work| work / total).collect(), Flags::NONE),
        None => (equal(), Flag::ShareUnknown.into()),
    }
}

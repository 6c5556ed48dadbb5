//! Who of a target's requests is charged what: its energy is shared over intervals in which nobody's phase changes.
//!
//! An interval can be settled once every domain has passed it and everything is known of those who were resident in it. A
//! request that is queued, or whose last token is out, does no work and gets nothing; an interval in which nobody
//! works is the target's background. What the other policies would have charged is kept beside it: how far they are
//! apart is a part of the error bar.

use crate::apportion::{Remainders, apportion};
use crate::curve::Curve;
use crate::desk::{Desk, Slot};
use crate::fit::Fit;
use crate::flag::{Flag, Flags};
use crate::policy::{Share, equally};
use crate::work::{Amounts, Phases};

/// The policies that are compared.
pub(crate) const POLICIES: [Share; 3] = [Share::Equal, Share::Tokens, Share::Work];
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

#[derive(Clone, Copy, Debug)]
struct Worker {
    slot: Slot,
    phases: Phases,
    amounts: Amounts,
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
                let amounts = phases.amounts(from, to);
                workers.push(Worker { slot: *slot, phases, amounts });
            }
        }
        if workers.is_empty() {
            return;
        }
        let energy = |part: &Part<'_>| part.curve.at(to).saturating_sub(part.curve.at(from));
        let summed: u64 = domains.iter().filter(|d| d.additive).map(energy).sum();
        let joules = summed as f64 / 1e9;
        let fractions = POLICIES.map(|policy| fractions(policy, workers, &self.fit, from, joules));
        for (place, worker) in workers.iter().enumerate() {
            let Some(request) = desk.get_mut(worker.slot) else { continue };
            for (sum, parts) in request.by_policy.iter_mut().zip(&fractions) {
                *sum += parts.0[place] * summed as f64;
            }
        }
        let (wanted, flags) = fractions
            .into_iter()
            .zip(POLICIES)
            .find_map(|(found, policy)| (policy == share).then_some(found))
            .unwrap_or_default();
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
        if workers.iter().all(|worker| worker.phases.counted()) {
            let prompts: f64 = workers.iter().map(|w| w.amounts.prefill).sum();
            let price = self.fit.coefficients().map_or(0.0, |price| price[0]);
            // Energy of decode is the clock of steps; before anything is known, all energy is.
            let weight = (joules - price * prompts).max(joules * 1e-3);
            let decoding = workers.iter().filter(|w| w.phases.decodes(from));
            let (n, context) =
                decoding.fold((0.0, 0.0), |(n, sum), w| (n + 1.0, sum + w.context()));
            for worker in workers.iter().filter(|w| w.phases.decodes(from)) {
                let Some(request) = desk.get_mut(worker.slot) else { continue };
                let seen = [joules, prompts, n * weight, context * weight, weight];
                for (sum, x) in request.decode_seen.iter_mut().zip(seen) {
                    *sum += x;
                }
                if to == worker.phases.last
                    && let Some(tokens) = worker.phases.completion
                {
                    let [joules, prompts, n, context, weight] = request.decode_seen;
                    let steps = tokens.saturating_sub(1) as f64;
                    if steps >= 1.0 && weight > 0.0 {
                        let x = [prompts, steps, steps * n / weight, steps * context / weight];
                        self.fit.learn(x, joules);
                    }
                }
            }
        }
    }
}

impl Worker {
    /// Tokens that its next one is generated from, on average.
    fn context(&self) -> f64 {
        if self.amounts.decode > 0.0 { self.amounts.reading / self.amounts.decode } else { 0.0 }
    }
}

/// Each worker's part of an interval under a policy; in equal parts, and said so, where it does not know.
fn fractions(
    policy: Share,
    workers: &[Worker],
    fit: &Fit,
    from: u64,
    joules: f64,
) -> (Vec<f64>, Flags) {
    let n = workers.len();
    let equal = || vec![1.0 / n as f64; n];
    if n == 1 || policy == Share::Equal {
        return (equal(), Flags::NONE);
    }
    let unfitted = policy == Share::Work && fit.coefficients().is_none();
    let price = if policy == Share::Work { fit.coefficients() } else { Some([1.0, 0.0, 1.0, 0.0]) };
    let known = price.filter(|_| workers.iter().all(|worker| worker.phases.counted()));
    let Some(price) = known else {
        let flag = if unfitted { Flag::WorkUnfitted } else { Flag::ShareUnknown };
        return (equal(), flag.into());
    };
    let [prompt, step, token, context] = price;
    let prompts: f64 = workers.iter().map(|w| w.amounts.prefill * prompt).sum();
    let each =
        |w: &Worker| if w.phases.decodes(from) { token + context * w.context() } else { 0.0 };
    let a_step = step + workers.iter().map(each).sum::<f64>();
    let steps = ((joules - prompts) / a_step).max(0.0);
    let steps = if steps.is_finite() { steps } else { 0.0 };
    let by_tokens = |w: &Worker| w.amounts.prefill + w.amounts.decode;
    let by_work = |w: &Worker| w.amounts.prefill * prompt + steps * (each(w) + step / n as f64);
    let work = |w: &Worker| if policy == Share::Work { by_work(w) } else { by_tokens(w) };
    let total: f64 = workers.iter().map(work).sum();
    if total > 0.0 && total.is_finite() {
        (workers.iter().map(|worker| work(worker) / total).collect(), Flags::NONE)
    } else {
        (equal(), Flag::ShareUnknown.into())
    }
}

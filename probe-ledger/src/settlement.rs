//! Who of a target's requests is charged what: its energy is shared over intervals in which nobody's phase changes.
//!
//! An interval can be settled once every domain has passed it and everything is known of those who were resident in it. A
//! request that is queued, or whose last token is out, does no work and gets nothing; an interval in which nobody
//! works is the target's background. By work nobody is charged who overlapped others before there are prices, unless that would
//! take long: then what they did is learned from, and they wait. What would have been charged by work is kept beside it, and how uncertain that is: a
//! part of the error bar.

use std::collections::VecDeque;

use crate::apportion::{Remainders, apportion};
use crate::book::Background;
use crate::curve::Curve;
use crate::desk::{Desk, Slot};
use crate::fit::{Fit, Tariff};
use crate::flag::Flags;
use crate::policy::{Share, equally};
use crate::shares::{doubts, fractions};
use crate::steps::{Batch, Worker};
use crate::sweep::Sweep;
use crate::unit::{Nanojoules, Nanos};

/// Where so many have left and there are no prices yet, there will be none soon.
const MOST_WAITING: usize = 16;

/// A weight of 1 among integers.
const ONE: f64 = (1u64 << 40) as f64;

/// What of one target is not settled.
#[derive(Debug, Default)]
pub(crate) struct Settlement {
    /// Requests, in order of arrival.
    open: Vec<Slot>,
    /// When the first of them left; `None`: nobody has.
    due: Option<u64>,
    /// Settled up to here.
    until: u64,
    /// Learned from up to here.
    learned: u64,
    /// When the last of those left who are settled for good.
    left: Option<u64>,
    /// Many have waited for prices in vain.
    gave_up: bool,
    fit: Fit,
    /// What was known of prices from an instant on, as far as that is not settled.
    tariffs: VecDeque<(u64, Tariff)>,
    /// Whose turn it is to get odd nanojoules; of idle energy, so that its policy moves nobody's charge.
    turn: usize,
    idle_turn: usize,
    scratch: Scratch,
}

/// Reused from interval to interval.
#[derive(Debug, Default)]
struct Scratch {
    instants: Vec<u64>,
    sweep: Sweep,
    workers: Vec<Worker>,
    weights: Vec<u64>,
    parts: Vec<u64>,
    remainders: Remainders,
}

impl Scratch {
    fn keep(&mut self, instants: Vec<u64>, sweep: Sweep) {
        (self.instants, self.sweep) = (instants, sweep);
    }
}

/// A domain's part in an interval: its number, whether it is summed, its energy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part<'a> {
    pub(crate) curve: &'a Curve,
    pub(crate) additive: bool,
    /// Idle energy that is shared as the energy is.
    pub(crate) idle: &'a Curve,
}

/// What was settled of a domain.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Charged {
    /// Charged to requests.
    pub(crate) energy: u64,
    /// Given to them of its idle energy.
    pub(crate) idle: u64,
    /// Of what is charged to nobody, what the target did.
    pub(crate) during: Background,
}

impl Settlement {
    pub(crate) fn enter(&mut self, slot: Slot) {
        self.open.push(slot);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// One of them left. Nobody leaves before who left before.
    pub(crate) fn leave(&mut self, t: Nanos) {
        self.due.get_or_insert(t.0);
    }

    /// When somebody's last interval ends who has left; `None`: nobody's does.
    pub(crate) fn due(&self) -> Option<u64> {
        self.due
    }

    /// Until when everything is known of everybody: nobody's phases are while he is resident, unless he has been for
    /// longer than `patience`.
    pub(crate) fn known(&self, desk: &Desk, now: u64, patience: u64) -> u64 {
        let resident = |slot: &Slot| desk.get(*slot).filter(|request| request.leave.is_none());
        let enters = self.open.iter().filter_map(resident).map(|request| request.enter.0);
        let given_up = now.saturating_sub(patience);
        enters.min().map_or(now, |enter| enter.max(given_up))
    }

    /// The last instant until then at which anybody's phase changes: who is settled does not depend on when domains are
    /// read, or on which of two that leave together is told of first.
    pub(crate) fn last_change(&self, until: u64, desk: &Desk) -> u64 {
        let open = self.open.iter().filter_map(|slot| desk.get(*slot));
        let changes = open.flat_map(|request| request.phases().instants());
        changes.filter(|t| *t <= until).max().unwrap_or(until)
    }

    /// Learns from what happened up to an instant.
    pub(crate) fn learn(&mut self, to: u64, domains: &[Part<'_>], desk: &mut Desk) {
        let (instants, mut sweep) = self.intervals(self.learned, to, desk);
        for end in &instants {
            sweep.to(self.learned);
            self.learn_interval(&sweep, self.learned, *end, domains, desk);
            self.learned = self.learned.max(*end);
            let tariff = self.fit.tariff();
            if self.tariffs.back().is_none_or(|(_, last)| *last != tariff) {
                self.tariffs.push_back((*end, tariff));
            }
        }
        self.scratch.keep(instants, sweep);
    }

    /// What an interval is charged by: what was known at its end, whenever it is settled. Those who were there before there were
    /// prices are charged by the first ones; prices that had not been tried by then are as good as they turned out at once.
    fn tariff(&self, end: u64) -> Tariff {
        let priced = || self.tariffs.iter().filter(|(_, tariff)| tariff.prices.is_some());
        let then = priced().take_while(|(from, _)| *from <= end).last();
        let mut tariff =
            then.or_else(|| priced().next()).map(|(_, known)| *known).unwrap_or_default();
        let tried = || self.tariffs.iter().find_map(|(_, known)| known.error);
        tariff.error = tariff.error.or_else(tried);
        tariff
    }

    /// Whether those who left until then should wait for prices: some overlapped, it is known what they did, and they are
    /// not so many that nothing seems to be learned from them.
    pub(crate) fn wants_prices(&mut self, until: u64, desk: &Desk) -> bool {
        if self.gave_up || self.fit.prices().is_some() {
            return false;
        }
        let (mut last, mut overlap, mut left) = (0, false, 0);
        for request in self.open.iter().filter_map(|slot| desk.get(*slot)) {
            overlap |= request.enter.0 < last;
            last = last.max(request.leave.map_or(u64::MAX, |leave| leave.0));
            if request.leave.is_some_and(|leave| leave.0 <= until) {
                left += 1;
                if !request.phases().priceable() {
                    return false;
                }
            }
        }
        self.gave_up = left > MOST_WAITING;
        overlap && !self.gave_up
    }

    /// Settles up to an instant. Returns what was charged in each domain, and who is settled for good.
    pub(crate) fn settle(
        &mut self,
        to: u64,
        share: Share,
        domains: &[Part<'_>],
        cpu: &Curve,
        desk: &mut Desk,
    ) -> (Vec<Charged>, Vec<Slot>) {
        let mut charged = vec![Charged::default(); domains.len()];
        let (instants, mut sweep) = self.intervals(self.until, to, desk);
        for end in &instants {
            sweep.to(self.until);
            self.interval(&sweep, self.until, *end, share, domains, cpu, desk, &mut charged);
            self.until = self.until.max(*end);
            while self.tariffs.get(1).is_some_and(|(from, _)| *from <= self.until) {
                self.tariffs.pop_front();
            }
        }
        sweep.to(to);
        self.left = self.left.max(sweep.left());
        self.scratch.keep(instants, sweep);
        let mut done = Vec::new();
        self.open.retain(|slot| {
            let left = desk.get(*slot).and_then(|r| r.leave).is_some_and(|leave| leave.0 <= to);
            if left {
                done.push(*slot);
            }
            !left
        });
        let leave = |slot: &Slot| desk.get(*slot).and_then(|request| request.leave);
        self.due = self.open.iter().filter_map(leave).map(|leave| leave.0).min();
        done.sort_by_key(|slot| desk.get(*slot).and_then(|request| request.leave));
        (charged, done)
    }

    /// What the target did since everybody is settled.
    pub(crate) fn since(&self, curve: &Curve) -> Background {
        silence(curve, self.until, u64::MAX, self.left)
    }

    /// Where a phase of anybody ends between two instants, and the later of them; and who is there in between.
    fn intervals(&mut self, from: u64, to: u64, desk: &Desk) -> (Vec<u64>, Sweep) {
        let Scratch { instants, sweep, .. } = &mut self.scratch;
        let (mut instants, mut sweep) = (std::mem::take(instants), std::mem::take(sweep));
        instants.clear();
        sweep.begin(&self.open, desk);
        for (_, phases) in sweep.everybody() {
            instants.extend(phases.instants().filter(|t| *t > from && *t < to));
        }
        instants.push(to);
        instants.sort_unstable();
        instants.dedup();
        (instants, sweep)
    }

    #[expect(clippy::too_many_arguments, reason = "an interval is cut out of all of these")]
    fn interval(
        &mut self,
        sweep: &Sweep,
        from: u64,
        to: u64,
        share: Share,
        domains: &[Part<'_>],
        cpu: &Curve,
        desk: &mut Desk,
        charged: &mut [Charged],
    ) {
        if from >= to {
            return;
        }
        let tariff = self.tariff(to);
        let Scratch { workers, weights, parts, remainders, .. } = &mut self.scratch;
        find(workers, sweep, from, to);
        let energy = |part: &Part<'_>| part.energy(from, to);
        if workers.is_empty() {
            let waiting = !sweep.here().is_empty();
            let left = self.left.max(sweep.left());
            for (sum, part) in charged.iter_mut().zip(domains) {
                sum.during.add(match waiting {
                    true => Background { waiting: Nanojoules(energy(part)), ..<_>::default() },
                    false => silence(part.curve, from, to, left),
                });
            }
            return;
        }
        let summed = summed(domains, from, to);
        let batch = Batch::new(workers, summed as f64 / 1e9);
        let (wanted, flags) = fractions(share, workers, &tariff, &batch);
        // Of nothing, everybody's part is known.
        let flags = if domains.iter().any(|part| energy(part) > 0) { flags } else { Flags::NONE };
        doubts(workers, (&wanted, share), &tariff, &batch, summed, desk);
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
                request.unphased |= worker.phases.first.is_none();
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
                sum.energy += amount;
            }
        }
        let idle = |part: &Part<'_>| part.idle.at(to).saturating_sub(part.idle.at(from));
        for (d, amount) in domains.iter().map(idle).enumerate().filter(|(_, amount)| *amount > 0) {
            if even {
                equally(amount, workers.len(), &mut self.idle_turn, parts);
            } else {
                apportion(amount, weights, parts, remainders);
            }
            for (worker, part) in workers.iter().zip(&*parts) {
                if let Some(tally) = desk.tally(worker.slot, d) {
                    tally.give(*part);
                }
            }
            if let Some(sum) = charged.get_mut(d) {
                sum.idle += amount;
            }
        }
    }

    /// Takes in what an interval tells of prices: nothing, where nobody knows what somebody did.
    fn learn_interval(
        &mut self,
        sweep: &Sweep,
        from: u64,
        to: u64,
        domains: &[Part<'_>],
        desk: &mut Desk,
    ) {
        if from >= to {
            return;
        }
        let workers = &mut self.scratch.workers;
        find(workers, sweep, from, to);
        if workers.iter().all(|worker| worker.phases.priceable()) {
            let summed = summed(domains, from, to);
            learn(&mut self.fit, workers, &Batch::new(workers, summed as f64 / 1e9), to, desk);
        } else {
            miss(workers, desk);
        }
    }
}

impl Part<'_> {
    fn energy(&self, from: u64, to: u64) -> u64 {
        self.curve.at(to).saturating_sub(self.curve.at(from))
    }
}

/// What a target did in an interval in which nobody was resident, after the last who left.
fn silence(curve: &Curve, from: u64, to: u64, left: Option<u64>) -> Background {
    let energy = |to: u64| Nanojoules(curve.at(to).saturating_sub(curve.at(from)));
    match left {
        None => Background { before: energy(to), ..Background::default() },
        Some(left) => {
            let spins = left.saturating_add(Background::SPINNING.0).clamp(from, to);
            Background { after: energy(spins), ..Background::default() }
        }
    }
}

/// What an interval's energy is over the additive domains, at most the largest number: each domain's alone may fill a `u64`.
fn summed(domains: &[Part<'_>], from: u64, to: u64) -> u64 {
    let additive = domains.iter().filter(|domain| domain.additive);
    additive.fold(0, |sum, domain| sum.saturating_add(domain.energy(from, to)))
}

/// Who is worked on throughout an interval, at the beginning of which the sweep stands.
fn find(workers: &mut Vec<Worker>, sweep: &Sweep, from: u64, to: u64) {
    workers.clear();
    for (slot, phases) in sweep.here().iter().filter(|(_, phases)| phases.works(from, to)) {
        let (amounts, decodes) = (phases.amounts(from, to), phases.decodes(from));
        workers.push(Worker { slot: *slot, phases: *phases, amounts, decodes });
    }
}

/// Everybody has seen the interval; who is done with a phase by its end tells what that cost.
fn learn(fit: &mut Fit, workers: &[Worker], batch: &Batch, to: u64, desk: &mut Desk) {
    let prices = fit.prices().copied();
    let equations = workers.iter().filter_map(|worker| {
        let (request, phases) = (desk.get_mut(worker.slot)?, &worker.phases);
        if worker.decodes {
            request.decoding.add(batch, prices.as_ref());
            let done = phases.completion.filter(|_| to == phases.last);
            done.and_then(|tokens| request.decoding.equation(tokens))
        } else {
            request.reading.add(batch);
            phases.first.filter(|first| to == *first).and_then(|_| request.reading.equation())
        }
    });
    fit.learn(&equations.collect::<Vec<_>>());
}

/// What was done in an interval is not known: the phases it is a part of give no equations.
fn miss(workers: &[Worker], desk: &mut Desk) {
    for Worker { slot, phases, decodes, .. } in workers {
        let Some(request) = desk.get_mut(*slot) else { continue };
        let known = phases.priceable();
        if *decodes || !known {
            request.decoding.miss();
        }
        if !*decodes || !known {
            request.reading.miss();
        }
    }
}

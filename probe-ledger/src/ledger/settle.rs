//! When a request's account is settled: once every domain that can be waited for has passed its end.

use super::Ledger;
use crate::account::Account;
use crate::boundary::{Boundary, Change};
use crate::domain::Scope;
use crate::flag::Flag;
use crate::id::ConsumerId;
use crate::meter::Interval;
use crate::policy::Share;
use crate::settlement::{Charged, Part};
use crate::unit::Nanos;

impl Ledger {
    /// Takes the accounts that were settled since the last call, in the order they were.
    pub fn settled(&mut self) -> Vec<Account> {
        std::mem::take(&mut self.settled)
    }

    /// Stops waiting for domains past the horizon, settles what nobody waits for, forgets what all have passed.
    pub(super) fn tidy(&mut self) {
        for k in 0..self.targets.len() {
            while let Some((number, t)) = self.targets[k].oldest() {
                let (width, domains) = (self.targets.len(), self.meters.len());
                let cursors = (0..domains).map(|d| self.rows[d * width + k].cursor);
                let passed = cursors.min().unwrap_or(self.targets[k].end());
                if passed > number {
                    self.targets[k].forget(passed);
                } else if t.saturating_add(self.horizon) < self.now {
                    self.stall(k, number);
                } else {
                    break;
                }
            }
        }
        for k in 0..self.targets.len() {
            self.settle(k);
        }
    }

    /// Settles a target's requests up to where everything is known, once that settles one for good.
    fn settle(&mut self, k: usize) {
        let settlement = &self.settlements[k];
        if settlement.is_empty() {
            if self.targets[k].laid {
                self.forget(k);
            }
            return;
        }
        let Some(due) = settlement.due() else { return };
        let passed = self.meters.iter().map(|meter| match meter.last_t() {
            _ if self.finished || meter.stalled => self.now.0,
            Some(t) => t.0,
            None => 0,
        });
        let passed = passed.min().unwrap_or(self.now.0);
        if due > passed {
            return;
        }
        let limit = passed.min(settlement.known(&self.desk, self.now.0, self.patience.0));
        if due > limit {
            return;
        }
        let limit = settlement.last_change(limit, &self.desk);
        let width = self.targets.len();
        let parts: Vec<Part<'_>> = self
            .meters
            .iter()
            .zip(self.rows.iter().skip(k).step_by(width))
            .map(|(meter, row)| Part {
                curve: &row.curve,
                additive: meter.spec.additive,
                idle: &row.idle,
            })
            .collect();
        self.settlements[k].learn(limit, &parts, &mut self.desk);
        let patient = due.saturating_add(self.patience.0) > self.now.0 && !self.finished;
        if patient
            && self.policies.share == Share::Work
            && self.settlements[k].wants_prices(limit, &self.desk)
        {
            return;
        }
        let cpu = &self.targets[k].cpu;
        let sums = |part: &Part<'_>| (part.curve.at(limit), part.idle.at(limit));
        let sums: Vec<(u64, u64)> = parts.iter().map(sums).collect();
        let (charged, done) =
            self.settlements[k].settle(limit, self.policies.share, &parts, cpu, &mut self.desk);
        for (d, Charged { energy: charged, idle: given, during }) in charged.iter().enumerate() {
            let row = &mut self.rows[d * width + k];
            let (laid, idle) = row.booked.up_to(sums[d].0, sums[d].1);
            row.idle.forget(limit);
            row.curve.forget(limit);
            self.books[d].idle_given.0 += given;
            self.books[d].idle_kept.0 += idle.saturating_sub(*given);
            let book = &mut self.books[d].consumers[k];
            book.requests.0 += charged;
            book.background.0 += laid.saturating_sub(*charged);
            book.during.add(*during);
        }
        self.targets[k].cpu.forget(limit);
        for slot in done {
            if let Some(request) = self.desk.close(slot) {
                let specs = self.meters.iter().map(|meter| &meter.spec);
                self.settled.push(Account::new(&request, specs));
            }
        }
        if self.settlements[k].is_empty() {
            self.forget(k);
        }
    }

    /// Nobody has a part in what is left of a target's curves.
    fn forget(&mut self, k: usize) {
        let width = self.targets.len();
        for (d, book) in self.books.iter_mut().enumerate() {
            let row = &mut self.rows[d * width + k];
            // Boundaries that a domain has not passed are somebody's who was settled without it.
            let (left, idle) = row.booked.up_to(row.curve.total(), row.idle.total());
            book.idle_kept.0 += idle;
            book.consumers[k].background.0 += left;
            book.consumers[k].during.add(self.settlements[k].since(&row.curve));
            row.idle.clear();
            row.curve.clear();
        }
        self.targets[k].cpu.clear();
        self.targets[k].laid = false;
    }

    /// Gives up on the domains that have not passed a boundary of a target.
    fn stall(&mut self, k: usize, number: u64) {
        for d in 0..self.meters.len() {
            if self.row(d, k).cursor <= number {
                self.meters[d].stalled = true;
                self.skip_open(d, Flag::Stalled);
            }
        }
    }

    /// Passes a domain over everything in its open window, whose charge cannot be laid out any more. Where the window is
    /// held, its residents are told what is known against the counter: zeros they saw before are no measurement.
    fn skip_open(&mut self, d: usize, flag: Flag) {
        let open = Interval { begin: self.now, end: Nanos(u64::MAX) };
        let flags = self.meters[d].pulse.against().union(flag.into());
        for k in 0..self.targets.len() {
            let cursor = self.row(d, k).cursor;
            let due = self.targets[k].due(cursor, open.end).is_some();
            self.row(d, k).skipped |= due;
            self.layout(d, k, open).skip(flags);
        }
    }

    /// The run is over: requests that are still resident leave now, and every domain's last window is taken as
    /// closed. What that cost in accuracy is flagged. Books and accounts are complete afterwards.
    pub fn finish(&mut self, t: Nanos) {
        self.now = self.now.max(t);
        for k in 0..self.targets.len() {
            let residents = self.targets[k].residents().to_vec();
            let clocks = self.latest_clocks(k);
            for slot in residents {
                let Some(request) = self.desk.get_mut(slot) else { continue };
                request.flags.insert(Flag::Interrupted);
                let (request, t) = (request.id, self.now);
                let leave = Boundary { t, clocks: &clocks, request, change: Change::Leave };
                // It is resident, so it cannot be refused; if it were, that is counted.
                let _ = self.boundary(ConsumerId(k), &leave);
            }
        }
        for d in 0..self.meters.len() {
            self.skip_open(d, Flag::Unfinished);
        }
        self.finished = true;
        self.tidy();
    }

    /// A target's clocks, by package, as far as its boundaries and the samples show them.
    fn latest_clocks(&self, k: usize) -> Vec<u64> {
        let mut clocks = self.targets[k].clocks().to_vec();
        for meter in &self.meters {
            let package = match meter.spec.scope {
                Scope::Package(package) => package,
                Scope::Machine if self.packages == 1 => 0,
                Scope::Machine | Scope::Device => continue,
            };
            if let (Some(clock), Some(latest)) = (clocks.get_mut(package), meter.latest.get(k)) {
                *clock = (*clock).max(*latest);
            }
        }
        clocks
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Config, DomainId, DomainSpec, Nanojoules, Policies, Range, Ratio};
    use crate::{RequestId, Sample, Scale};

    fn ledger(domains: usize) -> Ledger {
        let spec = DomainSpec {
            name: "package-0".to_owned(),
            scale: Scale::NANOJOULES,
            range: Range::Bits(64),
            scope: Scope::Package(0),
            additive: true,
            idle: None,
            idle_error: None,
            max_power: None,
            period: Nanos(0),
            quantum: Nanojoules(1),
            class: Ratio(0),
            expected_window: Nanos(u64::MAX),
            pulse: None,
        };
        let (domains, policies) = (vec![spec; domains], Policies::default());
        let (horizon, patience) = (Nanos(10_000), Nanos(10_000));
        Ledger::new(Config {
            domains,
            consumers: 1,
            packages: 1,
            cpus: 1,
            horizon,
            patience,
            policies,
        })
        .unwrap()
    }

    fn request(ledger: &mut Ledger, t: u64) {
        let request = RequestId(t);
        for (t, change) in [(t, Change::Enter), (t + 1, Change::First), (t + 2, Change::Leave)] {
            let boundary = Boundary { t: Nanos(t), clocks: &[t], request, change };
            ledger.boundary(ConsumerId(0), &boundary).unwrap();
        }
    }

    #[test]
    fn boundaries_are_forgotten_once_every_domain_has_passed_them() {
        let mut ledger = ledger(2);
        for t in (0..100_000).step_by(1_000) {
            request(&mut ledger, t + 100);
            for d in 0..2 {
                let sample =
                    Sample { t: Nanos(t + 900), counter: Some(t), clocks: &[t], weights: None };
                ledger.sample(DomainId(d), &sample);
                assert_eq!(ledger.targets[0].oldest().is_some(), d == 0);
            }
        }
        assert_eq!((ledger.settled().len(), ledger.unsettled()), (100, 0));
    }

    #[test]
    fn a_domain_that_never_samples_keeps_boundaries_for_a_horizon_only() {
        let mut ledger = ledger(1);
        for t in (0..100_000).step_by(1_000) {
            request(&mut ledger, t);
            let kept = ledger.targets[0].oldest().map_or(0, |(n, _)| ledger.targets[0].end() - n);
            assert!(kept <= 33, "{kept}");
        }
        assert!(ledger.settled().len() >= 98);
    }
}

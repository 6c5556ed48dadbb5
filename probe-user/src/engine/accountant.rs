//! Keeps the books: a function of [entries](super::entry) alone, live and in a replay. No clock, no files but the slice
//! stream it is handed.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use probe_common::CONSUMERS;
use probe_ledger::{Boundary, Cause, Change, ConsumerId, Flag, Ledger, Nanos, RequestId};

use super::{
    EngineError, WEIGHT_UNKNOWN,
    core::{Effect, consumer},
    cross_check::{CrossCheck, DISAGREE},
    entry::{Distrust, Entry},
    host::{Books, Host},
    phases,
    readings::{Feed, Readings},
    records::Records,
    slices::Slices,
};
use crate::{
    boundary::{self, Facts, What},
    event::Tick,
    record::End,
    snapshot::Kinds,
};

/// The largest step of a register that two sources are compared by, nJ.
const STEP_NJ: u64 = 61_036;

/// Ticks and losses of one package.
#[derive(Clone, Copy, Debug, Default)]
pub struct TickCount {
    /// First tick: the baseline.
    pub first: Option<u64>,
    /// Number of the last tick seen.
    pub last: u64,
    /// Ticks the kernel numbered that never came.
    pub missed: u64,
}

/// The books of a run.
pub struct Accountant {
    /// Books.
    pub ledger: Ledger,
    /// Domains.
    pub readings: Readings,
    /// Ended requests.
    pub records: Records,
    /// Names of the targets by consumer index.
    pub names: BTreeMap<u32, String>,
    /// Ended requests by end.
    pub ended: BTreeMap<End, u64>,
    /// Settled requests by target and by what they were for.
    pub kinds: BTreeMap<ConsumerId, Kinds>,
    /// Ticks by package.
    pub ticks: BTreeMap<usize, TickCount>,
    /// Open requests by consumer index.
    pub in_flight: BTreeMap<u32, u64>,
    /// Compares domains that two sources read.
    pub check: CrossCheck,
    /// What happened to the machine, by flag.
    pub happened: BTreeSet<&'static str>,
    /// On-CPU time of the consumers at each package's first tick.
    baseline: BTreeMap<usize, [u64; CONSUMERS]>,
    /// Requests that are resident.
    entered: BTreeSet<u64>,
}

impl Accountant {
    /// Opens empty books.
    ///
    /// # Errors
    /// When the host's numbers make no books.
    pub fn open(host: &Host) -> Result<Self, EngineError> {
        let Books { readings, labels, ledger } = host.books()?;
        let names = host.targets.clone();
        let check = CrossCheck::new(&labels, STEP_NJ);
        let mut records = Records::new(labels, names.clone(), host.policies.clone(), host.clock());
        for flag in &host.marks {
            records.mark(flag, true);
        }
        records.mark(WEIGHT_UNKNOWN, host.lacks_weights());
        Ok(Self {
            ledger,
            readings,
            records,
            names,
            ended: BTreeMap::new(),
            kinds: BTreeMap::new(),
            ticks: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            check,
            happened: BTreeSet::new(),
            baseline: BTreeMap::new(),
            entered: BTreeSet::new(),
        })
    }

    /// Takes one entry in.
    pub fn take(&mut self, entry: Entry, slices: Option<&mut Slices>, effects: &mut Vec<Effect>) {
        match entry {
            // What these books were opened with, and what they came to.
            Entry::Host(_) | Entry::Published(_) => return,
            Entry::Tick(tick) => {
                self.tick(&tick, slices);
                effects.extend(self.check.met().into_iter().map(Effect::Disagree));
            }
            Entry::Reading(reading) => return self.readings.taken(reading),
            Entry::Boundary(boundary) => self.boundary(&boundary),
            Entry::Finished(facts) => self.finished(facts, effects),
            Entry::Distrust(distrust) => return self.distrust(distrust),
            Entry::Mark(flag) => {
                self.happened.insert(flag.name());
                return;
            }
            Entry::End(end) => self.ledger.finish(Nanos(end.t)),
        }
        for account in self.ledger.settled() {
            let Some(record) = self.records.settled(&account) else { continue };
            let energy = account.energy.map_or(0, |estimate| estimate.energy.0);
            self.kinds.entry(account.target).or_default().add(record.kind, energy);
            effects.push(Effect::Record(Arc::new(record)));
        }
    }

    /// Requests that are resident.
    #[must_use]
    pub fn open_requests(&self) -> usize {
        self.entered.len()
    }

    /// On-CPU time of a consumer since the first tick.
    #[must_use]
    pub fn cpu_ns(&self, who: u32) -> u64 {
        let clocks = self.readings.target_clock(who);
        let since = |(package, clock): (usize, &u64)| {
            let first = self.baseline.get(&package).and_then(|b| b.get(who as usize));
            clock.saturating_sub(first.copied().unwrap_or(*clock))
        };
        clocks.iter().enumerate().map(since).fold(0, u64::saturating_add)
    }

    /// How many packages the machine has.
    #[must_use]
    pub fn packages(&self) -> usize {
        self.readings.packages()
    }

    fn tick(&mut self, tick: &Tick, mut slices: Option<&mut Slices>) {
        let count = self.ticks.entry(tick.package).or_default();
        if count.first.is_some() {
            let missed = tick.number.saturating_sub(count.last.saturating_add(1));
            count.missed = count.missed.saturating_add(missed);
        }
        count.first.get_or_insert(tick.number);
        count.last = tick.number;
        self.baseline.entry(tick.package).or_insert(tick.clock);
        let Self { readings, ledger, names, check, .. } = self;
        readings.tick(tick, ledger, |ledger, domain, t, clocks| {
            let Some(book) = ledger.books(domain) else { return };
            check.sampled(domain, t, book);
            let Some(slices) = slices.as_deref_mut() else { return };
            for who in names.keys() {
                let k = consumer(*who).0;
                slices.charged(domain, t, *who, book.consumers[k].active.0, clocks[k]);
            }
        });
        self.records.mark(DISAGREE, self.check.disagrees());
        if let Some(slices) = slices {
            slices.tick(tick.package, tick.t);
        }
    }

    fn distrust(&mut self, Distrust { package, when, cause }: Distrust) {
        let flag = match cause {
            Cause::Suspended => Flag::Suspended,
            Cause::Hotplug => Flag::Hotplug,
        };
        self.happened.insert(flag.name());
        for fed in self.readings.domains() {
            let read =
                package.is_none_or(|p| p == fed.package && matches!(fed.feed, Feed::Kernel { .. }));
            if read {
                self.ledger.distrust(fed.id, Nanos(when.begin), Nanos(when.end), cause);
            }
        }
    }

    fn boundary(&mut self, boundary: &boundary::Boundary) {
        let change = match boundary.what {
            What::Body => Change::Enter,
            What::First => Change::First,
            What::Start => {
                *self.in_flight.entry(boundary.who).or_default() += 1;
                return;
            }
            // It leaves with what is known of it then.
            What::End | What::Abort | What::Head | What::Chunk => return,
        };
        let request = boundary.request.0;
        if change == Change::Enter {
            self.entered.insert(request);
        } else if !self.entered.contains(&request) {
            return;
        }
        let given = Boundary {
            t: Nanos(boundary.at.t),
            clocks: &boundary.at.clock[..self.packages()],
            request: RequestId(request),
            change,
        };
        // A refusal is counted by the ledger.
        let _ = self.ledger.boundary(consumer(boundary.who), &given);
    }

    fn finished(&mut self, facts: Box<Facts>, effects: &mut Vec<Effect>) {
        *self.ended.entry(facts.outcome).or_default() += 1;
        let open = self.in_flight.entry(facts.who).or_default();
        *open = open.saturating_sub(1);
        if self.entered.remove(&facts.request.0) {
            self.leave(&facts);
            self.records.ended(facts);
        } else {
            let target = consumer(facts.who);
            let record = self.records.without_account(*facts);
            self.kinds.entry(target).or_default().add(record.kind, 0);
            effects.push(Effect::Record(Arc::new(record)));
        }
    }

    /// A request that entered is over, and everything is known of it.
    fn leave(&mut self, facts: &Facts) {
        let request = RequestId(facts.request.0);
        self.ledger.work(request, phases::work(facts));
        let given = Boundary {
            t: Nanos(facts.end.t),
            clocks: &facts.end.clock[..self.packages()],
            request,
            change: Change::Leave,
        };
        // A refusal is counted by the ledger.
        let _ = self.ledger.boundary(consumer(facts.who), &given);
    }
}

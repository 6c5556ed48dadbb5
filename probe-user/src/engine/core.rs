//! The pure middle of the probe: events in, records and books out. No kernel, no files but the slice
//! stream, no clock: everything here can be replayed.

use std::collections::{BTreeMap, BTreeSet};

use probe_common::{CONSUMERS, IDLE, TORN};
use probe_ledger::{Boundary, Cause, Change, ConsumerId, Flag, Ledger, Nanos, RequestId};

use super::{
    cross_check::{CrossCheck, DISAGREE, Disagreement},
    phases,
    readings::{Feed, Readings},
    records::Records,
    reorder::Reorder,
    samplers::Taken,
    slices::Slices,
    targets::Targets,
    watch::Stretch,
};
use crate::{
    boundary::{self, DEFAULT_HORIZON, Facts, NotUnderstood, Output, Tracker, What},
    event::{ConnId, Event, IoKind, Process, ProcessChange, Tick},
    record::{End, RequestRecord},
};

/// How often connections are looked through for those with nothing moving on them.
const EXPIRE_NS: u64 = 1_000_000_000;

/// The largest step of a register that two sources are compared by, nJ.
const STEP_NJ: u64 = 61_036;

/// What the driver must do after an event.
#[derive(Debug)]
pub enum Effect {
    /// A record is complete.
    Record(Box<RequestRecord>),
    /// A process of a target ended: the kernel side can forget its connections.
    ProcessEnded(u32),
    /// A target lost its last process.
    TargetLost(u32),
    /// A connection that is not parsed.
    NotUnderstood(NotUnderstood),
    /// Two sources of one domain gave different energies.
    Disagree(Disagreement),
}

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

/// Everything that is computed.
pub struct Core {
    /// Requests.
    pub tracker: Tracker,
    /// Books.
    pub ledger: Ledger,
    /// Domains.
    pub readings: Readings,
    /// Ended requests.
    pub records: Records,
    /// Targets.
    pub targets: Targets,
    /// Slice stream, if asked for.
    pub slices: Option<Slices>,
    /// Ended requests by end.
    pub ended: BTreeMap<End, u64>,
    /// Ticks by package.
    pub ticks: BTreeMap<usize, TickCount>,
    /// On-CPU time of the consumers at each package's first tick.
    baseline: BTreeMap<usize, [u64; CONSUMERS]>,
    /// Events handled.
    pub seen: u64,
    /// Connections that were closed without a byte having been read or written on them.
    pub silent: u64,
    /// Open requests by consumer index.
    pub in_flight: BTreeMap<u32, u64>,
    /// Compares domains that two sources read.
    pub check: CrossCheck,
    /// What happened to the machine, by flag.
    pub happened: BTreeSet<&'static str>,
    /// The last tick taken in, by package.
    ticked: BTreeMap<usize, u64>,
    reorder: Reorder,
    entered: BTreeSet<u64>,
    outputs: Vec<Output>,
    last_t: u64,
    expired: u64,
}

/// The parts a core is made of.
pub struct Parts {
    /// Books.
    pub ledger: Ledger,
    /// Domains.
    pub readings: Readings,
    /// Ended requests.
    pub records: Records,
    /// Targets.
    pub targets: Targets,
    /// Slice stream, if asked for.
    pub slices: Option<Slices>,
}

impl Core {
    /// Begins with empty books.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let Parts { ledger, readings, records, targets, slices } = parts;
        let check = CrossCheck::new(records.labels(), STEP_NJ);
        Self {
            tracker: Tracker::default(),
            ledger,
            readings,
            records,
            targets,
            slices,
            ended: BTreeMap::new(),
            ticks: BTreeMap::new(),
            baseline: BTreeMap::new(),
            seen: 0,
            silent: 0,
            in_flight: BTreeMap::new(),
            check,
            happened: BTreeSet::new(),
            ticked: BTreeMap::new(),
            reorder: Reorder::default(),
            entered: BTreeSet::new(),
            outputs: Vec::new(),
            last_t: 0,
            expired: 0,
        }
    }

    /// Takes an event in.
    pub fn push(&mut self, event: Event) {
        self.seen += 1;
        if let Event::Tick(tick) = &event {
            self.ticked.insert(tick.package, tick.t);
        }
        self.reorder.push(event);
    }

    /// Takes in what user space read.
    pub fn taken(&mut self, taken: Taken) {
        let Self { readings, targets, .. } = self;
        readings.taken(taken, |tgid| targets.who(tgid));
    }

    /// Whether every package has ticked after that instant.
    #[must_use]
    pub fn ticked_since(&self, t: u64) -> bool {
        self.ticked.len() >= self.packages() && self.ticked.values().all(|last| *last > t)
    }

    /// When a package ticked last.
    #[must_use]
    pub fn last_tick(&self, package: usize) -> Option<u64> {
        self.ticked.get(&package).copied()
    }

    /// Something happened to the machine.
    pub fn happened(&mut self, flag: Flag) {
        self.happened.insert(flag.name());
    }

    /// What counters show of that time is worthless: of all domains, or of those that the tick of one package
    /// reads itself.
    pub fn distrust(&mut self, package: Option<usize>, when: Stretch, cause: Cause) {
        self.happened(match cause {
            Cause::Suspended => Flag::Suspended,
            Cause::Hotplug => Flag::Hotplug,
        });
        for fed in self.readings.domains() {
            let read =
                package.is_none_or(|p| p == fed.package && matches!(fed.feed, Feed::Kernel { .. }));
            if read {
                self.ledger.distrust(fed.id, Nanos(when.begin), Nanos(when.end), cause);
            }
        }
    }

    /// Notes a connection that was open before the probe.
    pub fn found_open(&mut self, conn: ConnId, who: u32, tgid: u32, t: u64) {
        self.tracker.found_open(conn, who, tgid, t, &mut self.outputs);
    }

    /// Handles every event that nothing can overtake any more.
    pub fn advance(&mut self, effects: &mut Vec<Effect>) {
        while let Some(event) = self.reorder.pop() {
            self.handle(event, effects);
        }
        let now = self.last_t;
        if now.saturating_sub(self.expired) > EXPIRE_NS {
            self.expired = now;
            let Self { tracker, readings, outputs, .. } = self;
            tracker.expire(now, DEFAULT_HORIZON, |who| readings.target_clock(who), outputs);
            self.drain(effects);
        }
    }

    /// The end: handles what waits, interrupts what is open, settles everything.
    pub fn finish(&mut self, effects: &mut Vec<Effect>) {
        while let Some(event) = self.reorder.flush() {
            self.handle(event, effects);
        }
        let now = self.last_t;
        let Self { tracker, readings, outputs, .. } = self;
        tracker.interrupt(now, |who| readings.target_clock(who), outputs);
        self.drain(effects);
        self.ledger.finish(Nanos(now));
        self.settle(effects);
    }

    /// On-CPU time of a consumer since the first tick.
    #[must_use]
    pub fn cpu_ns(&self, who: u32) -> u64 {
        let clocks = self.readings.target_clock(who);
        let since = |(package, clock): (usize, &u64)| {
            let first = self.baseline.get(&package).and_then(|b| b.get(who as usize));
            clock.saturating_sub(first.copied().unwrap_or(*clock))
        };
        clocks.iter().enumerate().map(since).sum()
    }

    fn handle(&mut self, event: Event, effects: &mut Vec<Effect>) {
        self.last_t = self.last_t.max(event.t());
        match event {
            Event::Tick(tick) => {
                self.tick(&tick);
                effects.extend(self.check.met().into_iter().map(Effect::Disagree));
            }
            Event::Io(mut io) => {
                // A clock that could not be read at that instant: the last one known is the nearest.
                let known = self.readings.target_clock(io.who);
                for (clock, known) in io.clock.iter_mut().zip(known) {
                    if *clock == TORN {
                        *clock = known;
                    }
                }
                self.silent += u64::from(io.kind == IoKind::Close && io.offset == 0);
                self.tracker.on_io(&io, &mut self.outputs);
            }
            Event::Process(process) => self.process(&process, effects),
        }
        self.drain(effects);
    }

    fn tick(&mut self, tick: &Tick) {
        let count = self.ticks.entry(tick.package).or_default();
        if count.first.is_some() {
            count.missed += tick.number.saturating_sub(count.last + 1);
        }
        count.first.get_or_insert(tick.number);
        count.last = tick.number;
        self.baseline.entry(tick.package).or_insert(tick.clock);
        let Self { readings, ledger, slices, targets, check, .. } = self;
        readings.tick(tick, ledger, |ledger, domain, t, clocks| {
            let Some(book) = ledger.books(domain) else { return };
            check.sampled(domain, t, book);
            let Some(slices) = slices.as_mut() else { return };
            for target in &targets.0 {
                let k = consumer(target.who).0;
                slices.charged(domain, t, target.who, book.consumers[k].active.0, clocks[k]);
            }
        });
        self.records.mark(DISAGREE, self.check.disagrees());
        if let Some(slices) = &mut self.slices {
            slices.tick(tick.package, tick.t);
        }
    }

    fn process(&mut self, process: &Process, effects: &mut Vec<Effect>) {
        let lost = self.targets.process(process);
        if process.change == ProcessChange::Exit {
            let clock = self.readings.target_clock(process.who);
            self.tracker.process_exit(process.tgid, process.t, &clock, &mut self.outputs);
            effects.push(Effect::ProcessEnded(process.tgid));
        }
        if lost {
            effects.push(Effect::TargetLost(process.who));
        }
    }

    /// Passes the tracker's outputs on to ledger and records.
    fn drain(&mut self, effects: &mut Vec<Effect>) {
        let mut outputs = std::mem::take(&mut self.outputs);
        for output in outputs.drain(..) {
            match output {
                Output::Boundary(boundary) => self.boundary(&boundary),
                Output::Finished(facts) => {
                    *self.ended.entry(facts.outcome).or_default() += 1;
                    let open = self.in_flight.entry(facts.who).or_default();
                    *open = open.saturating_sub(1);
                    if self.entered.remove(&facts.request.0) {
                        self.leave(&facts);
                        self.records.ended(*facts);
                    } else {
                        let record = self.records.without_account(&facts);
                        effects.push(Effect::Record(Box::new(record)));
                    }
                }
                Output::NotUnderstood { kind, .. } => effects.push(Effect::NotUnderstood(kind)),
            }
        }
        self.outputs = outputs;
        self.settle(effects);
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

    fn packages(&self) -> usize {
        self.readings.packages()
    }

    fn settle(&mut self, effects: &mut Vec<Effect>) {
        for account in self.ledger.settled() {
            if let Some(record) = self.records.settled(&account) {
                effects.push(Effect::Record(Box::new(record)));
            }
        }
    }
}

/// The ledger's consumers are the kernel's without idle.
#[must_use]
pub fn consumer(who: u32) -> ConsumerId {
    const { assert!(IDLE == 0) };
    ConsumerId((who as usize).saturating_sub(1))
}

#[cfg(test)]
mod device_tests;
#[cfg(test)]
mod tests;

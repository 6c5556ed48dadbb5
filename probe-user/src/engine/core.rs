//! The front of the engine: kernel events in, [entries](super::entry) out, and from those the
//! [accountant](super::accountant) makes records and books. Captured bytes end here. No kernel, no files but the
//! slice stream and the tape, no clock.

use std::{collections::BTreeMap, sync::Arc};

use probe_common::{IDLE, TORN};
use probe_ledger::{Cause, ConsumerId, Flag};

use super::{
    accountant::Accountant,
    cross_check::Disagreement,
    entry::{Distrust, End, Entry},
    readings,
    recorder::Recorder,
    reorder::Reorder,
    samplers::Taken,
    slices::Slices,
    targets::Targets,
    watch::Stretch,
};
use crate::{
    boundary::{Census, DEFAULT_HORIZON, NotUnderstood, Output, Tracker},
    event::{ConnId, Event, IoKind, Process, ProcessChange},
    record::RequestRecord,
};

/// How often connections are looked through for those with nothing moving on them.
const EXPIRE_NS: u64 = 1_000_000_000;

/// What the driver must do after an event.
#[derive(Debug)]
pub enum Effect {
    /// A record is complete.
    Record(Arc<RequestRecord>),
    /// A process of a target ended: the kernel side can forget its connections.
    ProcessEnded(u32),
    /// A target lost its last process.
    TargetLost(u32),
    /// A connection, or a compressed body, that is not parsed.
    NotUnderstood {
        /// Why.
        kind: NotUnderstood,
        /// Consumer index of the target.
        who: u32,
        /// Process.
        tgid: u32,
    },
    /// Two sources of one domain gave different energies.
    Disagree(Disagreement),
}

/// Everything between the kernel's events and the exporters.
pub struct Core {
    /// Requests.
    pub tracker: Tracker,
    /// The books.
    pub accounts: Accountant,
    /// Targets.
    pub targets: Targets,
    /// Slice stream, if asked for.
    pub slices: Option<Slices>,
    /// Tape, if asked for.
    pub recorder: Option<Recorder>,
    /// Events handled.
    pub seen: u64,
    /// Connections that were closed without a byte having been read or written on them.
    pub silent: u64,
    /// Buffers of captured bytes that are read.
    spent: Vec<Vec<u8>>,
    /// The last tick taken in, by package.
    ticked: BTreeMap<usize, u64>,
    reorder: Reorder,
    outputs: Vec<Output>,
    last_t: u64,
    /// Nothing that processes did later is of the run.
    until: u64,
    /// To be compared with once everything up to its end is handled.
    census: Option<Census>,
    /// Requests that the run still waits for, if it ends with one.
    awaited: Option<u64>,
    expired: u64,
}

/// The parts a core is made of.
pub struct Parts {
    /// Empty books.
    pub accounts: Accountant,
    /// Targets.
    pub targets: Targets,
    /// Slice stream, if asked for.
    pub slices: Option<Slices>,
    /// Tape, if asked for; it holds the host.
    pub recorder: Option<Recorder>,
}

impl Core {
    /// Begins with empty books.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let Parts { accounts, targets, slices, recorder } = parts;
        Self {
            tracker: Tracker::default(),
            accounts,
            targets,
            slices,
            recorder,
            seen: 0,
            silent: 0,
            spent: Vec::new(),
            ticked: BTreeMap::new(),
            reorder: Reorder::default(),
            outputs: Vec::new(),
            last_t: 0,
            until: u64::MAX,
            census: None,
            awaited: None,
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
        let reading = readings::resolved(taken, |tgid| self.targets.who(tgid));
        self.note(Entry::Reading(reading));
    }

    /// Whether every package has ticked after that instant.
    #[must_use]
    pub fn ticked_since(&self, t: u64) -> bool {
        self.ticked.len() >= self.accounts.packages() && self.ticked.values().all(|last| *last > t)
    }

    /// When the last package ticked last.
    #[must_use]
    pub fn latest_tick(&self) -> u64 {
        self.ticked.values().copied().max().unwrap_or(0)
    }

    /// When a package ticked last.
    #[must_use]
    pub fn last_tick(&self, package: usize) -> Option<u64> {
        self.ticked.get(&package).copied()
    }

    /// Something happened to the machine.
    pub fn happened(&mut self, flag: Flag) {
        self.note(Entry::Mark(flag));
    }

    /// What counters show of that time is worthless: of all domains, or of those that the tick of one package
    /// reads itself.
    pub fn distrust(&mut self, package: Option<usize>, when: Stretch, cause: Cause) {
        self.note(Entry::Distrust(Distrust { package, when, cause }));
    }

    /// Records of boundaries were lost, the last of them no later than that.
    pub fn lost(&mut self, until: u64) {
        self.tracker.lost(until);
    }

    /// What the kernel knew of its connections after a loss.
    pub fn census(&mut self, census: Census) {
        self.census = Some(census);
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
        if let Some(census) = self.census.take_if(|census| census.end < now) {
            let Self { tracker, accounts, outputs, .. } = self;
            let clock = |who| accounts.readings.target_clock(who);
            tracker.reconcile(&census, clock, outputs);
            self.drain(effects);
        }
        if now.saturating_sub(self.expired) > EXPIRE_NS {
            self.expired = now;
            let Self { tracker, accounts, outputs, .. } = self;
            let clock = |who| accounts.readings.target_clock(who);
            tracker.expire(now, DEFAULT_HORIZON, clock, outputs);
            self.drain(effects);
        }
    }

    /// Buffers of captured bytes that are read, to be used again.
    pub fn spent(&mut self) -> impl Iterator<Item = Vec<u8>> {
        self.spent.drain(..)
    }

    /// Nothing that processes did after that instant is of the run: hooks are detached one after another, and what some of
    /// them still see meanwhile is half of a story.
    pub fn end_at(&mut self, t: u64) {
        self.until = self.until.min(t);
    }

    /// The run ends with the `n`-th request that does, `n` > 0: what processes do later is not of it.
    pub fn end_after(&mut self, n: u64) {
        self.awaited = Some(n);
    }

    /// Whether as many requests have ended as the run waits for.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.awaited == Some(0)
    }

    /// A request has ended.
    fn ended(&mut self) {
        if let Some(awaited) = &mut self.awaited {
            *awaited = awaited.saturating_sub(1);
            if *awaited == 0 {
                self.end_at(self.last_t);
            }
        }
    }

    /// The end: handles what waits, interrupts what is open, settles everything.
    pub fn finish(&mut self, effects: &mut Vec<Effect>) {
        while let Some(event) = self.reorder.flush() {
            self.handle(event, effects);
        }
        let Self { tracker, accounts, outputs, .. } = self;
        tracker.interrupt(self.last_t, |who| accounts.readings.target_clock(who), outputs);
        self.drain(effects);
        self.give(Entry::End(End { t: self.last_t }), effects);
    }

    fn handle(&mut self, event: Event, effects: &mut Vec<Effect>) {
        if event.t() > self.until && !matches!(event, Event::Tick(_)) {
            return;
        }
        self.last_t = self.last_t.max(event.t());
        match event {
            Event::Tick(tick) => self.give(Entry::Tick(tick), effects),
            Event::Io(mut io) => {
                // A clock that could not be read at that instant: the last one known is the nearest.
                if io.clock.contains(&TORN) {
                    let known = self.accounts.readings.target_clock(io.who);
                    let known = self.tracker.clocks_now(io.who, known);
                    for (clock, known) in io.clock.iter_mut().zip(known) {
                        if *clock == TORN {
                            *clock = known;
                        }
                    }
                }
                self.silent += u64::from(io.kind == IoKind::Close && io.offset == 0 && io.len == 0);
                self.tracker.on_io(&io, &mut self.outputs);
                self.spent.push(io.payload);
            }
            Event::Process(process) => self.process(&process, effects),
        }
        self.drain(effects);
    }

    fn process(&mut self, process: &Process, effects: &mut Vec<Effect>) {
        let lost = self.targets.process(process);
        if process.change == ProcessChange::Exit {
            let clock = self.accounts.readings.target_clock(process.who);
            self.tracker.process_exit(process.tgid, process.t, &clock, &mut self.outputs);
            effects.push(Effect::ProcessEnded(process.tgid));
        }
        if lost {
            effects.push(Effect::TargetLost(process.who));
        }
    }

    /// Makes entries of the tracker's outputs.
    fn drain(&mut self, effects: &mut Vec<Effect>) {
        let mut outputs = std::mem::take(&mut self.outputs);
        for output in outputs.drain(..) {
            match output {
                Output::Boundary(boundary) => self.give(Entry::Boundary(boundary), effects),
                Output::Finished(facts) => {
                    self.ended();
                    self.give(Entry::Finished(facts), effects);
                }
                Output::NotUnderstood { kind, who, tgid, .. } => {
                    effects.push(Effect::NotUnderstood { kind, who, tgid });
                }
            }
        }
        self.outputs = outputs;
    }

    /// An entry that has no effects.
    fn note(&mut self, entry: Entry) {
        self.give(entry, &mut Vec::new());
    }

    /// The one way to the books: over the tape.
    fn give(&mut self, entry: Entry, effects: &mut Vec<Effect>) {
        if let Some(recorder) = &mut self.recorder {
            recorder.record(&entry);
        }
        self.accounts.take(entry, self.slices.as_mut(), effects);
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
mod tape_tests;
#[cfg(test)]
mod tests;

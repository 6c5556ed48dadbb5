//! The run: wires kernel side, boundaries, ledger and exporters together and keeps them going.
//!
//! [`core`] is the pure middle; this module is its driver: it attaches in an order that misses nothing,
//! polls the kernel side, looks for targets that come and go, and publishes snapshots as often as
//! an exporter wants them.
//!
//! **Order of attaching.** Forks are followed before the process tree is read, so that a child born
//! meanwhile is not missed; the tree is adopted before the clocks start; a sweep over all CPUs makes
//! threads known that run without a break; accepts are seen before open connections are looked for.

pub mod accountant;
mod attach;
pub mod books;
pub mod codec;
pub mod core;
pub mod cross_check;
mod cycles;
pub mod digest;
mod ending;
pub mod entry;
mod error;
pub mod host;
mod io_uring;
mod machine;
pub mod phases;
pub mod places;
mod publish;
pub mod readings;
pub mod recorder;
pub mod records;
pub mod reorder;
pub mod samplers;
mod search;
pub mod setup;
pub mod slices;
pub mod targets;
mod tls;
pub mod watch;
mod weighing;

use std::{
    collections::BTreeSet,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

pub use error::EngineError;
use probe_common::Loss;

use self::{
    core::{Core, Effect},
    cycles::Cycles,
    places::Places,
    publish::Publisher,
    samplers::Samplers,
    setup::POLL_NS,
    tls::Tls,
    watch::Watch,
};
use crate::{
    boundary::{Census, NotUnderstood},
    clock::Clock,
    cycles::CpuEvents,
    export::Exports,
    kernel::{BoundaryRung, Probe},
    roots::Roots,
    siblings::Siblings,
    snapshot::Snapshot,
    source::Selection,
    tape,
    target::TargetSpec,
    topology::Topology,
};

/// Flag of a run, or a replay, whose weight policy asks for what there is not: it goes by time.
pub const WEIGHT_UNKNOWN: &str = "weight-unknown";
/// Flag of a run whose slice stream could not be written.
pub const SLICES_INCOMPLETE: &str = "slices-incomplete";
/// Flag of a run whose tape could not be written to its end.
pub const TAPE_INCOMPLETE: &str = "tape-incomplete";
/// The kernel's connections are looked at no more often than this, ns.
const CENSUS_NS: u64 = 250_000_000;
/// How often it is asked whether switches were missed.
const RESYNC_LOOK_NS: u64 = 250_000_000;
/// How long begin and end wait for the slow sensors to be read once more.
const LAST_READ_NS: u64 = 2_000_000_000;
/// Events that are taken in before their effects are carried out: so few are still in the cache then.
const EVENTS_AT_ONCE: usize = 256;
/// So often that is done before anything else is looked at.
const ROUNDS: usize = 32;
/// How long the end waits for the tick that closes the last windows.
const LAST_TICK_NS: u64 = 500_000_000;

/// What to do.
pub struct Options {
    /// Targets; their labels differ.
    pub targets: Vec<TargetSpec>,
    /// Names that no target may have.
    pub reserved: fn(&str) -> bool,
    /// Domains.
    pub selection: Selection,
    /// The machine.
    pub topology: Topology,
    /// Which CPUs share a core.
    pub siblings: Siblings,
    /// The counters of the CPUs, where slices are weighed by cycles.
    pub cycles: CpuEvents,
    /// The boundary rung, if not the best that the kernel allows.
    pub boundary: Option<BoundaryRung>,
    /// Slice stream.
    pub slices: Option<PathBuf>,
    /// A new tape.
    pub tape: Option<tape::Writer>,
    /// End after this long.
    pub duration: Option<Duration>,
    /// End after this many finished requests.
    pub count: Option<u64>,
    /// How energy is shared where no sensor can tell.
    pub policies: probe_ledger::Policies,
    /// What the reader of every number of this run should know, by name.
    pub flags: Vec<String>,
}

/// A run, attached.
pub struct Engine<'a> {
    roots: Roots,
    core: Core,
    probe: Probe,
    samplers: Samplers,
    publisher: Publisher,
    exports: &'a mut Exports,
    clock: Clock,
    cpus: Vec<u32>,
    report: &'a mut dyn FnMut(&str),
    resync_looked: u64,
    /// Records of boundaries that were lost, at the last look.
    lost: u64,
    /// Some were lost since the kernel's connections were last looked at.
    census_due: bool,
    /// When that was.
    census_taken: u64,
    watch: Watch,
    places: Places,
    cycles: Cycles,
    /// When what has no place is tried again, and what was told of it.
    unsettled: Option<(u64, Vec<String>)>,
    /// A sensor needs every process in sight.
    wide_sight: bool,
    /// Consumers of which it was said that they use io_uring.
    rings_told: BTreeSet<u32>,
    /// There is more in the ring than was taken.
    more: bool,
    /// Reused.
    effects: Vec<Effect>,
    tls: Tls,
}

/// Runs until `stop` is set, the time is over, enough requests have finished or no target can come back.
///
/// `report` is told what the user should know, the line `attached: …` first. Returns the summary.
///
/// # Errors
///
/// When a target is not there, or the kernel side cannot work.
pub fn run(
    options: Options,
    roots: &Roots,
    exports: &mut Exports,
    stop: &AtomicBool,
    report: &mut dyn FnMut(&str),
) -> Result<Snapshot, EngineError> {
    let (duration, count) = (options.duration, options.count);
    let mut engine = Engine::attach(options, roots, exports, report)?;
    if let Some(count) = count {
        engine.core.end_after(count);
    }
    let begin = engine.clock.now();
    let over = |engine: &Engine<'_>| {
        stop.load(Ordering::Relaxed)
            || duration.is_some_and(|d| u128::from(engine.clock.now() - begin) >= d.as_nanos())
            || engine.core.is_over()
            || engine.core.targets.over()
    };
    while !over(&engine) {
        engine.turn()?;
    }
    engine.end()
}

impl<'a> Engine<'a> {
    /// Until every package has ticked after that instant.
    fn wait_for_ticks(&mut self, since: u64) -> Result<(), EngineError> {
        let begin = self.clock.now();
        while self.clock.now() - begin < LAST_TICK_NS {
            let more = self.take_events();
            if self.core.ticked_since(since) {
                return Ok(());
            }
            if !more {
                self.probe.wait(Duration::from_millis(2));
            }
        }
        Err(EngineError::NoTick)
    }

    /// Takes in what user space reads; with `fresh`, every sensor is read now, however slow.
    fn read_sensors(&mut self, fresh: bool) {
        let Self { samplers, core, .. } = self;
        let each = |taken| core.taken(taken);
        if fresh {
            samplers.collect_fresh(Duration::from_nanos(LAST_READ_NS), each);
        } else {
            samplers.collect(each);
        }
    }

    /// Takes in what came, up to a bound: true where that may not have been all.
    fn take_events(&mut self) -> bool {
        let Self { probe, core, .. } = self;
        let events = std::iter::from_fn(|| probe.next_event()).take(EVENTS_AT_ONCE);
        let taken = events.map(|event| core.push(event)).count();
        while let Some(slice) = probe.next_slice() {
            if let Some(slices) = &mut core.slices {
                slices.push(slice);
            }
        }
        taken == EVENTS_AT_ONCE
    }

    /// One round of the loop.
    fn turn(&mut self) -> Result<(), EngineError> {
        if !self.more {
            self.probe.wait(Duration::from_nanos(POLL_NS));
        }
        self.read_sensors(false);
        for _ in 0..ROUNDS {
            self.more = self.take_events();
            if self.more {
                // Only a ring that was full loses something, and what it was full of is still coming.
                self.look_for_losses();
            }
            self.handle();
            if !self.more {
                break;
            }
        }
        self.look_at_connections();
        self.look_at_machine();
        self.exports.flush();
        self.keep_tape();
        let in_flight = u32::try_from(self.core.tracker.in_flight()).unwrap_or(u32::MAX);
        self.probe.set_in_flight(in_flight)?;
        self.search()?;
        if self.clock.now() - self.resync_looked > RESYNC_LOOK_NS {
            self.resync_looked = self.clock.now();
            self.probe.quicken_resync()?;
            self.look_for_losses();
        }
        if self.exports.period().is_some_and(|period| self.publisher.due(period)) {
            let snapshot = self.publisher.snapshot(&self.core, &self.probe);
            self.exports.snapshot(&Arc::new(snapshot));
        }
        Ok(())
    }

    /// Where records of boundaries were lost since the last look, an end that never comes may have been one of them.
    fn look_for_losses(&mut self) {
        let lost = self.probe.lost()[Loss::Io as usize];
        if lost > self.lost {
            self.lost = lost;
            self.core.lost(self.clock.now());
            self.census_due = true;
        }
    }

    /// After losses, once what was not lost is taken in: which connections does the kernel still know?
    fn look_at_connections(&mut self) {
        let begin = self.clock.now();
        if self.census_due && !self.more && begin - self.census_taken > CENSUS_NS {
            self.census_taken = begin;
            // Where too much changed meanwhile, the next look will tell.
            if let Some(known) = self.probe.connections() {
                self.census_due = false;
                self.core.census(Census { begin, end: self.clock.now(), known });
            }
        }
    }

    /// Handles what has come and carries out what follows.
    fn handle(&mut self) {
        let mut effects = std::mem::take(&mut self.effects);
        self.core.advance(&mut effects);
        self.carry_out(&mut effects);
        self.effects = effects;
        let Self { probe, core, .. } = self;
        core.spent().for_each(|buffer| probe.reuse(buffer));
    }

    fn carry_out(&mut self, effects: &mut Vec<Effect>) {
        for effect in effects.drain(..) {
            match effect {
                Effect::Disagree(met) => {
                    let name = |id| self.publisher.name(id).to_owned();
                    let joules = |nj: u64| nj as f64 / 1e9;
                    (self.report)(&format!(
                        "{} counted {:.3} J in {:.1} s, {} {:.3} J: the sources disagree, every record says so",
                        name(met.first),
                        joules(met.first_nj),
                        joules(met.span_ns),
                        name(met.twin),
                        joules(met.twin_nj),
                    ));
                }
                Effect::Record(record) => {
                    if let Some(recorder) = &mut self.core.recorder {
                        recorder.publish(&record);
                    }
                    self.exports.request(&record);
                }
                Effect::ProcessEnded(tgid) => self.probe.unwatch_process(tgid),
                Effect::TargetLost(who) => {
                    let target = self.core.targets.0.iter().find(|t| t.who == who);
                    if let Some(target) = target {
                        let next =
                            if target.selector.can_return() { "waiting for it" } else { "done" };
                        (self.report)(&format!("{} has ended; {next}", target.name));
                    }
                }
                Effect::NotUnderstood { kind: kind @ NotUnderstood::Tls, who, tgid } => {
                    self.publisher.first_of(kind);
                    self.missed_tls(who, tgid);
                }
                Effect::NotUnderstood { kind, .. } => {
                    if self.publisher.first_of(kind) {
                        let (what, still) = (kind.told(), kind.still_measured());
                        (self.report)(&format!("{what}: {still}"));
                    }
                }
            }
        }
    }

    /// Writes what waits once a second; says once that the tape has ended early.
    fn keep_tape(&mut self) {
        let Some(recorder) = &mut self.core.recorder else { return };
        recorder.keep(self.clock.now());
        if let Some(error) = recorder.failure() {
            (self.report)(&format!("the tape ends here, the run goes on: {error}"));
            self.publisher.flag(TAPE_INCOMPLETE);
        }
    }
}

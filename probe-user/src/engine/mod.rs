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
pub mod watch;
mod weighing;

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

pub use error::EngineError;

use self::{
    core::{Core, Effect},
    cycles::Cycles,
    places::Places,
    publish::Publisher,
    samplers::Samplers,
    setup::POLL_NS,
    watch::Watch,
};
use crate::{
    clock::Clock, cycles::CpuEvents, export::Exports, kernel::Probe, roots::Roots,
    siblings::Siblings, snapshot::Snapshot, source::Selection, tape, target::Selector,
    topology::Topology,
};

/// Flag of a run, or a replay, whose weight policy asks for what there is not: it goes by time.
pub const WEIGHT_UNKNOWN: &str = "weight-unknown";
/// Flag of a run whose slice stream could not be written.
pub const SLICES_INCOMPLETE: &str = "slices-incomplete";
/// Flag of a run whose tape could not be written to its end.
pub const TAPE_INCOMPLETE: &str = "tape-incomplete";
/// How often it is asked whether switches were missed.
const RESYNC_LOOK_NS: u64 = 250_000_000;
/// How long begin and end wait for the slow sensors to be read once more.
const LAST_READ_NS: u64 = 2_000_000_000;
/// How long the end waits for the tick that closes the last windows.
const LAST_TICK_NS: u64 = 500_000_000;

/// What to do.
pub struct Options {
    /// Targets: selector and name.
    pub targets: Vec<(Selector, String)>,
    /// Domains.
    pub selection: Selection,
    /// The machine.
    pub topology: Topology,
    /// Which CPUs share a core.
    pub siblings: Siblings,
    /// The counters of the CPUs, where slices are weighed by cycles.
    pub cycles: CpuEvents,
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
    finished: u64,
    resync_looked: u64,
    watch: Watch,
    places: Places,
    cycles: Cycles,
    /// When what has no place is tried again, and what was told of it.
    unsettled: Option<(u64, Vec<String>)>,
    /// A sensor needs every process in sight.
    wide_sight: bool,
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
    let begin = engine.clock.now();
    let over = |engine: &Engine<'_>| {
        stop.load(Ordering::Relaxed)
            || duration.is_some_and(|d| u128::from(engine.clock.now() - begin) >= d.as_nanos())
            || count.is_some_and(|n| engine.finished >= n)
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
            self.take_events();
            if self.core.ticked_since(since) {
                return Ok(());
            }
            self.probe.wait(Duration::from_millis(2));
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

    fn take_events(&mut self) {
        while let Some(event) = self.probe.next_event() {
            self.core.push(event);
        }
        while let Some(slice) = self.probe.next_slice() {
            if let Some(slices) = &mut self.core.slices {
                slices.push(slice);
            }
        }
    }

    /// One round of the loop.
    fn turn(&mut self) -> Result<(), EngineError> {
        self.probe.wait(Duration::from_nanos(POLL_NS));
        self.read_sensors(false);
        self.take_events();
        self.look_at_machine();
        let mut effects = Vec::new();
        self.core.advance(&mut effects);
        self.carry_out(effects);
        self.keep_tape();
        let in_flight = u32::try_from(self.core.tracker.in_flight()).unwrap_or(u32::MAX);
        self.probe.set_in_flight(in_flight)?;
        self.search()?;
        if self.clock.now() - self.resync_looked > RESYNC_LOOK_NS {
            self.resync_looked = self.clock.now();
            self.probe.quicken_resync()?;
        }
        if self.exports.period().is_some_and(|period| self.publisher.due(period)) {
            let snapshot = self.publisher.snapshot(&self.core, &self.probe);
            self.exports.snapshot(&Arc::new(snapshot));
        }
        Ok(())
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        for effect in effects {
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
                    self.finished += 1;
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
                Effect::NotUnderstood(kind) => {
                    if self.publisher.first_of(kind) {
                        let kind = kind.as_str();
                        (self.report)(&format!(
                            "a connection speaks {kind}: its energy is measured, its requests are not seen"
                        ));
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

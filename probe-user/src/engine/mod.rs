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
pub mod books;
pub mod codec;
pub mod core;
pub mod cross_check;
mod cycles;
pub mod digest;
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
pub mod setup;
pub mod slices;
pub mod targets;
pub mod watch;
mod weighing;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

pub use error::EngineError;

use self::{
    accountant::Accountant,
    core::{Core, Effect, Parts},
    cycles::Cycles,
    host::{Brings, Host},
    places::Places,
    publish::Publisher,
    recorder::Recorder,
    samplers::Samplers,
    setup::{Counters, POLL_NS},
    slices::Slices,
    targets::{Change, Look, Target, Targets},
    watch::Watch,
};
use crate::{
    clock::Clock,
    cycles::CpuEvents,
    export::Exports,
    kernel::{Probe, alive, sweep},
    privilege,
    roots::Roots,
    siblings::Siblings,
    snapshot::Snapshot,
    source::{Domain, Reading, Selection},
    tape,
    target::{Selector, find, listening, visible},
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
    fn attach(
        options: Options,
        roots: &Roots,
        exports: &'a mut Exports,
        report: &'a mut dyn FnMut(&str),
    ) -> Result<Self, EngineError> {
        let clock = Clock::start();
        let mut targets = Targets::default();
        let mut owner: BTreeMap<u32, String> = BTreeMap::new();
        for (index, (selector, name)) in options.targets.into_iter().enumerate() {
            for pid in find(&selector, roots)?.processes {
                if let Some(first) = owner.insert(pid, name.clone()) {
                    return Err(EngineError::SharedProcess { pid, first, second: name });
                }
            }
            targets.0.push(Target::new(index, name, selector));
        }
        let package_of = setup::package_of(&options.topology);
        let packages = options.topology.packages.len();
        let names = targets.names();
        let chosen = &options.selection.domains;
        let cpus = options.topology.packages.iter().map(|package| package.cpus.len()).max();
        let size = (packages, cpus.unwrap_or(1));
        let mut host = Host::new(chosen, size, options.policies, names.clone(), clock);
        host.marks.clone_from(&options.selection.flags);
        let cycles = Cycles::open(options.cycles)?;
        host.brings = Brings {
            beside: !options.siblings.pairs().is_empty() && !cycles.any(),
            cycles: cycles.any(),
            one_thread: options.siblings == Siblings::None,
        };
        let accounts = Accountant::open(&host)?;
        let Counters { counters, cores, sensors } = setup::open(chosen, &host)?;
        let (siblings, sliced) = (options.siblings.pairs(), options.slices.is_some());
        let probe = setup::probe(roots, &package_of, &counters, &cores, siblings, &cycles, sliced)?;
        let slices = match &options.slices {
            Some(path) => {
                let error = |source| EngineError::Slices { path: path.clone(), source };
                let domains = (0..packages).map(|p| accounts.readings.additive_of(p).collect());
                let domains = domains.collect();
                let slices = Slices::create(path, names.clone(), package_of.clone(), domains);
                Some(slices.map_err(error)?)
            }
            None => None,
        };
        let mut publisher =
            Publisher::new(clock, &host.policies, accounts.records.labels(), options.flags);
        if host.lacks_weights() {
            publisher.flag(WEIGHT_UNKNOWN);
        }
        let core = Core::new(Parts { accounts, targets, slices, recorder: None });
        let cpus = options.topology.online().collect();
        let wide = |d: &Domain| matches!(&d.reading, Reading::Polled(p) if p.needs_sight());
        let wide_sight = options.selection.domains.iter().any(wide);
        let watch = Watch::new(clock.now(), clock.asleep(), options.topology.online());
        let places = Places::new(options.topology, &options.selection.tick_cpus, counters, cores);
        let roots = roots.clone();
        let mut engine = Self {
            roots,
            core,
            probe,
            samplers: Samplers::none(clock),
            publisher,
            exports,
            clock,
            cpus,
            report,
            finished: 0,
            resync_looked: 0,
            watch,
            places,
            cycles,
            unsettled: None,
            wide_sight,
        };
        engine.start()?;
        engine.give_up_privileges()?;
        // After that: a thread inherits what its parent holds.
        engine.samplers = Samplers::start(sensors, clock).map_err(EngineError::Thread)?;
        // What cannot be attached leaves no tape. No entry has been made yet.
        let tape = options.tape.map(|tape| Recorder::begin(tape, host));
        engine.core.recorder = tape.transpose()?;
        engine.begin()?;
        Ok(engine)
    }

    fn start(&mut self) -> Result<(), EngineError> {
        self.probe.attach_processes()?;
        for index in 0..self.core.targets.0.len() {
            self.look(index, false)?;
        }
        self.probe.attach_clocks()?;
        let cores = self.places.cores();
        if !cores.is_empty() {
            self.probe.attach_cores(&cores)?;
        }
        self.probe.attach_resync(&self.cpus)?;
        sweep(&self.cpus)?;
        // Time beside a sibling is known from a CPU's second switch on.
        sweep(&self.cpus)?;
        self.probe.attach_ticks(&self.places.ticking())?;
        for cpu in self.places.spare() {
            // Only needed once the CPU that ticks goes offline; where it fails, that is told then.
            let _ = self.probe.prepare_tick(cpu);
        }
        for cpu in self.places.spare_cores() {
            let _ = self.probe.prepare_core(cpu);
        }
        self.probe.attach_sockets()?;
        self.probe.settle();
        for index in 0..self.core.targets.0.len() {
            self.look(index, true)?;
        }
        Ok(())
    }

    /// Keeps only what the rest of the run needs.
    fn give_up_privileges(&mut self) -> Result<(), EngineError> {
        let Self { core, roots, .. } = self;
        let processes = || core.targets.0.iter().flat_map(|target| &target.processes);
        // Who uses a card is told by the files of every process.
        let sees = || !self.wide_sight && processes().all(|pid| visible(*pid, roots));
        privilege::reduce(sees).map_err(|source| EngineError::Privilege(source.into()))?;
        Ok(())
    }

    fn begin(&mut self) -> Result<(), EngineError> {
        // Two ticks around a reading of the sensors: only then has every domain a baseline.
        self.wait_for_ticks(0)?;
        self.read_sensors(true);
        let targets: Vec<String> = self
            .core
            .targets
            .0
            .iter()
            .map(|t| format!("{} ({}, {} processes)", t.name, t.selector, t.processes.len()))
            .collect();
        (self.report)(&format!("attached: {}", targets.join(", ")));
        Ok(())
    }

    /// Looks for a target and tells the kernel side what is new of it.
    fn look(&mut self, index: usize, required: bool) -> Result<(), EngineError> {
        let Some(target) = self.core.targets.0.get_mut(index) else { return Ok(()) };
        let found = find(&target.selector, &self.roots);
        target.prune(|pid| alive(pid, &self.roots));
        let found = match found {
            Ok(found) => found,
            Err(error) if required => return Err(error.into()),
            Err(_) => {
                for inode in target.silent() {
                    self.probe.unlisten(inode);
                }
                return Ok(());
            }
        };
        let (who, change) = (target.who, target.found(&found));
        self.apply(who, &change)
    }

    fn apply(&mut self, who: u32, change: &Change) -> Result<(), EngineError> {
        for pid in &change.adopt {
            if !self.probe.adopt(*pid, who)? {
                self.core.targets.gone(who, *pid);
            }
        }
        for inode in &change.unlisten {
            self.probe.unlisten(*inode);
        }
        for inode in &change.listen {
            self.probe.listen(*inode, who)?;
        }
        for (pid, fd) in &change.watch {
            if let Some(conn) = self.probe.watch(*pid, *fd)? {
                self.core.found_open(conn, who, *pid, self.clock.now());
            }
        }
        Ok(())
    }

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

    /// Looks for targets that are gone or not complete.
    fn search(&mut self) -> Result<(), EngineError> {
        let now = self.clock.now();
        for index in 0..self.core.targets.0.len() {
            let Some(target) = self.core.targets.0.get_mut(index) else { continue };
            let (was, known) = (target.present(), target.processes.clone());
            let heard = !target.listeners.is_empty();
            match target.due(now) {
                None => continue,
                Some(Look::Listeners) => {
                    let listen = listening(&target.selector, &self.roots);
                    if listen.is_none_or(|inodes| inodes == target.listeners) {
                        continue;
                    }
                }
                Some(Look::All) => {}
            }
            if let Err(error) = self.look(index, false) {
                // A table of the kernel side is full: what is attached stays, and the loss is counted.
                (self.report)(&format!("a process or socket cannot be watched: {error}"));
            }
            let target = &self.core.targets.0[index];
            if !target.processes.is_subset(&known) {
                // A CPU that went offline since the last look needs no sweep.
                let _ = sweep(&self.cpus);
            }
            match (was, heard, target.present(), !target.listeners.is_empty()) {
                (false, _, true, _) | (true, false, true, true) => {
                    (self.report)(&format!("attached again: {}", target.name));
                }
                (true, true, true, false) => {
                    (self.report)(&format!(
                        "{} does not listen any more; waiting for it",
                        target.name
                    ));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The end of the run: one more tick closes the last windows, then everything is settled and detached.
    fn end(mut self) -> Result<Snapshot, EngineError> {
        self.probe.set_in_flight(1)?;
        self.read_sensors(true);
        // Without another tick the last windows stay open; what they would hold is charged to nobody.
        let _ = self.wait_for_ticks(self.clock.now());
        self.probe.detach_sources();
        // A CPU that went offline since the last look needs no sweep.
        let _ = sweep(&self.cpus);
        self.take_events();
        self.look_for_suspend();
        let mut effects = Vec::new();
        self.core.finish(&mut effects);
        self.carry_out(effects);
        self.keep_tape();
        if let Some(slices) = &mut self.core.slices
            && let Err(error) = slices.finish()
        {
            (self.report)(&format!(
                "the slice stream could not be written: {error}; choose another file with --slices"
            ));
            self.publisher.flag(SLICES_INCOMPLETE);
        }
        self.publisher.last();
        let mut summary = self.publisher.snapshot(&self.core, &self.probe);
        self.end_tape(&mut summary);
        Ok(summary)
    }

    /// The summary is on the tape, too; only that the tape could not be ended is not.
    fn end_tape(&mut self, summary: &mut Snapshot) {
        let Some(recorder) = &mut self.core.recorder else { return };
        if let Some(hash) = recorder.finish(summary) {
            (self.report)(&format!("tape: whole, hash {hash}"));
        }
        if let Some(error) = recorder.failure() {
            (self.report)(&format!("the tape has no end: {error}"));
            summary.flags.push(TAPE_INCOMPLETE.to_owned());
        }
    }
}

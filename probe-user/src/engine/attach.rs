//! Attaching, in the order that misses nothing: see [`super`].

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Engine, EngineError, Options, WEIGHT_UNKNOWN,
    accountant::Accountant,
    core::{Core, Parts},
    cycles::Cycles,
    host::{Brings, Host},
    places::Places,
    publish::Publisher,
    recorder::Recorder,
    samplers::Samplers,
    setup::{self, Counters},
    slices::Slices,
    targets::{Target, Targets},
    tls::Tls,
    watch::Watch,
};
use crate::{
    clock::Clock,
    export::Exports,
    kernel::sweep,
    privilege,
    roots::Roots,
    siblings::Siblings,
    source::{Domain, Reading},
    target::{Place, TargetError, TargetSpec, counts_as_the_kernel, find, names, visible},
};

impl<'a> Engine<'a> {
    pub(super) fn attach(
        options: Options,
        roots: &Roots,
        exports: &'a mut Exports,
        report: &'a mut dyn FnMut(&str),
    ) -> Result<Self, EngineError> {
        let clock = Clock::start();
        let mut targets = Targets::default();
        if counts_as_the_kernel(roots) == Some(false) {
            return Err(TargetError::OwnPids.into());
        }
        let look = |spec: &TargetSpec| find(&spec.selector, &Place::default(), roots);
        let found = options.targets.iter().map(look).collect::<Result<Vec<_>, _>>()?;
        let labels: Vec<_> = found.iter().map(|found| found.label.clone()).collect();
        let names = names(&options.targets, &labels, options.reserved);
        let mut owner: BTreeMap<u32, String> = BTreeMap::new();
        for (index, ((spec, found), name)) in
            options.targets.into_iter().zip(found).zip(names).enumerate()
        {
            for pid in found.processes {
                if let Some(first) = owner.insert(pid, name.clone()) {
                    return Err(EngineError::SharedProcess { pid, first, second: name });
                }
            }
            targets.0.push(Target::new(index, name, spec.selector).at(found.place));
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
        let mut probe =
            setup::probe(roots, &package_of, &counters, &cores, siblings, &cycles, sliced)?;
        probe.choose_boundary(options.boundary)?;
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
            resync_looked: 0,
            lost: 0,
            census_due: false,
            census_taken: 0,
            watch,
            places,
            cycles,
            unsettled: None,
            wide_sight,
            rings_told: BTreeSet::new(),
            more: false,
            effects: Vec::new(),
            tls: Tls::default(),
        };
        engine.start()?;
        engine.give_up_privileges()?;
        // After that: a thread inherits what its parent holds.
        engine.samplers = Samplers::start(sensors, clock).map_err(EngineError::Thread)?;
        // What cannot be attached leaves no tape. No entry has been made yet.
        let tape = options.tape.map(|tape| Recorder::begin(tape, host));
        engine.core.recorder = tape.transpose()?;
        engine.exports.begin();
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
            .map(|t| {
                let (processes, tls) = (t.processes.len(), self.tls.seen(t.who));
                format!("{} ({}, {processes} processes{tls})", t.name, t.selector)
            })
            .collect();
        (self.report)(&format!("attached: {}", targets.join(", ")));
        Ok(())
    }
}

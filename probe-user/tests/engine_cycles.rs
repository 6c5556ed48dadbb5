//! A whole run by the weight `cycles`, on the real kernel. Few virtual machines count cycles, so CPU 0 has its time stamps in
//! their place and the others their nanoseconds: it is the quicker CPU. Needs root, two CPUs and the PMU `msr`; without them
//! the test says so and ends.

use std::{
    error::Error,
    fs,
    process::{Child, Command, Stdio},
    sync::atomic::AtomicBool,
    time::Duration,
};

use probe_ledger::{Policies, Weight};
use rustix::{
    process::Pid,
    thread::{CpuSet, sched_setaffinity},
};
use wattprobe::{
    clock::Clock,
    cycles::CpuEvents,
    engine::{self, Options},
    export::Exports,
    roots::Roots,
    siblings::Siblings,
    snapshot::Snapshot,
    source::{PerfEvent, SourceSpec, select},
    target::{Selector, TargetSpec},
    topology::Topology,
};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

const RUN: Duration = Duration::from_millis(1500);

/// A process that runs until it is dropped.
struct Worker(Child);

impl Worker {
    /// Computes on one CPU.
    fn on(cpu: usize) -> Result<Self> {
        let work = ["-c", "while :; do :; done"];
        let worker = Self(Command::new("sh").args(work).stdin(Stdio::null()).spawn()?);
        let mut one = CpuSet::new();
        one.set(cpu);
        sched_setaffinity(Pid::from_raw(worker.0.id().cast_signed()), &one)?;
        Ok(worker)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The counter that stands for a CPU's cycles.
fn event(cpu: u32, stamps: u32) -> PerfEvent {
    // PERF_TYPE_SOFTWARE, whose first is PERF_COUNT_SW_CPU_CLOCK.
    let type_ = if cpu == 0 { stamps } else { 1 };
    let (pmu, event) = ("test".to_owned(), "test".to_owned());
    PerfEvent { pmu, event, type_, config: [0; 4], cpu, package: 0, named: true }
}

/// A target on each of the first two CPUs, for so long.
fn observe(weight: Weight, topology: &Topology, stamps: u32) -> Result<Snapshot> {
    let roots = Roots::default();
    let topology = topology.clone();
    let selection = select(&roots, &topology, &["model".parse::<SourceSpec>()?])?;
    let cycles = match weight {
        Weight::Cycles => topology.online().map(|cpu| event(cpu, stamps)).collect(),
        _ => Vec::new(),
    };
    let cycles = CpuEvents { cycles, misses: Vec::new() };
    let workers = [Worker::on(0)?, Worker::on(1)?];
    let targets = workers.iter().zip(["quick", "slow"]);
    let options = Options {
        boundary: None,
        targets: targets
            .map(|(w, name)| TargetSpec {
                selector: Selector::Pid(w.0.id()),
                name: Some(name.to_owned()),
            })
            .collect(),
        reserved: |_| false,
        selection,
        topology,
        siblings: Siblings::None,
        cycles,
        slices: None,
        tape: None,
        duration: Some(RUN),
        count: None,
        policies: Policies { weight, ..Policies::default() },
        flags: Vec::new(),
    };
    // The run gives up its thread's privileges.
    let run = std::thread::spawn(move || {
        let mut exports = Exports::new(|error| eprintln!("{error}"));
        engine::run(options, &roots, &mut exports, &AtomicBool::new(false), &mut |_| {})
    });
    Ok(run.join().map_err(|_| "the run panicked")??)
}

/// CPU seconds and joules of a target.
fn of(summary: &Snapshot, name: &str) -> (f64, f64) {
    let book = &summary.domains["package-0"].consumers[name];
    (book.cpu_ns as f64 / 1e9, book.active_nj as f64 / 1e9)
}

#[test]
fn by_cycles_a_quicker_cpu_costs_more_and_by_time_it_does_not() -> Result<()> {
    let topology = Topology::read(&Roots::default())?;
    let cpus: Vec<u32> = topology.online().collect();
    let stamps = fs::read_to_string("/sys/bus/event_source/devices/msr/type");
    let (true, [0, 1, ..], Ok(stamps)) = (rustix::process::geteuid().is_root(), &cpus[..], stamps)
    else {
        eprintln!("not run: needs root, CPU 0, CPU 1 and the PMU msr");
        return Ok(());
    };
    let stamps = stamps.trim().parse()?;
    let (mut counter, clock) = (event(0, stamps).open()?, Clock::start());
    let (begin, before) = (clock.now(), counter.read()?);
    let by_cycles = observe(Weight::Cycles, &topology, stamps)?;
    let rate = (counter.read()? - before) as f64 / (clock.now() - begin) as f64;
    assert!(rate > 1.1, "{rate} time stamps a nanosecond: no machine is so slow");
    let by_time = observe(Weight::Time, &topology, stamps)?;
    for (summary, name, price) in [(&by_cycles, "cycles", rate), (&by_time, "time", 1.0)] {
        let ((quick, more), (slow, less)) = (of(summary, "quick"), of(summary, "slow"));
        assert!(quick > 0.1 && slow > 0.1, "{quick} s and {slow} s on CPU");
        let ratio = more / quick / (less / slow);
        assert!((ratio / price - 1.0).abs() < 0.1, "{name}: {ratio} instead of {price}");
        assert_eq!(&*summary.policies.weight, name);
        let runs = summary.self_cost.programs.get("cycles_switch").map(|cost| cost.runs);
        assert_eq!(runs.is_some_and(|runs| runs > 0), name == "cycles", "{runs:?}");
        assert!(!summary.flags.iter().any(|flag| flag == "weights-missing"), "{:?}", summary.flags);
        for (name, domain) in &summary.domains {
            let consumers: u64 = domain.consumers.values().map(|book| book.active_nj).sum();
            let all = domain.idle_nj + domain.residual_nj + consumers;
            assert_eq!(domain.measured_nj, all, "{name}");
        }
    }
    Ok(())
}

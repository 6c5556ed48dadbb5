//! Slices weighed by cycles, on the real kernel. Few virtual machines count cycles, so each CPU has another counter in the
//! place of its own: nanoseconds, which must agree with the clocks; time stamps on one CPU and nanoseconds on the others,
//! where a cycle is a different thing; page faults, which follow what a task does and not how long it runs. Needs root and
//! CPU 0 and CPU 1; without them the tests say so and end.

use std::{
    error::Error,
    fs,
    os::fd::AsFd,
    process::{Child, Command, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use probe_common::{CONSUMERS, FIRST_TARGET, IDLE, Loss};
use rustix::{
    process::Pid,
    thread::{CpuSet, sched_setaffinity},
};
use wattprobe::{
    clock::Clock,
    event::{Event, Tick},
    kernel::{Probe, Rung, Settings, sweep},
    roots::Roots,
    source::{OpenCounter, PerfEvent},
    topology::Topology,
};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const A: usize = FIRST_TARGET as usize;
const B: usize = FIRST_TARGET as usize + 1;
/// How long a target runs, on CPU; and how long it may take to, on a machine that is busy.
const RUN_NS: u64 = 300_000_000;
const MOST_NS: u64 = 30_000_000_000;
/// Between two readings of a CPU's counter, at most; some more for a slow machine.
const LAG_NS: u64 = 100_000_000;

/// `PERF_TYPE_SOFTWARE` and what it counts.
const SOFTWARE: u32 = 1;
const NANOSECONDS: u64 = 0;
const PAGE_FAULTS: u64 = 2;

/// One probe at a time. `None` where none can run.
fn alone() -> Option<(MutexGuard<'static, ()>, Vec<u32>)> {
    static ONE: Mutex<()> = Mutex::new(());
    let cpus: Vec<u32> = Topology::read(&Roots::default()).ok()?.online().collect();
    if !rustix::process::geteuid().is_root() || !cpus.starts_with(&[0, 1]) {
        eprintln!("not run: needs root, CPU 0 and CPU 1");
        return None;
    }
    Some((ONE.lock().unwrap_or_else(PoisonError::into_inner), cpus))
}

/// A shell on CPUs of its own that does this once it is told to, until it is dropped.
struct Worker(Child);

const SPIN: &str = "while :; do :; done";
/// A new process is many page faults; they are its own and its parent's, and all of them the target's.
const FAULT: &str = "while :; do (:); done";

impl Worker {
    fn on(cpu: u32, work: &str) -> Result<Self> {
        let work = format!("read go; {work}");
        let worker = Self(Command::new("sh").args(["-c", &work]).stdin(Stdio::piped()).spawn()?);
        worker.stay(cpu)?;
        Ok(worker)
    }

    fn stay(&self, cpu: u32) -> Result<()> {
        let mut one = CpuSet::new();
        one.set(cpu as usize);
        Ok(sched_setaffinity(Pid::from_raw(self.0.id().cast_signed()), &one)?)
    }

    fn go(&mut self) {
        self.0.stdin.take();
    }

    /// Page faults of it and the children that it has waited for.
    fn faults(&self) -> Result<u64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0.id()))?;
        let (_, rest) = stat.rsplit_once(')').ok_or("no name")?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        // minflt, cminflt, majflt, cmajflt: the 10th to the 13th of all.
        fields[7..11].iter().map(|field| Ok(field.parse::<u64>()?)).sum()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A counter of one CPU.
fn counter(type_: u32, config: u64, cpu: u32) -> Result<OpenCounter> {
    let (pmu, event) = ("test".to_owned(), "test".to_owned());
    let config = [config, 0, 0, 0];
    Ok(PerfEvent { pmu, event, type_, config, cpu, package: 0, named: true }.open()?)
}

fn software(config: u64, cpus: &[u32]) -> Result<Vec<OpenCounter>> {
    cpus.iter().map(|cpu| counter(SOFTWARE, config, *cpu)).collect()
}

/// A probe that reads these counters, and what it has shown.
struct Run {
    probe: Probe,
    ticks: Vec<Tick>,
    clock: Clock,
    /// Kept open.
    _counters: [Vec<OpenCounter>; 2],
}

impl Run {
    fn start(
        rung: Rung,
        cpus: &[u32],
        cycles: Vec<OpenCounter>,
        workers: &[&Worker],
    ) -> Result<Self> {
        Self::with_misses(rung, cpus, [cycles, Vec::new()], workers)
    }

    /// With counters of cycles and of cache misses.
    fn with_misses(
        rung: Rung,
        cpus: &[u32],
        counters: [Vec<OpenCounter>; 2],
        workers: &[&Worker],
    ) -> Result<Self> {
        let mut probe = load(rung, cpus, true, !counters[1].is_empty())?;
        let [cycles, misses] = counters
            .each_ref()
            .map(|of| -> Vec<_> { cpus.iter().copied().zip(of.iter().map(AsFd::as_fd)).collect() });
        probe.set_cycles(&cycles)?;
        probe.set_misses(&misses)?;
        for (who, worker) in (FIRST_TARGET..).zip(workers) {
            probe.adopt(worker.0.id(), who)?;
        }
        attach(&mut probe, cpus)?;
        Ok(Self { probe, ticks: Vec::new(), clock: Clock::start(), _counters: counters })
    }

    fn take(&mut self) {
        while let Some(event) = self.probe.next_event() {
            if let Event::Tick(tick) = event {
                self.ticks.push(*tick);
            }
        }
    }

    /// Until the last tick is one of these.
    fn until(&mut self, mut far: impl FnMut(&Tick) -> bool) -> Result<()> {
        let begin = self.clock.now();
        loop {
            std::thread::sleep(Duration::from_millis(10));
            self.take();
            if self.ticks.last().is_some_and(&mut far) {
                return Ok(());
            }
            if self.clock.now() - begin > MOST_NS {
                return Err("no such tick came".into());
            }
        }
    }

    /// Until that target has run for so long from now on.
    fn runs(&mut self, who: usize) -> Result<()> {
        self.until(|_| true)?;
        let from = self.ticks.last().map_or(0, |tick| tick.clock[who]);
        self.until(|tick| tick.clock[who] > from + RUN_NS)
    }

    fn last(&self) -> &Tick {
        self.ticks.last().expect("it ticks")
    }
}

fn load(rung: Rung, cpus: &[u32], cycles: bool, misses: bool) -> Result<Probe> {
    Ok(Probe::load(&Settings {
        rung,
        package_of: &vec![0; *cpus.iter().max().ok_or("no CPU")? as usize + 1],
        roots: &Roots::default(),
        slice_bytes: None,
        tick_hz: 1000,
        idle_divisor: 1,
        cores: false,
        siblings: &[],
        cycles,
        misses,
    })?)
}

fn attach(probe: &mut Probe, cpus: &[u32]) -> Result<()> {
    probe.attach_processes()?;
    probe.attach_clocks()?;
    probe.attach_resync(cpus)?;
    sweep(cpus)?;
    Ok(probe.attach_ticks(&[0])?)
}

fn cycles(tick: &Tick) -> &[u64; CONSUMERS] {
    tick.cycles.as_ref().expect("the probe was loaded for cycles, and every CPU's are read")
}

/// What a consumer's clock and its cycles have run between two ticks.
fn moved(begin: &Tick, end: &Tick, who: usize) -> (f64, f64) {
    let step = |of: fn(&Tick) -> &[u64; CONSUMERS]| of(end)[who] as f64 - of(begin)[who] as f64;
    (step(|tick| &tick.clock), step(cycles))
}

/// With nanoseconds for cycles: two targets on one CPU and then each on its own.
fn agree(rung: Rung) -> Result<()> {
    let Some((_alone, cpus)) = alone() else { return Ok(()) };
    let mut workers = [Worker::on(0, SPIN)?, Worker::on(0, SPIN)?];
    let counters = software(NANOSECONDS, &cpus)?;
    let mut run = Run::start(rung, &cpus, counters, &[&workers[0], &workers[1]])?;
    run.until(|tick| tick.cycles.is_some())?;
    let mut marks = vec![run.last().clone()];
    workers.iter_mut().for_each(Worker::go);
    run.runs(A)?;
    run.runs(B)?;
    marks.push(run.last().clone());
    workers[1].stay(1)?;
    run.runs(A)?;
    run.runs(B)?;
    marks.push(run.last().clone());
    drop(workers);
    assert_eq!(run.probe.lost()[Loss::Counter as usize], 0, "each is read on its own CPU");
    for pair in marks.windows(2) {
        for who in [A, B] {
            let (ns, count) = moved(&pair[0], &pair[1], who);
            assert!(ns > RUN_NS as f64 / 2.0, "{ns}");
            assert!((count / ns - 1.0).abs() < 0.01, "{count} of {ns} ns of consumer {who}");
        }
        // All that ran, the two among them, had all that was counted while somebody did.
        let all = (IDLE as usize + 1..CONSUMERS).map(|who| moved(&pair[0], &pair[1], who));
        let (ns, count) = all.fold((0.0, 0.0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        assert!((count / ns - 1.0).abs() < 0.01, "{count} of {ns} ns");
    }
    // While both were on one CPU they had no more than it.
    let length = (marks[1].t - marks[0].t) as f64;
    let both: f64 = [A, B].iter().map(|who| moved(&marks[0], &marks[1], *who).1).sum();
    assert!(both < 1.01 * length, "{both} of {length} ns");
    // Within a slice too: no tick shows a piece in progress as nothing, or as twice what it is.
    let first = run.ticks.iter().position(|tick| tick.cycles.is_some()).ok_or("no cycles")?;
    for tick in &run.ticks[first..] {
        for who in [A, B] {
            let (ns, count) = moved(&run.ticks[first], tick, who);
            assert!((ns - count).abs() < 10e6 + 0.01 * ns, "{count} of {ns} ns");
        }
    }
    Ok(())
}

#[test]
fn cycles_that_are_nanoseconds_agree_with_the_clocks_through_typed_hooks() -> Result<()> {
    agree(Rung::Best)
}

#[test]
fn cycles_that_are_nanoseconds_agree_with_the_clocks_through_raw_hooks() -> Result<()> {
    agree(Rung::Raw)
}

#[test]
fn each_cpu_is_read_by_its_own_counter_also_by_a_task_that_moves() -> Result<()> {
    let Some((_alone, cpus)) = alone() else { return Ok(()) };
    let Ok(stamps) = fs::read_to_string("/sys/bus/event_source/devices/msr/type") else {
        eprintln!("not run: needs the PMU msr");
        return Ok(());
    };
    let mut counters = software(NANOSECONDS, &cpus)?;
    counters[0] = counter(stamps.trim().parse()?, 0, 0)?;
    let mut worker = Worker::on(0, SPIN)?;
    let clock = Clock::start();
    let (begin, before) = (clock.now(), counters[0].read()?);
    std::thread::sleep(Duration::from_millis(200));
    let (end, after) = (clock.now(), counters[0].read()?);
    let rate = (after - before) as f64 / (end - begin) as f64;
    assert!(rate > 1.1, "{rate} time stamps a nanosecond: no machine is so slow");
    let mut run = Run::start(Rung::Best, &cpus, counters, &[&worker])?;
    run.until(|tick| tick.cycles.is_some())?;
    worker.go();
    // A first turn on each, so that both CPUs have been seen running.
    for (cpu, price) in [(0, rate), (1, 1.0), (0, rate), (1, 1.0)] {
        worker.stay(cpu)?;
        run.until(|_| true)?;
        let begin = run.last().clone();
        run.runs(A)?;
        let (ns, count) = moved(&begin, run.last(), A);
        // The piece in which it came may have begun at the other one's price.
        assert!((count / ns / price - 1.0).abs() < 0.02, "CPU {cpu}: {count} in {ns} ns");
    }
    Ok(())
}

/// Cache misses are read beside cycles, with page faults in their place.
fn misses(rung: Rung) -> Result<()> {
    let Some((_alone, cpus)) = alone() else { return Ok(()) };
    let mut workers = [Worker::on(0, FAULT)?, Worker::on(0, SPIN)?];
    let counters = [software(NANOSECONDS, &cpus)?, software(PAGE_FAULTS, &cpus)?];
    let mut run = Run::with_misses(rung, &cpus, counters, &[&workers[0], &workers[1]])?;
    run.until(|tick| tick.cycles.is_some() && tick.misses.is_some())?;
    let begin = run.last().clone();
    let before = workers[0].faults()?;
    workers.iter_mut().for_each(Worker::go);
    run.runs(A)?;
    run.runs(B)?;
    // Stopped at an instant, so that the kernel's own count of it is of that instant too.
    let pid = Pid::from_raw(workers[0].0.id().cast_signed()).ok_or("no process")?;
    rustix::process::kill_process(pid, rustix::process::Signal::STOP)?;
    std::thread::sleep(Duration::from_millis(100));
    let faults = (workers[0].faults()? - before) as f64;
    let now = run.clock.now();
    run.until(|tick| tick.t > now + LAG_NS)?;
    let missed = |who: usize| {
        let of = |tick: &Tick| tick.misses.as_ref().map(|of| of[who] as f64).ok_or("no misses");
        Ok::<_, Box<dyn Error>>(of(run.last())? - of(&begin)?)
    };
    let ((ns, count), faulted) = (moved(&begin, run.last(), A), missed(A)?);
    assert!((count / ns - 1.0).abs() < 0.02, "{count} of {ns} ns");
    assert!(ns > RUN_NS as f64 && faults > 1000.0, "{faults} page faults in {ns} ns");
    // Of a child that is not waited for yet the kernel's count lacks the faults.
    let near = 0.98 * faults..1.02 * faults + 500.0;
    assert!(near.contains(&faulted), "{faulted} of {faults} page faults");
    let ((ns, count), spun) = (moved(&begin, run.last(), B), missed(B)?);
    assert!((count / ns - 1.0).abs() < 0.02, "{count} of {ns} ns");
    assert!(ns > RUN_NS as f64 && spun < 0.02 * faults, "{spun} page faults in {ns} ns");
    Ok(())
}

#[test]
fn misses_follow_what_a_task_does_and_not_how_long_it_runs_through_typed_hooks() -> Result<()> {
    misses(Rung::Best)
}

#[test]
fn misses_follow_what_a_task_does_and_not_how_long_it_runs_through_raw_hooks() -> Result<()> {
    misses(Rung::Raw)
}

#[test]
fn a_cpu_whose_counter_cannot_be_read_has_no_cycles_and_not_none() -> Result<()> {
    let Some((_alone, cpus)) = alone() else { return Ok(()) };
    let mut worker = Worker::on(1, SPIN)?;
    let counters = software(NANOSECONDS, &cpus)?;
    let mut run = Run::start(Rung::Best, &cpus, counters, &[&worker])?;
    run.until(|tick| tick.cycles.is_some())?;
    worker.go();
    run.runs(A)?;
    assert!(run.ticks.iter().rev().take(20).all(|tick| tick.cycles.is_some()));
    assert!(run.ticks.iter().all(|tick| tick.misses.is_none()), "nobody asked for them");
    assert_eq!(run.probe.lost()[Loss::Counter as usize], 0);
    // CPU 0's in the place of CPU 1's: not to be read there.
    let wrong = counter(SOFTWARE, NANOSECONDS, 0)?;
    run.probe.set_cycles(&[(1, wrong.as_fd())])?;
    run.until(|tick| tick.cycles.is_none())?;
    let begin = run.last().t;
    run.until(|tick| tick.t > begin + 3 * LAG_NS)?;
    let unknown = |ticks: &[Tick]| ticks.iter().all(|tick| tick.cycles.is_none());
    let since: Vec<Tick> = run.ticks.iter().filter(|tick| tick.t > begin).cloned().collect();
    assert!(since.len() > 20 && unknown(&since), "{} ticks", since.len());
    assert!(run.probe.lost()[Loss::Counter as usize] > 0);
    // And a new one of its own.
    let right = counter(SOFTWARE, NANOSECONDS, 1)?;
    run.probe.set_cycles(&[(1, right.as_fd())])?;
    run.until(|tick| tick.cycles.is_some())?;
    // The piece in progress when it came was not known; the next tick may still be told of that.
    run.until(|_| true)?;
    run.until(|tick| tick.cycles.is_some())?;
    let begin = run.last().clone();
    run.runs(A)?;
    let (ns, count) = moved(&begin, run.last(), A);
    assert!((count / ns - 1.0).abs() < 0.01, "{count} of {ns} ns");
    // A counter that begins anew is never taken for one that went on.
    let anew = counter(SOFTWARE, NANOSECONDS, 1)?;
    let before = run.ticks.len();
    run.probe.set_cycles(&[(1, anew.as_fd())])?;
    let begin = run.last().t;
    run.until(|tick| tick.t > begin + 2 * LAG_NS)?;
    assert!(run.ticks[before..].iter().any(|tick| tick.cycles.is_none()));
    Ok(())
}

#[test]
fn counters_are_read_as_often_as_the_ticks_while_requests_are_in_flight() -> Result<()> {
    let Some((_alone, cpus)) = alone() else { return Ok(()) };
    let mut run = Run::start(Rung::Best, &cpus, software(NANOSECONDS, &cpus)?, &[])?;
    let mut runs = |requests| -> Result<u64> {
        run.probe.set_in_flight(requests)?;
        let of = |run: &Run| run.probe.costs()["resync_cycles"].runs;
        let before = of(&run);
        std::thread::sleep(Duration::from_millis(300));
        Ok(of(&run) - before)
    };
    let (slow, quick, again) = (runs(0)?, runs(3)?, runs(0)?);
    assert!(slow > 0 && quick > 10 * slow && again < 2 * slow + 10, "{slow}, {quick}, {again}");
    Ok(())
}

#[test]
fn nobody_reads_counters_at_switches_unless_asked_to() -> Result<()> {
    let Some((_alone, cpus)) = alone() else { return Ok(()) };
    for cycles in [false, true] {
        let mut probe = load(Rung::Best, &cpus, cycles, cycles)?;
        attach(&mut probe, &cpus)?;
        let loaded: Vec<String> =
            probe.verified().into_iter().map(|program| program.program).collect();
        let with: Vec<&str> =
            loaded.iter().map(String::as_str).filter(|name| name.contains("cycles")).collect();
        let all = ["cycles_switch", "resync_cycles", "tick_cycles"];
        assert_eq!(with, if cycles { all.as_slice() } else { &[] });
    }
    Ok(())
}

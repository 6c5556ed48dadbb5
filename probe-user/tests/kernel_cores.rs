//! Books and weights of cores with energy counters of their own, on the real kernel. In the place of such a
//! counter each CPU has another one that every x86 machine has: CPU 0 its time stamps, the others their
//! nanoseconds. So a core's power is known, constant, and not the same on all of them. Needs root and the
//! PMU `msr`; without them the tests say so and end.

use std::{
    error::Error,
    fs,
    os::fd::AsFd,
    process::{Child, Command, Stdio},
    time::Duration,
};

use probe_common::{CONSUMERS, FIRST_TARGET, IDLE, Loss, MAX_CPUS};
use rustix::{
    process::Pid,
    thread::{CpuSet, sched_setaffinity},
};
use wattprobe::{
    clock::Clock,
    event::{CoreBooks, Event, Tick},
    kernel::{CoreCounter, Probe, Rung, Settings, sweep},
    roots::Roots,
    source::{OpenCounter, PerfEvent},
    topology::Topology,
};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const A: u32 = FIRST_TARGET;
const B: u32 = FIRST_TARGET + 1;
/// Windows are this old when a tick takes a core's book, at most; some more for a slow machine.
const LAG_NS: f64 = 100e6;

fn load(rung: Rung, package_of: &[usize]) -> Result<Probe> {
    Ok(Probe::load(&Settings {
        rung,
        package_of,
        roots: &Roots::default(),
        slice_bytes: None,
        tick_hz: 1000,
        idle_divisor: 1,
        cores: true,
        siblings: &[],
        cycles: false,
        misses: false,
    })?)
}

/// The online CPUs; `None` where the tests cannot run.
fn cpus() -> Option<Vec<u32>> {
    let msr = fs::exists("/sys/bus/event_source/devices/msr/events/tsc").is_ok_and(|there| there);
    let cpus: Vec<u32> = Topology::read(&Roots::default()).ok()?.online().collect();
    if !rustix::process::geteuid().is_root() || !msr || cpus.len() < 2 {
        eprintln!("not run: needs root, the PMU msr and two CPUs");
        return None;
    }
    Some(cpus)
}

/// The counter that stands for a core's energy.
fn counter(cpu: u32) -> Result<OpenCounter> {
    let type_ = match cpu {
        0 => fs::read_to_string("/sys/bus/event_source/devices/msr/type")?.trim().parse()?,
        // PERF_TYPE_SOFTWARE, whose first is PERF_COUNT_SW_CPU_CLOCK.
        _ => 1,
    };
    let (pmu, event) = ("test".to_owned(), "test".to_owned());
    let event = PerfEvent { pmu, event, type_, config: [0; 4], cpu, package: 0, named: true };
    Ok(event.open()?)
}

/// Once it is told to, computes on one CPU until it is dropped.
struct Spinner(Child);

impl Spinner {
    fn on(cpu: u32) -> Result<Self> {
        let work = ["-c", "read go; while :; do :; done"];
        let spinner = Self(Command::new("sh").args(work).stdin(Stdio::piped()).spawn()?);
        let mut one = CpuSet::new();
        one.set(cpu as usize);
        sched_setaffinity(Pid::from_raw(spinner.0.id().cast_signed()), &one)?;
        Ok(spinner)
    }
}

impl Drop for Spinner {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What a run showed.
struct Seen {
    ticks: Vec<Tick>,
    /// Books of the cores of CPU 0 and CPU 1.
    books: [[u64; CONSUMERS]; 2],
    /// What they had counted while nobody ran, and when, once they knew what that is.
    learned: [u64; 2],
    first: u64,
    /// Time stamps a nanosecond.
    rate: f64,
    /// From before the first window to after the last, ns.
    longest: f64,
    /// From after the first to before the last.
    shortest: f64,
}

/// How long each target runs, on CPU; and how long it may take to, on a machine that is busy.
const RUN_NS: u64 = 400_000_000;
const MOST_NS: u64 = 30_000_000_000;
/// A machine with an idle core shows it in this time.
const BUSY_NS: u64 = 2_000_000_000;

fn book(probe: &Probe, cpu: u32) -> [u64; CONSUMERS] {
    probe.core_book(cpu).unwrap_or_default()
}

/// Waits until all of these numbers are others, but not longer than that.
fn moved(clock: &Clock, most_ns: u64, numbers: impl Fn() -> [u64; 2]) -> bool {
    let (begin, before) = (clock.now(), numbers());
    while numbers().iter().zip(before).any(|(now, before)| *now == before) {
        if clock.now() - begin > most_ns {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    true
}

/// Two targets, each on a CPU of its own; then they are gone.
fn observe(rung: Rung, cpus: &[u32]) -> Result<Seen> {
    let mut counters = cpus.iter().map(|cpu| counter(*cpu)).collect::<Result<Vec<_>>>()?;
    let mut probe = load(rung, &vec![0; *cpus.iter().max().ok_or("no CPU")? as usize + 1])?;
    let cores: Vec<CoreCounter<'_>> = counters
        .iter()
        .zip(cpus.chunks(1))
        .map(|(counter, cpus)| CoreCounter { key: cpus[0], cpus, fd: counter.as_fd() })
        .collect();
    probe.set_cores(&cores)?;
    let mut spinners = [Spinner::on(0)?, Spinner::on(1)?];
    probe.adopt(spinners[0].0.id(), A)?;
    probe.adopt(spinners[1].0.id(), B)?;
    let clock = Clock::start();
    let (begin, stamps) = (clock.now(), counters[0].read()?);
    probe.attach_clocks()?;
    probe.attach_cores(cpus)?;
    probe.attach_resync(cpus)?;
    sweep(cpus)?;
    probe.attach_ticks(&[0])?;
    // Every core has learned what it draws while nobody runs, unless the machine is so busy that nobody never does.
    moved(&clock, BUSY_NS, || [0, 1].map(|cpu| book(&probe, cpu)[IDLE as usize]));
    let (first, learned) = (clock.now(), [0, 1].map(|cpu| book(&probe, cpu)[IDLE as usize]));
    for spinner in &mut spinners {
        spinner.0.stdin.take();
    }
    let mut ticks = Vec::new();
    let ran = |tick: &Tick| [A, B].iter().all(|who| tick.clock[*who as usize] > RUN_NS);
    while !ticks.last().is_some_and(ran) && clock.now() - begin < MOST_NS {
        std::thread::sleep(Duration::from_millis(10));
        take_ticks(&mut probe, &mut ticks);
    }
    drop(spinners);
    std::thread::sleep(Duration::from_millis(200));
    let last = clock.now();
    // Every core closes a window after that instant.
    if !moved(&clock, MOST_NS, || [0, 1].map(|cpu| book(&probe, cpu).iter().sum())) {
        return Err("a core closes no window".into());
    }
    let (end, stamps) = (clock.now(), counters[0].read()? - stamps);
    let books = [0, 1].map(|cpu| book(&probe, cpu));
    take_ticks(&mut probe, &mut ticks);
    assert_eq!(probe.lost()[Loss::Counter as usize], 0, "every counter is read on its own CPU");
    let whole = (end - begin) as f64;
    let rate = stamps as f64 / whole;
    Ok(Seen { ticks, books, learned, first, rate, longest: whole, shortest: (last - first) as f64 })
}

fn take_ticks(probe: &mut Probe, ticks: &mut Vec<Tick>) {
    while let Some(event) = probe.next_event() {
        if let Event::Tick(tick) = event {
            ticks.push(*tick);
        }
    }
}

fn books(tick: &Tick) -> &CoreBooks {
    tick.cores.as_ref().expect("the probe was loaded for cores")
}

fn check(seen: &Seen) {
    let Seen { ticks, books: [zero, one], rate, longest, shortest, .. } = seen;
    // All that was counted is in the books.
    for (book, rate) in [(zero, *rate), (one, 1.0)] {
        let sum = book.iter().sum::<u64>() as f64 / rate;
        assert!((*shortest..*longest).contains(&sum), "{sum} not in {shortest}..{longest} ns");
    }
    // And as who ran: each target on its own core only, at that core's rate.
    let last = &ticks[ticks.len() - 1];
    let time = |who: u32| last.clock[who as usize] as f64;
    let counted = |book: &[u64; CONSUMERS], who: u32| book[who as usize] as f64;
    for (book, who, other, rate) in [(zero, A, B, *rate), (one, B, A, 1.0)] {
        assert!(time(who) > RUN_NS as f64, "it ran for {} ns", time(who));
        let ns = counted(book, who) / rate;
        assert!((ns - time(who)).abs() < 0.02 * time(who) + 2e6, "{ns} of {} ns", time(who));
        assert!(counted(book, other) == 0.0, "it was never there");
    }
    let idle = counted(zero, IDLE) / rate + counted(one, IDLE);
    assert!(idle <= time(IDLE) + LAG_NS, "{idle} of {} ns in which nobody ran", time(IDLE));
    // From when it is known what that is: not charged to who runs for a moment before or after.
    let since = ticks.iter().find(|tick| tick.t > seen.first).expect("it ticked on");
    let nobody = time(IDLE) - since.clock[IDLE as usize] as f64;
    let idle = idle - seen.learned[0] as f64 / rate - seen.learned[1] as f64;
    assert!(idle > 0.8 * nobody - 2.0 * LAG_NS, "{idle} of {nobody} ns in which nobody ran");
    // A tick's books lag by a window, its weights do not.
    let total = books(last).book.iter().sum::<u64>() as f64;
    let all: u64 = seen.books.iter().flatten().sum();
    assert!(all as f64 - total <= LAG_NS * (1.0 + rate) * 2.0, "{total} of {all}");
    let learned = |tick: &&Tick| [A, B].iter().all(|who| tick.clock[*who as usize] > RUN_NS / 4);
    let settled = ticks.iter().find(learned).expect("a tick");
    for (who, rate) in [(A, *rate), (B, 1.0)] {
        let k = who as usize;
        let ns = (last.clock[k] - settled.clock[k]) as f64;
        let weight = (books(last).weight[k] - books(settled).weight[k]) as f64;
        assert!((weight / ns / rate - 1.0).abs() < 0.02, "{weight} for {ns} ns at {rate}");
    }
    for pair in ticks.windows(2) {
        let (before, after) = (books(&pair[0]), books(&pair[1]));
        for k in 0..CONSUMERS {
            assert!(after.book[k] >= before.book[k] && after.weight[k] >= before.weight[k]);
            let ran = k != IDLE as usize && pair[1].clock[k] > pair[0].clock[k] + 100;
            assert!(!ran || after.weight[k] > before.weight[k], "who ran has a weight");
        }
    }
}

#[test]
fn each_cores_counter_is_charged_to_who_ran_there_through_typed_hooks() {
    let Some(cpus) = cpus() else { return };
    check(&observe(Rung::Best, &cpus).expect("the clocks run"));
}

#[test]
fn each_cores_counter_is_charged_to_who_ran_there_through_raw_hooks() {
    let Some(cpus) = cpus() else { return };
    check(&observe(Rung::Raw, &cpus).expect("the clocks run"));
}

#[test]
fn the_largest_machine_passes_the_verifier() {
    let Some(cpus) = cpus() else { return };
    let counter = counter(0).unwrap();
    let mut probe = load(Rung::Best, &vec![0; MAX_CPUS]).unwrap();
    let core = CoreCounter { key: 0, cpus: &[0], fd: counter.as_fd() };
    probe.set_cores(&[core]).unwrap();
    probe.attach_clocks().unwrap();
    probe.attach_cores(&[0]).unwrap();
    sweep(&cpus).unwrap();
    probe.attach_ticks(&[0]).unwrap();
    std::thread::sleep(Duration::from_millis(50));
    let mut ticks = 0;
    while let Some(event) = probe.next_event() {
        ticks += u32::from(matches!(event, Event::Tick(_)));
    }
    assert!(ticks > 0);
}

#[test]
fn a_core_of_more_threads_than_two_is_refused() {
    let Some(_) = cpus() else { return };
    let counter = counter(0).unwrap();
    let mut probe = load(Rung::Best, &[0; 4]).unwrap();
    let core = CoreCounter { key: 0, cpus: &[0, 1, 2], fd: counter.as_fd() };
    let error = probe.set_cores(&[core]).unwrap_err().to_string();
    assert!(error.contains("threads of one core"), "{error}");
}

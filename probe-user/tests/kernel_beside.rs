//! Time beside a busy sibling, on the real kernel. Any two CPUs can be made siblings, whatever the machine has: here they
//! are CPU 0 and CPU 1. Needs root and two CPUs; without them the tests say so and end.

use std::{
    error::Error,
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
    topology::Topology,
};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const A: usize = FIRST_TARGET as usize;
const B: usize = FIRST_TARGET as usize + 1;
/// How long a target runs, on CPU; and how long it may take to, on a machine that is busy.
const RUN_NS: u64 = 200_000_000;
const MOST_NS: u64 = 30_000_000_000;

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
    /// The first tick at which both targets could run.
    both: usize,
    torn: u64,
    cpus: u64,
}

/// The first target runs on CPU 0; then the second beside it on CPU 1.
fn observe(rung: Rung, siblings: &[(u32, u32)], cpus: &[u32]) -> Result<Seen> {
    let mut probe = Probe::load(&Settings {
        rung,
        package_of: &vec![0; *cpus.iter().max().ok_or("no CPU")? as usize + 1],
        roots: &Roots::default(),
        slice_bytes: None,
        tick_hz: 1000,
        idle_divisor: 1,
        cores: false,
        siblings,
        cycles: false,
        misses: false,
    })?;
    let mut spinners = [Spinner::on(0)?, Spinner::on(1)?];
    probe.adopt(spinners[0].0.id(), FIRST_TARGET)?;
    probe.adopt(spinners[1].0.id(), FIRST_TARGET + 1)?;
    probe.attach_clocks()?;
    probe.attach_resync(cpus)?;
    // Twice: only at the second switch of a CPU is the sibling's clock known.
    sweep(cpus)?;
    sweep(cpus)?;
    probe.attach_ticks(&[0])?;
    let clock = Clock::start();
    let mut seen = Seen { ticks: vec![], both: 0, torn: 0, cpus: cpus.len() as u64 };
    for k in [A, B] {
        spinners[k - A].0.stdin.take();
        let from = seen.ticks.last().map_or(0, |tick| tick.clock[A]);
        let far = |tick: &Tick| tick.clock[k] > RUN_NS && tick.clock[A] > from + RUN_NS;
        let begin = clock.now();
        while !seen.ticks.last().is_some_and(far) && clock.now() - begin < MOST_NS {
            std::thread::sleep(Duration::from_millis(10));
            while let Some(event) = probe.next_event() {
                if let Event::Tick(tick) = event {
                    seen.ticks.push(*tick);
                }
            }
        }
        if k == A {
            seen.both = seen.ticks.len();
        }
    }
    seen.torn = probe.lost()[Loss::Torn as usize];
    Ok(seen)
}

/// A run in which every sibling's clock could be read: of a slice that begins or ends with a torn one nothing is charged, and
/// one that nobody interrupts may be most of a run. Where a virtual CPU is taken away at the wrong moment again and again the
/// last run is taken.
fn observe_whole(rung: Rung, siblings: &[(u32, u32)], cpus: &[u32]) -> Result<Seen> {
    const TRIES: usize = 5;
    let mut seen = observe(rung, siblings, cpus)?;
    for _ in 1..TRIES {
        if seen.torn == 0 {
            break;
        }
        eprintln!("{} torn: once more", seen.torn);
        seen = observe(rung, siblings, cpus)?;
    }
    Ok(seen)
}

fn beside(tick: &Tick) -> &[u64; CONSUMERS] {
    tick.beside.as_ref().expect("the probe was loaded for siblings")
}

/// Sums of what moved between two ticks on a machine of two CPUs: not idle, and of it beside a sibling that was not.
fn moved(a: &Tick, b: &Tick) -> (u64, u64) {
    let all = |of: fn(&Tick) -> &[u64; CONSUMERS]| -> u64 {
        (0..CONSUMERS).filter(|k| *k != IDLE as usize).map(|k| of(b)[k] - of(a)[k]).sum()
    };
    (all(|tick| &tick.clock), all(beside))
}

fn check(seen: &Seen) {
    let Seen { ticks, both, torn, cpus } = seen;
    assert!(ticks.len() > 100, "{} ticks", ticks.len());
    assert!(torn * 20 <= ticks.len() as u64, "{torn} torn beside {} ticks", ticks.len());
    let mut backwards = 0;
    for pair in ticks.windows(2) {
        for k in 0..CONSUMERS {
            let (ns, by) =
                (pair[1].clock[k] - pair[0].clock[k], [beside(&pair[0])[k], beside(&pair[1])[k]]);
            let more = by[1].saturating_sub(by[0]);
            assert!(more <= ns + 5_000, "{more} ns beside a sibling of {ns} ns");
            backwards = backwards.max(by[0].saturating_sub(by[1]));
        }
    }
    // What was told of a slice in progress is taken back where its end is torn.
    assert!(backwards < 5_000 || *torn > 0, "{backwards} ns back");
    // Of a slice whose sibling's clock was torn nothing is known.
    let slack = 1_000_000 + 10_000_000 * torn;
    let (first, last) = (&ticks[0], &ticks[ticks.len() - 1]);
    if *cpus == 2 {
        // Both CPUs were busy for as long as neither was idle, and each of them was beside the other then.
        let time = 2 * (last.t - first.t);
        let (busy, beside) = moved(first, last);
        assert!(
            beside <= busy && beside + time + slack >= 2 * busy,
            "{beside} of {busy} of {time}"
        );
        // What is beside a busy sibling on the one CPU is so on the other: idle time beside a busy one is what is left.
        let idle = last.clock[IDLE as usize] - first.clock[IDLE as usize];
        let waiting = self::beside(last)[IDLE as usize] - self::beside(first)[IDLE as usize];
        let alone = busy - beside;
        assert!(waiting.abs_diff(alone) < slack && waiting <= idle, "{waiting} {alone} {idle}");
    }
    // While both ran, each for nearly all of its time beside something: the other target or whoever ran in its stead.
    let (begin, end) = (&ticks[*both], last);
    for k in [A, B] {
        let ran = end.clock[k] - begin.clock[k];
        let by = beside(end)[k] - beside(begin)[k];
        assert!(by * 10 > ran * 8, "{by} of {ran} ns");
    }
}

#[test]
fn time_beside_a_busy_sibling_is_the_overlap_through_typed_hooks() {
    let Some((_alone, cpus)) = alone() else { return };
    check(&observe_whole(Rung::Best, &[(0, 1)], &cpus).expect("the clocks run"));
}

#[test]
fn time_beside_a_busy_sibling_is_the_overlap_through_raw_hooks() {
    let Some((_alone, cpus)) = alone() else { return };
    check(&observe_whole(Rung::Raw, &[(0, 1)], &cpus).expect("the clocks run"));
}

#[test]
fn without_siblings_no_tick_tells_of_time_beside_one() {
    let Some((_alone, cpus)) = alone() else { return };
    let seen = observe(Rung::Best, &[], &cpus).expect("the clocks run");
    assert!(seen.ticks.len() > 100 && seen.ticks.iter().all(|tick| tick.beside.is_none()));
}

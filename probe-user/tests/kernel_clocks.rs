//! The clocks against the passing of time, on the real kernel, for both kinds of hooks. Needs root;
//! without it the tests say so and end.

use std::{
    error::Error,
    fs,
    process::{Command, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use probe_common::{CONSUMERS, FIRST_TARGET, IDLE, KERNEL, Loss, OTHER, SELF};
use wattprobe::{
    clock::Clock,
    event::{Event, Process, ProcessChange, Tick},
    kernel::{KernelError, Probe, Rung, Settings, alive, sweep},
    roots::Roots,
    target::Socket,
    topology::Topology,
};

/// What one run of the clocks showed.
struct Seen {
    ticks: Vec<Tick>,
    processes: Vec<Process>,
    /// On-CPU time in the host books, and when they were read.
    booked: u64,
    booked_at: u64,
    cpus: usize,
    /// Records lost.
    lost: u64,
    /// Ticks that found a slot torn.
    torn: u64,
}

fn load(rung: Rung, package_of: &[usize]) -> Result<Probe, KernelError> {
    Probe::load(&Settings {
        rung,
        package_of,
        roots: &Roots::default(),
        slice_bytes: None,
        tick_hz: 1000,
        // Every expiry: some hundred ticks, of which one in a hundred may be torn.
        idle_divisor: 1,
        cores: false,
        siblings: &[],
        cycles: false,
        misses: false,
    })
}

/// Loads the probe and follows processes and their time.
fn follow(rung: Rung) -> Result<Probe, Box<dyn Error>> {
    let cpus = Topology::read(&Roots::default())?.online().count();
    let mut probe = load(rung, &vec![0; cpus])?;
    probe.attach_processes()?;
    probe.attach_clocks()?;
    Ok(probe)
}

/// The process events so far.
fn processes(probe: &mut Probe) -> Vec<Process> {
    let mut events = Vec::new();
    while let Some(event) = probe.next_event() {
        if let Event::Process(process) = event {
            events.push(process);
        }
    }
    events
}

/// Some tens of milliseconds of a shell.
const LOOP: &str = "i=0; while [ $i -lt 30000 ]; do i=$((i+1)); done";

/// Computes for a time.
fn spin(time: Duration) {
    let clock = Clock::start();
    let begin = clock.now();
    while u128::from(clock.now() - begin) < time.as_nanos() {}
}

/// Runs the clocks beside children that come, work and go.
fn observe(rung: Rung) -> Result<Seen, Box<dyn Error>> {
    let cpus = Topology::read(&Roots::default())?.online().count();
    let package_of = vec![0; cpus];
    let all: Vec<u32> = (0..).take(cpus).collect();
    let mut probe = load(rung, &package_of)?;
    probe.attach_processes()?;
    let work = format!("read go; for i in 1 2 3; do sh -c '{LOOP}'; done");
    let mut parent = Command::new("sh").args(["-c", &work]).stdin(Stdio::piped()).spawn()?;
    probe.adopt(parent.id(), FIRST_TARGET)?;
    probe.attach_clocks()?;
    sweep(&all)?;
    probe.attach_ticks(&[0])?;
    // Closing its standard input lets it go; before that it has forked nothing.
    drop(parent.stdin.take());
    parent.wait()?;
    // Work of every other kind, by cause: a quiet machine does none of its own accord. A process that is
    // no target; this one; and the kernel thread that moves this one from CPU to CPU.
    Command::new("sh").args(["-c", LOOP]).status()?;
    spin(Duration::from_millis(5));
    for _ in 0..20 {
        sweep(&all)?;
    }
    std::thread::sleep(Duration::from_millis(100));
    sweep(&all)?;
    let host = probe.host();
    let booked = host.listed_ns + host.exited_ns + host.unlisted_ns;
    let booked_at = Clock::start().now();
    probe.wait(Duration::from_millis(50));
    let (mut ticks, mut processes) = (Vec::new(), Vec::new());
    while let Some(event) = probe.next_event() {
        match event {
            Event::Tick(tick) => ticks.push(*tick),
            Event::Process(process) => processes.push(process),
            Event::Io(io) => return Err(format!("nothing is watched, but {io:?}").into()),
        }
    }
    // A switch that the kernel did not report is no record that was lost; it moves time, and loses none.
    // Nor does a tick that found a clock torn: the next one takes its window too.
    let lost = probe.lost();
    let torn = lost[Loss::Torn as usize];
    let lost = lost.iter().sum::<u64>() - lost[Loss::Switch as usize] - torn;
    Ok(Seen { ticks, processes, booked, booked_at, cpus, lost, torn })
}

fn check(seen: &Seen) {
    let Seen { ticks, processes, booked, booked_at, cpus, lost, torn } = seen;
    assert_eq!(*lost, 0);
    assert!(ticks.len() > 50, "{} ticks", ticks.len());
    assert!(torn * 100 <= ticks.len() as u64, "{torn} torn beside {} ticks", ticks.len());
    for pair in ticks.windows(2) {
        let used: Vec<u64> = (0..CONSUMERS).map(|k| pair[1].clock[k] - pair[0].clock[k]).collect();
        let time = (pair[1].t - pair[0].t) * *cpus as u64;
        assert_eq!(used.iter().sum::<u64>(), time, "every nanosecond of every CPU is somebody's");
        // A torn tick has no number: those that are read are counted without a hole.
        assert_eq!(pair[1].number, pair[0].number + 1);
    }
    let last = &ticks[ticks.len() - 1].clock;
    assert!(last[FIRST_TARGET as usize] > 1_000_000, "the children worked");
    assert!(last[OTHER as usize] > 1_000_000, "a process that is no target worked: {last:?}");
    assert!(last[SELF as usize] > 1_000_000, "this process worked: {last:?}");
    assert!(last[KERNEL as usize] > 0, "this process was moved from CPU to CPU: {last:?}");
    // Host books hold closed slices of the same time, up to what ran between the two readings: where other processes keep
    // every CPU busy, that is all of it.
    let then =
        ticks.iter().rfind(|tick| tick.t <= *booked_at).expect("ticks before the books were read");
    let busy = then.clock.iter().sum::<u64>() - then.clock[IDLE as usize];
    let apart = busy.abs_diff(*booked);
    assert!(apart < busy / 20 + 30_000_000, "clocks {busy} ns, host books {booked} ns");
    let forks = processes.iter().filter(|p| matches!(p.change, ProcessChange::Fork(_))).count();
    let exits = processes.iter().filter(|p| p.change == ProcessChange::Exit).count();
    // Three loops; and the parent itself exits.
    assert_eq!((forks, exits), (3, 4), "{processes:?}");
    assert!(processes.iter().all(|p| p.who == FIRST_TARGET));
}

/// One probe at a time: each counts what the others make the machine do. `None` where none can run.
fn alone() -> Option<MutexGuard<'static, ()>> {
    static ONE: Mutex<()> = Mutex::new(());
    if !rustix::process::geteuid().is_root() {
        eprintln!("not run: only root may read tracefs and load programs");
        return None;
    }
    Some(ONE.lock().unwrap_or_else(PoisonError::into_inner))
}

#[test]
fn every_nanosecond_of_every_cpu_is_booked_through_typed_hooks() {
    let Some(_alone) = alone() else { return };
    check(&observe(Rung::Best).expect("the clocks run"));
}

#[test]
fn every_nanosecond_of_every_cpu_is_booked_through_raw_hooks() {
    let Some(_alone) = alone() else { return };
    check(&observe(Rung::Raw).expect("the clocks run"));
}

#[test]
fn a_dead_process_is_not_adopted_neither_as_a_zombie_nor_afterwards() {
    let Some(_alone) = alone() else { return };
    for known in [true, false] {
        let mut probe = follow(Rung::Best).unwrap();
        let mut child = Command::new("sh").args(["-c", "read go"]).stdin(Stdio::piped()).spawn();
        let child = child.as_mut().unwrap();
        if known {
            assert!(probe.adopt(child.id(), FIRST_TARGET).unwrap(), "it runs");
        }
        drop(child.stdin.take());
        while alive(child.id(), &Roots::default()) {
            std::thread::sleep(Duration::from_millis(1));
        }
        for _ in 0..2 {
            assert!(!probe.adopt(child.id(), FIRST_TARGET).unwrap(), "it is a zombie");
        }
        child.wait().unwrap();
        assert!(!probe.adopt(child.id(), FIRST_TARGET).unwrap(), "it is gone");
        // Spawning may return before the exec is reported.
        let mut events = processes(&mut probe);
        events.retain(|event| event.change != ProcessChange::Exec);
        let told: Vec<_> = events.iter().map(|event| (event.tgid, event.change)).collect();
        assert_eq!(told, if known { vec![(child.id(), ProcessChange::Exit)] } else { vec![] });
    }
}

/// Starts programs until one has the wanted process number.
fn take_number(number: u32) -> Result<std::process::Child, Box<dyn Error>> {
    for _ in 0..1000 {
        fs::write("/proc/sys/kernel/ns_last_pid", (number - 1).to_string())?;
        let mut child = Command::new("sh").args(["-c", "read go"]).stdin(Stdio::piped()).spawn()?;
        if child.id() == number {
            return Ok(child);
        }
        drop(child.stdin.take());
        child.wait()?;
    }
    Err("the number never came: others start processes all the time".into())
}

/// The events of a process that got the number of a target's, whose exit nobody saw.
fn reuse_a_number(rung: Rung) -> Result<Vec<Process>, Box<dyn Error>> {
    let cpus = Topology::read(&Roots::default())?.online().count();
    let mut probe = load(rung, &vec![0; cpus])?;
    // Adopted and ended before exits are followed: the entry is left behind.
    let mut ghost = Command::new("sleep").arg("30").spawn()?;
    assert!(probe.adopt(ghost.id(), FIRST_TARGET)?);
    ghost.kill()?;
    ghost.wait()?;
    probe.attach_processes()?;
    probe.attach_clocks()?;
    let mut stranger = take_number(ghost.id())?;
    drop(stranger.stdin.take());
    stranger.wait()?;
    Ok(processes(&mut probe))
}

#[test]
fn a_process_with_a_dead_targets_number_is_a_stranger_through_typed_hooks() {
    let Some(_alone) = alone() else { return };
    assert_eq!(reuse_a_number(Rung::Best).unwrap().len(), 0, "its exec and exit are nobody's");
}

#[test]
fn a_process_with_a_dead_targets_number_is_a_stranger_through_raw_hooks() {
    let Some(_alone) = alone() else { return };
    assert_eq!(reuse_a_number(Rung::Raw).unwrap().len(), 0, "its exec and exit are nobody's");
}

#[test]
fn a_target_that_starts_a_thread_stays_a_target() {
    let Some(_alone) = alone() else { return };
    const WHO: u32 = FIRST_TARGET + 1;
    let mut probe = follow(Rung::Best).unwrap();
    assert!(probe.adopt(std::process::id(), WHO).unwrap());
    std::thread::spawn(|| spin(Duration::from_millis(100))).join().unwrap();
    Command::new("true").status().unwrap();
    let events = processes(&mut probe);
    let fork = |p: &&Process| p.tgid == std::process::id() && p.who == WHO;
    assert!(events.iter().any(|p| fork(&p) && matches!(p.change, ProcessChange::Fork(_))));
    sweep(&[0]).unwrap();
    probe.attach_ticks(&[0]).unwrap();
    std::thread::sleep(Duration::from_millis(50));
    let mut last = 0;
    while let Some(event) = probe.next_event() {
        if let Event::Tick(tick) = event {
            last = tick.clock[WHO as usize];
        }
    }
    assert!(last > 20_000_000, "{last} ns of a thread that computed for 100 ms");
}

#[test]
fn a_connection_is_watched_once_and_a_full_table_is_an_error() {
    let Some(_alone) = alone() else { return };
    const ROOM: i32 = 65_536;
    let mut probe = load(Rung::Best, &[0]).unwrap();
    let socket = |fd| Socket { tgid: 7, fd, inode: 0 };
    let first = probe.watch(&socket(0), FIRST_TARGET).unwrap();
    assert!(first.is_some());
    assert_eq!(probe.watch(&socket(0), FIRST_TARGET).unwrap(), None);
    for fd in 1..ROOM {
        assert!(probe.watch(&socket(fd), FIRST_TARGET).unwrap().is_some());
    }
    assert!(probe.watch(&socket(ROOM), FIRST_TARGET).is_err());
    probe.unwatch_process(7);
    assert!(
        probe.watch(&socket(ROOM), FIRST_TARGET).unwrap().is_some_and(|conn| Some(conn) != first)
    );
}

//! The clocks against the passing of time, on the real kernel, for both kinds of hooks. Needs root;
//! without it the tests say so and end.

use std::{
    error::Error,
    path::Path,
    process::{Command, Stdio},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use probe_common::{CONSUMERS, FIRST_TARGET, IDLE, KERNEL, Loss, OTHER, SELF};
use wattprobe::{
    event::{Event, Process, ProcessChange, Tick},
    kernel::{Probe, Rung, Settings, sweep},
    roots::Roots,
    topology::Topology,
};

/// What one run of the clocks showed.
struct Seen {
    ticks: Vec<Tick>,
    processes: Vec<Process>,
    /// On-CPU time in the host books.
    booked: u64,
    cpus: usize,
    /// Records lost.
    lost: u64,
    /// Ticks that found a slot torn.
    torn: u64,
}

/// Runs the clocks beside children that come, work and go.
fn observe(rung: Rung) -> Result<Seen, Box<dyn Error>> {
    let cpus = Topology::read(&Roots::default())?.online().count();
    let package_of = vec![0; cpus];
    let all: Vec<usize> = (0..cpus).collect();
    let mut probe = Probe::load(&Settings {
        rung,
        package_of: &package_of,
        btf: Path::new("/sys/kernel/btf/vmlinux"),
        slice_bytes: None,
        tick_hz: 1000,
        // Every expiry: some hundred ticks, of which one in a hundred may be torn.
        idle_divisor: 1,
    })?;
    probe.attach_processes()?;
    let work = "read go; for i in 1 2 3; do sh -c 'i=0; while [ $i -lt 30000 ]; do i=$((i+1)); done'; done";
    let mut parent = Command::new("sh").args(["-c", work]).stdin(Stdio::piped()).spawn()?;
    probe.adopt(parent.id(), FIRST_TARGET)?;
    probe.attach_clocks()?;
    sweep(&all)?;
    probe.attach_ticks(&[0])?;
    // Closing its standard input lets it go; before that it has forked nothing.
    drop(parent.stdin.take());
    parent.wait()?;
    std::thread::sleep(Duration::from_millis(100));
    sweep(&all)?;
    let host = probe.host();
    let booked = host.listed_ns + host.exited_ns + host.unlisted_ns;
    probe.wait(Duration::from_millis(50));
    let (mut ticks, mut processes) = (Vec::new(), Vec::new());
    while let Some(event) = probe.next_event() {
        match event {
            Event::Tick(tick) => ticks.push(tick),
            Event::Process(process) => processes.push(process),
            Event::Io(io) => return Err(format!("nothing is watched, but {io:?}").into()),
        }
    }
    // A switch that the kernel did not report is no record that was lost; it moves time, and loses none.
    // Nor does a tick that found a clock torn: the next one takes its window too.
    let lost = probe.lost();
    let torn = lost[Loss::Torn as usize];
    let lost = lost.iter().sum::<u64>() - lost[Loss::Switch as usize] - torn;
    Ok(Seen { ticks, processes, booked, cpus, lost, torn })
}

fn check(seen: &Seen) {
    let Seen { ticks, processes, booked, cpus, lost, torn } = seen;
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
    assert!(last[OTHER as usize] > 0 && last[SELF as usize] > 0 && last[KERNEL as usize] > 0);
    // Host books hold closed slices of the same time, up to what ran between the two readings.
    let busy = last.iter().sum::<u64>() - last[IDLE as usize];
    let apart = busy.abs_diff(*booked);
    assert!(apart < busy / 20 + 30_000_000, "clocks {busy} ns, host books {booked} ns");
    let forks = processes.iter().filter(|p| matches!(p.change, ProcessChange::Fork(_))).count();
    let exits = processes.iter().filter(|p| p.change == ProcessChange::Exit).count();
    // Three loops; and the parent itself exits.
    assert_eq!((forks, exits), (3, 4), "{processes:?}");
    assert!(processes.iter().all(|p| p.who == FIRST_TARGET));
}

fn run(rung: Rung) {
    if !rustix::process::geteuid().is_root() {
        eprintln!("not run: only root may read tracefs and load programs");
        return;
    }
    // One probe at a time: each counts what the other makes the machine do.
    static ONE: Mutex<()> = Mutex::new(());
    let _alone = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    check(&observe(rung).expect("the clocks run"));
}

#[test]
fn every_nanosecond_of_every_cpu_is_booked_through_typed_hooks() {
    run(Rung::Best);
}

#[test]
fn every_nanosecond_of_every_cpu_is_booked_through_raw_hooks() {
    run(Rung::Raw);
}

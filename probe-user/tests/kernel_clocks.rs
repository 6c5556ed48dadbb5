//! The clocks against the passing of time, on the real kernel, for both kinds of hooks. Needs root.

use std::{
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use probe_common::{CONSUMERS, FIRST_TARGET, IDLE, KERNEL, OTHER, SELF};
use wattprobe::{
    event::{Event, Process, ProcessChange, Tick},
    kernel::{Probe, Rung, Settings, sweep},
    roots::Roots,
    topology::Topology,
};

/// Runs the clocks for half a second beside children that come, work and go; returns ticks, process
/// events and the on-CPU time in the host books.
fn observe(rung: Rung) -> (Vec<Tick>, Vec<Process>, u64, usize) {
    let cpus = Topology::read(&Roots::default()).unwrap().cpus();
    let package_of = vec![0; cpus];
    let all: Vec<usize> = (0..cpus).collect();
    let mut probe = Probe::load(&Settings {
        rung,
        package_of: &package_of,
        btf: Path::new("/sys/kernel/btf/vmlinux"),
        slice_bytes: None,
        tick_hz: 1000,
        idle_divisor: 10,
    })
    .unwrap();
    probe.attach_processes().unwrap();
    let mut parent = Command::new("sh")
        .args(["-c", "read go; for i in 1 2 3; do sh -c 'i=0; while [ $i -lt 30000 ]; do i=$((i+1)); done'; done"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    probe.adopt(parent.id(), FIRST_TARGET).unwrap();
    probe.attach_clocks().unwrap();
    sweep(&all).unwrap();
    probe.attach_ticks(&[0]).unwrap();
    // Closing its standard input lets it go; before that it has forked nothing.
    drop(parent.stdin.take());
    parent.wait().unwrap();
    std::thread::sleep(Duration::from_millis(100));
    sweep(&all).unwrap();
    let host = probe.host();
    probe.wait(Duration::from_millis(50));
    let (mut ticks, mut processes) = (Vec::new(), Vec::new());
    while let Some(event) = probe.next_event() {
        match event {
            Event::Tick(tick) => ticks.push(tick),
            Event::Process(process) => processes.push(process),
            Event::Io(io) => panic!("nothing is watched, but {io:?}"),
        }
    }
    assert_eq!(probe.lost().iter().sum::<u64>(), 0);
    (ticks, processes, host.listed_ns + host.exited_ns + host.unlisted_ns, cpus)
}

fn check(rung: Rung) {
    let (ticks, processes, booked, cpus) = observe(rung);
    assert!(ticks.len() > 20, "{} ticks", ticks.len());
    for pair in ticks.windows(2) {
        let used: Vec<u64> = (0..CONSUMERS).map(|k| pair[1].clock[k] - pair[0].clock[k]).collect();
        let time = (pair[1].t - pair[0].t) * cpus as u64;
        assert_eq!(used.iter().sum::<u64>(), time, "every nanosecond of every CPU is somebody's");
        assert_eq!(pair[1].number, pair[0].number + 1);
    }
    let last = &ticks[ticks.len() - 1].clock;
    assert!(last[FIRST_TARGET as usize] > 1_000_000, "the children worked");
    assert!(last[OTHER as usize] > 0 && last[SELF as usize] > 0 && last[KERNEL as usize] > 0);
    // Host books hold closed slices of the same time, up to what ran between the two readings.
    let busy = last.iter().sum::<u64>() - last[IDLE as usize];
    let apart = busy.abs_diff(booked);
    assert!(apart < busy / 20 + 30_000_000, "clocks {busy} ns, host books {booked} ns");
    let forks = processes.iter().filter(|p| matches!(p.change, ProcessChange::Fork(_))).count();
    let exits = processes.iter().filter(|p| p.change == ProcessChange::Exit).count();
    // Three loops; and the parent itself exits.
    assert_eq!((forks, exits), (3, 4), "{processes:?}");
    assert!(processes.iter().all(|p| p.who == FIRST_TARGET));
}

#[test]
fn every_nanosecond_of_every_cpu_is_booked_through_typed_hooks() {
    check(Rung::Best);
}

#[test]
fn every_nanosecond_of_every_cpu_is_booked_through_raw_hooks() {
    check(Rung::Raw);
}

//! A tick reads as many counters as a package can have, however few CPUs the machine has. Needs root and
//! the PMU `msr`; where either is missing the test says so and ends.

use std::os::fd::AsFd;
use std::time::Duration;

use probe_common::MAX_COUNTERS;
use wattprobe::clock::Clock;
use wattprobe::event::{Event, Tick};
use wattprobe::kernel::{KernelCounter, Probe, Rung, Settings};
use wattprobe::roots::Roots;
use wattprobe::source::{PerfEvent, Reading, SourceSpec, select};
use wattprobe::topology::Topology;

/// The PMU's time stamps as an energy counter, and a probe that nothing is attached to.
fn prepare() -> Option<(PerfEvent, Probe)> {
    let roots = Roots::default();
    if !rustix::process::geteuid().is_root() || !roots.sys("bus/event_source/devices/msr").exists()
    {
        eprintln!("not run: needs root and the PMU msr");
        return None;
    }
    let topology = Topology::read(&roots).expect("sysfs is mounted");
    let spec: SourceSpec = "perf:msr/tsc/,scale=1e-9".parse().expect("a source");
    let selection = select(&roots, &topology, &[spec]).expect("root may open it");
    let Reading::Kernel(event) = &selection.domains[0].reading else { panic!("a perf event") };
    let probe = Probe::load(&Settings {
        rung: Rung::Best,
        package_of: &vec![0; topology.online().max().map_or(1, |cpu| cpu as usize + 1)],
        roots: &roots,
        slice_bytes: None,
        tick_hz: 1000,
        idle_divisor: 1,
        cores: false,
        siblings: &[],
        cycles: false,
        misses: false,
    })
    .expect("root may load it");
    Some((event.clone(), probe))
}

#[test]
fn a_counter_that_is_opened_anew_puts_no_jump_into_the_kernels_books() {
    let Some((event, mut probe)) = prepare() else { return };
    let package = event.package;
    let first = event.open().expect("opened before");
    let counter = |fd| KernelCounter { package, slot: 0, fd };
    probe.set_counters(&[counter(first.as_fd())]).expect("there is a place");
    probe.attach_processes().expect("root may attach");
    probe.attach_clocks().expect("root may attach");
    probe.attach_ticks(&[event.cpu]).expect("root may attach");
    let mut ticks = ticks_while_busy(&mut probe);
    // The new event begins at 0, below what the last tick read.
    let second = event.open().expect("opened before");
    let moved = probe.move_tick(Some(event.cpu), event.cpu, &[counter(second.as_fd())]);
    moved.expect("root may attach");
    ticks.extend(ticks_while_busy(&mut probe));
    let counts: Vec<u64> = ticks.iter().map(|t| t.counter[0].expect("it is read")).collect();
    let back = counts.windows(2).filter(|pair| pair[1] < pair[0]).count();
    assert_eq!(back, 1, "the counter went back once: {counts:?}");
    let books = probe.books(package, 0).expect("there are books");
    let charged: u128 = books.charged.iter().map(|units| u128::from(*units)).sum();
    // All there was to charge: what both events have counted.
    drop(probe);
    let (mut first, mut second) = (first, second);
    let most = u128::from(first.read().expect("open")) + u128::from(second.read().expect("open"));
    assert!(charged > 0, "somebody ran");
    assert!(charged <= most, "{charged} of {most}");
}

/// The ticks of a time in which this thread computes.
fn ticks_while_busy(probe: &mut Probe) -> Vec<Tick> {
    let clock = Clock::start();
    let begin = clock.now();
    let mut ticks = Vec::new();
    while clock.now() - begin < 100_000_000
        || (ticks.len() < 20 && clock.now() - begin < 20_000_000_000)
    {
        while let Some(event) = probe.next_event() {
            if let Event::Tick(tick) = event {
                ticks.push(*tick);
            }
        }
    }
    assert!(ticks.len() >= 20, "{} ticks came within 20 s", ticks.len());
    ticks
}

#[test]
fn every_place_of_a_package_can_hold_a_counter_and_is_read_at_every_tick() {
    let Some((event, mut probe)) = prepare() else { return };
    let open: Vec<_> = (0..MAX_COUNTERS).map(|_| event.open().expect("opened before")).collect();
    let counters: Vec<_> = open
        .iter()
        .enumerate()
        .map(|(slot, fd)| KernelCounter { package: event.package, slot, fd: fd.as_fd() })
        .collect();
    probe.set_counters(&counters).expect("there is a place for each");
    probe.attach_processes().expect("root may attach");
    probe.attach_clocks().expect("root may attach");
    probe.attach_ticks(&[event.cpu]).expect("root may attach");
    let ticks = two_ticks(&mut probe);
    for slot in 0..MAX_COUNTERS {
        let (first, second) = (ticks[0].counter[slot], ticks[1].counter[slot]);
        let (Some(first), Some(second)) = (first, second) else {
            panic!("counter {slot} was not read: {first:?}, {second:?}")
        };
        assert!(second > first, "counter {slot}: {first}, {second}");
    }
}

fn two_ticks(probe: &mut Probe) -> Vec<Tick> {
    let clock = Clock::start();
    let begin = clock.now();
    let mut ticks = Vec::new();
    while ticks.len() < 2 && clock.now() - begin < 20_000_000_000 {
        probe.wait(Duration::from_millis(20));
        while let Some(event) = probe.next_event() {
            if let Event::Tick(tick) = event {
                ticks.push(*tick);
            }
        }
    }
    assert!(ticks.len() >= 2, "no tick came within 20 s");
    ticks
}

//! A tick reads as many counters as a package can have, however few CPUs the machine has. Needs root and
//! the PMU `msr`; where either is missing the test says so and ends.

use std::os::fd::AsFd;
use std::time::Duration;

use probe_common::MAX_COUNTERS;
use wattprobe::clock::Clock;
use wattprobe::event::{Event, Tick};
use wattprobe::kernel::{KernelCounter, Probe, Rung, Settings};
use wattprobe::roots::Roots;
use wattprobe::source::{Reading, SourceSpec, select};
use wattprobe::topology::Topology;

#[test]
fn every_place_of_a_package_can_hold_a_counter_and_is_read_at_every_tick() {
    let roots = Roots::default();
    if !rustix::process::geteuid().is_root() || !roots.sys("bus/event_source/devices/msr").exists()
    {
        eprintln!("not run: needs root and the PMU msr");
        return;
    }
    let topology = Topology::read(&roots).expect("sysfs is mounted");
    let spec: SourceSpec = "perf:msr/tsc/,scale=1e-9".parse().expect("a source");
    let selection = select(&roots, &topology, &[spec]).expect("root may open it");
    let Reading::Kernel(event) = &selection.domains[0].reading else { panic!("a perf event") };
    let open: Vec<_> = (0..MAX_COUNTERS).map(|_| event.open().expect("opened before")).collect();
    let counters: Vec<_> = open
        .iter()
        .enumerate()
        .map(|(slot, fd)| KernelCounter { package: event.package, slot, fd: fd.as_fd() })
        .collect();
    let mut probe = Probe::load(&Settings {
        rung: Rung::Best,
        package_of: &vec![0; topology.online().max().map_or(1, |cpu| cpu as usize + 1)],
        roots: &roots,
        slice_bytes: None,
        tick_hz: 1000,
        idle_divisor: 1,
        cores: false,
    })
    .expect("root may load it");
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
                ticks.push(tick);
            }
        }
    }
    assert!(ticks.len() >= 2, "no tick came within 20 s");
    ticks
}

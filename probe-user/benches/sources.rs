//! What each source costs: `cargo xtask bench sources`.
//!
//! A source that user space reads is read over and over and the median taken, through the very sensor
//! that the probe opens; a counter that the kernel reads costs what a tick takes longer with it than
//! without. The CPU share is that of one core, at the pace of a run with a request in flight. A source
//! that this machine lacks is measured on a stand-in, and the table says so: files in a directory cost no
//! register read and no interrupt of another CPU, so a stand-in is a lower bound.

use std::os::fd::AsFd;
use std::time::Duration;

use nvml_stub::{Gpu, Script};
use probe_lab::fakeroot::FakeRoot;
use wattprobe::clock::Clock;
use wattprobe::engine::setup::{POLL_NS, TICK_HZ};
use wattprobe::kernel::{KernelCounter, Probe, Rung, Settings};
use wattprobe::roots::Roots;
use wattprobe::source::{
    Domain, Pace, PerfEvent, Polled, Reading, Selection, Sensor, SourceSpec, select,
};
use wattprobe::topology::{Package, Topology};

/// The sources that user space reads.
const POLLED: [&str; 4] = ["rapl-powercap", "hwmon", "battery", "nvml"];
/// Reads of a quick sensor; a slow one is read for at most [`LONGEST_NS`].
const READS: usize = 5_000;
const LONGEST_NS: u64 = 2_000_000_000;
/// How long ticks are counted for each number of counters.
const TICKING: Duration = Duration::from_millis(1_500);

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> Result<()> {
    let clock = Clock::start();
    println!("a read: the median of {READS}, or of what can be read in 2 s");
    println!(
        "{:<16} {:<14} {:<24} {:>10} {:>9} {:>10}",
        "source", "domain", "read from", "us a read", "reads/s", "% of core"
    );
    let real = Roots::default();
    let mut seen = Vec::new();
    for source in POLLED {
        measure(source, &real, "this machine", clock, &mut seen);
    }
    let dir = tempfile::tempdir()?;
    let root = FakeRoot::new(dir.path());
    root.cpus(&[0, 0])?;
    root.zone("intel-rapl:0", "package-0", 5)?;
    root.hwmon(0, "power_meter", "ACPI000D:00", &[("power1_average", "90000000")])?;
    root.hwmon(1, "i915", "0000:03:00.0", &[("energy1_input", "7")])?;
    root.power_supply("BAT0", "Battery", &[("status", "Discharging"), ("power_now", "9000000")])?;
    let library = nvml_stub::install(dir.path(), &Script::of(vec![Gpu::steady(250.0, 25.0)]), &[])?;
    let fake =
        Roots { sysfs: root.sysfs(), procfs: root.procfs(), nvml: Some(library.library.clone()) };
    for source in POLLED {
        if !seen.contains(&source) {
            measure(source, &fake, "a stand-in", clock, &mut seen);
        }
    }
    kernel(&real)
}

/// Every domain of a source that user space reads, if it is there.
fn measure<'a>(source: &'a str, roots: &Roots, whose: &str, clock: Clock, seen: &mut Vec<&'a str>) {
    let Some(selection) = selection(source, roots) else { return };
    for Domain { name, source: label, reading, .. } in &selection.domains {
        let Reading::Polled(polled) = reading else { continue };
        match polled.open() {
            Ok(mut sensor) => {
                line(label, name, whose, median_us(sensor.as_mut(), clock), pace(polled));
                seen.push(source);
            }
            Err(error) => println!("{label:<16} {name:<14} {error}"),
        }
    }
}

fn selection(source: &str, roots: &Roots) -> Option<Selection> {
    let topology = Topology::read(roots).ok()?;
    select(roots, &topology, &[source.parse::<SourceSpec>().ok()?]).ok()
}

/// Reads a second.
fn pace(polled: &Polled) -> f64 {
    match polled.pace() {
        Pace::Loop => 1e9 / POLL_NS as f64,
        Pace::Thread { every_ns, .. } => 1e9 / every_ns as f64,
    }
}

fn median_us(sensor: &mut dyn Sensor, clock: Clock) -> f64 {
    let begin = clock.now();
    let mut took = Vec::with_capacity(READS);
    while took.len() < READS && clock.now() - begin < LONGEST_NS {
        let before = clock.now();
        let read = sensor.read(&|| clock.now());
        took.push(clock.now() - before);
        drop(read);
    }
    took.sort_unstable();
    took.get(took.len() / 2).map_or(f64::NAN, |ns| *ns as f64 / 1e3)
}

fn line(source: &str, domain: &str, whose: &str, us: f64, per_second: f64) {
    let share = us * per_second / 1e4;
    println!("{source:<16} {domain:<14} {whose:<24} {us:>10.2} {per_second:>9.0} {share:>10.4}");
}

/// A counter that the tick reads, and the tick itself.
fn kernel(roots: &Roots) -> Result<()> {
    let topology = Topology::read(roots)?;
    let ticks = f64::from(TICK_HZ);
    let bare = tick_ns(roots, &topology, &[])? / 1e3;
    line("tick", "clocks only", "this machine", bare, ticks);
    for (source, whose) in [("rapl-perf", "this machine"), ("perf:msr/tsc/,scale=1e-9", "msr/tsc")]
    {
        let Some(selection) = selection(source, roots) else { continue };
        let event = |d: &Domain| match &d.reading {
            Reading::Kernel(event) if event.package == 0 => Some(event.clone()),
            _ => None,
        };
        let Some(event) = selection.domains.iter().find_map(event) else { continue };
        let with = tick_ns(roots, &topology, &vec![event; COUNTERS])? / 1e3;
        line("rapl-perf", "one counter", whose, (with - bare) / COUNTERS as f64, ticks);
        return Ok(());
    }
    println!("rapl-perf        no perf counter can be opened here");
    Ok(())
}

/// Counters a tick reads in this measurement: as many as it can, so that one's cost stands out.
const COUNTERS: usize = probe_common::MAX_COUNTERS;

/// Mean time of a tick that reads these counters, ns.
fn tick_ns(roots: &Roots, topology: &Topology, events: &[PerfEvent]) -> Result<f64> {
    let package_of = wattprobe::engine::setup::package_of(topology);
    let mut probe = Probe::load(&Settings {
        rung: Rung::Best,
        package_of: &package_of,
        roots,
        slice_bytes: None,
        tick_hz: TICK_HZ,
        idle_divisor: 1,
        cores: false,
        siblings: &[],
        cycles: false,
        misses: false,
    })?;
    let open = events.iter().map(PerfEvent::open).collect::<std::result::Result<Vec<_>, _>>()?;
    let counters: Vec<KernelCounter<'_>> = open
        .iter()
        .enumerate()
        .map(|(slot, counter)| KernelCounter { package: 0, slot, fd: counter.as_fd() })
        .collect();
    probe.set_counters(&counters)?;
    probe.attach_processes()?;
    probe.attach_clocks()?;
    let leaders: Vec<u32> = topology.packages.iter().map(Package::leader).collect();
    probe.attach_ticks(&leaders)?;
    let end = Clock::start().now() + u64::try_from(TICKING.as_nanos())?;
    while Clock::start().now() < end {
        probe.wait(Duration::from_millis(20));
        while probe.next_event().is_some() {}
    }
    let cost = probe.costs().remove("tick").ok_or("the tick is not timed: CAP_SYS_ADMIN")?;
    if cost.runs == 0 {
        return Err("no tick ran".into());
    }
    Ok(cost.ns as f64 / cost.runs as f64)
}

//! What the running kernel's verifier makes of the committed object, through both kinds of hooks, with
//! and without energy counters of single cores, siblings and cycles, on both boundary rungs, as on this machine and, through the first kind, as on the
//! largest one that the object covers (`tp_btf/256`): one line of JSON per program. The truth machine runs
//! it on every kernel; needs root.

use std::collections::BTreeSet;
use std::error::Error;
use std::os::fd::AsFd;

use probe_common::MAX_CPUS;
use serde_json::json;
use wattprobe::{
    kernel::{BoundaryRung, CoreCounter, Probe, Rung, Settings},
    roots::Roots,
    source::PerfEvent,
    topology::Topology,
};

fn main() -> Result<(), Box<dyn Error>> {
    let roots = Roots::default();
    let cpus: Vec<u32> = Topology::read(&roots)?.online().collect();
    let highest = cpus.iter().max().ok_or("no CPU is online")?;
    let here = usize::try_from(*highest)? + 1;
    let largest = format!("tp_btf/{MAX_CPUS}");
    for (name, rung, covered) in [
        ("tp_btf", Rung::Best, here),
        ("raw_tp", Rung::Raw, here),
        (&largest, Rung::Best, MAX_CPUS),
    ] {
        let mut told = BTreeSet::new();
        for kind in [Kind::Plain, Kind::Functions, Kind::Cores, Kind::Siblings, Kind::Cycles] {
            let probe = attached(&roots, &cpus, covered, rung, kind)?;
            for program in probe.verified() {
                if rung == Rung::Best && program.program.ends_with("_raw") {
                    let twin = program.program;
                    return Err(format!("{twin}: this kernel refused its tp_btf twin").into());
                }
                // The scheduler's other programs are loaded for every kind.
                if !told.insert(program.program.clone()) {
                    continue;
                }
                println!(
                    "{}",
                    json!({
                        "rung": name,
                        "program": program.program,
                        "verified_insns": program.instructions,
                        "xlated_bytes": program.translated,
                        "jited_bytes": program.jitted,
                    })
                );
            }
        }
    }
    Ok(())
}

/// What the machine's cores are taken to have, and how sockets are seen.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// One thread, and nothing else.
    Plain,
    /// The same, and sockets are seen at the kernel's functions.
    Functions,
    /// Energy counters.
    Cores,
    /// Two threads.
    Siblings,
    /// Counters of cycles and of cache misses.
    Cycles,
}

/// Loads it for `covered` CPUs; only those that are there are attached to.
fn attached(
    roots: &Roots,
    cpus: &[u32],
    covered: usize,
    rung: Rung,
    kind: Kind,
) -> Result<Probe, Box<dyn Error>> {
    let package_of = vec![0; covered];
    let cores = kind == Kind::Cores;
    // On a machine of one CPU its sibling is one that is not there.
    let siblings = [(0, 1)];
    let mut probe = Probe::load(&Settings {
        rung,
        package_of: &package_of,
        roots,
        slice_bytes: None,
        tick_hz: 100,
        idle_divisor: 1,
        cores,
        siblings: if kind == Kind::Siblings && covered > 1 { &siblings } else { &[] },
        cycles: kind == Kind::Cycles,
        misses: kind == Kind::Cycles,
    })?;
    if kind == Kind::Functions {
        probe.choose_boundary(Some(BoundaryRung::Fentry))?;
    }
    let first = cpus.first().copied().unwrap_or(0);
    // Any counter will do for the verifier: the software clock, which every kernel has.
    let clock = PerfEvent {
        pmu: "software".to_owned(),
        event: "cpu-clock".to_owned(),
        type_: 1,
        config: [0; 4],
        cpu: first,
        package: 0,
        named: true,
    };
    let counter = clock.open()?;
    if cores {
        probe.set_cores(&[CoreCounter { key: first, cpus: &[first], fd: counter.as_fd() }])?;
    }
    if kind == Kind::Cycles {
        probe.set_cycles(&[(first, counter.as_fd())])?;
        probe.set_misses(&[(first, counter.as_fd())])?;
    }
    probe.attach_processes()?;
    probe.attach_clocks()?;
    if cores {
        probe.attach_cores(&[first])?;
    }
    probe.attach_ticks(&[first])?;
    probe.attach_resync(cpus)?;
    // The same whatever is counted, and what takes longest.
    if matches!(kind, Kind::Plain | Kind::Functions) {
        probe.attach_sockets()?;
    }
    if kind == Kind::Plain {
        probe.load_tls()?;
    }
    Ok(probe)
}

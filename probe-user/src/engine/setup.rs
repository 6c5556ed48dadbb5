//! From the chosen sources to open counters and a kernel side that reads them.

use probe_ledger::DomainId;

use super::{
    EngineError,
    cycles::Cycles,
    host::{Host, HostFeed},
    places::{CorePlace, Held, Place},
    samplers::Opened,
};
use crate::{
    kernel::{CoreCounter, KernelCounter, Probe, Rung, Settings},
    roots::Roots,
    source::{Domain, Reading},
    topology::Topology,
};

/// Timer expiries a second: ticks while a request is in flight.
pub const TICK_HZ: u32 = 1000;
/// Expiries per tick while none is: 10 Hz.
pub const IDLE_DIVISOR: u32 = 100;
/// How often user space reads sensors that it reads itself in passing; it polls at this pace anyway.
pub const POLL_NS: u64 = 25_000_000;
/// Room of the slice stream: 130,000 slices.
const SLICE_BYTES: u32 = 4 << 20;

/// What the domains are read by.
pub struct Counters {
    /// Counters the kernel reads.
    pub counters: Vec<Place>,
    /// Counters of single cores.
    pub cores: Vec<CorePlace>,
    /// Sensors that user space reads.
    pub sensors: Vec<Opened>,
}

/// Opens every domain's counter.
///
/// # Errors
///
/// When a counter cannot be opened after all.
pub fn open(chosen: &[Domain], host: &Host) -> Result<Counters, EngineError> {
    let (mut counters, mut cores, mut sensors) = (vec![], vec![], vec![]);
    for (index, (fed, domain)) in host.domains.iter().zip(chosen).enumerate() {
        match (&domain.reading, &fed.feed) {
            (Reading::Kernel(event), HostFeed::Kernel(slot)) => {
                let (package, slot, held) = (fed.package, *slot, Held::open(event.clone())?);
                counters.push(Place { package, slot, held });
            }
            (Reading::Cores(found), _) => {
                for core in &found.cores {
                    let (key, cpus) = (core.event.cpu, core.cpus.clone());
                    cores.push(CorePlace { key, cpus, held: Held::open(core.event.clone())? });
                }
            }
            (Reading::Polled(polled), _) => {
                let (pace, sensor) = (polled.pace(), polled.open()?);
                sensors.push(Opened { domain: DomainId(index), pace, sensor });
            }
            _ => {}
        }
    }
    Ok(Counters { counters, cores, sensors })
}

/// Loads the kernel side; nothing is attached yet.
///
/// # Errors
///
/// When the kernel refuses it.
pub fn probe(
    roots: &Roots,
    package_of: &[usize],
    counters: &[Place],
    cores: &[CorePlace],
    siblings: &[(u32, u32)],
    cycles: &Cycles,
    slices: bool,
) -> Result<Probe, EngineError> {
    raise_limit_of_files();
    let mut probe = Probe::load(&Settings {
        rung: Rung::Best,
        package_of,
        roots,
        slice_bytes: slices.then_some(SLICE_BYTES),
        tick_hz: TICK_HZ,
        idle_divisor: IDLE_DIVISOR,
        cores: !cores.is_empty(),
        siblings,
        cycles: cycles.any(),
        misses: cycles.misses(),
    })?;
    let counters: Vec<KernelCounter<'_>> = counters.iter().filter_map(Place::for_kernel).collect();
    probe.set_counters(&counters)?;
    let cores: Vec<CoreCounter<'_>> = cores.iter().filter_map(CorePlace::for_kernel).collect();
    probe.set_cores(&cores)?;
    cycles.hand_over(&mut probe)?;
    Ok(probe)
}

/// Every CPU takes up to four descriptors: resync, tick or its spare, core counter or cycles, and core timer. Best effort: a
/// machine that needs more says so when one is refused.
fn raise_limit_of_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let now = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: now.maximum, ..now });
}

/// Package of every CPU by number, up to the highest one online; those below it that are offline now count
/// to the first package.
#[must_use]
pub fn package_of(topology: &Topology) -> Vec<usize> {
    let highest = topology.packages.iter().flat_map(|p| &p.cpus).max().copied().unwrap_or(0);
    let mut of = vec![0; highest as usize + 1];
    for (index, package) in topology.packages.iter().enumerate() {
        for cpu in &package.cpus {
            of[*cpu as usize] = index;
        }
    }
    of
}

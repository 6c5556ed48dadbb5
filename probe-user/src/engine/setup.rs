//! From the chosen sources to a ledger that knows its domains and a kernel side that reads them.

use std::collections::BTreeMap;

use probe_common::CONSUMERS;
use probe_ledger::{
    Config, DomainId, DomainSpec, Ledger, Nanojoules, Nanos, Nanowatts, Policies, Ratio, Scale,
    Scope,
};

use super::{
    EngineError,
    places::{CorePlace, Held, Place},
    readings::{Fed, Feed, Readings},
    records::DomainLabel,
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
/// A window this many times longer than it should be is a gap.
const GAP: u64 = 3;
/// A boundary waits this long for a domain at most.
const HORIZON: Nanos = Nanos(10_000_000_000);
/// A record waits for those it overlapped at most this long after they came.
const PATIENCE: Nanos = Nanos(120_000_000_000);
/// A register of a package or its memory that has not moved for so long, while CPUs were busy, is stuck: a
/// thousand of its periods, and a package at one watt has counted ten thousand steps.
const PULSE: Nanos = Nanos(1_000_000_000);
/// Room of the slice stream: 130,000 slices.
const SLICE_BYTES: u32 = 4 << 20;

/// The domains, ready to be fed.
pub struct Domains {
    /// Feeds, in the ledger's order.
    pub readings: Readings,
    /// Labels, in the ledger's order.
    pub labels: Vec<DomainLabel>,
    /// Their books.
    pub ledger: Ledger,
    /// Counters the kernel reads.
    pub counters: Vec<Place>,
    /// Counters of single cores.
    pub cores: Vec<CorePlace>,
    /// Sensors that user space reads.
    pub sensors: Vec<Opened>,
}

/// Opens every domain.
///
/// # Errors
///
/// When a counter cannot be opened after all.
pub fn domains(
    chosen: &[Domain],
    packages: usize,
    policies: Policies,
) -> Result<Domains, EngineError> {
    let Books { readings, labels, ledger } = books(chosen, packages, policies)?;
    let (mut counters, mut cores, mut sensors) = (vec![], vec![], vec![]);
    for (fed, domain) in readings.domains().iter().zip(chosen) {
        match (&domain.reading, &fed.feed) {
            (Reading::Kernel(event), Feed::Kernel { slot }) => {
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
                sensors.push(Opened { domain: fed.id, pace, sensor });
            }
            _ => {}
        }
    }
    Ok(Domains { readings, labels, ledger, counters, cores, sensors })
}

/// The domains as the pure part of the engine knows them.
pub struct Books {
    /// Feeds, in the ledger's order.
    pub readings: Readings,
    /// Labels, in the ledger's order.
    pub labels: Vec<DomainLabel>,
    /// Their books.
    pub ledger: Ledger,
}

/// Prepares feeds and books; nothing is opened.
///
/// # Errors
///
/// When the ledger refuses a domain.
pub fn books(chosen: &[Domain], packages: usize, policies: Policies) -> Result<Books, EngineError> {
    let mut used: BTreeMap<usize, usize> = BTreeMap::new();
    let (mut fed, mut labels, mut specs) = (vec![], vec![], vec![]);
    for (index, domain) in chosen.iter().enumerate() {
        let id = DomainId(index);
        // A machine's or a device's samples come with the first package's ticks.
        let mut package = if let Scope::Package(package) = domain.scope { package } else { 0 };
        let feed = match &domain.reading {
            Reading::Kernel(event) => {
                package = event.package;
                let next = used.entry(package).or_default();
                let slot = std::mem::replace(next, *next + 1);
                Feed::Kernel { slot }
            }
            Reading::Cores(_) => Feed::Cores,
            Reading::Polled(_) => {
                Feed::Polled { waiting: <_>::default(), used: [0; CONSUMERS - 1] }
            }
            Reading::Model(power) => Feed::Model(*power),
        };
        let (scope, additive) = (domain.scope, domain.additive);
        let by = shared_by(domain, chosen);
        let (splits, weighed) = (<_>::default(), by.is_some());
        fed.push(Fed { id, package, scope, additive, feed, failed: 0, splits, weighed });
        labels.push(DomainLabel {
            name: domain.name.clone(),
            source: domain.source.clone(),
            quality: domain.quality,
            additive: domain.additive,
            idle_known: domain.idle_watts.is_some(),
            shared_by: by.map(|by| format!("{}={}", by.name, by.source)),
        });
        specs.push(spec(domain)?);
    }
    let consumers = CONSUMERS - 1;
    let config = Config {
        domains: specs,
        consumers,
        packages,
        horizon: HORIZON,
        patience: PATIENCE,
        policies,
    };
    let ledger = Ledger::new(config)?;
    Ok(Books { readings: Readings::new(fed, packages, policies.weight), labels, ledger })
}

/// The cores whose counters tell how to share a domain's energy: those of a package that is measured. The
/// model knows no more than time, and memory does not follow the cores.
fn shared_by<'a>(domain: &Domain, chosen: &'a [Domain]) -> Option<&'a Domain> {
    let package = domain.name.starts_with("package-") && matches!(domain.scope, Scope::Package(_));
    if !package || matches!(domain.reading, Reading::Model(_)) {
        return None;
    }
    let cores = |by: &&Domain| matches!(by.reading, Reading::Cores(_)) && by.scope == domain.scope;
    chosen.iter().find(cores)
}

/// What the ledger is told of a domain.
///
/// # Errors
///
/// When its scale is none.
pub fn spec(domain: &Domain) -> Result<DomainSpec, EngineError> {
    // The longest of all paces, also of those that user space reads at.
    const IDLE_TICK_NS: u64 = 1_000_000_000 / TICK_HZ as u64 * IDLE_DIVISOR as u64;
    const { assert!(POLL_NS <= IDLE_TICK_NS) };
    Ok(DomainSpec {
        name: domain.name.clone(),
        scale: Scale::from_joules_per_count(domain.joules_per_count)?,
        range: domain.range,
        scope: domain.scope,
        additive: domain.additive,
        idle: domain.idle_watts.map(Nanowatts::from_watts),
        idle_error: Nanowatts(0),
        max_power: domain.max_watts.is_finite().then(|| Nanowatts::from_watts(domain.max_watts)),
        period: Nanos(domain.period_ns),
        quantum: Nanojoules(domain.quantum_nj),
        class: Ratio::from_f64(domain.class_ratio),
        expected_window: Nanos(GAP * IDLE_TICK_NS),
        pulse: domain.must_move().then_some(PULSE),
    })
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
    })?;
    let counters: Vec<KernelCounter<'_>> = counters.iter().filter_map(Place::for_kernel).collect();
    probe.set_counters(&counters)?;
    let cores: Vec<CoreCounter<'_>> = cores.iter().filter_map(CorePlace::for_kernel).collect();
    probe.set_cores(&cores)?;
    Ok(probe)
}

/// Every CPU takes up to four descriptors: resync, tick or its spare, core counter and core timer. Best effort: a
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

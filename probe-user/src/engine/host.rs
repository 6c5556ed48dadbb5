//! What a run is opened with: the machine, the domains with every number that the books need, names and policies.
//!
//! The books of a live run and those of a replay are both opened from this, and from nothing else. Opens no counter.

use std::collections::BTreeMap;

use probe_common::{CONSUMERS, IDLE, MAX_PACKAGES, SELF};
use probe_ledger::{
    Config, DomainId, DomainSpec, Idle, Ledger, Nanojoules, Nanos, Nanowatts, Range, Ratio, Scale,
    Scope, Share, Weight,
};
use serde::{Deserialize, Serialize};

use super::{
    EngineError,
    readings::{Fed, Feed, Readings},
    records::DomainLabel,
    setup::{IDLE_DIVISOR, POLL_NS, TICK_HZ},
};
use crate::{
    clock::Clock,
    record::Quality,
    snapshot::Policies,
    source::{self, Domain, ModelPower},
};

/// Version of what entries say.
pub const ENTRIES: u32 = 1;
/// A window this many times longer than it should be is a gap.
const GAP: u64 = 3;
/// A boundary waits this long for a domain at most.
const HORIZON: Nanos = Nanos(10_000_000_000);
/// A record waits for those it overlapped at most this long after they came.
const PATIENCE: Nanos = Nanos(120_000_000_000);
/// A register of a package or its memory that has not moved for so long, while CPUs were busy, is stuck: a
/// thousand of its periods, and a package at one watt has counted ten thousand steps.
const PULSE: Nanos = Nanos(1_000_000_000);
/// More domains than any machine has.
const MOST_DOMAINS: usize = 256;

/// Everything that does not change during a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Host {
    /// [`ENTRIES`].
    pub entries: u32,
    /// Version of wattprobe.
    pub version: String,
    /// Kernel release.
    pub kernel: String,
    /// Packages.
    pub packages: usize,
    /// CPUs of a package.
    pub cpus: usize,
    /// Domains, in the ledger's order.
    pub domains: Vec<HostDomain>,
    /// Names of the targets by consumer index.
    pub targets: BTreeMap<u32, String>,
    /// Policies by name.
    pub policies: Policies,
    /// What ticks bring besides clocks.
    pub brings: Brings,
    /// What every record carries, by name.
    pub marks: Vec<String>,
    /// Wall-clock ns minus `CLOCK_MONOTONIC` ns.
    pub wall_offset_ns: i64,
    /// `CLOCK_MONOTONIC` ns at which it was opened.
    pub begin: u64,
}

/// What there is to weigh on-CPU time by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Brings {
    /// Ticks bring time beside a busy sibling.
    pub beside: bool,
    /// Ticks bring cycles.
    pub cycles: bool,
    /// Every core has one thread: nobody is beside anybody.
    pub one_thread: bool,
}

/// A domain in numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HostDomain {
    /// Name.
    pub name: String,
    /// Source.
    pub source: String,
    /// How it is obtained.
    pub quality: Quality,
    /// Whether it is summed.
    pub additive: bool,
    /// What it covers.
    pub scope: HostScope,
    /// Joules of a count.
    pub joules_per_count: f64,
    /// Bits of the counter; `None`: see `wraps_after`.
    pub bits: Option<u32>,
    /// Largest value of the counter.
    pub wraps_after: Option<u64>,
    /// How often it moves.
    pub period_ns: u64,
    /// Its step.
    pub quantum_nj: u64,
    /// More is implausible; `None`: no bound.
    pub max_watts: Option<f64>,
    /// Idle power, where it is known.
    pub idle_watts: Option<f64>,
    /// Half of its 95 % interval, where somebody said.
    pub idle_error_watts: Option<f64>,
    /// Relative error.
    pub class_ratio: f64,
    /// It cannot stand still while CPUs are busy.
    pub must_move: bool,
    /// Package whose ticks bring its clocks.
    pub package: usize,
    /// Who reads it.
    pub feed: HostFeed,
    /// The domain and source that its energy is shared by; `None`: time.
    pub shared_by: Option<String>,
}

/// A scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HostScope {
    /// The CPUs of a package.
    Package(usize),
    /// All CPUs.
    Machine,
    /// A device.
    Device,
}

/// Who reads a counter.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HostFeed {
    /// The tick, into this place among the package's counters.
    Kernel(usize),
    /// The cores.
    Cores,
    /// User space.
    Polled,
    /// Nobody: a model.
    Model {
        /// Watts of an idle thread.
        min_watts: f64,
        /// Watts of a busy one.
        max_watts: f64,
        /// Threads.
        threads: usize,
    },
}

/// The books, ready to be fed.
pub struct Books {
    /// Feeds, in the ledger's order.
    pub readings: Readings,
    /// Labels, in the ledger's order.
    pub labels: Vec<DomainLabel>,
    /// Their books.
    pub ledger: Ledger,
}

impl Host {
    /// Of the domains that were chosen.
    #[must_use]
    pub fn new(
        chosen: &[Domain],
        (packages, cpus): (usize, usize),
        policies: probe_ledger::Policies,
        targets: BTreeMap<u32, String>,
        clock: Clock,
    ) -> Self {
        let mut used: BTreeMap<usize, usize> = BTreeMap::new();
        let domains = chosen.iter().map(|domain| HostDomain::new(domain, chosen, &mut used));
        Self {
            entries: ENTRIES,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
            packages,
            cpus,
            domains: domains.collect(),
            targets,
            policies: policies.into(),
            brings: Brings::default(),
            marks: Vec::new(),
            wall_offset_ns: clock.offset(),
            begin: clock.now(),
        }
    }

    /// The time of its run.
    #[must_use]
    pub fn clock(&self) -> Clock {
        Clock::at(self.wall_offset_ns)
    }

    /// Its policies; `None` where this version has no such.
    #[must_use]
    pub fn known_policies(&self) -> Option<probe_ledger::Policies> {
        let Policies { weight, share, idle } = &self.policies;
        Some(probe_ledger::Policies {
            weight: Weight::ALL.into_iter().find(|p| p.name() == &**weight)?,
            share: Share::ALL.into_iter().find(|p| p.name() == &**share)?,
            idle: Idle::ALL.into_iter().find(|p| p.name() == &**idle)?,
        })
    }

    /// Whether its weight policy asks for what there is not: time is taken, and every record says so. Where cores have energy
    /// counters they weigh, whatever the policy.
    #[must_use]
    pub fn lacks_weights(&self) -> bool {
        let Brings { beside, cycles, one_thread } = self.brings;
        let cores = self.domains.iter().any(|domain| domain.feed == HostFeed::Cores);
        let has = match self.known_policies().map(|policies| policies.weight) {
            Some(Weight::Time) => true,
            Some(Weight::Smt) => beside || one_thread,
            Some(Weight::Cycles) => cycles,
            _ => false,
        };
        !(has || cores)
    }

    /// Opens empty books.
    ///
    /// # Errors
    /// When the numbers make no books.
    pub fn books(&self) -> Result<Books, EngineError> {
        let policies = self.known_policies().ok_or(EngineError::Foreign)?;
        if self.entries != ENTRIES
            || self.packages > MAX_PACKAGES
            || self.domains.len() > MOST_DOMAINS
        {
            return Err(EngineError::Foreign);
        }
        let (mut fed, mut labels, mut specs) = (vec![], vec![], vec![]);
        for (index, domain) in self.domains.iter().enumerate() {
            fed.push(domain.fed(DomainId(index)));
            labels.push(domain.label());
            specs.push(domain.spec()?);
        }
        let ledger = Ledger::new(Config {
            domains: specs,
            consumers: self.consumers(),
            packages: self.packages,
            cpus: self.cpus,
            horizon: HORIZON,
            patience: PATIENCE,
            policies,
        })?;
        let readings = Readings::new(fed, self.packages, self.consumers(), policies.weight);
        Ok(Books { readings, labels, ledger })
    }

    /// The ledger's consumers: as many as there are, not as many as there may be.
    fn consumers(&self) -> usize {
        const { assert!(IDLE == 0) };
        let last = self.targets.keys().copied().fold(SELF, u32::max);
        (last as usize).min(CONSUMERS - 1)
    }
}

impl HostDomain {
    /// `used` are the counters of each package so far.
    fn new(domain: &Domain, chosen: &[Domain], used: &mut BTreeMap<usize, usize>) -> Self {
        // A machine's or a device's samples come with the first package's ticks.
        let mut package = if let Scope::Package(package) = domain.scope { package } else { 0 };
        let feed = match &domain.reading {
            source::Reading::Kernel(event) => {
                package = event.package;
                let next = used.entry(package).or_default();
                HostFeed::Kernel(std::mem::replace(next, *next + 1))
            }
            source::Reading::Cores(_) => HostFeed::Cores,
            source::Reading::Polled(_) => HostFeed::Polled,
            source::Reading::Model(ModelPower { min_watts, max_watts, threads }) => {
                HostFeed::Model { min_watts: *min_watts, max_watts: *max_watts, threads: *threads }
            }
        };
        let (bits, wraps_after) = match domain.range {
            Range::Bits(bits) => (Some(bits), None),
            Range::Max(most) => (None, Some(most)),
        };
        Self {
            name: domain.name.clone(),
            source: domain.source.clone(),
            quality: domain.quality,
            additive: domain.additive,
            scope: match domain.scope {
                Scope::Package(package) => HostScope::Package(package),
                Scope::Machine => HostScope::Machine,
                Scope::Device => HostScope::Device,
            },
            joules_per_count: domain.joules_per_count,
            bits,
            wraps_after,
            period_ns: domain.period_ns,
            quantum_nj: domain.quantum_nj,
            max_watts: domain.max_watts.is_finite().then_some(domain.max_watts),
            idle_watts: domain.idle_watts,
            idle_error_watts: domain.idle_error_watts,
            class_ratio: domain.class_ratio,
            must_move: domain.must_move(),
            package,
            feed,
            shared_by: shared_by(domain, chosen).map(|by| format!("{}={}", by.name, by.source)),
        }
    }

    fn fed(&self, id: DomainId) -> Fed {
        let feed = match self.feed {
            HostFeed::Kernel(slot) => Feed::Kernel { slot },
            HostFeed::Cores => Feed::Cores,
            HostFeed::Polled => Feed::Polled { waiting: <_>::default(), used: [0; CONSUMERS - 1] },
            HostFeed::Model { min_watts, max_watts, threads } => {
                Feed::Model(ModelPower { min_watts, max_watts, threads })
            }
        };
        Fed {
            id,
            package: self.package,
            scope: self.scope(),
            additive: self.additive,
            feed,
            failed: 0,
            splits: <_>::default(),
            weighed: self.shared_by.is_some(),
            memory: self.name.starts_with("dram-") && matches!(self.scope, HostScope::Package(_)),
        }
    }

    fn scope(&self) -> Scope {
        match self.scope {
            HostScope::Package(package) => Scope::Package(package),
            HostScope::Machine => Scope::Machine,
            HostScope::Device => Scope::Device,
        }
    }

    fn label(&self) -> DomainLabel {
        DomainLabel {
            name: self.name.clone(),
            source: self.source.clone(),
            quality: self.quality,
            additive: self.additive,
            shared_by: self.shared_by.clone(),
        }
    }

    fn spec(&self) -> Result<DomainSpec, EngineError> {
        // The longest of all paces, also of those that user space reads at.
        const IDLE_TICK_NS: u64 = 1_000_000_000 / TICK_HZ as u64 * IDLE_DIVISOR as u64;
        const { assert!(POLL_NS <= IDLE_TICK_NS) };
        Ok(DomainSpec {
            name: self.name.clone(),
            scale: Scale::from_joules_per_count(self.joules_per_count)?,
            range: match (self.bits, self.wraps_after) {
                (Some(bits), _) => Range::Bits(bits),
                (None, most) => Range::Max(most.unwrap_or(u64::MAX)),
            },
            scope: self.scope(),
            additive: self.additive,
            idle: self.idle_watts.map(Nanowatts::from_watts),
            idle_error: self.idle_error_watts.map(Nanowatts::from_watts),
            max_power: self.max_watts.map(Nanowatts::from_watts),
            period: Nanos(self.period_ns),
            quantum: Nanojoules(self.quantum_nj),
            class: Ratio::from_f64(self.class_ratio),
            expected_window: Nanos(GAP * IDLE_TICK_NS),
            pulse: self.must_move.then_some(PULSE),
        })
    }
}

/// What the ledger is told of a domain.
///
/// # Errors
/// When its scale is none.
pub fn spec(domain: &Domain) -> Result<DomainSpec, EngineError> {
    HostDomain::new(domain, &[], &mut BTreeMap::new()).spec()
}

/// The cores whose counters tell how to share a domain's energy: those of a package that is measured. The
/// model knows no more than time, and memory does not follow the cores.
fn shared_by<'a>(domain: &Domain, chosen: &'a [Domain]) -> Option<&'a Domain> {
    let package = domain.name.starts_with("package-") && matches!(domain.scope, Scope::Package(_));
    if !package || matches!(domain.reading, source::Reading::Model(_)) {
        return None;
    }
    let cores =
        |by: &&Domain| matches!(by.reading, source::Reading::Cores(_)) && by.scope == domain.scope;
    chosen.iter().find(cores)
}

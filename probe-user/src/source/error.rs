//! Why a source cannot be used, each with what to do about it.

use std::io;
use std::path::{Path, PathBuf};

use super::nvml::NvmlError;
use super::open::OpenError;
use super::sensor::ReadError;
use crate::topology::excerpt;

/// Why a source cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// No such PMU.
    #[error("this machine has no PMU {pmu:?} (it has: {}); {}", list(found), no_pmu_remedy(pmu))]
    NoPmu {
        /// The name asked for.
        pmu: String,
        /// The names there are.
        found: Vec<String>,
    },
    /// The PMU has no such event.
    #[error("the PMU {pmu:?} has no event {event:?}; it has: {}", list(found))]
    NoEvent {
        /// The PMU.
        pmu: String,
        /// The name asked for.
        event: String,
        /// The names there are.
        found: Vec<String>,
    },
    /// The event has neither a unit nor a declared scale.
    #[error(
        "perf:{pmu}/{event}/ has no scale in sysfs, so its counts are not joules; declare it: perf:{pmu}/{event}/,scale=JOULES_PER_COUNT"
    )]
    NoScale {
        /// The PMU.
        pmu: String,
        /// The event.
        event: String,
    },
    /// The event counts something else than energy.
    #[error(
        "perf:{pmu}/{event}/ counts {unit:?}, not Joules; if it stands for energy, declare it: perf:{pmu}/{event}/,scale=JOULES_PER_COUNT"
    )]
    NotJoules {
        /// The PMU.
        pmu: String,
        /// The event.
        event: String,
        /// Its unit.
        unit: String,
    },
    /// The PMU `power` without energy events.
    #[error(
        "the PMU \"power\" lists no energy event; this CPU's RAPL is not supported by the kernel, try rapl-powercap or model"
    )]
    NoEnergyEvents,
    /// No energy counters of single cores.
    #[error("no energy counters of single cores: {why}")]
    NoCoreEnergy {
        /// Why, and what to do.
        why: String,
    },
    /// Two cores share a CPU.
    #[error(
        "the PMU \"power_core\" counts CPU {cpu} in two cores; this looks like no real sysfs, use rapl-perf"
    )]
    TwoCores {
        /// The CPU.
        cpu: u32,
    },
    /// A core of more CPUs than the kernel side can sum.
    #[error(
        "the core of CPU {cpu} has {found} hardware threads, {most} are supported; use rapl-perf"
    )]
    TooManyThreads {
        /// Its CPU that the PMU names.
        cpu: u32,
        /// How many.
        found: usize,
        /// How many there may be.
        most: usize,
    },
    /// The PMU's cpumask names no online CPU.
    #[error("the PMU {pmu:?} is read on CPUs {cpus:?}, none of which is online; bring one online")]
    NoCpu {
        /// The PMU.
        pmu: String,
        /// Its cpumask.
        cpus: Vec<u32>,
    },
    /// No powercap zones.
    #[error("no RAPL zone below {}; load the module intel_rapl_msr, or use another source (virtual machines have none)", path.display())]
    NoPowercap {
        /// The directory.
        path: PathBuf,
    },
    /// GPUs that cannot be used.
    #[error(transparent)]
    Nvml(#[from] NvmlError),
    /// No hwmon chip that says what it measures.
    #[error("no chip below {} measures energy or power of a known part of this machine; load the driver of one that does (amd_energy, acpi_power_meter, xe, i915, amdgpu), or use another source", path.display())]
    NoHwmon {
        /// The directory.
        path: PathBuf,
    },
    /// No battery of the machine's own.
    #[error("no battery of the machine below {}; use another source", path.display())]
    NoBattery {
        /// The directory.
        path: PathBuf,
    },
    /// A sensor is there but cannot be read.
    #[error(transparent)]
    Sensor(#[from] ReadError),
    /// A perf counter is there but cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A file could not be read.
    #[error("cannot read {}: {source}; run as root, and check that sysfs and procfs are mounted there", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// A file does not say what it should.
    #[error("{} holds {found:?}, not {expected}; this looks like no real sysfs or procfs (--sysfs-root, --procfs-root)", path.display())]
    Garbage {
        /// The file.
        path: PathBuf,
        /// Its beginning.
        found: String,
        /// What belongs there.
        expected: &'static str,
    },
    /// The same source twice.
    #[error("source {0} is given twice; remove one")]
    Twice(String),
    /// More counters in one package than a tick can read.
    #[error(
        "package {package} would have {counters} kernel-read counters, a tick reads at most {most}; name fewer with --source"
    )]
    TooManyCounters {
        /// Package index.
        package: usize,
        /// How many were chosen.
        counters: usize,
        /// How many fit.
        most: usize,
    },
}

impl SourceError {
    pub(super) fn garbage(path: &Path, text: &str, expected: &'static str) -> Self {
        Self::Garbage { path: path.into(), found: excerpt(text), expected }
    }
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

fn no_pmu_remedy(pmu: &str) -> &'static str {
    if pmu == "power" {
        "load the module rapl (Intel, AMD), or use rapl-powercap or model; virtual machines have no RAPL"
    } else {
        "name one of those, or load the driver that provides it"
    }
}

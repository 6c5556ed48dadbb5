//! Where joules come from: finds the energy counters of this machine and chooses among them.
//!
//! A [`Domain`] is one counter with everything the ledger must know to trust it: label, quality,
//! scale, where it wraps, how often it moves, what it cannot exceed. A `Reading` says who reads it:
//! the kernel's tick (a perf counter), user space (a powercap file, a device's library) or nobody (the model). Sources
//! know nothing of targets, requests or windows.
//!
//! | source | facility | needs |
//! |---|---|---|
//! | `amd-core-perf` | perf PMU `power_core` | CAP_PERFMON; Linux 6.14 |
//! | `rapl-perf` | perf PMU `power` | CAP_PERFMON; Linux 3.14 |
//! | `rapl-powercap` | `/sys/class/powercap/intel-rapl*` | root since 5.10 |
//! | `perf:PMU/EVENT/` | any perf PMU with a scale in joules, or a declared one | CAP_PERFMON |
//! | `nvml` | NVIDIA's `libnvidia-ml.so.1` | the driver |
//! | `hwmon` | energy and power sensors below `/sys/class/hwmon` | nothing; root where a driver says so |
//! | `battery` | `/sys/class/power_supply`, discharging | nothing |
//! | `model` | `/proc/cpuinfo` and a table of published watts | nothing |

pub mod battery;
pub mod core_perf;
mod error;
mod filtering;
#[cfg(test)]
mod hostile;
pub mod hwmon;
mod integrate;
mod kind;
pub mod model;
pub mod nvml;
mod open;
pub mod perf;
pub mod pmu;
pub mod powercap;
mod select;
mod sensor;
mod spec;
#[cfg(test)]
pub(crate) mod testing;
mod watts;

pub use battery::Batteries;
pub use core_perf::{Core, CoreCounters};
pub use error::SourceError;
pub use filtering::Filtering;
pub use hwmon::HwmonInput;
#[cfg(test)]
pub(crate) use integrate::Integrator;
pub use kind::Kind;
pub use open::{OpenCounter, OpenError, PerfEvent};
pub use powercap::PowercapZone;
pub use select::{Note, Opener, Outcome, Selection, select, select_with};
pub use spec::{NAMES, PerfSpec, SourceSpec, SpecError};

pub use sensor::{Pace, Polled, ReadError, Sensed, Sensor, Users};

pub use probe_ledger::{Range, Scope, Split};

pub use crate::record::Quality;

/// One energy counter and what must be known to use it.
#[derive(Clone, Debug, PartialEq)]
pub struct Domain {
    /// Unique name: `package-0`, `dram-0`, `core-0`, `igpu-0`, `psys`, `gpu-0`, `system`, `battery`.
    pub name: String,
    /// Label of the source: `rapl-perf`, `rapl-powercap`, `nvml`, `hwmon`, `battery`, `model`,
    /// `perf:PMU/EVENT/`.
    pub source: String,
    /// How its energy is obtained.
    pub quality: Quality,
    /// Whether it belongs to the set whose sum is the machine.
    pub additive: bool,
    /// What it covers: a package by index, the machine (`psys`), or a device.
    pub scope: Scope,
    /// Joules of one count of the raw counter.
    pub joules_per_count: f64,
    /// Where the raw counter wraps.
    pub range: Range,
    /// How often the counter moves, ns; 0: at every read.
    pub period_ns: u64,
    /// Smallest step of the hardware, nJ, rounded up.
    pub quantum_nj: u64,
    /// A mean power over a window above this is a broken reading, W. Infinite under a declared scale.
    pub max_watts: f64,
    /// Idle power, W, where the source defines it or it was calibrated; `None`: to be learned.
    pub idle_watts: Option<f64>,
    /// Half of its 95 % interval, where it was calibrated.
    pub idle_error_watts: Option<f64>,
    /// Relative error of the class of sensor, one side; 0 where no bound is published. The bar then
    /// covers how the counter is read, not how it was calibrated in the factory.
    pub class_ratio: f64,
    /// Who reads it.
    pub reading: Reading,
}

impl Domain {
    /// Whether it is one of RAPL's registers.
    #[must_use]
    pub fn is_rapl(&self) -> bool {
        self.source.starts_with("rapl-") || self.source.starts_with("perf:power/")
    }

    /// Whether its counter cannot stand still while its CPUs are busy: a package's or its memory's register
    /// with a known period. Other parts may be off, or are estimated.
    #[must_use]
    pub fn must_move(&self) -> bool {
        let whole = ["package-", "dram-"].iter().any(|kind| self.name.starts_with(kind));
        whole
            && self.additive
            && self.quality == Quality::Measured
            && self.period_ns > 0
            && self.is_rapl()
            && matches!(self.scope, Scope::Package(_))
    }
}

/// Who reads a counter.
#[derive(Clone, Debug, PartialEq)]
pub enum Reading {
    /// The tick program, on [`PerfEvent::cpu`].
    Kernel(PerfEvent),
    /// Programs on the cores themselves, each its own.
    Cores(CoreCounters),
    /// User space.
    Polled(Polled),
    /// Nobody: joules are computed from the busy clock of the package's CPUs.
    Model(ModelPower),
}

/// Power of one package by the model: `threads × min_watts`, plus `max_watts - min_watts` for every
/// second that one of its threads is busy. Counts are nanojoules.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ModelPower {
    /// Watts of one idle hardware thread.
    pub min_watts: f64,
    /// Watts of one busy hardware thread.
    pub max_watts: f64,
    /// Online hardware threads of the package.
    pub threads: usize,
}

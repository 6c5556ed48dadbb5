//! NVIDIA GPUs through the driver's library, NVML: one domain `gpu-N` each, N being NVML's index.
//!
//! Facility: `libnvidia-ml.so.1`, loaded at run time; energy counters since Volta (`nvmlDeviceGetTotalEnergyConsumption`,
//! mJ since the driver was loaded). Where that call is not supported, power is integrated: the field
//! `NVML_FI_DEV_POWER_INSTANT` if it is there, else `nvmlDeviceGetPowerUsage`, which is a mean over a second on Ampere
//! and later but for GA100.
//!
//! | file | what it holds |
//! |---|---|
//! | `device` | what is asked of a GPU, and the only code that knows the library's binding |
//! | `open` | loading it, on a thread that may hang |
//! | `watch` | how often a counter moves |
//! | `sensor` | one reading |
//! | `usage` | who used the GPU since the reading before |
//!
//! Process numbers are the host's: a probe in a container must share the host's (`hostPID`). The library is never
//! unloaded: shutting a driver down is where it hangs, and the end of the process does the same.
//! A statically linked probe has no dynamic loader and so no GPUs.

mod device;
mod open;
mod sensor;
mod usage;
mod watch;

use std::fmt;
use std::path::Path;

pub use open::{Found, NvmlError, PATIENCE_NS};
pub use sensor::GpuSensor;

use super::{Domain, Polled, Quality, Range, Reading, Scope};
use device::Nvml;

/// The library's name, found by the dynamic loader.
pub const LIBRARY: &str = "libnvidia-ml.so.1";
/// How often the GPUs are read: as often as the quickest counters move.
pub const EVERY_NS: u64 = 50_000_000;
/// Mean power no GPU reaches, W: about three times the largest published one (1.4 kW), so that only broken
/// readings exceed it.
const MAX_WATTS: f64 = 4_000.0;
/// Published accuracy of the power reading (`nvmlDeviceGetPowerUsage`, for Fermi and Kepler; none for later ones).
const POWER_RATIO: f64 = 0.05;
/// What a mean of power covers.
const AVERAGE_NS: u64 = 1_000_000_000;
/// How old the field of instant power may be, as the energy counters of the same sensor.
const INSTANT_NS: u64 = 100_000_000;

/// How a GPU's energy is obtained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meter {
    /// A counter, mJ.
    Energy {
        /// How often it moves, ns.
        period_ns: u64,
        /// Whether that was seen, or taken for granted because it did not move while it was watched.
        seen: bool,
    },
    /// Power of the instant, integrated.
    Instant,
    /// Mean power of a second, integrated.
    Average,
}

impl Meter {
    /// How old what is read may be, ns.
    fn period_ns(self) -> u64 {
        match self {
            Self::Energy { period_ns, .. } => period_ns,
            // Between two readings power is unknown, too.
            Self::Instant => INSTANT_NS + EVERY_NS,
            Self::Average => AVERAGE_NS + EVERY_NS,
        }
    }
}

impl fmt::Display for Meter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Energy { period_ns, seen } => {
                let ms = *period_ns as f64 / 1e6;
                let seen = if *seen { "seen to move" } else { "taken to move" };
                write!(f, "energy counter, {seen} every {ms:.1} ms")
            }
            Self::Instant => f.write_str("no energy counter, instant power integrated"),
            Self::Average => {
                f.write_str("no energy counter, power averaged over up to 1 s integrated")
            }
        }
    }
}

/// One GPU that can be read.
#[derive(Clone, Copy)]
pub struct Gpu {
    /// NVML's index.
    pub index: u32,
    /// How its energy is obtained.
    pub meter: Meter,
    /// Whether it is divided into instances.
    pub mig: bool,
    nvml: &'static Nvml,
}

impl Gpu {
    /// A sensor of its own; no call is made.
    #[must_use]
    pub fn open(&self) -> GpuSensor {
        GpuSensor::new(self.index, self.meter, self.mig, Box::new(self.nvml.device(self.index)))
    }
}

impl PartialEq for Gpu {
    fn eq(&self, other: &Self) -> bool {
        (self.index, self.meter, self.mig) == (other.index, other.meter, other.mig)
            && std::ptr::eq(self.nvml, other.nvml)
    }
}

impl fmt::Debug for Gpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gpu").field("index", &self.index).field("meter", &self.meter).finish()
    }
}

impl fmt::Display for Gpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mig = if self.mig { ", in MIG mode" } else { "" };
        write!(f, "read through NVML on a thread of its own{mig}: {}", self.meter)
    }
}

/// The GPUs of a library; `None` stands for a machine that has none, as one that is made up. It takes as long
/// as the driver takes to wake, and up to 0.7 s more.
///
/// # Errors
/// [`NvmlError`], by what helps against it.
pub fn domains(library: Option<&Path>) -> Result<Found, NvmlError> {
    open::open(library.ok_or(NvmlError::NoneNamed)?, PATIENCE_NS)
}

fn domain(gpu: Gpu) -> Domain {
    let counter = matches!(gpu.meter, Meter::Energy { .. });
    Domain {
        name: format!("gpu-{}", gpu.index),
        source: "nvml".to_owned(),
        quality: if counter { Quality::Measured } else { Quality::Integrated },
        additive: true,
        scope: Scope::Device,
        joules_per_count: if counter { 1e-3 } else { 1e-9 },
        range: Range::Bits(64),
        period_ns: gpu.meter.period_ns(),
        quantum_nj: if counter { 1_000_000 } else { 1 },
        max_watts: MAX_WATTS,
        idle_watts: None,
        idle_error_watts: None,
        class_ratio: if counter { 0.0 } else { POWER_RATIO },
        reading: Reading::Polled(Polled::Nvml(gpu)),
    }
}

#[cfg(test)]
mod tests;

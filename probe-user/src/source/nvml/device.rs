//! What is asked of a GPU. The only file that knows the library's binding.

use std::ffi::OsStr;
use std::path::Path;

use nvml_wrapper::error::NvmlError as Raw;
use nvml_wrapper::struct_wrappers::device::ProcessInfo;
use nvml_wrapper::structs::device::FieldId;
use nvml_wrapper::sys_exports::field_id::NVML_FI_DEV_POWER_INSTANT;
use nvml_wrapper::{Device as RawDevice, enums::device::SampleValue};

/// Why a call gave nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The GPU or this version of the library cannot do that.
    Unsupported,
    /// Nothing there, or nothing new.
    Nothing,
    /// Anything else, in the library's words.
    Failed(String),
}

impl From<Raw> for Fault {
    fn from(error: Raw) -> Self {
        match error {
            Raw::NotSupported | Raw::FailedToLoadSymbol(_) | Raw::FunctionNotFound => {
                Self::Unsupported
            }
            Raw::NotFound | Raw::NoData => Self::Nothing,
            // Among others, a list that grew while it was read: nobody knows who is in it.
            other => Self::Failed(other.to_string()),
        }
    }
}

/// One process's part of the time since it was asked before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Used {
    /// Process.
    pub(super) tgid: u32,
    /// When it was sampled, on the driver's clock, µs.
    pub(super) t_us: u64,
    /// Part of the time that its kernels ran, percent.
    pub(super) percent: u32,
}

/// One instance of a GPU in MIG mode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Instance {
    /// Compute slices; `None` if its name does not say.
    pub(super) slices: Option<u32>,
    /// Processes in it.
    pub(super) processes: Vec<u32>,
}

/// Which reading of power.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Power {
    /// The field of instant power.
    Instant,
    /// The power usage.
    Average,
}

/// A GPU.
pub(super) trait Gpus: Send {
    /// Energy since the driver was loaded, mJ.
    fn energy_mj(&self) -> Result<u64, Fault>;
    /// Power, mW.
    fn power_mw(&self, which: Power) -> Result<u64, Fault>;
    /// Processes that compute or draw on it, each once.
    fn processes(&self) -> Result<Vec<u32>, Fault>;
    /// What each process used of it, in samples later than this.
    fn used(&self, later_than_us: u64) -> Result<Vec<Used>, Fault>;
    /// Part of the driver's latest sample period (1/6 s to 1 s, `nvmlUtilization_t`) that kernels ran or its memory was read or
    /// written, percent; not supported in MIG mode.
    fn busy_percent(&self) -> Result<u32, Fault>;
    /// Its instances.
    fn instances(&self) -> Result<Vec<Instance>, Fault>;
}

/// The library.
pub(super) struct Nvml(nvml_wrapper::Nvml);

/// More GPUs or instances than any machine has; what a broken library says beyond is ignored.
pub(super) const MOST: u32 = 256;

impl Nvml {
    /// Loads and initialises it.
    pub(super) fn load(path: &Path) -> Result<Self, Raw> {
        let name: &OsStr = path.as_ref();
        nvml_wrapper::Nvml::builder().lib_path(name).init().map(Self)
    }

    /// How many GPUs it knows.
    pub(super) fn count(&self) -> Result<u32, Raw> {
        self.0.device_count().map(|count| count.min(MOST))
    }

    /// One of them.
    pub(super) fn device(&'static self, index: u32) -> Device {
        Device { nvml: self, index }
    }
}

/// One GPU of the library.
pub(super) struct Device {
    nvml: &'static Nvml,
    index: u32,
}

impl Device {
    fn raw(&self) -> Result<RawDevice<'static>, Raw> {
        self.nvml.0.device_by_index(self.index)
    }

    /// Whether it is in MIG mode.
    pub(super) fn mig(&self) -> Result<bool, Fault> {
        match self.raw()?.mig_mode() {
            Ok(mode) => Ok(mode.current == 1),
            Err(error) => match Fault::from(error) {
                Fault::Unsupported | Fault::Nothing => Ok(false),
                fault => Err(fault),
            },
        }
    }
}

impl Gpus for Device {
    fn energy_mj(&self) -> Result<u64, Fault> {
        Ok(self.raw()?.total_energy_consumption()?)
    }

    fn power_mw(&self, which: Power) -> Result<u64, Fault> {
        let device = self.raw()?;
        if which == Power::Average {
            return Ok(device.power_usage()?.into());
        }
        let values = device.field_values_for(&[FieldId(NVML_FI_DEV_POWER_INSTANT)])?;
        match values.into_iter().next().ok_or(Fault::Unsupported)??.value? {
            SampleValue::U32(mw) => Ok(mw.into()),
            SampleValue::U64(mw) => Ok(mw),
            _ => Err(Fault::Unsupported),
        }
    }

    fn processes(&self) -> Result<Vec<u32>, Fault> {
        processes(&self.raw()?)
    }

    fn used(&self, later_than_us: u64) -> Result<Vec<Used>, Fault> {
        let samples = self.raw()?.process_utilization_stats(later_than_us)?;
        let used = samples.into_iter().map(|sample| Used {
            tgid: sample.pid,
            t_us: sample.timestamp,
            percent: sample.sm_util.min(100),
        });
        Ok(used.filter(|used| used.t_us > later_than_us).collect())
    }

    fn busy_percent(&self) -> Result<u32, Fault> {
        let rates = self.raw()?.utilization_rates()?;
        Ok(rates.gpu.max(rates.memory).min(100))
    }

    fn instances(&self) -> Result<Vec<Instance>, Fault> {
        let device = self.raw()?;
        let mut instances = Vec::new();
        for place in 0..device.mig_device_count()?.min(MOST) {
            let instance = match device.mig_device_by_index(place).map_err(Fault::from) {
                Ok(instance) => instance,
                Err(Fault::Nothing) => continue,
                Err(fault) => return Err(fault),
            };
            let slices = instance.name().ok().and_then(|name| slices(&name));
            instances.push(Instance { slices, processes: processes(&instance)? });
        }
        Ok(instances)
    }
}

/// Both kinds of processes; libraries before 2022 lack the third version of the calls.
fn processes(device: &RawDevice<'_>) -> Result<Vec<u32>, Fault> {
    let compute =
        newest(device.running_compute_processes(), || device.running_compute_processes_v2())?;
    let graphics =
        newest(device.running_graphics_processes(), || device.running_graphics_processes_v2());
    // Compute-only products have no list of the others.
    let graphics = match graphics {
        Err(Fault::Unsupported) => vec![],
        other => other?,
    };
    let mut all: Vec<u32> = compute.into_iter().chain(graphics).map(|info| info.pid).collect();
    all.sort_unstable();
    all.dedup();
    Ok(all)
}

type List = Result<Vec<ProcessInfo>, Raw>;

fn newest(list: List, older: impl Fn() -> List) -> Result<Vec<ProcessInfo>, Fault> {
    let list = if let Err(Raw::FailedToLoadSymbol(_)) = list { older() } else { list };
    match list.map_err(Fault::from) {
        Err(Fault::Nothing) => Ok(vec![]),
        other => other,
    }
}

/// Slices of an instance by its name: 3 of `NVIDIA A100-SXM4-40GB MIG 3g.20gb`, 1 of `MIG 1c.3g.20gb`.
fn slices(name: &str) -> Option<u32> {
    let (_, profile) = name.rsplit_once("MIG ")?;
    let first = profile.split('.').next()?;
    let digits = first.strip_suffix(['g', 'c'])?;
    digits.parse().ok().filter(|slices| (1..=64).contains(slices))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_that_grew_while_it_was_read_is_not_an_empty_one() {
        assert!(matches!(Fault::from(Raw::InsufficientSize(Some(9))), Fault::Failed(_)));
        assert_eq!(Fault::from(Raw::NotFound), Fault::Nothing);
    }

    #[test]
    fn the_name_of_an_instance_says_how_many_slices_it_has() {
        assert_eq!(slices("NVIDIA A100-SXM4-40GB MIG 3g.20gb"), Some(3));
        assert_eq!(slices("NVIDIA H100 80GB HBM3 MIG 1g.10gb+me"), Some(1));
        assert_eq!(slices("NVIDIA A100 MIG 1c.3g.20gb"), Some(1));
        for none in ["NVIDIA A100", "MIG ", "MIG 0g.0gb", "MIG xg.1gb", "MIG 99999999999g"] {
            assert_eq!(slices(none), None, "{none}");
        }
    }
}

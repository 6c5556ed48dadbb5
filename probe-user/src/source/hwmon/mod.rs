//! Sensors of the hwmon class: energy counters, and power sensors that are integrated over time.
//!
//! | chip | gives | domain |
//! |---|---|---|
//! | `amd_energy` | energy of sockets (`Esocket*`; its cores lie within and are left out) | `package-N` |
//! | `xe`, `i915` | energy of a discrete card | `gpu-N` |
//! | `amdgpu` | power of a card; of an APU's whole socket | `gpu-N`, `igpu-N` |
//! | `power_meter` (ACPI) | power of the machine; on NVIDIA Grace of each rail | `system`; `package-N`, … |
//!
//! Other chips are not used: nothing says what part of the machine they measure. Facility: `/sys/class/hwmon`.
//! Knows nothing of other sources: what is summed beside what, [`super::select()`] decides.

mod chip;
mod clients;
mod cpu;
mod gpu;
mod meter;

pub(in crate::source) use chip::text;

use std::ffi::OsStr;
use std::fmt;
use std::path::PathBuf;

use chip::Chip;
use clients::Clients;

use super::integrate::Integrator;
use super::sensor::NumberFile;
use super::{
    Domain, Polled, Quality, Range, ReadError, Reading, Scope, Sensed, Sensor, SourceError, Users,
};
use crate::roots::Roots;
use crate::topology::Topology;

/// The label of these domains.
pub const SOURCE: &str = "hwmon";
/// How often these sensors are read, on threads: the ACPI meter asks firmware, which may take milliseconds.
pub(super) const EVERY_NS: u64 = 50_000_000;
/// A power sensor that shows more is broken, µW: 1 MW.
const MOST_UW: u64 = 1_000_000_000_000;

/// One input of a chip.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HwmonInput {
    /// Its file.
    pub path: PathBuf,
    /// `Some`: it shows power, µW, and two readings further apart than this (ns) are not integrated
    /// over. `None`: it counts microjoules.
    pub longest_gap_ns: Option<u64>,
    /// The card it measures, if its energy follows no CPU.
    pub card: Option<Card>,
}

/// A graphics card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Card {
    /// Its PCI address; without one nobody can be said to use it.
    pub address: Option<String>,
    /// Where processes are.
    pub procfs: PathBuf,
}

impl fmt::Display for HwmonInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = if self.longest_gap_ns.is_some() { "power integrated" } else { "energy" };
        write!(f, "{how} from {}", self.path.display())?;
        match &self.card {
            Some(Card { address: Some(address), .. }) => {
                write!(
                    f,
                    ", shared by the time on {address} that fdinfo tells, in proportion; time that it tells of \
                     nobody lowers the bar"
                )
            }
            Some(_) => write!(f, ", no PCI address, so nobody is known to use it: all is residual"),
            None => Ok(()),
        }
    }
}

impl HwmonInput {
    /// The inputs that are read on one thread: those of its chip, such as `hwmon-3`.
    pub(super) fn group(&self) -> String {
        let number = |part: &OsStr| part.to_str()?.strip_prefix(SOURCE)?.parse::<u16>().ok();
        match self.path.iter().filter_map(number).next_back() {
            Some(number) => format!("{SOURCE}-{number}"),
            None => SOURCE.to_owned(),
        }
    }

    /// Opens the input and reads it once.
    ///
    /// # Errors
    /// [`ReadError`], by what helps against it.
    pub fn open(&self) -> Result<OpenInput, ReadError> {
        let most = if self.longest_gap_ns.is_some() { MOST_UW } else { u64::MAX };
        let file = NumberFile::open(&self.path, most)?;
        file.read()?;
        let power = self.longest_gap_ns.map(Integrator::new);
        Ok(OpenInput { file, power, card: self.card.as_ref().map(Clients::of) })
    }
}

/// An open input; counts are microjoules of an energy input, nanojoules of a power input.
#[derive(Debug)]
pub struct OpenInput {
    file: NumberFile,
    power: Option<Integrator>,
    card: Option<Clients>,
}

impl Sensor for OpenInput {
    fn read(&mut self, now: &dyn Fn() -> u64) -> Result<Sensed, ReadError> {
        let begin = now();
        let shown = self.file.read()?;
        let end = now();
        let t = u64::midpoint(begin, end);
        let count = self.power.as_mut().map_or(shown, |power| power.push(t, shown));
        let users = self.card.as_mut().map_or(Users::Cpus, |clients| clients.used_until(t));
        Ok(Sensed { begin, end, count, users })
    }
}

/// The domains of all chips that say what they measure.
///
/// # Errors
/// [`SourceError::NoHwmon`] where there is none.
pub fn domains(roots: &Roots, topology: &Topology) -> Result<Vec<Domain>, SourceError> {
    let chips = Chip::all(roots)?;
    let mut domains = cpu::domains(&chips, topology);
    for rail in meter::domains(&chips, topology) {
        // A counter is better than a sensor.
        if domains.iter().all(|d: &Domain| d.name != rail.name) {
            domains.push(rail);
        }
    }
    domains.extend(gpu::domains(&chips, &roots.procfs));
    if domains.is_empty() {
        return Err(SourceError::NoHwmon { path: roots.sys("class/hwmon") });
    }
    domains.sort_by_key(|d| !d.additive);
    Ok(domains)
}

/// What its kind of sensor is known for.
struct Class {
    period_ns: u64,
    ratio: f64,
    max_watts: f64,
}

/// A domain of an energy input, µJ in 64 bits.
///
/// `amd_energy`, `i915` and `xe` add up their 32-bit registers themselves; where a driver starts again from
/// zero (`amd_energy` after about 281 MJ) that window is void.
fn energy(name: String, scope: Scope, input: HwmonInput, class: &Class) -> Domain {
    Domain {
        name,
        source: SOURCE.to_owned(),
        quality: Quality::Measured,
        additive: true,
        scope,
        joules_per_count: 1e-6,
        range: Range::Bits(64),
        period_ns: class.period_ns,
        // 2^-14 J, the coarsest unit of these registers.
        quantum_nj: 61_036,
        max_watts: class.max_watts,
        idle_watts: None,
        idle_error_watts: None,
        class_ratio: class.ratio,
        reading: Reading::Polled(Polled::Hwmon(input)),
    }
}

/// A domain of a power input, integrated.
fn power(name: String, scope: Scope, input: HwmonInput, class: &Class) -> Domain {
    Domain {
        quality: Quality::Integrated,
        joules_per_count: 1e-9,
        quantum_nj: 1,
        ..energy(name, scope, input, class)
    }
}

/// Two readings of a sensor of this period may be this far apart: more than that is a gap.
pub(super) fn longest_gap_ns(period_ns: u64) -> u64 {
    period_ns.saturating_mul(2).saturating_add(1_000_000_000)
}

#[cfg(test)]
mod tests;

//! Batteries: what the whole machine draws, while nothing charges it.
//!
//! `power_now` (µW), or `current_now` (µA) × `voltage_now` (µV), integrated. Some drivers show what leaves
//! the battery as negative numbers: `status` says the direction, the numbers only how much. All
//! system batteries are summed; while one is not discharging there is no reading, except that an
//! idle second battery (`Full`, `Not charging`, `Unknown`) adds nothing as long as another discharges. Batteries of
//! peripherals (`scope` is `Device`: mice, tablets' pens) are not the machine's.
//! Facility: `/sys/class/power_supply/*` (sysfs-class-power).

use std::fmt;
use std::path::{Path, PathBuf};

use super::hwmon::{longest_gap_ns, text};
use super::integrate::Integrator;
use super::{
    Domain, Polled, Quality, Range, ReadError, Reading, Scope, Sensed, Sensor, SourceError, Users,
};
use crate::roots::Roots;

/// The label of this domain.
pub const SOURCE: &str = "battery";
/// Fuel gauges average over seconds, which is not published; `acpi_battery` itself keeps a value a second.
const PERIOD_NS: u64 = 4_000_000_000;
/// Relative error: fuel gauges are made to know the charge, not the power.
const RATIO: f64 = 0.10;
/// Batteries one machine can plausibly have, and entries looked at.
const MOST: usize = 16;
const ENTRIES: usize = 256;
/// More power from a battery is garbage, µW: 10 kW.
const MOST_UW: u64 = 10_000_000_000;

/// The batteries of the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batteries {
    /// Their directories.
    pub dirs: Vec<PathBuf>,
}

impl fmt::Display for Batteries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("power integrated from ")?;
        for (i, dir) in self.dirs.iter().enumerate() {
            write!(f, "{}{}", if i > 0 { " + " } else { "" }, dir.display())?;
        }
        f.write_str(" while discharging")
    }
}

impl Batteries {
    /// Reads them once, so that a charger shows at once.
    ///
    /// # Errors
    /// [`ReadError`], by what helps against it.
    pub fn open(&self) -> Result<OpenBatteries, ReadError> {
        let batteries = OpenBatteries {
            batteries: self.clone(),
            power: Integrator::new(longest_gap_ns(PERIOD_NS)),
        };
        batteries.batteries.microwatts().map(|_| batteries)
    }

    /// What they give together.
    fn microwatts(&self) -> Result<u64, ReadError> {
        let mut sum = None;
        let mut idle = None;
        for dir in &self.dirs {
            let path = dir.join("status");
            match text(&path).as_deref() {
                Some("Discharging") => {
                    sum = Some(u64::saturating_add(sum.unwrap_or(0), microwatts(dir)?));
                }
                Some(found @ ("Full" | "Not charging" | "Unknown")) => {
                    idle = Some(ReadError::OnMains { path, found: found.into() });
                }
                Some("Charging") => {
                    return Err(ReadError::OnMains { path, found: "Charging".into() });
                }
                Some(found) => {
                    let found = crate::topology::excerpt(found);
                    return Err(ReadError::NoPower { path, found });
                }
                None => return Err(ReadError::Vanished { path }),
            }
        }
        match (sum, self.dirs.first()) {
            // No machine draws nothing: the gauge does not measure.
            (Some(0), Some(dir)) => {
                Err(ReadError::NoPower { path: dir.join("power_now"), found: "0 µW".into() })
            }
            (Some(sum), _) => Ok(sum),
            (None, _) => {
                Err(idle.unwrap_or_else(|| ReadError::Vanished { path: "power_supply".into() }))
            }
        }
    }
}

/// What one battery gives.
fn microwatts(dir: &Path) -> Result<u64, ReadError> {
    let power = dir.join("power_now");
    if power.exists() {
        return magnitude(&power).and_then(|uw| bounded(power, u128::from(uw)));
    }
    let path = dir.join("current_now");
    // Microamperes × microvolts are picowatts.
    let uw = u128::from(magnitude(&path)?) * u128::from(magnitude(&dir.join("voltage_now"))?);
    bounded(path, uw / 1_000_000)
}

fn bounded(path: PathBuf, uw: u128) -> Result<u64, ReadError> {
    match u64::try_from(uw) {
        Ok(uw) if uw <= MOST_UW => Ok(uw),
        _ => Err(ReadError::NoPower { path, found: format!("{uw} µW") }),
    }
}

/// A number, whatever its sign.
fn magnitude(path: &Path) -> Result<u64, ReadError> {
    let Some(found) = text(path) else {
        return Err(ReadError::Vanished { path: path.into() });
    };
    found.parse::<i64>().map(i64::unsigned_abs).map_err(|_| ReadError::NoPower {
        path: path.into(),
        found: crate::topology::excerpt(&found),
    })
}

/// The batteries, open; counts are nanojoules.
#[derive(Debug)]
pub struct OpenBatteries {
    batteries: Batteries,
    power: Integrator,
}

impl Sensor for OpenBatteries {
    fn read(&mut self, now: &dyn Fn() -> u64) -> Result<Sensed, ReadError> {
        let begin = now();
        let shown = self.batteries.microwatts();
        let end = now();
        if matches!(shown, Err(ReadError::OnMains { .. })) {
            // However short: nothing is known of that time.
            self.power.missed();
        }
        let count = self.power.push(u64::midpoint(begin, end), shown?);
        Ok(Sensed { begin, end, count, users: Users::Cpus })
    }
}

/// The one domain of all system batteries.
///
/// # Errors
/// [`SourceError::NoBattery`] where there is none.
pub fn domains(roots: &Roots) -> Result<Vec<Domain>, SourceError> {
    let class = roots.sys("class/power_supply");
    let entries = std::fs::read_dir(&class).into_iter().flatten().flatten().take(ENTRIES);
    let mut dirs: Vec<_> = entries.map(|e| e.path()).filter(|dir| of_system(dir)).collect();
    dirs.sort();
    dirs.truncate(MOST);
    if dirs.is_empty() {
        return Err(SourceError::NoBattery { path: class });
    }
    Ok(vec![Domain {
        name: "battery".to_owned(),
        source: SOURCE.to_owned(),
        quality: Quality::Integrated,
        additive: true,
        scope: Scope::Machine,
        joules_per_count: 1e-9,
        range: Range::Bits(64),
        period_ns: PERIOD_NS,
        quantum_nj: 1,
        max_watts: 10_000.0,
        idle_watts: None,
        idle_error_watts: None,
        class_ratio: RATIO,
        reading: Reading::Polled(Polled::Battery(Batteries { dirs })),
    }])
}

fn of_system(dir: &Path) -> bool {
    text(&dir.join("type")).as_deref() == Some("Battery")
        && text(&dir.join("scope")).as_deref() != Some("Device")
        && text(&dir.join("present")).as_deref() != Some("0")
}

#[cfg(test)]
mod tests;

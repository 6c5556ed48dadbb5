//! Counters that user space reads: how one is described, opened and read.
//!
//! A [`Polled`] is plain data in a [`super::Domain`]; a [`Sensor`] is the open thing. A reading is an
//! interval, begin to end, not an instant. A failed read is a [`ReadError`] with its reason, never a
//! zero. Sensors know nothing of targets: of a device they say which *processes* used it.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::battery::{self, Batteries};
use super::hwmon::{self, HwmonInput};
use super::nvml::{self, Gpu};
use super::{PowercapZone, Split};
use crate::files;
use crate::topology::excerpt;

/// A counter that user space reads.
#[derive(Clone, Debug, PartialEq)]
pub enum Polled {
    /// A powercap zone.
    Powercap(PowercapZone),
    /// A GPU of NVIDIA's.
    Nvml(Gpu),
    /// An input of a hwmon chip.
    Hwmon(HwmonInput),
    /// All batteries of the machine.
    Battery(Batteries),
}

impl Polled {
    /// Opens it and reads it once, so that a missing permission shows at once.
    ///
    /// # Errors
    /// [`ReadError`], by what helps against it.
    pub fn open(&self) -> Result<Box<dyn Sensor>, ReadError> {
        Ok(match self {
            Self::Powercap(zone) => Box::new(zone.open()?),
            // Read already when it was found, on a thread that may hang.
            Self::Nvml(gpu) => Box::new(gpu.open()),
            Self::Hwmon(input) => Box::new(input.open()?),
            Self::Battery(batteries) => Box::new(batteries.open()?),
        })
    }

    /// Whether every process of the machine must be in sight to say who uses it.
    #[must_use]
    pub fn needs_sight(&self) -> bool {
        matches!(self, Self::Hwmon(input) if input.card.is_some())
    }

    /// How it is read.
    #[must_use]
    pub fn pace(&self) -> Pace {
        match self {
            Self::Powercap(_) => Pace::Loop,
            Self::Nvml(gpu) => {
                Pace::Thread { group: format!("nvml-{}", gpu.index), every_ns: nvml::EVERY_NS }
            }
            Self::Hwmon(input) => Pace::Thread { group: input.group(), every_ns: hwmon::EVERY_NS },
            Self::Battery(_) => {
                Pace::Thread { group: battery::SOURCE.to_owned(), every_ns: hwmon::EVERY_NS }
            }
        }
    }
}

impl fmt::Display for Polled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Powercap(zone) => write!(f, "read from {}", zone.path.display()),
            Self::Nvml(gpu) => gpu.fmt(f),
            Self::Hwmon(input) => input.fmt(f),
            Self::Battery(batteries) => batteries.fmt(f),
        }
    }
}

/// Who reads a sensor, and how often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pace {
    /// The engine's own loop: a read takes microseconds.
    Loop,
    /// A thread of its own for all sensors of this `group`, one device's, since a read may take long or never
    /// return: every `every_ns`.
    Thread {
        /// Its name, at most 15 bytes.
        group: String,
        /// From the beginning of one round of readings to that of the next, ns.
        every_ns: u64,
    },
}

/// An open counter.
pub trait Sensor: Send {
    /// Reads it; `now` is `CLOCK_MONOTONIC`, ns.
    ///
    /// # Errors
    /// [`ReadError`]: there is no reading, which is not a reading of zero.
    fn read(&mut self, now: &dyn Fn() -> u64) -> Result<Sensed, ReadError>;

    /// The part of the latest time, a second or less, that a device was busy, whoever used it; `None` where nothing says so.
    fn busy(&mut self) -> Option<f64> {
        None
    }
}

/// What one read gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sensed {
    /// Before the read, ns.
    pub begin: u64,
    /// After it, ns.
    pub end: u64,
    /// The raw counter.
    pub count: u64,
    /// Who used what it covers since the read before.
    pub users: Users,
}

impl Sensed {
    /// The instant the reading stands for.
    #[must_use]
    pub fn t(&self) -> u64 {
        u64::midpoint(self.begin, self.end)
    }
}

/// Who used what a counter covers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Users {
    /// Whoever was on its CPUs: the clocks tell.
    #[default]
    Cpus,
    /// How it is known, and who: processes (tgid), each with its time on the device since the read before, ns.
    Device(Split, Vec<(u32, u64)>),
}

/// Why there is no reading.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// EACCES or EPERM.
    #[error("no permission to read {}; run as root (the kernel keeps it from others since 5.10)", path.display())]
    Permission {
        /// The file.
        path: PathBuf,
    },
    /// ENOENT or ENODEV.
    #[error("{} is gone; its driver was unloaded (RAPL's is intel_rapl_msr), load it again or choose another source", path.display())]
    Vanished {
        /// The file.
        path: PathBuf,
    },
    /// Not a number, or larger than the range.
    #[error("{} holds {found:?}, not a whole number up to {max_uj}; its driver is broken: choose another source", path.display())]
    Garbage {
        /// The file.
        path: PathBuf,
        /// Its beginning.
        found: String,
        /// The largest value there can be.
        max_uj: u64,
    },
    /// A GPU that does not answer as it should.
    #[error("GPU {index} cannot be read: {what}; look for Xid errors in the kernel's log")]
    Gpu {
        /// Its index.
        index: u32,
        /// What the driver said.
        what: String,
    },
    /// A battery that is not what the machine lives on.
    #[error("{} says {found:?}: the battery does not show what the machine draws; unplug the charger, or choose another source", path.display())]
    OnMains {
        /// Its `status`.
        path: PathBuf,
        /// What it says.
        found: String,
    },
    /// No plausible power, or no known status of a battery.
    #[error("{} holds {found:?}, which is no power a battery gives; choose another source", path.display())]
    NoPower {
        /// The file.
        path: PathBuf,
        /// Its beginning.
        found: String,
    },
    /// Anything else.
    #[error("cannot read {}: {source}; choose another source", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

impl ReadError {
    /// Sorts what the kernel said of a file by what helps against it.
    pub(super) fn of(path: &Path, source: io::Error) -> Self {
        let path = path.to_path_buf();
        match source.raw_os_error() {
            Some(libc::EACCES | libc::EPERM) => Self::Permission { path },
            Some(libc::ENOENT | libc::ENODEV | libc::ENXIO) => Self::Vanished { path },
            _ => Self::Io { path, source },
        }
    }
}

/// An open file that holds one number.
#[derive(Debug)]
pub(super) struct NumberFile {
    file: File,
    path: PathBuf,
    /// A larger number is garbage.
    max: u64,
}

impl NumberFile {
    pub(super) fn open(path: &Path, max: u64) -> Result<Self, ReadError> {
        let file = files::open(path).map_err(|e| ReadError::of(path, e))?;
        Ok(Self { file, path: path.into(), max })
    }

    pub(super) fn read(&self) -> Result<u64, ReadError> {
        let mut text = [0_u8; 32];
        let path = &self.path;
        let read = self.file.read_at(&mut text, 0).map_err(|e| ReadError::of(path, e))?;
        let text = text.get(..read).unwrap_or_default();
        parse_number(text).filter(|&n| n <= self.max).ok_or_else(|| ReadError::Garbage {
            path: path.clone(),
            found: excerpt(&String::from_utf8_lossy(text)),
            max_uj: self.max,
        })
    }
}

/// Decimal digits and at most one newline.
#[must_use]
pub(super) fn parse_number(text: &[u8]) -> Option<u64> {
    let digits = text.strip_suffix(b"\n").unwrap_or(text);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn read_errors_are_told_apart_by_what_helps() {
        let error = |errno| ReadError::of(Path::new("/x"), io::Error::from_raw_os_error(errno));
        assert!(matches!(error(libc::ENODEV), ReadError::Vanished { .. }));
        assert!(error(libc::EACCES).to_string().contains("run as root"));
        assert!(matches!(error(libc::EIO), ReadError::Io { .. }));
    }

    #[test]
    fn a_number_is_digits_and_at_most_one_newline() {
        assert_eq!(parse_number(b"262143328850\n"), Some(262_143_328_850));
        assert_eq!(parse_number(b"12\n\n"), None);
        assert_eq!(parse_number(b"-1"), None);
        assert_eq!(parse_number(b""), None);
        assert_eq!(parse_number(&[0xff; 32]), None);
        assert_eq!(parse_number(b"18446744073709551616"), None);
    }
}

//! Idle power that was measured before: what `wattprobe calibrate` keeps and `attach` reads.
//!
//! The file belongs to one machine. That is told by a keyed hash of its machine id (`/etc/machine-id`, found through
//! procfs' `1/root` so that another root has another machine), never by the id itself, and by its CPU: a disk may be moved into
//! another chassis. Idle power belongs to the machine and the source, not to a boot: it holds after a restart, but not for ever
//! ([`STALE`]). Knows nothing of how it was measured. The file is hostile input.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::files;
use crate::roots::Roots;
use crate::source::{Domain, Reading, model};
use crate::topology::excerpt;

/// Version of the file's shape.
pub const SCHEMA: u32 = 1;
/// A calibration older than this is to be told of: fans age, firmware is updated, memory is added.
pub const STALE: Duration = Duration::from_secs(90 * 24 * 3600);
/// Where root keeps it.
const SYSTEM: &str = "/var/lib/wattprobe/calibration.json";
/// More than any machine has domains for.
const MOST: u64 = 1 << 20;
/// No machine idles at more, W.
const MOST_WATTS: f64 = 100_000.0;
/// What the hash of the machine id is keyed with.
const CONTEXT: &str = "wattprobe calibration host id v1";

/// Idle power of the domains of one machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Hash of the machine id.
    pub host: String,
    /// The CPU, as vendor, family and model.
    pub cpu: Option<String>,
    /// Kernel release.
    pub kernel: Option<String>,
    /// When, RFC 3339.
    pub date: String,
    /// Version of wattprobe.
    pub version: String,
    /// How long it was measured, s.
    pub seconds: f64,
    /// Part of the CPUs' time that was busy meanwhile; null if that is not known.
    pub busy: Option<f64>,
    /// By domain and source.
    pub domains: Vec<IdleDomain>,
}

/// Idle power of one domain.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct IdleDomain {
    /// Its name.
    pub domain: String,
    /// What read it.
    pub source: String,
    /// What a count of it was taken for, J: under another scale its watts are others.
    pub joules_per_count: f64,
    /// Mean power, W.
    pub watts: f64,
    /// Half of the 95 % interval of the mean, W.
    pub error_watts: f64,
    /// Intervals that the mean is of.
    pub intervals: u64,
}

/// Why there is no calibration.
#[derive(Debug, thiserror::Error)]
pub enum CalibrationError {
    /// The machine has no id.
    #[error("no machine id: {} cannot be read ({source}); run as root, or systemd-machine-id-setup", path.display())]
    NoHost {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// It cannot be read.
    #[error("cannot read the calibration {}: {source}; run wattprobe calibrate, or name another file", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// It is none.
    #[error("{} is no calibration ({why}); run wattprobe calibrate again", path.display())]
    Garbage {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// It is another machine's.
    #[error("the calibration {} of {date} is of another machine; run wattprobe calibrate here", path.display())]
    OtherHost {
        /// The file.
        path: PathBuf,
        /// When it was measured.
        date: Timestamp,
    },
    /// The machine has another CPU now.
    #[error("the calibration {} of {date} is of another CPU ({was:?}; this is {is:?}); run wattprobe calibrate again", path.display())]
    OtherCpu {
        /// The file.
        path: PathBuf,
        /// When it was measured.
        date: Timestamp,
        /// The CPU that it was measured with.
        was: String,
        /// The CPU there is.
        is: String,
    },
    /// Nothing idles at that.
    #[error(
        "{domain}: {watts} W ±{error} W is no machine's idle power (at most {MOST_WATTS} W); choose another source with --source, or its true scale"
    )]
    Absurd {
        /// Its name.
        domain: String,
        /// Power.
        watts: f64,
        /// Half of its interval.
        error: f64,
    },
    /// It cannot be written.
    #[error("cannot keep the calibration in {}: {source}; choose a file with --output", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

/// Where it is kept if nobody says otherwise: the system's place for root, else the user's own state directory. `None`: the user
/// has no home.
#[must_use]
pub fn default_path(root: bool, state: Option<PathBuf>, home: Option<PathBuf>) -> Option<PathBuf> {
    if root {
        return Some(SYSTEM.into());
    }
    let state = state.filter(|dir| dir.is_absolute());
    let state = state.or_else(|| home.map(|home| home.join(".local/state")))?;
    Some(state.join("wattprobe/calibration.json"))
}

/// The machine's hash.
///
/// # Errors
/// When it has no id, or it cannot be read.
pub fn host(roots: &Roots) -> Result<String, CalibrationError> {
    let path = roots.proc("1/root/etc/machine-id");
    let read = files::beginning(&path, 64).or_else(|error| {
        // Only root may look through another process's root.
        let own = roots.procfs == Path::new("/proc");
        if own { files::beginning(Path::new("/etc/machine-id"), 64) } else { Err(error) }
    });
    let id = read.map_err(|source| CalibrationError::NoHost { path: path.clone(), source })?;
    let id = id.trim();
    if id.is_empty() {
        let source = io::Error::other("it is empty");
        return Err(CalibrationError::NoHost { path, source });
    }
    let hash = blake3::derive_key(CONTEXT, id.as_bytes());
    Ok(hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect())
}

impl Calibration {
    /// Reads the calibration of this machine and its CPU; `None` if there is no file. Where it is not known which CPU it was or
    /// is, that is not asked.
    ///
    /// # Errors
    /// When what is there cannot be used.
    pub fn read(path: &Path, roots: &Roots) -> Result<Option<Self>, CalibrationError> {
        let text = match files::beginning(path, MOST) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(CalibrationError::Read { path: path.into(), source }),
        };
        let garbage = |why: String| CalibrationError::Garbage { path: path.into(), why };
        let found: Self = serde_json::from_str(&text).map_err(|e| garbage(e.to_string()))?;
        if found.schema != SCHEMA {
            return Err(garbage(format!("schema {} is not {SCHEMA}", found.schema)));
        }
        if found.absurd().is_some() {
            return Err(garbage("a power is out of range".to_owned()));
        }
        let date = found.date.parse().map_err(|_| garbage("its date is none".to_owned()))?;
        if found.host != host(roots)? {
            return Err(CalibrationError::OtherHost { path: path.into(), date });
        }
        let cpu = model::CpuId::read(roots).map(|id| id.to_string());
        if let (Some(was), Some(is)) = (&found.cpu, cpu)
            && *was != is
        {
            let (path, was) = (path.into(), excerpt(was));
            return Err(CalibrationError::OtherCpu { path, date, was, is });
        }
        Ok(Some(found))
    }

    /// A domain whose power no machine has.
    fn absurd(&self) -> Option<&IdleDomain> {
        let power = |watts: f64| (0.0..=MOST_WATTS).contains(&watts);
        self.domains.iter().find(|d| !power(d.watts) || !power(d.error_watts))
    }

    /// Gives the domains it fits their idle power. Returns their names. The model's idle power is published and stays.
    pub fn apply(&self, domains: &mut [Domain]) -> Vec<String> {
        let mut named = Vec::new();
        for domain in domains {
            let fits = |c: &&IdleDomain| {
                c.domain == domain.name
                    && c.source == domain.source
                    && c.joules_per_count.to_bits() == domain.joules_per_count.to_bits()
            };
            let Some(found) = self.domains.iter().find(fits) else { continue };
            if matches!(domain.reading, Reading::Model(_) | Reading::Cores(_)) {
                continue;
            }
            domain.idle_watts = Some(found.watts);
            domain.idle_error_watts = Some(found.error_watts);
            named.push(domain.name.clone());
        }
        named
    }

    /// Keeps it: all of it or nothing is there, whatever happens meanwhile. What could not be read again is not written.
    ///
    /// # Errors
    /// When a power is absurd, or the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), CalibrationError> {
        if let Some(IdleDomain { domain, watts, error_watts, .. }) = self.absurd() {
            let (domain, watts, error) = (domain.clone(), *watts, *error_watts);
            return Err(CalibrationError::Absurd { domain, watts, error });
        }
        let error = |source| CalibrationError::Write { path: path.into(), source };
        let mut bytes = serde_json::to_vec_pretty(self).map_err(|e| error(e.into()))?;
        bytes.push(b'\n');
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
        if let Some(dir) = dir {
            fs::create_dir_all(dir).map_err(error)?;
        }
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.new", std::process::id()));
        let new = path.with_file_name(name);
        let written = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o644)
            .open(&new)
            .and_then(|mut file| file.write_all(&bytes).and_then(|()| file.sync_all()))
            .and_then(|()| fs::rename(&new, path));
        written.map_err(|source| {
            // What is left of it helps nobody; that it stays is no second failure.
            let _ = fs::remove_file(&new);
            error(source)
        })
    }
}

#[cfg(test)]
mod tests;

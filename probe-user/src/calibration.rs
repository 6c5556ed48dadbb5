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
mod tests {
    use super::*;

    fn machine(id: &str) -> (tempfile::TempDir, Roots) {
        let dir = tempfile::tempdir().unwrap();
        let etc = dir.path().join("proc/1/root/etc");
        fs::create_dir_all(&etc).unwrap();
        fs::write(etc.join("machine-id"), id).unwrap();
        let (sysfs, procfs) = (dir.path().join("sys"), dir.path().join("proc"));
        (dir, Roots { sysfs, procfs, nvml: None })
    }

    fn calibration(roots: &Roots) -> Calibration {
        Calibration {
            schema: SCHEMA,
            host: host(roots).unwrap(),
            cpu: None,
            kernel: None,
            date: "2026-01-01T00:00:00Z".into(),
            version: "0".into(),
            seconds: 10.0,
            busy: Some(0.001),
            domains: vec![IdleDomain {
                domain: "package-0".into(),
                source: "rapl-powercap".into(),
                joules_per_count: 1e-6,
                watts: 12.5,
                error_watts: 0.1,
                intervals: 20,
            }],
        }
    }

    #[test]
    fn what_was_kept_is_read_again_and_the_id_is_not_in_it() {
        let (dir, roots) = machine("0123456789abcdef0123456789abcdef\n");
        let path = dir.path().join("a/b/calibration.json");
        assert_eq!(Calibration::read(&path, &roots).unwrap(), None);
        let kept = calibration(&roots);
        kept.write(&path).unwrap();
        kept.write(&path).unwrap();
        assert_eq!(Calibration::read(&path, &roots).unwrap(), Some(kept));
        assert!(!fs::read_to_string(&path).unwrap().contains("0123456789abcdef"));
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn idle_power_is_given_to_the_domain_that_it_was_measured_of_under_the_scale_that_it_had() {
        let (_dir, roots) = machine("a");
        let tree = crate::source::testing::Tree::new().cpus(&[0]);
        let some = model::domains(&model::lookup(None), &tree.topology()).remove(0);
        let counter = Reading::Kernel(crate::source::PerfEvent {
            pmu: "power".into(),
            event: "energy-pkg".into(),
            type_: 1,
            config: [0; 4],
            cpu: 0,
            package: 0,
            named: true,
        });
        let domain = |source: &str, joules_per_count| Domain {
            source: source.into(),
            joules_per_count,
            reading: counter.clone(),
            ..some.clone()
        };
        let mut domains = [
            domain("rapl-powercap", 1e-6),
            domain("rapl-powercap", 2e-6),
            domain("rapl-perf", 1e-6),
        ];
        assert_eq!(calibration(&roots).apply(&mut domains), ["package-0"]);
        assert_eq!(domains[0].idle_watts, Some(12.5));
        assert!(domains[1..].iter().all(|domain| domain.idle_watts != Some(12.5)));
    }

    #[test]
    fn another_machine_s_and_a_hostile_file_are_one_line() {
        let (dir, roots) = machine("a");
        let path = dir.path().join("c.json");
        calibration(&roots).write(&path).unwrap();
        let (_other, others) = machine("b");
        let error = Calibration::read(&path, &others).unwrap_err().to_string();
        assert!(error.contains("2026-01-01T00:00:00Z is of another machine"), "{error}");
        let good = fs::read_to_string(&path).unwrap();
        for text in [
            "",
            "{",
            "[[[[[[",
            "\u{0}",
            &good.replace("12.5", "-1"),
            &good.replace("12.5", "1e300"),
            &good.replace("2026-01-01T00:00:00Z", "\\u001b[2J"),
        ] {
            fs::write(&path, text).unwrap();
            let error = Calibration::read(&path, &roots).unwrap_err().to_string();
            assert!(error.contains("is no calibration") && !error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn another_cpu_s_is_refused_and_one_that_nobody_knows_is_not() {
        let (dir, roots) = machine("a");
        let path = dir.path().join("c.json");
        let kept = Calibration {
            cpu: Some("AuthenticAMD family 25 model 17".into()),
            ..calibration(&roots)
        };
        kept.write(&path).unwrap();
        assert_eq!(Calibration::read(&path, &roots).unwrap().as_ref(), Some(&kept), "no cpuinfo");
        let tree = probe_lab::fakeroot::FakeRoot::new(dir.path());
        tree.cpuinfo("AuthenticAMD", 25, 17, 1).unwrap();
        assert_eq!(Calibration::read(&path, &roots).unwrap().as_ref(), Some(&kept));
        tree.cpuinfo("AuthenticAMD", 26, 2, 1).unwrap();
        let error = Calibration::read(&path, &roots).unwrap_err().to_string();
        assert!(error.contains("of 2026-01-01T00:00:00Z is of another CPU"), "{error}");
        assert!(error.contains("model 17") && error.contains("family 26 model 2"), "{error}");
        calibration(&roots).write(&path).unwrap();
        assert!(Calibration::read(&path, &roots).unwrap().is_some(), "it was not known then");
    }

    #[test]
    fn an_absurd_power_does_not_take_the_place_of_a_good_calibration() {
        let (dir, roots) = machine("a");
        let path = dir.path().join("c.json");
        let good = calibration(&roots);
        good.write(&path).unwrap();
        for (watts, error_watts) in [(1e12, 0.1), (12.5, 1e12), (f64::NAN, 0.1), (-1.0, 0.1)] {
            let mut absurd = good.clone();
            (absurd.domains[0].watts, absurd.domains[0].error_watts) = (watts, error_watts);
            let error = absurd.write(&path).unwrap_err().to_string();
            assert!(error.starts_with("package-0: ") && error.contains("; choose"), "{error}");
        }
        assert_eq!(Calibration::read(&path, &roots).unwrap(), Some(good));
    }

    #[test]
    fn others_than_root_keep_it_in_their_own_state_directory() {
        let path = |root, state: &str, home: &str| {
            let some = |text: &str| (!text.is_empty()).then(|| PathBuf::from(text));
            default_path(root, some(state), some(home)).map(|path| path.display().to_string())
        };
        assert_eq!(path(true, "/s", "/h").unwrap(), SYSTEM);
        assert_eq!(path(false, "/s", "/h").unwrap(), "/s/wattprobe/calibration.json");
        assert_eq!(path(false, "s", "/h").unwrap(), "/h/.local/state/wattprobe/calibration.json");
        assert_eq!(path(false, "", ""), None);
    }
}

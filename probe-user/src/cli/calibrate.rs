//! `wattprobe calibrate`: measures what every domain draws while nobody runs, and keeps it.
//!
//! The counters are read from user space, twenty intervals of them (`measured`); nothing is attached to the kernel. How well
//! the mean is known is said in `idle_error`. A machine that was not quiet (`quiet`) measures nothing that may be
//! called idle: that is refused unless `--force` is given. The model is left out (its idle power is published), and so are
//! counters of single cores (the probe sees itself when nobody is on a core).

mod idle_error;
mod measured;
mod quiet;

use std::fmt::Write;
use std::path::PathBuf;
use std::time::Duration;

use self::measured::Measured;
pub(in crate::cli) use self::quiet::QUIET;
use self::quiet::{busy, busy_share};
use super::args::CalibrateArgs;
use super::emit;
use super::exit::{Classify, ExitStatus, Failure};
use super::log::Log;
use crate::calibration::{self, Calibration, CalibrationError, SCHEMA};
use crate::clock::Clock;
use crate::files;
use crate::privilege;
use crate::roots::Roots;
use crate::source::{model, select};
use crate::topology::Topology;

/// Intervals of a measurement; a mean of 20 has a 95 % interval of 2.1 standard errors.
const INTERVALS: u32 = 20;
/// How often devices' drivers are asked how busy they are: their answers cover a sixth of a second or more (`nvmlUtilization_t`).
const LOOK: Duration = Duration::from_millis(100);

/// Why idle power was not measured.
#[derive(Debug, thiserror::Error)]
pub enum CalibrateError {
    /// Nothing to measure.
    #[error("no domain has a counter whose idle power could be measured; see wattprobe doctor")]
    Nothing,
    /// Somebody ran.
    #[error("the CPUs were busy for {:.1} % of the time, more than {:.0} %: that is not idle; stop what runs, or add --force", .0 * 100.0, QUIET * 100.0)]
    Busy(f64),
    /// It is not known whether somebody ran.
    #[error("{} does not say how busy the CPUs were; add --force if they were not", .0.display())]
    Unknown(PathBuf),
    /// Somebody used a device.
    #[error("{domain} was used for {:.1} % of the time, more than {:.0} %: that is not idle; stop who uses it, leave its source out, or add --force", .share * 100.0, QUIET * 100.0)]
    DeviceBusy {
        /// Its name.
        domain: String,
        /// For which part of the time.
        share: f64,
    },
    /// It is not known whether somebody used a device.
    #[error(
        "{domain}: somebody may be on it, and nothing tells whether it was used; stop who uses it, leave its source out, \
         or add --force if it was not"
    )]
    DeviceUnknown {
        /// Its name.
        domain: String,
    },
    /// A counter that cannot stand still did.
    #[error(
        "{domain}: the counter did not move in {seconds:.0} s; choose another source with --source, see wattprobe doctor"
    )]
    Still {
        /// Its name.
        domain: String,
        /// For how long it was watched.
        seconds: f64,
    },
    /// A counter gave nothing.
    #[error(
        "{domain}: the counter could not be read throughout ({why}); choose another source with --source"
    )]
    Read {
        /// Its name.
        domain: String,
        /// What happened.
        why: String,
    },
    /// There is no place to keep it.
    #[error("there is no home directory to keep the calibration in; choose a file with --output")]
    NoPlace,
}

impl Classify for CalibrateError {
    fn status(&self) -> ExitStatus {
        match self {
            Self::Nothing => ExitStatus::Unsupported,
            Self::Busy(_)
            | Self::Unknown(_)
            | Self::DeviceBusy { .. }
            | Self::DeviceUnknown { .. }
            | Self::Still { .. } => ExitStatus::Invalid,
            Self::Read { .. } => ExitStatus::Failed,
            Self::NoPlace => ExitStatus::Usage,
        }
    }
}

impl Classify for CalibrationError {
    fn status(&self) -> ExitStatus {
        match self {
            Self::Absurd { .. } => ExitStatus::Invalid,
            _ => ExitStatus::Failed,
        }
    }
}

/// Where the calibration is if nobody says otherwise.
pub(super) fn place() -> Option<PathBuf> {
    let root = rustix::process::geteuid().is_root();
    let var = |name| std::env::var_os(name).map(PathBuf::from);
    calibration::default_path(root, var("XDG_STATE_HOME"), var("HOME"))
}

/// Measures, keeps, prints.
///
/// # Errors
/// When the machine was not quiet, or a counter or the file cannot be used.
pub fn run(args: &CalibrateArgs, roots: &Roots, log: Log) -> Result<ExitStatus, Failure> {
    let path = match &args.output {
        Some(path) => path.clone(),
        None => place().ok_or(CalibrateError::NoPlace)?,
    };
    let host = calibration::host(roots)?;
    let topology = Topology::read(roots)?;
    let selection = select(roots, &topology, &args.source)?;
    let clock = Clock::start();
    // Where procfs does not say what is held, nobody is taken to be hidden.
    let [.., all] = privilege::SIGHT;
    let sight = privilege::held(roots).is_none_or(|held| held.contains(all));
    let mut measured = Vec::new();
    for domain in &selection.domains {
        measured.extend(Measured::open(domain, clock, sight)?);
    }
    if measured.is_empty() {
        return Err(CalibrateError::Nothing.into());
    }
    log.info(&format!("measuring {} domains, leave the machine alone", measured.len()));
    let before = busy(roots);
    let begin = clock.now();
    measure(args.duration / INTERVALS, clock, &mut measured)?;
    let share = before.zip(busy(roots)).and_then(|(from, to)| busy_share(from, to));
    if !args.force {
        quiet(share, &measured, roots)?;
    }
    // Where nobody says, the user did: they were not busy.
    let busy_cpus = share.unwrap_or(QUIET) * topology.online().count() as f64;
    let release = files::text(&roots.proc("sys/kernel/osrelease")).ok();
    let found = Calibration {
        schema: SCHEMA,
        host,
        cpu: model::CpuId::read(roots).map(|id| id.to_string()),
        kernel: release.map(|text| text.trim().to_owned()),
        date: clock.rfc3339(clock.now()),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        seconds: (clock.now() - begin) as f64 / 1e9,
        busy: share,
        domains: measured.iter().map(|one| one.idle(busy_cpus)).collect::<Result<_, _>>()?,
    };
    found.write(&path)?;
    log.info(&format!("kept in {}", path.display()));
    let mut out = String::new();
    if args.json {
        out = serde_json::to_string_pretty(&found)
            .map_err(|e| Failure::new(ExitStatus::Failed, e))?;
        out.push('\n');
    } else {
        for d in &found.domains {
            // Writing to a string cannot fail.
            let _ = writeln!(
                out,
                "{}: {:.3} W idle ±{:.3} W ({})",
                d.domain, d.watts, d.error_watts, d.source
            );
        }
    }
    emit(out.as_bytes())?;
    Ok(ExitStatus::Done)
}

/// All intervals, of so long each; between their ends looks whether devices are busy.
fn measure(
    every: Duration,
    clock: Clock,
    measured: &mut [Measured<'_>],
) -> Result<(), CalibrateError> {
    let begin = clock.now();
    for interval in 1..=INTERVALS {
        loop {
            let passed = Duration::from_nanos(clock.now().saturating_sub(begin));
            let left = (every * interval).saturating_sub(passed);
            if left.is_zero() {
                break;
            }
            std::thread::sleep(left.min(LOOK));
            measured.iter_mut().for_each(Measured::look);
        }
        measured.iter_mut().try_for_each(|one| one.step(clock))?;
    }
    Ok(())
}

/// Whether nobody ran, on the CPUs or on a device.
fn quiet(
    share: Option<f64>,
    measured: &[Measured<'_>],
    roots: &Roots,
) -> Result<(), CalibrateError> {
    match share {
        Some(share) if share > QUIET => return Err(CalibrateError::Busy(share)),
        Some(_) => {}
        None => return Err(CalibrateError::Unknown(roots.proc("stat"))),
    }
    measured.iter().try_for_each(Measured::quiet)
}

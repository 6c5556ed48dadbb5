//! `wattprobe calibrate`: measures what every domain draws while nobody runs, and keeps it.
//!
//! The counters are read from user space, twenty intervals of them; nothing is attached to the kernel. How far the
//! intervals' mean powers are apart gives the 95 % interval. A machine that was not quiet measures nothing that may be
//! called idle: that is refused unless `--force` is given. The model is left out (its idle power is published), and so are
//! counters of single cores (the probe sees itself when nobody is on a core).

use std::fmt::Write;
use std::path::PathBuf;
use std::time::Duration;

use super::args::CalibrateArgs;
use super::emit;
use super::exit::{Classify, ExitStatus, Failure};
use super::log::Log;
use crate::calibration::{self, Calibration, CalibrationError, IdleDomain, SCHEMA};
use crate::clock::Clock;
use crate::files;
use crate::roots::Roots;
use crate::source::{Domain, OpenCounter, Range, Reading, Sensor, model, select};
use crate::topology::Topology;

/// Intervals of a measurement; a mean of 20 has a 95 % interval of 2.1 standard errors.
const INTERVALS: u32 = 20;
const STUDENT: f64 = 2.093;
/// The most that CPUs may be busy, of all their time.
const QUIET: f64 = 0.02;

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
            Self::Busy(_) | Self::Unknown(_) => ExitStatus::Invalid,
            Self::Read { .. } => ExitStatus::Failed,
            Self::NoPlace => ExitStatus::Usage,
        }
    }
}

impl Classify for CalibrationError {
    fn status(&self) -> ExitStatus {
        ExitStatus::Failed
    }
}

/// Where the calibration is if nobody says otherwise.
pub(super) fn place() -> Option<PathBuf> {
    let root = rustix::process::geteuid().is_root();
    let var = |name| std::env::var_os(name).map(PathBuf::from);
    calibration::default_path(root, var("XDG_STATE_HOME"), var("HOME"))
}

/// An open counter of either kind.
enum Open {
    Perf(OpenCounter),
    Polled(Box<dyn Sensor>),
}

/// One domain while it is measured.
struct Measured<'a> {
    domain: &'a Domain,
    open: Open,
    last: (u64, u64),
    watts: Vec<f64>,
    joules: f64,
    seconds: f64,
}

impl<'a> Measured<'a> {
    fn open(domain: &'a Domain, clock: Clock) -> Result<Option<Self>, Failure> {
        let open = match &domain.reading {
            Reading::Kernel(event) => Open::Perf(event.open().map_err(|e| failed(domain, &e))?),
            Reading::Polled(polled) => Open::Polled(polled.open().map_err(|e| failed(domain, &e))?),
            Reading::Cores(_) | Reading::Model(_) => return Ok(None),
        };
        let mut this =
            Self { domain, open, last: (0, 0), watts: vec![], joules: 0.0, seconds: 0.0 };
        this.last = this.read(clock)?;
        Ok(Some(this))
    }

    fn read(&mut self, clock: Clock) -> Result<(u64, u64), Failure> {
        match &mut self.open {
            Open::Perf(counter) => {
                let before = clock.now();
                let count = counter.read().map_err(|e| failed(self.domain, &e))?;
                Ok((u64::midpoint(before, clock.now()), count))
            }
            Open::Polled(sensor) => {
                let sensed = sensor.read(&|| clock.now()).map_err(|e| failed(self.domain, &e))?;
                Ok((sensed.t(), sensed.count))
            }
        }
    }

    /// Ends an interval.
    fn step(&mut self, clock: Clock) -> Result<(), Failure> {
        let (t, count) = self.read(clock)?;
        let ((before, from), range) = (self.last, self.domain.range);
        self.last = (t, count);
        let modulus = match range {
            Range::Bits(bits) => 1u128 << bits.min(64),
            Range::Max(most) => u128::from(most) + 1,
        };
        let counts = (u128::from(count) + modulus - u128::from(from) % modulus) % modulus;
        let seconds = t.saturating_sub(before) as f64 / 1e9;
        let joules = counts as f64 * self.domain.joules_per_count;
        if seconds <= 0.0 || joules / seconds > self.domain.max_watts {
            return Err(failed(self.domain, &"it jumped or went backwards"));
        }
        self.watts.push(joules / seconds);
        (self.joules, self.seconds) = (self.joules + joules, self.seconds + seconds);
        Ok(())
    }

    fn idle(&self) -> IdleDomain {
        let (watts, n) = (self.joules / self.seconds, self.watts.len() as f64);
        let squares: f64 = self.watts.iter().map(|w| (w - watts).powi(2)).sum();
        let spread = STUDENT * (squares / (n - 1.0) / n).sqrt();
        // At both ends the counter may be one update and one step late.
        let ends = (self.domain.period_ns as f64 * watts + self.domain.quantum_nj as f64) / 1e9;
        IdleDomain {
            domain: self.domain.name.clone(),
            source: self.domain.source.clone(),
            watts,
            error_watts: spread.hypot(ends / self.seconds),
            intervals: self.watts.len() as u64,
        }
    }
}

fn failed(domain: &Domain, why: &dyn std::fmt::Display) -> Failure {
    CalibrateError::Read { domain: domain.name.clone(), why: why.to_string() }.into()
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
    let mut measured = Vec::new();
    for domain in &selection.domains {
        measured.extend(Measured::open(domain, clock)?);
    }
    if measured.is_empty() {
        return Err(CalibrateError::Nothing.into());
    }
    log.info(&format!("measuring {} domains, leave the machine alone", measured.len()));
    let before = busy(roots);
    let every = args.duration / INTERVALS;
    let begin = clock.now();
    for interval in 1..=INTERVALS {
        let due = every * interval;
        let passed = Duration::from_nanos(clock.now() - begin);
        std::thread::sleep(due.saturating_sub(passed));
        for one in &mut measured {
            one.step(clock)?;
        }
    }
    let share = before.zip(busy(roots)).and_then(|(from, to)| busy_share(from, to));
    match share {
        _ if args.force => {}
        Some(share) if share > QUIET => return Err(CalibrateError::Busy(share).into()),
        Some(_) => {}
        None => return Err(CalibrateError::Unknown(roots.proc("stat")).into()),
    }
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
        domains: measured.iter().map(Measured::idle).collect(),
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

/// All time and idle time of all CPUs so far, clock ticks; `None` where procfs does not say.
fn busy(roots: &Roots) -> Option<(u64, u64)> {
    let text = files::beginning(&roots.proc("stat"), 1024).ok()?;
    let line = text.lines().next()?.strip_prefix("cpu ")?;
    // user nice system idle iowait irq softirq steal; guest time is in user already.
    let ticks: Option<Vec<u64>> =
        line.split_whitespace().take(8).map(|word| word.parse().ok()).collect();
    let ticks = ticks.filter(|ticks| ticks.len() >= 5)?;
    let all = ticks.iter().try_fold(0u64, |sum, t| sum.checked_add(*t))?;
    Some((all, ticks[3].checked_add(ticks[4])?))
}

/// The busy part of the time between two looks.
fn busy_share(from: (u64, u64), to: (u64, u64)) -> Option<f64> {
    let (all, idle) = (to.0.checked_sub(from.0)?, to.1.saturating_sub(from.1));
    (all > 0).then(|| all.saturating_sub(idle) as f64 / all as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn busy_time_is_what_is_neither_idle_nor_waiting() {
        assert_eq!(busy_share((1_000, 900), (2_000, 1_870)), Some(0.03));
        assert_eq!(busy_share((1_000, 900), (1_000, 900)), None);
        assert_eq!(busy_share((1_000, 900), (10, 9)), None);
    }
}

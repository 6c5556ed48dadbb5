//! A run of the probe beside burners. The burners start after the probe has attached, and it is told to end
//! after they have burnt, so all that they drew lies within what it measured, however slow the machine is.

use std::fs;
use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::burn::{BurnError, Burner, RIVAL, TARGET, named};
use super::figures::{Summary, Truths};
use super::machine::{self, MachineError};
use super::report::Findings;
use super::scenario::{Action, Deed, Load, Measure};
use super::truth::{Truth, Unreadable};
use crate::clock::Monotonic;

const PROBE: &str = "/bin/wattprobe";
const PERF: &str = "/bin/perf";
const SUMMARY: &str = "/run/summary.json";
/// The rivals burn so much before and after the target, so that it never has the machine to itself.
const EDGE: Duration = Duration::from_millis(100);
/// From the burners' end to the probe's: the counters show all of it by then.
const SETTLE: Duration = Duration::from_millis(200);
const COUNTS: &str = "/run/perf.csv";

/// Why a run came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum MeasureError {
    /// A burner.
    #[error(transparent)]
    Burn(#[from] BurnError),
    /// The machine.
    #[error(transparent)]
    Machine(#[from] MachineError),
    /// The truth.
    #[error(transparent)]
    Truth(#[from] Unreadable),
    /// A program.
    #[error("{program}: {source}; does the machine have it?")]
    Program {
        /// Its path.
        program: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// The probe.
    #[error("the probe {what}; its own words are on the console")]
    Probe {
        /// What it did.
        what: String,
    },
    /// Its summary.
    #[error(
        "the probe's summary cannot be read: {0}; the guest and the probe are not of one version"
    )]
    Summary(#[from] serde_json::Error),
    /// `perf stat`.
    #[error("perf stat wrote {found:?} where {event} should be; does the PMU have the event?")]
    Counts {
        /// The event.
        event: String,
        /// Its output.
        found: String,
    },
}

fn program(program: &'static str) -> impl FnOnce(io::Error) -> MeasureError {
    move |source| MeasureError::Program { program, source }
}

/// The truth now.
///
/// # Errors
/// When simrapl is not loaded or of another version.
pub fn truth() -> Result<Truth, MeasureError> {
    Ok(Truth::parse(&machine::truth_text()?)?)
}

/// Starts every burner of the loads.
///
/// # Errors
/// When one cannot be started.
pub fn start(loads: &[Load], ending: &str, burn: Duration) -> Result<Vec<Burner>, BurnError> {
    let each = loads.iter().flat_map(|load| (0..load.count).map(move |_| load));
    each.map(|load| Burner::start(load, ending, burn)).collect()
}

/// Ends every burner.
///
/// # Errors
/// When one cannot be waited for.
pub fn end(burners: Vec<Burner>) -> Result<(), MeasureError> {
    burners.into_iter().try_for_each(Burner::end).map_err(program("a burner"))
}

/// The probe, attached.
struct Probe {
    child: Child,
    lines: Receiver<String>,
}

impl Probe {
    fn attach(pid: u32, measure: &Measure) -> Result<Self, MeasureError> {
        let mut command = Command::new(PROBE);
        command.args(["attach", "--pid", &pid.to_string(), "--name", "tgt"]);
        command.args(["--summary", SUMMARY]);
        command.args(measure.sources.iter().flat_map(|s| ["--source", s]));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(program(PROBE))?;
        let stderr = child.stderr.take();
        let (send, lines) = channel();
        // Ends with the probe's standard error, or with the receiver.
        thread::spawn(move || {
            for line in
                stderr.into_iter().flat_map(|e| BufReader::new(e).lines()).map_while(Result::ok)
            {
                eprintln!("wattprobe: {line}");
                let _ = send.send(line);
            }
        });
        let mut probe = Self { child, lines };
        if probe.lines.iter().any(|line| line.starts_with("attached:")) {
            return Ok(probe);
        }
        let status = probe.child.wait().map_err(program(PROBE))?;
        Err(MeasureError::Probe { what: format!("did not attach: {status}") })
    }

    /// Tells it to end, and waits for that.
    fn finish(mut self) -> Result<Summary, MeasureError> {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::INT).map_err(|e| program(PROBE)(e.into()))?;
        let status = self.child.wait().map_err(program(PROBE))?;
        if !status.success() {
            return Err(MeasureError::Probe { what: format!("failed: {status}") });
        }
        Ok(Summary::parse(&fs::read_to_string(SUMMARY).map_err(program(SUMMARY))?)?)
    }
}

/// Carries it out. `memory`: it has energy registers.
///
/// # Errors
/// [`MeasureError`].
pub fn run<'a>(
    measure: &Measure,
    memory: bool,
    asked: impl Iterator<Item = &'a str>,
    found: &mut Findings,
) -> Result<(), MeasureError> {
    let burn = Duration::from_millis(measure.burn_ms);
    let mut targets = start(std::slice::from_ref(&measure.target), TARGET, burn)?;
    let pid = targets.first().map_or(0, Burner::pid);
    let mut rivals = start(&measure.rivals, RIVAL, burn + 2 * EDGE)?;
    let _ = fs::remove_file(SUMMARY);

    let probe = Probe::attach(pid, measure)?;
    let attached = truth()?;
    let perf = if measure.perf.is_empty() { None } else { Some(perf(&measure.perf)?) };
    thread::sleep(Duration::from_millis(measure.lead_ms));
    rivals.iter_mut().try_for_each(Burner::go)?;
    thread::sleep(EDGE);
    targets.iter_mut().try_for_each(Burner::go)?;
    act(&measure.actions)?;
    targets.iter_mut().chain(&mut rivals).try_for_each(Burner::done)?;
    if let Some(perf) = perf {
        perf.end().map_err(program(PERF))?;
        counted(measure, found)?;
    }
    thread::sleep(SETTLE);
    let summary = probe.finish()?;
    let truths = Truths { attached, ended: truth()?, memory };
    end(targets)?;
    end(rivals)?;
    summary.figures(&measure.name, &truths, asked, found);
    Ok(())
}

fn act(actions: &[Action]) -> Result<(), MeasureError> {
    let start = Monotonic::now();
    for action in actions {
        thread::sleep(Duration::from_millis(action.at_ms).saturating_sub(start.elapsed()));
        match &action.what {
            Deed::Set(name, value) => machine::set_parameter(name, value)?,
            Deed::Offline(cpu) => machine::set_online(*cpu, false)?,
            Deed::Online(cpu) => machine::set_online(*cpu, true)?,
        }
    }
    Ok(())
}

/// `perf stat` counting while a program of ours waits; that program is the burner that nobody lets burn.
fn perf(events: &[String]) -> Result<Burner, MeasureError> {
    if !Path::new(PERF).exists() {
        return Err(program(PERF)(io::ErrorKind::NotFound.into()));
    }
    let waiting = named("burn-0-hold").map_err(program(PERF))?;
    let mut command = Command::new(PERF);
    command.args(["stat", "-a", "-x", ",", "-o", COUNTS]);
    command.args(events.iter().flat_map(|e| ["-e".to_owned(), format!("power/{e}/")]));
    command.arg(waiting).args(["0", "1"]);
    Ok(Burner::ready(command, PERF)?)
}

fn counted(measure: &Measure, found: &mut Findings) -> Result<(), MeasureError> {
    let text = fs::read_to_string(COUNTS).map_err(program(COUNTS))?;
    for event in &measure.perf {
        let joules = stat_joules(&text, event)
            .ok_or_else(|| MeasureError::Counts { event: event.clone(), found: text.clone() })?;
        found.figure(format!("{}.stat.{event}_j", measure.name), joules);
    }
    Ok(())
}

/// The value of an event in the output of `perf stat -x,`: `12.34,Joules,power/energy-pkg/,…`.
fn stat_joules(text: &str, event: &str) -> Option<f64> {
    let name = format!("power/{event}/");
    let line = text.lines().find(|l| l.split(',').any(|field| field == name))?;
    let mut fields = line.split(',');
    let value = fields.next()?.parse().ok()?;
    (fields.next() == Some("Joules")).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn perf_stats_joules_are_found_by_event() {
        let text = "# started on Thu Jan  1 00:00:00 2026\n\n\
            12.34,Joules,power/energy-pkg/,2000000000,100.00,,\n\
            <not supported>,Joules,power/energy-ram/,0,100.00,,\n";
        assert_eq!(stat_joules(text, "energy-pkg"), Some(12.34));
        assert_eq!(stat_joules(text, "energy-ram"), None);
        assert_eq!(stat_joules(text, "energy-gpu"), None);
    }
}

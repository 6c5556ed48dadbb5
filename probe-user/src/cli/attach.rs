//! `wattprobe attach`: opens the outputs, chooses the sources, runs the engine until it ends, closes the
//! books.

use probe_ledger::Weight;

use super::{
    calibrate::{self, QUIET},
    config::{AttachConfig, Format, is_reserved},
    exit::{Classify, ExitStatus, Failure},
    log::Log,
    stop, tape,
    weight::{self, Has},
};
use crate::{
    calibration::{Calibration, CalibrationError, STALE},
    clock::Clock,
    cycles::{CpuEvents, Cycles},
    engine::{self, EngineError, Options, SLICES_INCOMPLETE, TAPE_INCOMPLETE},
    export::{ExportError, books::Closure, plan},
    instance::{Instance, InstanceError, NAME},
    kernel::KernelError,
    privilege,
    roots::Roots,
    siblings::Siblings,
    snapshot::Snapshot,
    source::{Domain, Outcome, SourceSpec, select},
    target::TargetError,
    topology::{Topology, excerpt},
};

/// Attaches, measures, prints.
///
/// # Errors
///
/// When a target, a source, an output or the kernel side cannot be used.
pub fn run(config: &AttachConfig, roots: &Roots) -> Result<ExitStatus, Failure> {
    let log = config.log;
    // Said before anything is opened or locked. Without procfs the kernel itself will say no.
    if privilege::held(roots).is_some_and(|held| !privilege::enough(held)) {
        return Err(EngineError::from(KernelError::Privilege).into());
    }
    let topology = Topology::read(roots)?;
    let mut selection = select(roots, &topology, &config.sources)?;
    let siblings = Siblings::read(roots, &topology);
    calibrated(config, roots, &mut selection.domains)?;
    // After the sources: what is wrong with the options is said whether or not another probe runs.
    let _instance = Instance::lock(NAME)?;
    for note in &selection.notes {
        // What is said of the choice as a whole limits every number; the rest explains it.
        let whole = note.source == "auto" && note.outcome == Outcome::Refused;
        let say = if whole { Log::warn } else { Log::info };
        say(&log, &format!("{}: {}", note.source, note.text));
    }
    let weight = config.policies.weight;
    let cycles = match weight {
        Weight::Cycles => Cycles::read(&topology, &|event| event.open()?.check(event)),
        _ => Cycles::Counted(CpuEvents::default()),
    };
    let has = weight::has(weight, &siblings, &cycles, &selection.domains);
    let mut cycles = if has == Has::All { cycles.counters() } else { CpuEvents::default() };
    if !selection.domains.iter().any(|domain| domain.name.starts_with("dram-")) {
        cycles.misses.clear();
    } else if cycles.misses.is_empty() && !cycles.cycles.is_empty() {
        log.info("weight cycles: no misses of the last cache level are counted: memory goes by cycles too");
    }
    match has {
        Has::All => {}
        Has::Other(what) => log.info(&format!("weight {}: {what}", weight.name())),
        Has::Unknown(why) => {
            log.warn(&format!("weight {}: time is taken instead: {why}", weight.name()));
        }
    }
    let term = std::env::var("TERM").ok();
    let wanted = plan::Plan {
        requests: config.requests.as_deref(),
        summary: config.summary.as_deref(),
        metrics: config.metrics,
        json: config.format == Format::Json,
        term: term.as_deref(),
    };
    let mut opened = plan::open(wanted, move |error| log.warn(&error.to_string()))?;
    if let Some(address) = opened.metrics {
        log.info(&format!("metrics: http://{address}/metrics"));
    }
    let tape = tape::create(&config.tape)?;
    let stop = stop::on_signals(opened.screen.clone())
        .map_err(|error| Failure::new(ExitStatus::Failed, error))?;
    let mut flags = declared(&config.sources);
    flags.extend(selection.flags.iter().cloned());
    let options = Options {
        targets: config.targets.clone(),
        reserved: is_reserved,
        selection,
        topology,
        siblings,
        cycles,
        boundary: config.boundary,
        slices: config.slices.clone(),
        tape,
        duration: config.duration,
        count: config.count.map(u64::from),
        policies: config.policies,
        flags,
    };
    let mut report = |message: &str| log.notice(message);
    let summary = engine::run(options, roots, &mut opened.exports, &stop, &mut report)?;
    let problems = opened.exports.finish(&summary);
    // Restores the terminal before anything else is said.
    drop(opened);
    let closure = Closure::of(&summary);
    if !closure.closes() {
        let off = closure.difference_nj();
        log.warn(&format!("the books do not close: they are {off} nJ apart; please report this"));
        return Ok(ExitStatus::Invalid);
    }
    if !anything_counted(&summary) {
        log.warn(
            "no energy was counted: no domain closed a valid window; check `wattprobe doctor`",
        );
        return Ok(ExitStatus::Invalid);
    }
    let cut = |flag: &String| flag == SLICES_INCOMPLETE || flag == TAPE_INCOMPLETE;
    let sliced = !summary.flags.iter().any(cut);
    Ok(if problems == 0 && sliced { ExitStatus::Done } else { ExitStatus::Failed })
}

/// Gives the domains the idle power that was measured before. A file that was named must be usable; what is in the default
/// place and does not fit is told of and left.
fn calibrated(config: &AttachConfig, roots: &Roots, domains: &mut [Domain]) -> Result<(), Failure> {
    let Some(path) = config.calibration.clone().or_else(calibrate::place) else { return Ok(()) };
    match (Calibration::read(&path, roots), &config.calibration) {
        (Ok(Some(found)), _) => {
            let names = found.apply(domains);
            if names.is_empty() {
                let text = "the calibration knows none of the domains that are read";
                config.log.warn(&format!("{text}; run wattprobe calibrate with these sources"));
            } else {
                tell_calibration(&found, &names.join(", "), config.log);
            }
        }
        (Ok(None), None) => {}
        (Ok(None), Some(path)) => {
            let error = std::io::Error::from(std::io::ErrorKind::NotFound);
            return Err(CalibrationError::Read { path: path.clone(), source: error }.into());
        }
        (Err(error), Some(_)) => return Err(error.into()),
        (Err(error), None) => config.log.warn(&format!("calibration not used: {error}")),
    }
    Ok(())
}

/// Of when and under which kernel idle power is; that it is old is a warning.
fn tell_calibration(found: &Calibration, names: &str, log: Log) {
    // The file is hostile input: what it says of the kernel is quoted.
    let under = found.kernel.as_deref().map(|kernel| format!(" under {:?}", excerpt(kernel)));
    let under = under.unwrap_or_default();
    let told = format!("idle power of {names} as calibrated on {}{under}", found.date);
    let doubt = match Clock::start().since(&found.date) {
        Some(age) if age > STALE => Some(format!("{} days ago", age.as_secs() / (24 * 3600))),
        None => Some("which is to come".to_owned()),
        Some(_) => found
            .busy
            .filter(|busy| *busy > QUIET)
            .map(|busy| format!("while the CPUs were busy for {:.1} % of the time", busy * 100.0)),
    };
    match doubt {
        Some(doubt) => log.warn(&format!("{told}, {doubt}; run wattprobe calibrate again")),
        None => log.info(&told),
    }
}

/// A scale that the user declared is the user's word, not the machine's: every number says so.
fn declared(sources: &[SourceSpec]) -> Vec<String> {
    let scaled = |spec: &SourceSpec| matches!(spec, SourceSpec::Perf(perf) if perf.scale.is_some());
    sources.iter().any(scaled).then(|| "declared-scale".to_owned()).into_iter().collect()
}

/// Whether any domain closed a window, summed or not.
fn anything_counted(summary: &Snapshot) -> bool {
    summary.domains.values().any(|domain| domain.windows > 0)
}

impl Classify for EngineError {
    fn status(&self) -> ExitStatus {
        match self {
            Self::Kernel(KernelError::System { .. } | KernelError::Map { .. }) => {
                ExitStatus::Failed
            }
            Self::Kernel(_) | Self::Open(_) | Self::Sensor(_) => ExitStatus::Unsupported,
            Self::Target(
                TargetError::NoOwner(_) | TargetError::Hidden { .. } | TargetError::OwnPids,
            ) => ExitStatus::Unsupported,
            Self::SharedProcess { .. } | Self::Scale(_) => ExitStatus::Usage,
            Self::NoTick => ExitStatus::Unsupported,
            _ => ExitStatus::Failed,
        }
    }
}

impl Classify for InstanceError {
    fn status(&self) -> ExitStatus {
        ExitStatus::Failed
    }
}

impl Classify for ExportError {
    fn status(&self) -> ExitStatus {
        ExitStatus::Failed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::example;

    #[test]
    fn a_window_of_a_domain_that_is_not_summed_counts() {
        let mut summary = example::snapshot(1.0);
        summary.domains.retain(|_, domain| !domain.additive);
        assert_eq!(summary.domains["psys"].windows, 1000);
        assert!(anything_counted(&summary));
        summary.domains.get_mut("psys").unwrap().windows = 0;
        assert!(!anything_counted(&summary));
        summary.domains.clear();
        assert!(!anything_counted(&summary), "no domain counts nothing");
    }
}

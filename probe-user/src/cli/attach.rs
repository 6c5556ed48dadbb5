//! `wattprobe attach`: opens the outputs, chooses the sources, runs the engine until it ends, closes the
//! books.

use std::{
    path::Path,
    sync::{Arc, atomic::AtomicBool},
};

use signal_hook::consts::{SIGINT, SIGTERM};

use super::{
    config::{AttachConfig, Format, Output},
    exit::{Classify, ExitStatus, Failure},
};
use crate::{
    engine::{self, EngineError, Options, SLICES_INCOMPLETE},
    export::{ExportError, books::Closure, plan},
    instance::{Instance, InstanceError, NAME},
    kernel::KernelError,
    roots::Roots,
    source::{SourceSpec, select},
    target::TargetError,
    topology::Topology,
};

/// Attaches, measures, prints.
///
/// # Errors
///
/// When a target, a source, an output or the kernel side cannot be used.
pub fn run(config: &AttachConfig, roots: &Roots) -> Result<ExitStatus, Failure> {
    let log = config.log;
    privileged()?;
    let topology = Topology::read(roots)?;
    let selection = select(roots, &topology, &config.sources)?;
    // After the sources: what is wrong with the options is said whether or not another probe runs.
    let _instance = Instance::lock(NAME)?;
    for note in &selection.notes {
        log.info(&format!("{}: {}", note.source, note.text));
    }
    let term = std::env::var("TERM").ok();
    let metrics = config.metrics.map(|address| address.to_string());
    let wanted = plan::Plan {
        requests: config.requests.as_ref().map(path_of),
        summary: config.summary.as_deref(),
        metrics: metrics.as_deref(),
        json: config.format == Format::Json,
        term: term.as_deref(),
    };
    let mut opened = plan::open(wanted, move |error| log.warn(&error.to_string()))?;
    if let Some(address) = opened.metrics {
        log.info(&format!("metrics: http://{address}/metrics"));
    }
    let stop = stop_signal()?;
    let options = Options {
        targets: config.targets.iter().map(|t| (t.selector.clone(), t.label())).collect(),
        selection,
        topology,
        slices: config.slices.clone(),
        duration: config.duration,
        count: config.count.map(u64::from),
        policies: config.policies.clone(),
        flags: declared(&config.sources),
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
    let additive = || summary.domains.values().filter(|domain| domain.additive);
    if additive().all(|domain| domain.windows == 0) {
        log.warn(
            "no energy was counted: no domain closed a valid window; check `wattprobe doctor`",
        );
        return Ok(ExitStatus::Invalid);
    }
    let sliced = !summary.flags.iter().any(|flag| flag == SLICES_INCOMPLETE);
    Ok(if problems == 0 && sliced { ExitStatus::Done } else { ExitStatus::Failed })
}

/// A scale that the user declared is the user's word, not the machine's: every number says so.
fn declared(sources: &[SourceSpec]) -> Vec<String> {
    let scaled = |spec: &SourceSpec| matches!(spec, SourceSpec::Perf(perf) if perf.scale.is_some());
    sources.iter().any(scaled).then(|| "declared-scale".to_owned()).into_iter().collect()
}

fn path_of(output: &Output) -> &Path {
    match output {
        Output::Stdout => Path::new("-"),
        Output::File(path) => path,
    }
}

/// Set by SIGINT and SIGTERM; a second signal of the kind ends the process at once.
fn stop_signal() -> Result<Arc<AtomicBool>, Failure> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, 1, Arc::clone(&stop))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&stop)))
            .map_err(|e| Failure::new(ExitStatus::Failed, e))?;
    }
    Ok(stop)
}

/// Whether the process may load programs at all: said before anything is opened or locked.
fn privileged() -> Result<(), Failure> {
    const CAP_SYS_ADMIN: u64 = 1 << 21;
    const CAP_PERFMON: u64 = 1 << 38;
    const CAP_BPF: u64 = 1 << 39;
    let status = procfs::process::Process::myself().and_then(|p| p.status());
    // Without procfs the kernel itself will say no.
    let held = status.map_or(u64::MAX, |status| status.capeff);
    if held & CAP_SYS_ADMIN != 0 || held & (CAP_BPF | CAP_PERFMON) == CAP_BPF | CAP_PERFMON {
        return Ok(());
    }
    Err(EngineError::from(KernelError::Privilege).into())
}

impl Classify for EngineError {
    fn status(&self) -> ExitStatus {
        match self {
            Self::Kernel(KernelError::System { .. } | KernelError::Map { .. }) => {
                ExitStatus::Failed
            }
            Self::Kernel(_) | Self::Open(_) | Self::Zone(_) => ExitStatus::Unsupported,
            Self::Target(TargetError::NoOwner(_)) => ExitStatus::Unsupported,
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

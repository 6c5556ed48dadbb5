//! `wattprobe doctor`: what this machine can measure, what is missing, how to get it.
//!
//! It only looks: nothing is loaded, attached or changed. Every row says whether the thing is there,
//! whether this process could use it, and if not, why and what to do. The verdict is the exit status:
//! 0 if `attach` has all it cannot do without, else 4.

mod error_bar;
mod kernel;
mod sources;
mod text;
mod weights;

use serde::Serialize;

use self::error_bar::Bars;

use super::calibrate::place;
use super::emit;
use super::exit::{ExitStatus, Failure};
use crate::calibration::Calibration;
use crate::cycles::Cycles;
use crate::record::Quality;
use crate::roots::Roots;
use crate::siblings::Siblings;
use crate::source::{Opener, Selection};
use crate::topology::Topology;

/// Version of the report's shape.
pub const SCHEMA: u32 = 1;

/// One thing that may be there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// What it is.
    pub name: String,
    /// Whether the machine has it.
    pub present: bool,
    /// Whether this process can use it.
    pub usable: bool,
    /// Whether `attach` cannot do without it.
    pub required: bool,
    /// What was found.
    pub detail: String,
    /// What to do where it is not usable.
    pub remedy: Option<String>,
}

/// One source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SourceRow {
    /// The source as a row; never required, since the model always exists.
    #[serde(flatten)]
    pub row: Row,
    /// How it obtains energy.
    pub quality: Quality,
    /// Whether `auto` reads a domain from it.
    pub used: bool,
}

/// One domain that `auto` would read.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DomainRow {
    /// Name.
    pub name: String,
    /// Source.
    pub source: String,
    /// How its energy is obtained.
    pub quality: Quality,
    /// Whether it is summed.
    pub additive: bool,
    /// Where its idle power comes from: `source`, `calibrated`, `learned` in the run from windows in which
    /// nobody runs, or `unknown`.
    pub idle: &'static str,
    /// Its idle power, W; null if it is not known yet.
    pub idle_watts: Option<f64>,
    /// Relative error of its class of sensor; 0 where none is published.
    pub class_ratio: f64,
    /// Half the error bar of a request of one second in it, relative to its energy, by the ledger's own
    /// arithmetic at 50 W; null if it cannot be worked out.
    pub one_second_ratio: Option<f64>,
}

/// Everything `doctor` says.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Version of wattprobe.
    pub version: &'static str,
    /// Kernel release.
    pub kernel: Option<String>,
    /// Online CPUs; null if sysfs is unreadable.
    pub cpus: Option<usize>,
    /// Packages; null if sysfs is unreadable.
    pub packages: Option<usize>,
    /// Whether `attach` can work here, with this process's privileges.
    pub can_attach: bool,
    /// Best quality `auto` reaches in the additive set.
    pub quality: Quality,
    /// The same over all domains that are summed; null if none is.
    pub one_second_ratio: Option<f64>,
    /// What the kernel side needs.
    pub features: Vec<Row>,
    /// What there is to read joules from.
    pub sources: Vec<SourceRow>,
    /// What `auto` chooses.
    pub domains: Vec<DomainRow>,
}

/// Looks at the machine and prints the report.
///
/// # Errors
/// When standard output cannot be written.
pub fn run(roots: &Roots, json: bool) -> Result<ExitStatus, Failure> {
    let report = examine(roots, &|event| event.open()?.check(event));
    let mut out = if json {
        serde_json::to_vec_pretty(&report).map_err(|e| Failure::new(ExitStatus::Failed, e))?
    } else {
        text::render(&report).into_bytes()
    };
    if json {
        out.push(b'\n');
    }
    emit(&out)?;
    Ok(if report.can_attach { ExitStatus::Done } else { ExitStatus::Unsupported })
}

/// Looks at the machine; `opener` tries perf counters.
#[must_use]
pub fn examine(roots: &Roots, opener: Opener<'_>) -> Report {
    let mut features = kernel::features(roots);
    let topology = Topology::read(roots);
    features.push(match &topology {
        Ok(t) => Row {
            name: "topology".into(),
            present: true,
            usable: true,
            required: true,
            detail: format!("CPUs: {}, packages: {}", t.online().count(), t.packages.len()),
            remedy: None,
        },
        Err(error) => Row { required: true, ..unusable("topology", &error.to_string()) },
    });
    let topology = topology.ok();
    let mut selection = topology.as_ref().and_then(|t| sources::auto(roots, t, opener));
    // One that does not fit is told of by attach.
    let kept = place().and_then(|path| Calibration::read(&path, roots).ok().flatten());
    if let (Some(selection), Some(kept)) = (&mut selection, kept) {
        kept.apply(&mut selection.domains);
    }
    let chosen = selection.as_ref();
    if let Some(topology) = &topology {
        let domains = chosen.map_or(&[][..], |selection| &selection.domains);
        let cycles = Cycles::read(topology, opener);
        features.extend(weights::rows(&Siblings::read(roots, topology), &cycles, domains));
    }
    let packages = topology.as_ref().map_or(0, |t| t.packages.len());
    let bars = chosen.map(|selection| error_bar::one_second(&selection.domains, packages));
    Report {
        one_second_ratio: bars.as_ref().and_then(|bars| bars.total),
        schema: SCHEMA,
        version: env!("CARGO_PKG_VERSION"),
        kernel: kernel::release(roots),
        cpus: topology.as_ref().map(|t| t.online().count()),
        packages: topology.as_ref().map(|t| t.packages.len()),
        can_attach: features.iter().all(|row| row.usable || !row.required),
        quality: chosen.map_or(Quality::Absent, best_quality),
        sources: sources::rows(roots, topology.as_ref(), chosen, opener),
        domains: chosen.zip(bars.as_ref()).map(|(s, b)| domains(s, b)).unwrap_or_default(),
        features,
    }
}

fn best_quality(selection: &Selection) -> Quality {
    let additive = selection.domains.iter().filter(|d| d.additive);
    additive.map(|d| d.quality).min().unwrap_or(Quality::Absent)
}

fn domains(selection: &Selection, bars: &Bars) -> Vec<DomainRow> {
    let row = |(d, bar): (&crate::source::Domain, &Option<f64>)| DomainRow {
        name: d.name.clone(),
        source: d.source.clone(),
        quality: d.quality,
        additive: d.additive,
        idle: match (d.idle_watts, d.idle_error_watts) {
            (_, Some(_)) => "calibrated",
            (Some(_), None) => "source",
            (None, None) if d.additive => "learned",
            (None, None) => "unknown",
        },
        idle_watts: d.idle_watts,
        class_ratio: d.class_ratio,
        one_second_ratio: *bar,
    };
    selection.domains.iter().zip(&bars.domains).map(row).collect()
}

/// A row for something that cannot be used, from an error's text: the problem, a semicolon, the remedy.
fn unusable(name: &str, text: &str) -> Row {
    let (detail, remedy) = match text.split_once("; ") {
        Some((detail, remedy)) => (detail, Some(remedy.to_owned())),
        None => (text, None),
    };
    Row {
        name: name.to_owned(),
        present: false,
        usable: false,
        required: false,
        detail: detail.to_owned(),
        remedy,
    }
}

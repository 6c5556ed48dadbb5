//! The sources of the contract, each with what it would give on this machine.

use super::{Row, SourceRow, unusable};
use crate::record::Quality;
use crate::roots::Roots;
use crate::source::{
    Domain, Opener, Outcome, Reading, Selection, SourceError, battery, core_perf, hwmon, model,
    perf, pmu, powercap, select_with,
};
use crate::topology::Topology;

/// What `auto` chooses.
pub(super) fn auto(roots: &Roots, topology: &Topology, opener: Opener<'_>) -> Option<Selection> {
    // With no source named, nothing can be missing; only a machine of absurd size fails.
    select_with(roots, topology, &[], opener).ok()
}

/// One row for each source, best rung first.
pub(super) fn rows(
    roots: &Roots,
    topology: Option<&Topology>,
    chosen: Option<&Selection>,
    opener: Opener<'_>,
) -> Vec<SourceRow> {
    let used = |name: &str| {
        chosen.is_some_and(|selection| selection.domains.iter().any(|d| d.source == name))
    };
    // What it gives here, where it is used; else what it usually gives.
    let given = |name: &str| {
        let domains = chosen.into_iter().flat_map(|selection| &selection.domains);
        domains.filter(|d| d.source == name).map(|d| d.quality).min()
    };
    let of = |mut row: Row, usual| {
        let used = used(&row.name);
        if used && !row.usable {
            row = ok(&row.name, format!("in part; but {}", row.detail));
        }
        SourceRow { used, quality: given(&row.name).unwrap_or(usual), row }
    };
    let mut rows = vec![];
    if let Some(topology) = topology {
        let measured = [
            (core_perf::NAME, core_perf::domains(roots, topology)),
            ("rapl-perf", perf::rapl(roots, topology)),
            ("rapl-powercap", powercap::domains(roots, topology)),
        ];
        for (name, found) in measured {
            rows.push(of(measured_row(name, found, opener), Quality::Measured));
        }
    }
    rows.push(of(pmus(roots), Quality::Measured));
    rows.push(of(gpus(chosen), Quality::Measured));
    if let Some(topology) = topology {
        let found = hwmon::domains(roots, topology);
        rows.push(of(measured_row(hwmon::SOURCE, found, opener), Quality::Integrated));
    }
    let found = battery::domains(roots);
    rows.push(of(measured_row(battery::SOURCE, found, opener), Quality::Integrated));
    rows.push(of(model_row(roots), Quality::Modelled));
    rows
}

fn measured_row(name: &str, found: Result<Vec<Domain>, SourceError>, opener: Opener<'_>) -> Row {
    let domains = match found {
        Ok(domains) => domains,
        Err(error) => return unusable(name, &error.to_string()),
    };
    let first_error = domains.iter().find_map(|domain| match &domain.reading {
        Reading::Kernel(event) => opener(event).err().map(SourceError::Open),
        Reading::Cores(counters) => {
            let mut errors = counters.cores.iter().filter_map(|core| opener(&core.event).err());
            errors.next().map(SourceError::Open)
        }
        Reading::Polled(polled) => polled.open().err().map(SourceError::Sensor),
        Reading::Model(_) => None,
    });
    if let Some(error) = first_error {
        return Row { present: true, ..unusable(name, &error.to_string()) };
    }
    let names: Vec<_> = domains.iter().map(|d| d.name.as_str()).collect();
    ok(name, names.join(", "))
}

/// Any PMU can be a source with a declared scale: which there are.
fn pmus(roots: &Roots) -> Row {
    let name = "perf:PMU/EVENT/";
    let listed: Vec<_> = pmu::names(roots)
        .into_iter()
        .map(|name| {
            let events = pmu::Pmu::read(roots, &name).map(|p| p.events()).unwrap_or_default();
            match events.len() {
                0 => name,
                1..=4 => format!("{name} ({})", events.join(", ")),
                many => format!("{name} ({many} events)"),
            }
        })
        .collect();
    if listed.is_empty() {
        let dir = roots.sys("bus/event_source/devices");
        return unusable(name, &format!("no PMU below {}; mount sysfs", dir.display()));
    }
    ok(name, format!("PMUs: {}", listed.join(", ")))
}

/// From what was chosen: asking the driver twice takes its time twice.
fn gpus(chosen: Option<&Selection>) -> Row {
    let name = "nvml";
    let Some(selection) = chosen else {
        return unusable(name, "not looked for; sysfs is needed first");
    };
    let (domains, notes) = (&selection.domains, &selection.notes);
    let used: Vec<_> =
        domains.iter().filter(|d| d.source == name).map(|d| d.name.as_str()).collect();
    let refused = notes.iter().filter(|n| n.source == name && n.outcome == Outcome::Refused);
    let refused: Vec<_> = refused.map(|note| note.text.as_str()).collect();
    match (used.is_empty(), refused.first()) {
        (false, None) => ok(name, used.join(", ")),
        (false, Some(_)) => ok(name, format!("{}; but {}", used.join(", "), refused.join(", "))),
        (true, Some(text)) => unusable(name, text),
        (true, None) => unusable(name, "no GPU"),
    }
}

fn model_row(roots: &Roots) -> Row {
    let id = model::CpuId::read(roots);
    let cpu = model::lookup(id.as_ref());
    let machine = id.map_or_else(|| "unknown".to_owned(), |id| id.to_string());
    let watts = format!(
        "CPU {machine} as {}: {} W idle, {} W busy per hardware thread, ±{:.0} %",
        cpu.row,
        cpu.min_watts,
        cpu.max_watts,
        model::MODEL_RATIO * 100.0
    );
    ok("model", watts)
}

fn ok(name: &str, detail: String) -> Row {
    Row {
        name: name.to_owned(),
        present: true,
        usable: true,
        required: false,
        detail,
        remedy: None,
    }
}

//! The table, as Markdown: everything that was found.

use probe_lab::sim::methods::Method;

use crate::cells::{Cell, KINDS, Said};
use crate::figures::Figures;
use crate::policies::POLICIES;
use crate::scene::Scene;

/// For each scene: ours and today's; ours by phase and by domain; today's with idle power taken off.
pub(crate) fn tables(cells: &[Cell]) {
    println!(
        "Error of a request's joules against the truth, |said - true| / true in percent: median / p95 / p99."
    );
    println!(
        "In brackets: how many requests' truth lies inside their error bar, percent; sign of the median error; \
         medians of single runs, lowest to highest."
    );
    println!("Length and residents are medians of what really happened.");
    let today = Method::ALL.map(Method::name);
    for scene in Scene::ALL {
        let rows: Vec<&Cell> = cells.iter().filter(|c| c.axis.scene == scene).collect();
        if rows.is_empty() {
            continue;
        }
        println!("\n### {}\n", scene.name());
        let here = || (0..POLICIES.len()).filter(|place| scene.has(*place));
        let names: Vec<&str> = here().map(|place| POLICIES[place].name).collect();
        head(&[names.as_slice(), &today].concat());
        for cell in &rows {
            let ours = here().map(|place| with_coverage(&cell.ledgers[place]));
            line(cell, ours.chain(cell.today.iter().map(errors)));
        }
        println!("\nPrefill and decode apart:\n");
        head(&names.iter().flat_map(|name| [name, "decode of it"]).collect::<Vec<_>>());
        for cell in &rows {
            line(cell, here().flat_map(|place| &cell.ledgers[place].phases).map(errors));
        }
        println!("\nDomains apart, medians and their signs: {}:\n", KINDS.join(" / "));
        head(&names);
        for cell in &rows {
            line(cell, here().map(|place| by_kind(&cell.ledgers[place])));
        }
        println!("\nThe same methods with calibrated idle power taken off:\n");
        head(&today);
        for cell in &rows {
            line(cell, cell.today_less_idle.iter().map(errors));
        }
    }
}

fn head(columns: &[&str]) {
    println!("| length | overlapping | requests | took | residents | {} |", columns.join(" | "));
    println!("|---|---|---|---|---|{}", "---|".repeat(columns.len()));
}

fn line(cell: &Cell, columns: impl Iterator<Item = String>) {
    let columns: Vec<String> = columns.collect();
    let (length, overlap) = (length(cell), cell.axis.overlap);
    let [took, residents] = cell.really();
    println!(
        "| {length} | {overlap} | {} | {took:.2} s | {residents:.1} | {} |",
        cell.count(),
        columns.join(" | ")
    );
}

pub(crate) fn length(cell: &Cell) -> String {
    match cell.axis.length_ms {
        ms if ms < 1_000 => format!("{ms} ms"),
        ms => format!("{} s", ms / 1_000),
    }
}

pub(crate) fn percent(part: f64) -> String {
    let percent = 100.0 * part;
    match percent.abs() {
        p if p < 10.0 => format!("{percent:.2}"),
        p if p < 100.0 => format!("{percent:.1}"),
        _ => format!("{percent:.0}"),
    }
}

pub(crate) fn errors(figures: &Figures) -> String {
    if figures.count() == 0 {
        return "-".to_owned();
    }
    figures.quantiles([0.5, 0.95, 0.99]).map(percent).join(" / ")
}

fn with_coverage(said: &Said) -> String {
    let Some(inside) = said.all.coverage() else { return "-".to_owned() };
    let (inside, sign) = (format!("{:.1}", 100.0 * inside), signed(said.all.bias()));
    format!("{} ({inside}; {sign}%; {})", errors(&said.all), runs(said))
}

/// Medians of single runs, lowest to highest.
pub(crate) fn runs(said: &Said) -> String {
    let lowest = said.runs.iter().copied().fold(f64::INFINITY, f64::min);
    let highest = said.runs.iter().copied().fold(0.0, f64::max);
    format!("{} to {}", percent(lowest), percent(highest))
}

fn by_kind(said: &Said) -> String {
    let kind = |figures: &Figures| match figures.count() {
        0 => "-".to_owned(),
        _ => format!("{} ({}%)", percent(figures.median()), signed(figures.bias())),
    };
    said.kinds.each_ref().map(kind).join(" / ")
}

fn signed(part: f64) -> String {
    format!("{:+.2}", 100.0 * part)
}

//! The table, as Markdown.

use probe_lab::sim::methods::Method;

use crate::cells::{Beside, Cell};
use crate::figures::Figures;
use crate::policies::POLICIES;

/// For what runs beside: ours and today's; ours by phase; today's with idle power taken off.
pub(crate) fn tables(cells: &[Cell]) {
    println!(
        "Error of a request's joules against the truth, |said - true| / true in percent: median / p95 / p99."
    );
    println!(
        "In brackets: how many requests' truth lies inside their error bar, percent; sign of the median error."
    );
    for beside in Beside::ALL {
        let rows: Vec<&Cell> = cells.iter().filter(|c| c.axis.beside == beside).collect();
        println!("\n### {}\n", beside.name());
        let ours = POLICIES.iter().map(|p| p.name);
        let today = Method::ALL.iter().map(|m| m.name());
        head(&ours.chain(today).collect::<Vec<_>>());
        for cell in &rows {
            let ours = cell.ledgers.iter().map(with_coverage);
            line(cell, ours.chain(cell.today.iter().map(errors)));
        }
        println!("\nPrefill and decode apart:\n");
        head(&POLICIES.iter().flat_map(|p| [p.name, "decode of it"]).collect::<Vec<_>>());
        for cell in &rows {
            line(cell, cell.phases.iter().flatten().map(errors));
        }
        println!("\nThe same methods with calibrated idle power taken off:\n");
        head(&Method::ALL.map(Method::name));
        for cell in &rows {
            line(cell, cell.today_less_idle.iter().map(errors));
        }
    }
}

fn head(columns: &[&str]) {
    println!("| length | overlapping | requests | {} |", columns.join(" | "));
    println!("|---|---|---|{}", "---|".repeat(columns.len()));
}

fn line(cell: &Cell, columns: impl Iterator<Item = String>) {
    let columns: Vec<String> = columns.collect();
    let length = match cell.axis.length_ms {
        ms if ms < 1_000 => format!("{ms} ms"),
        ms => format!("{} s", ms / 1_000),
    };
    let n = cell.seconds.count();
    println!("| {length} | {} | {n} | {} |", cell.axis.overlap, columns.join(" | "));
}

pub(crate) fn percent(part: f64) -> String {
    let percent = 100.0 * part;
    match percent.abs() {
        p if p < 10.0 => format!("{percent:.2}"),
        p if p < 100.0 => format!("{percent:.1}"),
        _ => format!("{percent:.0}"),
    }
}

fn errors(figures: &Figures) -> String {
    if figures.count() == 0 {
        return "-".to_owned();
    }
    [0.5, 0.95, 0.99].map(|part| percent(figures.quantile(part))).join(" / ")
}

fn with_coverage(figures: &Figures) -> String {
    let inside = figures.coverage().map_or("-".to_owned(), |part| format!("{:.1}", 100.0 * part));
    format!("{} ({inside}; {}%)", errors(figures), signed(figures.bias()))
}

fn signed(part: f64) -> String {
    format!("{:+.2}", 100.0 * part)
}

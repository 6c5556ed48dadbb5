//! The report for people: one line a row, the remedy beneath.

use std::fmt::Write;

use super::{Report, Row};

/// Renders the report.
pub(super) fn render(report: &Report) -> String {
    let mut out = String::new();
    let sources = report.sources.iter().map(|s| &s.row);
    let names = report.features.iter().chain(sources).map(|row| row.name.len());
    let width = names.max().unwrap_or(0);
    out.push_str("kernel\n");
    for row in &report.features {
        let mark = if row.required { "NO" } else { "no" };
        line(&mut out, if row.usable { "ok" } else { mark }, row, width);
    }
    out.push_str("\nsources, best first (** is in use)\n");
    for source in &report.sources {
        let mark = match (source.row.usable, source.used) {
            (false, _) => "no",
            (true, true) => "**",
            (true, false) => "ok",
        };
        line(&mut out, mark, &source.row, width);
    }
    out.push_str("\ndomains that attach would read (--source auto)\n");
    for domain in &report.domains {
        let quality = domain.quality.as_str();
        let error = match domain.class_ratio {
            0.0 => String::new(),
            ratio => format!(" ±{:.0} %", ratio * 100.0),
        };
        let sum = if domain.additive { "summed" } else { "not summed" };
        push(
            &mut out,
            format_args!("  {}: {}, {quality}{error}, {sum}\n", domain.name, domain.source),
        );
    }
    if report.domains.is_empty() {
        out.push_str("  none\n");
    }
    out.push('\n');
    out.push_str(if report.can_attach {
        "attach can work here.\n"
    } else {
        "attach cannot work here: see the lines marked NO.\n"
    });
    out
}

fn line(out: &mut String, mark: &str, row: &Row, width: usize) {
    push(out, format_args!("  {mark:<2}  {:<width$}  {}\n", row.name, row.detail));
    if let Some(remedy) = &row.remedy {
        push(out, format_args!("      {:<width$}  -> {remedy}\n", ""));
    }
}

fn push(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = out.write_fmt(text);
}

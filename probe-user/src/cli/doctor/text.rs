//! The report for people: one line a row, the remedy beneath.

use std::fmt::Write;

use super::{Report, Row, error_bar};

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
            format_args!(
                "  {}: {}, {quality}{error}, {sum}, idle power {}{}\n",
                domain.name,
                domain.source,
                idle(domain),
                bar(domain.one_second_ratio)
            ),
        );
    }
    if report.domains.is_empty() {
        out.push_str("  none\n");
    }
    out.push('\n');
    if let Some(ratio) = report.one_second_ratio {
        let percent = percent(ratio);
        let text = format_args!(
            "A request of 1 s, alone, at {} W a domain (or what it can draw), would carry an error bar of ±{percent} here.\n",
            error_bar::WATTS
        );
        push(&mut out, text);
    }
    out.push_str(if report.can_attach {
        "attach can work here.\n"
    } else {
        "attach cannot work here: see the lines marked NO.\n"
    });
    out
}

fn idle(domain: &super::DomainRow) -> String {
    match (domain.idle, domain.idle_watts) {
        ("calibrated", Some(watts)) => format!("{watts:.2} W as calibrated"),
        (_, Some(watts)) => format!("{watts:.2} W"),
        ("learned", None) => "to be learned (or: wattprobe calibrate)".to_owned(),
        _ => "unknown".to_owned(),
    }
}

fn bar(ratio: Option<f64>) -> String {
    ratio.map_or_else(String::new, |ratio| format!(", a request of 1 s to ±{}", percent(ratio)))
}

/// Two significant digits, whole percents above ten.
fn percent(ratio: f64) -> String {
    match ratio * 100.0 {
        p if p >= 10.0 => format!("{p:.0} %"),
        p if p >= 1.0 => format!("{p:.1} %"),
        p => format!("{p:.2} %"),
    }
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

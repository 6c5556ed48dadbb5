//! The end of the report: what the probe lost and cost, and whether the books close.

use super::layout::{Column, render};
use crate::export::books::Closure;
use crate::export::shown::{seconds_between, visible};
use crate::export::units::{MISSING, count, seconds, si};
use crate::snapshot::{ProgramCost, Snapshot};

/// Kinds of which requests are told apart all the same, and what is not known of those.
const PARTLY: [(&str, &str); 2] = [
    (
        "compressed",
        "Of a compressed body neither the model nor the tokens are read; all else of its request is measured.",
    ),
    ("tls", "Of TLS without plaintext only sizes and times are seen."),
];

/// Nanoseconds per run; `None` where the kernel keeps no statistics.
fn mean_ns(cost: &ProgramCost) -> Option<f64> {
    (cost.runs > 0).then(|| cost.ns as f64 / cost.runs as f64)
}

/// What is not parsed and what is measured all the same; empty where everything is.
#[must_use]
pub fn not_understood(summary: &Snapshot) -> String {
    let met = summary.not_understood.iter().filter(|(_, n)| **n > 0);
    let met: Vec<String> = met.map(|(kind, n)| format!("{} {kind}", count(*n))).collect();
    if met.is_empty() {
        return String::new();
    }
    let mut text = format!("Not parsed: {}.", met.join(", "));
    let seen = |kind: &str| summary.not_understood.get(kind).is_some_and(|n| *n > 0);
    let partly = || PARTLY.iter().filter(|(kind, _)| seen(kind));
    if met.len() > partly().count() {
        text.push_str(
            " Requests on such a connection are not told apart: its energy is in the background, or in requests open meanwhile.",
        );
    }
    for (_, what) in partly() {
        text = text + " " + what;
    }
    text
}

/// Lost events and the probe's own cost.
#[must_use]
pub fn cost(summary: &Snapshot, width: Option<usize>) -> String {
    let events = &summary.events;
    let mut text = format!(
        "Kernel records: {} seen, {} lost{}.\n",
        count(events.seen),
        count(events.lost),
        by_kind(summary)
    );
    let own = &summary.self_cost;
    let share = match seconds_between(&summary.started, &summary.ended).filter(|s| *s > 0.0) {
        Some(elapsed) => {
            format!(" ({:.2} % of one core over {elapsed:.1} s)", own.cpu_s * 100.0 / elapsed)
        }
        None => String::new(),
    };
    let rss = si(own.rss_bytes as f64, "B");
    text.push_str(&format!("The probe itself: {:.3} s CPU{share}, {rss} resident.", own.cpu_s));
    let programs = programs(summary, width);
    if !programs.is_empty() {
        text.push_str(&format!("\n\n{programs}"));
    }
    text
}

fn by_kind(summary: &Snapshot) -> String {
    let kinds = summary.events.lost_by_kind.iter().filter(|(_, n)| **n > 0);
    let kinds: Vec<String> = kinds.map(|(kind, n)| format!("{} {kind}", count(*n))).collect();
    if kinds.is_empty() { String::new() } else { format!(" ({})", kinds.join(", ")) }
}

fn programs(summary: &Snapshot, width: Option<usize>) -> String {
    let programs = &summary.self_cost.programs;
    let cells = |f: &dyn Fn(&ProgramCost) -> Option<String>| -> Vec<String> {
        programs.values().map(|p| f(p).unwrap_or_else(|| MISSING.to_owned())).collect()
    };
    let columns = vec![
        Column::left("kernel program", 0, programs.keys().map(|n| visible(n, 32)).collect()),
        Column::right("runs", 1, cells(&|p| mean_ns(p).map(|_| count(p.runs)))),
        Column::right("ns per run", 0, cells(&|p| mean_ns(p).map(|ns| format!("{ns:.0}")))),
        Column::right(
            "total [s]",
            2,
            cells(&|p| mean_ns(p).map(|_| format!("{:.3}", seconds(p.ns)))),
        ),
    ];
    render(columns, width)
}

/// Policies, flags, and the sentence that matters most: whether the books close.
#[must_use]
pub fn verdict(summary: &Snapshot) -> String {
    let p = &summary.policies;
    let mut text = format!("Policies: weight {}, share {}, idle {}.\n", p.weight, p.share, p.idle);
    if !summary.flags.is_empty() {
        text.push_str(&format!("Flags: {}.\n", summary.flags.join(", ")));
    }
    let closure = Closure::of(summary);
    if closure.closes() {
        text.push_str(&format!(
            "Books close: measured = idle + residual + active in {} of {} domains, \
             active = requests + background for {} of {} targets; difference 0 nJ.",
            closure.domains.len(),
            closure.domains.len(),
            closure.targets.len(),
            closure.targets.len()
        ));
        return text;
    }
    let wrong = closure.domains.iter().chain(&closure.targets).filter(|(_, nj)| **nj != 0);
    let wrong: Vec<String> =
        wrong.map(|(name, nj)| format!("{} {nj:+} nJ", visible(name, 32))).collect();
    text.push_str(&format!(
        "BOOKS DO NOT CLOSE: difference {} nJ ({}). This is a defect: please report it with the summary file.",
        closure.difference_nj(),
        wrong.join(", ")
    ));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::example;

    #[test]
    fn closed_books_say_so_with_a_difference_of_zero() {
        let text = verdict(&example::snapshot(10.0));
        assert!(text.contains("Books close"), "{text}");
        assert!(text.contains("3 of 3 domains") && text.contains("difference 0 nJ"), "{text}");
    }

    #[test]
    fn open_books_name_the_place_and_the_nanojoules() {
        let mut summary = example::snapshot(10.0);
        summary.domains.get_mut("psys").unwrap().measured_nj += 3;
        let text = verdict(&summary);
        assert!(text.contains("DO NOT CLOSE: difference 3 nJ (psys +3 nJ)"), "{text}");
    }

    #[test]
    fn what_is_not_parsed_is_said_by_kind_and_where_everything_is_nothing() {
        let mut summary = example::snapshot(10.0);
        let text = not_understood(&summary);
        assert!(text.starts_with("Not parsed: 2 http2. Requests on such a connection"), "{text}");
        assert!(!text.contains("compressed"), "{text}");
        summary.not_understood.insert("compressed".into(), 3);
        let text = not_understood(&summary);
        assert!(text.starts_with("Not parsed: 3 compressed, 2 http2. Requests"), "{text}");
        summary.not_understood.insert("http2".into(), 0);
        let text = not_understood(&summary);
        assert!(text.starts_with("Not parsed: 3 compressed. Of a compressed body"), "{text}");
        summary.not_understood.insert("compressed".into(), 0);
        assert_eq!(not_understood(&summary), "");
        summary.not_understood.insert("tls".into(), 4);
        assert_eq!(
            not_understood(&summary),
            "Not parsed: 4 tls. Of TLS without plaintext only sizes and times are seen."
        );
    }

    #[test]
    fn a_kernel_without_statistics_shows_dashes_for_its_programs() {
        let mut summary = example::snapshot(10.0);
        summary.self_cost.programs.insert("exit".into(), ProgramCost { runs: 0, ns: 0 });
        let text = cost(&summary, None);
        let row = text.lines().find(|line| line.starts_with("exit")).unwrap();
        assert_eq!(row.matches('–').count(), 3, "{row}");
    }

    #[test]
    fn losses_are_told_by_kind() {
        let mut summary = example::snapshot(10.0);
        summary.events.lost = 12;
        summary.events.lost_by_kind.insert("ring".into(), 12);
        assert!(cost(&summary, None).contains("12 lost (12 ring)"));
    }
}

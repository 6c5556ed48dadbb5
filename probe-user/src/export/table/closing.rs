//! The end of the report: what the probe lost and cost, and whether the books close.

use super::layout::{Column, render};
use crate::export::books::Closure;
use crate::export::shown::{seconds_between, visible};
use crate::export::units::{MISSING, count, seconds, si};
use crate::snapshot::{ProgramCost, Snapshot};

/// Nanoseconds per run; `None` where the kernel keeps no statistics.
fn mean_ns(cost: &ProgramCost) -> Option<f64> {
    (cost.runs > 0).then(|| cost.ns as f64 / cost.runs as f64)
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

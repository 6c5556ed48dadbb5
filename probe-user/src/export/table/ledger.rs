//! The books: energy by domain, by consumer and by target.

use super::layout::{Column, render};
use crate::export::books::NOT_TARGETS;
use crate::export::shown::visible;
use crate::export::units::{MISSING, Scale, joules, seconds};
use crate::record::Quality;
use crate::snapshot::{DomainBook, Snapshot, TargetBook};

const LONGEST: usize = 24;

/// Domains shown as columns of the consumer table.
const WIDEST: usize = 6;

fn scale_of<'a>(values: impl Iterator<Item = &'a u64>) -> Scale {
    Scale::fitting(values.map(|nj| joules(*nj)), 4)
}

/// Energy of a domain, or a dash where nothing measures it.
fn energy(scale: Scale, book: &DomainBook, nj: u64) -> String {
    if book.quality == Quality::Absent { MISSING.into() } else { scale.show(joules(nj)) }
}

/// One row a domain.
#[must_use]
pub fn domains(summary: &Snapshot, width: Option<usize>) -> String {
    let books: Vec<(&String, &DomainBook)> = summary.domains.iter().collect();
    let scale = scale_of(books.iter().map(|(_, b)| &b.measured_nj));
    let words = |f: &dyn Fn(&DomainBook) -> String| -> Vec<String> {
        books.iter().map(|(_, b)| f(b)).collect()
    };
    let unit = format!("[{}J]", scale.prefix());
    let kernel = |b: &DomainBook| match b.kernel_books {
        None => MISSING.to_owned(),
        Some(k) if k.agree => "agree".to_owned(),
        Some(k) => format!("differ by {}", k.max_difference_units),
    };
    let columns = vec![
        Column::left("domain", 0, books.iter().map(|(n, _)| visible(n, LONGEST)).collect()),
        Column::left("source", 3, words(&|b| visible(&b.source, LONGEST))),
        Column::left("quality", 2, words(&|b| b.quality.as_str().to_owned())),
        Column::left("in sum", 5, words(&|b| if b.additive { "yes" } else { "no" }.to_owned())),
        Column::right(format!("measured {unit}"), 0, words(&|b| energy(scale, b, b.measured_nj))),
        Column::right(format!("idle {unit}"), 1, words(&|b| energy(scale, b, b.idle_nj))),
        Column::right(
            format!("active {unit}"),
            1,
            words(&|b| energy(scale, b, b.consumers.values().map(|c| c.active_nj).sum())),
        ),
        Column::right(format!("residual {unit}"), 1, words(&|b| energy(scale, b, b.residual_nj))),
        Column::right("windows", 7, words(&|b| b.windows.to_string())),
        Column::right("void", 6, words(&|b| b.void_windows.to_string())),
        Column::left("kernel books", 4, words(&kernel)),
    ];
    render(columns, width)
}

/// Consumers in reading order: targets first, then the rest of the machine, the probe last.
#[must_use]
pub fn consumer_names(summary: &Snapshot) -> Vec<&str> {
    let all =
        summary.domains.values().flat_map(|d| d.consumers.keys()).chain(summary.targets.keys());
    let mut names: Vec<&str> = all.map(String::as_str).collect();
    names.sort_by_key(|name| {
        (NOT_TARGETS.iter().position(|n| n == name).map_or(0, |p| p + 1), *name)
    });
    names.dedup();
    names
}

/// CPU time of a consumer, nanoseconds.
///
/// A target's book has it. For the others, domains that cover the same CPUs repeat it: packages are
/// counted where there are any, else each index once.
#[must_use]
pub fn cpu_ns(summary: &Snapshot, consumer: &str) -> Option<u64> {
    if let Some(target) = summary.targets.get(consumer) {
        return Some(target.cpu_ns);
    }
    let of = |prefix: &'static str| {
        summary.domains.iter().filter_map(move |(name, book)| {
            name.strip_prefix(prefix)?;
            Some((name, book.consumers.get(consumer)?.cpu_ns))
        })
    };
    if of("package-").next().is_some() {
        return Some(of("package-").map(|(_, ns)| ns).sum());
    }
    let mut by_index = std::collections::BTreeMap::new();
    for (name, ns) in of("").filter(|(name, _)| !name.starts_with("core-")) {
        let index = name.rsplit('-').next().and_then(|n| n.parse::<u32>().ok());
        let largest: &mut u64 = by_index.entry(index).or_default();
        *largest = ns.max(*largest);
    }
    (!by_index.is_empty()).then(|| by_index.values().sum())
}

/// One row a consumer, a column a domain.
#[must_use]
pub fn consumers(summary: &Snapshot, width: Option<usize>) -> String {
    let names = consumer_names(summary);
    let mut books: Vec<(&String, &DomainBook)> = summary.domains.iter().collect();
    books.sort_by_key(|(_, book)| !book.additive);
    let active = |book: &DomainBook, name: &str| book.consumers.get(name).map(|c| c.active_nj);
    let totals: Vec<u64> = names
        .iter()
        .map(|n| books.iter().filter(|(_, b)| b.additive).filter_map(|(_, b)| active(b, n)).sum())
        .collect();
    let all: u64 = totals.iter().sum();
    let scale = scale_of(totals.iter());
    let unit = format!("[{}J]", scale.prefix());
    let cpu = |name: &&str| {
        cpu_ns(summary, name).map_or_else(|| MISSING.into(), |ns| format!("{:.3}", seconds(ns)))
    };
    let share = |nj: &u64| {
        if all == 0 { MISSING.into() } else { format!("{:.1} %", *nj as f64 * 100.0 / all as f64) }
    };
    let mut columns = vec![
        Column::left("consumer", 0, names.iter().map(|n| visible(n, LONGEST)).collect()),
        Column::right("CPU [s]", 2, names.iter().map(cpu).collect()),
        Column::right(
            format!("active {unit}"),
            0,
            totals.iter().map(|nj| scale.show(joules(*nj))).collect(),
        ),
        Column::right("share", 1, totals.iter().map(share).collect()),
    ];
    for (rank, (name, book)) in (3_u8..).zip(books.iter().take(WIDEST)) {
        let cell = |consumer: &&str| match active(book, consumer) {
            Some(nj) => energy(scale, book, nj),
            None => MISSING.into(),
        };
        let heading = format!("{} {unit}", visible(name, LONGEST));
        columns.push(Column::right(heading, rank, names.iter().map(cell).collect()));
    }
    render(columns, width)
}

/// One row a target; behind the background, what of it was before its first request, while requests waited, and after
/// last bytes.
#[must_use]
pub fn targets(summary: &Snapshot, width: Option<usize>) -> String {
    let books = || summary.targets.values();
    let scale = scale_of(books().flat_map(|b| [&b.requests_nj, &b.background_nj]));
    let unit = format!("[{}J]", scale.prefix());
    let names = summary.targets.keys().map(|n| visible(n, LONGEST)).collect();
    let part = |name: &str, of: &dyn Fn(&TargetBook) -> u64| {
        let cells = books().map(|b| scale.show(joules(of(b)))).collect();
        Column::right(format!("{name} {unit}"), 2, cells)
    };
    let columns = vec![
        Column::left("target", 0, names),
        Column::right(
            format!("requests {unit}"),
            0,
            books().map(|b| scale.show(joules(b.requests_nj))).collect(),
        ),
        Column::right(
            format!("background {unit}"),
            0,
            books().map(|b| scale.show(joules(b.background_nj))).collect(),
        ),
        part("before 1st", &|b| b.background_before_nj),
        part("waiting", &|b| b.background_waiting_nj),
        part("after last", &|b| b.background_after_nj),
        Column::right("CPU [s]", 1, books().map(|b| format!("{:.3}", seconds(b.cpu_ns))).collect()),
    ];
    render(columns, width)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::example;

    #[test]
    fn cpu_time_of_overlapping_domains_is_counted_once() {
        let mut summary = example::snapshot(10.0);
        let package = summary.domains["package-0"].consumers["other"].cpu_ns;
        assert_eq!(cpu_ns(&summary, "other"), Some(package));
        let book = summary.domains.remove("package-0").unwrap();
        summary.domains.insert("tsc-0".into(), book.clone());
        summary.domains.insert("tsc-1".into(), book.clone());
        summary.domains.insert("core-7".into(), book);
        summary.domains.remove("dram-0");
        summary.domains.remove("psys");
        assert_eq!(cpu_ns(&summary, "other"), Some(2 * package));
        assert_eq!(cpu_ns(&summary, "nobody"), None);
    }

    #[test]
    fn targets_come_first_and_the_probe_last() {
        assert_eq!(consumer_names(&example::snapshot(1.0)), ["llama", "other", "kernel", "self"]);
    }

    #[test]
    fn a_domain_nothing_measures_shows_dashes() {
        let mut summary = example::snapshot(10.0);
        let book = summary.domains.get_mut("dram-0").unwrap();
        *book = DomainBook { quality: Quality::Absent, measured_nj: 0, ..book.clone() };
        let text = domains(&summary, None);
        let row = text.lines().find(|line| line.starts_with("dram-0")).unwrap();
        assert!(row.matches('–').count() >= 4, "{row}");
    }
}

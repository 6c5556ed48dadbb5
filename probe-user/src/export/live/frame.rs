//! One frame as lines: a function of two snapshots, the last requests and a size.

use std::collections::BTreeMap;

use super::screen::Size;
use crate::export::shown::{seconds_between, visible};
use crate::export::table::Recent;
use crate::export::table::layout::{Column, cut, render};
use crate::export::table::ledger::{consumer_names, cpu_ns};
use crate::export::table::requests;
use crate::export::units::{MISSING, count, joules, si};
use crate::record::{Quality, RequestRecord};
use crate::snapshot::{DomainBook, Snapshot, TargetBook};

/// Rows a table of the books may take.
const TALLEST: usize = 8;
/// Requests shown even where the books then do not fit.
const FEWEST: usize = 3;

/// What changed between two snapshots, by the second.
struct Rates<'a> {
    before: Option<(&'a Snapshot, f64)>,
}

impl<'a> Rates<'a> {
    fn new(before: Option<&'a Snapshot>, now: &Snapshot) -> Self {
        let before = before.and_then(|snapshot| {
            let seconds = seconds_between(&snapshot.ended, &now.ended)?;
            (seconds > 0.0).then_some((snapshot, seconds))
        });
        Self { before }
    }

    /// Growth by the second of what `read` finds in a snapshot, in units of 10⁻⁹.
    fn of(&self, now: &Snapshot, read: impl Fn(&Snapshot) -> Option<u64>) -> Option<f64> {
        let (before, seconds) = self.before?;
        let step = read(now)?.checked_sub(read(before)?)?;
        Some(step as f64 / 1e9 / seconds)
    }
}

/// The lines of a frame: no more than the rows, none wider than the columns.
#[must_use]
pub fn lines(
    recent: &Recent,
    before: Option<&Snapshot>,
    now: &Snapshot,
    size: Size,
) -> Vec<String> {
    let (width, height) = (usize::from(size.columns), usize::from(size.rows));
    let rates = Rates::new(before, now);
    let head = headline(recent, now, &rates);
    let books = [domains(now, &rates, width), consumers(now, &rates, width)];
    let mut lines = vec![cut(&head, width)];
    for book in books.iter().filter(|book| !book.is_empty()) {
        // Heading, blank lines and at least some requests must fit below.
        if lines.len() + 1 + book.lines().count() + 2 + FEWEST <= height {
            lines.push(String::new());
            lines.extend(book.lines().map(str::to_owned));
        }
    }
    let free = height.saturating_sub(lines.len() + 2);
    let shown: Vec<&RequestRecord> = recent.last(free).collect();
    if free > 0 && !shown.is_empty() {
        lines.push(String::new());
        let table = requests::table(&shown, &now.started, Some(width));
        lines.extend(table.lines().map(str::to_owned));
    }
    lines.truncate(height);
    lines
}

fn headline(recent: &Recent, now: &Snapshot, rates: &Rates) -> String {
    let elapsed = seconds_between(&now.started, &now.ended).unwrap_or(0.0).max(0.0) as u64;
    let clock = format!("{}:{:02}:{:02}", elapsed / 3600, elapsed / 60 % 60, elapsed % 60);
    let mut ended = recent.totals().main().1.ends();
    if ended.is_empty() {
        "no request yet".clone_into(&mut ended);
    }
    let flying: u64 = now.in_flight.values().sum();
    let power = rates.of(now, measured).map_or_else(|| MISSING.to_owned(), |w| si(w, "W"));
    let mut line = format!("wattprobe {clock}   {power}   {flying} in flight   {ended}");
    if now.events.lost > 0 {
        line.push_str(&format!("   {} records lost", count(now.events.lost)));
    }
    line.push_str("   Ctrl-C ends the run");
    line
}

/// Energy of the additive set; `None` where nothing measures.
fn measured(snapshot: &Snapshot) -> Option<u64> {
    let books = snapshot.domains.values().filter(|b| b.additive && b.quality != Quality::Absent);
    books.map(|book| book.measured_nj).reduce(u64::saturating_add)
}

fn domains(now: &Snapshot, rates: &Rates, width: usize) -> String {
    let mut books: Vec<(&String, &DomainBook)> = now.domains.iter().collect();
    books.sort_by_key(|(_, book)| !book.additive);
    books.truncate(TALLEST);
    let known = |book: &DomainBook, nj: u64| (book.quality != Quality::Absent).then(|| joules(nj));
    let power: Vec<Option<f64>> = books
        .iter()
        .map(|(name, book)| {
            known(book, 0)?;
            rates.of(now, |s| Some(s.domains.get(*name)?.measured_nj))
        })
        .collect();
    let energy = |f: &dyn Fn(&DomainBook) -> u64| -> Vec<Option<f64>> {
        books.iter().map(|(_, book)| known(book, f(book))).collect()
    };
    let active = |book: &DomainBook| book.consumers.values().map(|c| c.active_nj).sum();
    let text = |f: &dyn Fn(&DomainBook) -> String| books.iter().map(|(_, b)| f(b)).collect();
    let columns = vec![
        Column::left("domain", 0, books.iter().map(|(name, _)| visible(name, 24)).collect()),
        Column::left("source", 3, text(&|b| visible(&b.source, 24))),
        Column::left("quality", 2, text(&|b| b.quality.as_str().to_owned())),
        Column::scaled("power", "W", 0, 4, &power),
        Column::scaled("measured", "J", 1, 4, &energy(&|b| b.measured_nj)),
        Column::scaled("idle", "J", 4, 4, &energy(&|b| b.idle_nj)),
        Column::scaled("active", "J", 4, 4, &energy(&active)),
        Column::scaled("residual", "J", 4, 4, &energy(&|b| b.residual_nj)),
    ];
    render(columns, Some(width))
}

/// Active energy of every consumer over the additive set.
fn active_of(snapshot: &Snapshot) -> BTreeMap<&str, u64> {
    let mut sums = BTreeMap::new();
    for book in snapshot.domains.values().filter(|b| b.additive && b.quality != Quality::Absent) {
        for (name, consumer) in &book.consumers {
            let sum: &mut u64 = sums.entry(name.as_str()).or_default();
            *sum = sum.saturating_add(consumer.active_nj);
        }
    }
    sums
}

fn consumers(now: &Snapshot, rates: &Rates, width: usize) -> String {
    let mut names = consumer_names(now);
    names.truncate(TALLEST);
    let active = active_of(now);
    let all: u64 = active.values().sum();
    let column = |f: &dyn Fn(&str) -> Option<f64>| -> Vec<Option<f64>> {
        names.iter().map(|name| f(name)).collect()
    };
    let book = |name: &str, part: fn(&TargetBook) -> u64| {
        now.targets.get(name).map(|target| joules(part(target)))
    };
    let power = column(&|name| rates.of(now, |s| active_of(s).get(name).copied()));
    let cores = column(&|name| rates.of(now, |s| cpu_ns(s, name)));
    let share = |name: &&str| match active.get(name) {
        Some(nj) if all > 0 => format!("{:.1} %", *nj as f64 * 100.0 / all as f64),
        _ => MISSING.to_owned(),
    };
    let cores = cores.iter().map(|c| c.map_or_else(|| MISSING.to_owned(), |c| format!("{c:.2}")));
    let columns = vec![
        Column::left("consumer", 0, names.iter().map(|name| visible(name, 24)).collect()),
        Column::scaled("power", "W", 0, 4, &power),
        Column::right("CPUs", 2, cores.collect()),
        Column::scaled(
            "active",
            "J",
            1,
            4,
            &column(&|name| active.get(name).map(|nj| joules(*nj))),
        ),
        Column::right("share", 3, names.iter().map(share).collect()),
        Column::scaled("requests", "J", 4, 4, &column(&|name| book(name, |t| t.requests_nj))),
        Column::scaled("background", "J", 4, 4, &column(&|name| book(name, |t| t.background_nj))),
    ];
    render(columns, Some(width))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::export::example;

    fn frame(size: Size) -> Vec<String> {
        let mut recent = Recent::new(200);
        for number in 1..=40 {
            recent.push(&Arc::new(example::record(number)));
        }
        let (before, now) = (example::snapshot(8.0), example::snapshot(10.0));
        lines(&recent, Some(&before), &now, size)
    }

    #[test]
    fn power_is_the_growth_of_energy_by_the_second() {
        let lines = frame(Size { columns: 160, rows: 50 });
        // 849 sixteenths of a watt in the additive domains.
        assert!(lines[0].contains("53.1 W"), "{}", lines[0]);
        let row = lines.iter().find(|line| line.starts_with("package-0")).unwrap();
        assert!(row.contains(" 48.06 "), "{row}");
        let row = lines.iter().find(|line| line.starts_with("llama")).unwrap();
        assert!(row.contains(" 33.00 ") && row.contains(" 3.75 "), "{row}");
    }

    #[test]
    fn requests_fill_the_rows_that_the_books_leave() {
        let lines = frame(Size { columns: 160, rows: 30 });
        assert_eq!(lines.len(), 30);
        let last = lines.last().unwrap().trim_start();
        assert!(last.starts_with("40 "), "the newest is at the bottom: {last}");
    }

    #[test]
    fn a_short_terminal_keeps_the_requests_and_drops_the_books() {
        let lines = frame(Size { columns: 100, rows: 8 });
        assert_eq!(lines.len(), 8);
        assert!(lines.iter().all(|line| !line.starts_with("package-0")));
        assert!(lines.last().unwrap().trim_start().starts_with("40 "));
    }

    #[test]
    fn the_first_frame_has_no_power_and_does_not_say_zero() {
        let now = example::snapshot(1.0);
        let lines = lines(&Recent::new(5), None, &now, Size::default());
        assert!(lines[0].contains('–') && !lines[0].contains(" W"), "{}", lines[0]);
    }
}

//! The requests: one row each, and the line of totals.

use std::collections::{BTreeMap, BTreeSet};

use super::layout::{Column, render};
use crate::export::shown::{seconds_between, visible};
use crate::export::units::{MISSING, Scale, count, si};
use crate::record::{End, Kind, RequestRecord};

/// Characters of a path or model that are shown.
const LONGEST: usize = 32;

/// Sums over the requests of one kind.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sums {
    /// Requests.
    pub requests: u64,
    /// The same by end.
    pub ends: BTreeMap<End, u64>,
    /// Requests whose energy is known.
    pub with_joules: u64,
    /// Their energy.
    pub joules: f64,
    /// Prompt tokens, where known.
    pub prompt_tokens: u64,
    /// Completion tokens, where known.
    pub completion_tokens: u64,
    /// Energy of the requests whose completion tokens are known too.
    pub joules_with_tokens: f64,
    /// Completion tokens of those.
    pub tokens_with_joules: u64,
}

impl Sums {
    /// Adds one request.
    pub fn add(&mut self, record: &RequestRecord) {
        self.requests += 1;
        *self.ends.entry(record.end).or_default() += 1;
        self.prompt_tokens = self.prompt_tokens.saturating_add(record.prompt_tokens.unwrap_or(0));
        self.completion_tokens =
            self.completion_tokens.saturating_add(record.counted_tokens().unwrap_or(0));
        let Some(joules) = record.joules else { return };
        self.with_joules += 1;
        self.joules += joules;
        if let Some(tokens) = record.counted_tokens() {
            self.joules_with_tokens += joules;
            self.tokens_with_joules = self.tokens_with_joules.saturating_add(tokens);
        }
    }

    /// Energy per completion token over the requests that have both.
    #[must_use]
    pub fn joules_per_token(&self) -> Option<f64> {
        (self.tokens_with_joules > 0)
            .then(|| self.joules_with_tokens / self.tokens_with_joules as f64)
    }

    /// `11 complete, 1 aborted`; empty before the first request.
    #[must_use]
    pub fn ends(&self) -> String {
        let mut ends: Vec<(&End, &u64)> = self.ends.iter().collect();
        ends.sort_by_key(|(end, n)| (**end != End::Complete, std::cmp::Reverse(**n)));
        let ends = ends.iter().map(|(end, n)| format!("{} {}", count(**n), end.as_str()));
        ends.collect::<Vec<_>>().join(", ")
    }
}

/// Sums over all requests of a run, by what they were for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Totals(BTreeMap<Kind, Sums>);

impl Totals {
    /// Adds one request.
    pub fn add(&mut self, record: &RequestRecord) {
        self.0.entry(record.kind).or_default().add(record);
    }

    /// Requests that get a row: all but checks.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.0.iter().filter(|(kind, _)| **kind != Kind::Check).map(|(_, s)| s.requests).sum()
    }

    /// What the run was about: inference; if there was none, other requests; if there was nothing else, checks.
    #[must_use]
    pub fn main(&self) -> (Kind, Sums) {
        let first = [Kind::Inference, Kind::Other, Kind::Check].into_iter();
        let found = first.filter_map(|kind| Some((kind, self.0.get(&kind)?.clone()))).next();
        found.unwrap_or((Kind::Inference, Sums::default()))
    }

    /// The other kinds, of which there were some.
    fn rest(&self) -> impl Iterator<Item = (Kind, &Sums)> {
        let (main, _) = self.main();
        self.0.iter().map(|(kind, sums)| (*kind, sums)).filter(move |(kind, _)| *kind != main)
    }
}

/// The larger side of a record's error bar, joules.
#[must_use]
pub fn error_bar(record: &RequestRecord) -> Option<f64> {
    let joules = record.joules?;
    Some((joules - record.joules_low?).max(record.joules_high? - joules))
}

/// Energy per completion token that the server counted, joules.
#[must_use]
pub fn joules_per_token(record: &RequestRecord) -> Option<f64> {
    let tokens = record.counted_tokens().filter(|n| *n > 0)?;
    Some(record.joules? / tokens as f64)
}

/// One row a request, in the order given; `started` is the run's.
#[must_use]
pub fn table(records: &[&RequestRecord], started: &str, width: Option<usize>) -> String {
    let words = |f: &dyn Fn(&RequestRecord) -> String| -> Vec<String> {
        records.iter().map(|r| f(r)).collect()
    };
    let numbers = |f: &dyn Fn(&RequestRecord) -> Option<f64>| -> Vec<Option<f64>> {
        records.iter().map(|r| f(r)).collect()
    };
    let tokens = |n: Option<u64>| n.map_or_else(|| MISSING.to_owned(), |n| n.to_string());
    let text = |t: &Option<String>| {
        t.as_deref().map_or_else(|| MISSING.to_owned(), |t| visible(t, LONGEST))
    };
    let status = |r: &RequestRecord| r.status.map_or_else(|| MISSING.into(), |s| s.to_string());
    let offset = |r: &RequestRecord| {
        let seconds = seconds_between(started, &r.start);
        seconds.map_or_else(|| MISSING.to_owned(), |s| format!("{s:+.3}"))
    };
    let residents = |r: &RequestRecord| {
        r.mean_residents.map_or_else(|| MISSING.to_owned(), |n| format!("{n:.2}"))
    };
    let (joules, bars) = (numbers(&|r| r.joules), numbers(&error_bar));
    // Energy and its error bar share a scale: they are read together.
    let scale = Scale::fitting(joules.iter().chain(&bars).copied().flatten(), 4);
    let energy = |values: &[Option<f64>]| values.iter().map(|v| scale.show_maybe(*v)).collect();
    let unit = format!("[{}J]", scale.prefix());
    let targets: BTreeSet<&str> = records.iter().map(|r| &*r.target).collect();

    let mut columns = vec![Column::right("request", 0, words(&|r| r.request.to_string()))];
    if targets.len() > 1 {
        columns.push(Column::left("target", 2, words(&|r| visible(&r.target, LONGEST))));
    }
    columns.extend([
        Column::left("path", 3, words(&|r| text(&r.path))),
        Column::right("status", 9, words(&status)),
        Column::left("end", 1, words(&|r| r.end.as_str().to_owned())),
        Column::right("start [s]", 8, words(&offset)),
        Column::scaled("duration", "s", 4, 4, &numbers(&|r| Some(r.duration_s))),
        Column::scaled("TTFT", "s", 5, 3, &numbers(&|r| r.ttft_s)),
        Column::scaled("queue", "s", 10, 3, &numbers(&|r| r.queue_s)),
        Column::scaled("ITL p50", "s", 8, 3, &numbers(&|r| r.itl_p50_s)),
        Column::scaled("ITL p99", "s", 9, 3, &numbers(&|r| r.itl_p99_s)),
        Column::right("prompt", 7, words(&|r| tokens(r.prompt_tokens))),
        Column::right("completion", 5, words(&|r| tokens(r.completion_tokens))),
        Column::right(format!("energy {unit}"), 0, energy(&joules)),
        Column::right(format!("± {unit}"), 0, energy(&bars)),
        Column::scaled("per token", "J", 4, 3, &numbers(&joules_per_token)),
        Column::right("residents", 8, words(&residents)),
        Column::left("quality", 2, words(&|r| r.quality.as_str().to_owned())),
    ]);
    if records.iter().any(|r| !r.flags.is_empty()) {
        columns.push(Column::left("flags", 6, words(&|r| visible(&r.flags.join(","), LONGEST))));
    }
    render(columns, width)
}

/// `12 health and metrics checks`; `other` where requests of another kind were named before.
fn named(n: u64, kind: Kind, other: bool) -> String {
    let noun = match (kind, n, other) {
        (Kind::Check, 1, _) => "health or metrics check",
        (Kind::Check, _, _) => "health and metrics checks",
        (_, 1, true) => "other request",
        (_, _, true) => "other requests",
        (_, 1, false) => "request",
        (_, _, false) => "requests",
    };
    format!("{} {noun}", count(n))
}

/// One line over all requests of the run. Checks and other requests are named at its end: they are in none of its figures.
#[must_use]
pub fn totals_line(totals: &Totals) -> String {
    let (kind, sums) = totals.main();
    let mut line = named(sums.requests, kind, false);
    if sums.requests > 0 {
        line.push_str(&format!(": {}", sums.ends()));
    }
    if sums.with_joules > 0 {
        line.push_str(&format!("; {}", si(sums.joules, "J")));
        if sums.with_joules < sums.requests {
            line.push_str(&format!(" over the {} with energy", count(sums.with_joules)));
        }
    }
    if sums.completion_tokens > 0 {
        line.push_str(&format!(
            "; {} prompt and {} completion tokens",
            count(sums.prompt_tokens),
            count(sums.completion_tokens)
        ));
    }
    if let Some(joules) = sums.joules_per_token() {
        line.push_str(&format!("; {} per completion token", si(joules, "J")));
    }
    let rest = totals.rest().map(|(kind, sums)| {
        let known = sums.with_joules > 0;
        let joules = if known { si(sums.joules, "J") } else { "no energy known".to_owned() };
        format!("{}, {joules}", named(sums.requests, kind, true))
    });
    let rest: Vec<String> = rest.collect();
    if !rest.is_empty() {
        line.push_str(&format!(" (plus {})", rest.join("; ")));
    }
    line.push('.');
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::example;

    #[test]
    fn the_error_bar_is_its_larger_side() {
        let mut record = example::record(1);
        (record.joules, record.joules_low, record.joules_high) =
            (Some(10.0), Some(9.0), Some(13.0));
        assert_eq!(error_bar(&record), Some(3.0));
        record.joules_low = None;
        assert_eq!(error_bar(&record), None);
    }

    #[test]
    fn no_tokens_means_no_joules_per_token() {
        let mut record = example::record(1);
        record.completion_tokens = Some(0);
        assert_eq!(joules_per_token(&record), None);
        record.completion_tokens = Some(7);
        record.joules = Some(3.5);
        assert_eq!(joules_per_token(&record), Some(0.5));
    }

    #[test]
    fn totals_divide_only_requests_that_have_both_energy_and_tokens() {
        let mut totals = Sums::default();
        let mut record = example::record(1);
        (record.joules, record.completion_tokens) = (Some(4.0), Some(8));
        totals.add(&record);
        (record.joules, record.completion_tokens) = (Some(100.0), None);
        totals.add(&record);
        (record.joules, record.completion_tokens) = (None, Some(1000));
        totals.add(&record);
        assert_eq!(totals.joules_per_token(), Some(0.5));
        assert_eq!((totals.requests, totals.with_joules), (3, 2));
    }

    #[test]
    fn checks_and_other_requests_are_in_no_figure_of_the_line_but_named_at_its_end() {
        let mut totals = Totals::default();
        assert_eq!(totals_line(&totals), "0 requests.");
        totals.add(&example::check(1));
        assert_eq!(totals_line(&totals), "1 health or metrics check: 1 complete; 500 µJ.");
        let tokenize = RequestRecord { kind: Kind::Other, joules: None, ..example::check(2) };
        totals.add(&tokenize);
        let line = "1 request: 1 complete (plus 1 health or metrics check, 500 µJ).";
        assert_eq!(totals_line(&totals), line);
        totals.add(&example::record(3));
        totals.add(&example::check(4));
        let line = totals_line(&totals);
        let figures = "1 request: 1 complete; 7.00 J; 15 prompt and 64 completion tokens; 109 mJ per completion token";
        let rest = "(plus 2 health and metrics checks, 1.00 mJ; 1 other request, no energy known).";
        assert_eq!(line, format!("{figures} {rest}"));
        assert_eq!(totals.rows(), 2);
    }

    #[test]
    fn flags_get_a_column_once_there_are_any() {
        let mut record = example::record(1);
        assert!(!table(&[&record], example::STARTED, None).contains("flags"));
        record.flags = vec!["gap".into(), "shared".into()];
        assert!(table(&[&record], example::STARTED, None).ends_with("measured  gap,shared"));
    }

    #[test]
    fn a_second_target_brings_its_column() {
        let one = example::record(1);
        let mut two = example::record(2);
        assert!(!table(&[&one], example::STARTED, None).contains("target"));
        two.target = "vllm".into();
        assert!(table(&[&one, &two], example::STARTED, None).contains("target"));
    }
}

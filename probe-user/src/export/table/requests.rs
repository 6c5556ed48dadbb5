//! The requests: one row each, and the line of totals.

use std::collections::BTreeSet;

use super::layout::{Column, render};
use crate::export::shown::{seconds_between, visible};
use crate::export::units::{MISSING, Scale, count, si};
use crate::record::RequestRecord;
use crate::snapshot::Snapshot;

/// Characters of a path or model that are shown.
const LONGEST: usize = 32;

/// Sums over all requests of a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Totals {
    /// Requests.
    pub requests: u64,
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

impl Totals {
    /// Adds one request.
    pub fn add(&mut self, record: &RequestRecord) {
        self.requests += 1;
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
    let targets: BTreeSet<&str> = records.iter().map(|r| r.target.as_str()).collect();

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

/// `11 complete, 1 aborted`; empty before the first request.
#[must_use]
pub fn ends(summary: &Snapshot) -> String {
    let mut ends: Vec<(&String, &u64)> = summary.requests.iter().filter(|(_, n)| **n > 0).collect();
    ends.sort_by_key(|(end, n)| (end.as_str() != "complete", std::cmp::Reverse(**n)));
    let ends: Vec<String> = ends.iter().map(|(end, n)| format!("{} {end}", count(**n))).collect();
    ends.join(", ")
}

/// One line over all requests of the run.
#[must_use]
pub fn totals_line(totals: &Totals, summary: &Snapshot) -> String {
    let noun = if totals.requests == 1 { "request" } else { "requests" };
    let ends = ends(summary);
    let mut line = format!("{} {noun}", count(totals.requests));
    if !ends.is_empty() {
        line.push_str(&format!(": {ends}"));
    }
    if totals.with_joules > 0 {
        line.push_str(&format!("; {}", si(totals.joules, "J")));
        if totals.with_joules < totals.requests {
            line.push_str(&format!(" over the {} with energy", count(totals.with_joules)));
        }
    }
    if totals.completion_tokens > 0 {
        line.push_str(&format!(
            "; {} prompt and {} completion tokens",
            count(totals.prompt_tokens),
            count(totals.completion_tokens)
        ));
    }
    if let Some(joules) = totals.joules_per_token() {
        line.push_str(&format!("; {} per completion token", si(joules, "J")));
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
        let mut totals = Totals::default();
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

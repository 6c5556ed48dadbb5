//! The mixed load of sixty requests, and what every one of them must look like in the records.

use std::thread;
use std::time::Duration;

use wattprobe::record::{End, RequestRecord, TokenSource};

use super::ask::{Ask, Seen};
use super::books;
use super::client::{Address, once};
use super::clock;
use super::probe::Outcome;

/// Requests of the load.
pub(crate) const REQUESTS: usize = 60;
const TOKENS: u32 = 12;

/// 12 plain and 5 health checks on kept connections, 12 streams, 7 rounds of 4 overlapping, 3 abandoned.
pub(crate) fn mixed(server: &Address) -> Vec<Seen> {
    let mut seen =
        on_one_connection(server, (0..12).map(|i| Ask::plain(format!("keep-{i}"), TOKENS)));
    for i in 0..12 {
        seen.push(once(server, &Ask::stream(format!("stream-{i}"), TOKENS)).expect("an answer"));
    }
    for round in 0..7 {
        seen.extend(overlapping(server, round));
    }
    for i in 0..3 {
        seen.push(once(server, &Ask::abandoned(format!("gone-{i}"))).expect("a beginning"));
        // The server notices at its next token; then it is free again.
        thread::sleep(Duration::from_millis(300));
    }
    seen.extend(on_one_connection(server, (0..5).map(|i| Ask::health(format!("health-{i}")))));
    assert_eq!(seen.len(), REQUESTS);
    seen
}

/// One after another on one connection, or on the next where the server closes.
fn on_one_connection(server: &Address, asks: impl Iterator<Item = Ask>) -> Vec<Seen> {
    let mut connection = server.connect().expect("the server listens");
    let mut seen = Vec::new();
    for ask in asks {
        let one = connection.ask(&ask).expect("an answer");
        if !one.keeps {
            connection = server.connect().expect("the server listens");
        }
        seen.push(one);
    }
    seen
}

/// Two plain ones and two streams at the same time.
fn overlapping(server: &Address, round: usize) -> Vec<Seen> {
    thread::scope(|scope| {
        let asks = (0..4).map(|i| {
            let id = format!("over-{round}-{i}");
            if i % 2 == 0 { Ask::plain(id, TOKENS) } else { Ask::stream(id, TOKENS) }
        });
        let started: Vec<_> =
            asks.map(|ask| scope.spawn(move || once(server, &ask).expect("an answer"))).collect();
        started.into_iter().map(|one| one.join().expect("no client panics")).collect()
    })
}

/// Keeps `clients` streams going until the time is over; how many were answered.
pub(crate) fn keep_busy(server: &Address, clients: usize, time: Duration) -> usize {
    let deadline = clock::now() + u64::try_from(time.as_nanos()).expect("a short time");
    let client = |number: usize| {
        let mut answered = 0;
        while clock::now() < deadline {
            let ask = Ask::stream(format!("busy-{number}-{answered}"), 24);
            assert!(once(server, &ask).expect("an answer").complete);
            answered += 1;
        }
        answered
    };
    thread::scope(|scope| {
        let started: Vec<_> = (0..clients).map(|n| scope.spawn(move || client(n))).collect();
        started.into_iter().map(|one| one.join().expect("no client panics")).sum()
    })
}

/// Every request has exactly one record that agrees with the client in every respect.
pub(crate) fn check(outcome: &Outcome, seen: &[Seen]) {
    let records = books::by_id(outcome);
    assert_eq!(records.len(), seen.len(), "records with an id against requests sent");
    let (mut starts, mut ends, mut firsts) = (Vec::new(), Vec::new(), Vec::new());
    for one in seen {
        let id = one.ask.id.as_str();
        let record = records.get(id).unwrap_or_else(|| panic!("{id} was not seen"));
        let start = clock::from_rfc3339(&record.start);
        starts.push(milliseconds(start - i128::from(one.start)));
        if one.ask.hang_up_after.is_some() {
            assert!(books::is_cut_short(record.end), "{id}: {record:?}");
            continue;
        }
        check_answered(record, one);
        let at = |seconds: f64| start + (seconds * 1e9) as i128;
        ends.push(milliseconds(at(record.duration_s) - i128::from(one.end)));
        if let (Some(ttft), Some(first), true) = (record.ttft_s, one.first, one.ask.stream) {
            firsts.push(milliseconds(at(ttft) - i128::from(first)));
        }
    }
    agree("start", starts);
    agree("end", ends);
    if seen.iter().any(|one| one.ask.stream && one.complete) {
        agree("first content of streams", firsts);
    }
}

fn check_answered(record: &RequestRecord, one: &Seen) {
    let id = &one.ask.id;
    assert!(one.complete, "{id}: the client got all of it: {one:?}");
    assert_eq!(record.end, End::Complete, "{id}: {record:?}");
    assert_eq!(record.status, one.status, "{id}");
    if one.ask.tokens.is_none() {
        assert_eq!(record.path.as_deref(), Some("/health"), "{id}");
        assert_eq!(record.completion_tokens, None, "{id}: a health check has no tokens");
        return;
    }
    assert_eq!(record.path.as_deref(), Some("/v1/chat/completions"), "{id}");
    assert_eq!(record.stream, Some(one.ask.stream), "{id}");
    assert_eq!(record.prompt_tokens, one.prompt_tokens, "{id}: {record:?}");
    assert_eq!(record.completion_tokens, one.completion_tokens, "{id}: {record:?}");
    assert!(one.completion_tokens.is_some(), "{id}: the server counted: {one:?}");
    assert_eq!(record.token_source, TokenSource::Usage, "{id}");
    assert!(record.joules.is_some_and(|j| j > 0.0), "{id}: {record:?}");
    assert!(record.cpu_s.is_some_and(|s| s > 0.0), "{id}: {record:?}");
}

fn milliseconds(ns: i128) -> f64 {
    (ns as f64 / 1e6).abs()
}

/// Median within 2 ms, 95th percentile within 10 ms.
fn agree(what: &str, mut differences: Vec<f64>) {
    assert!(!differences.is_empty(), "{what}: nothing to compare");
    differences.sort_by(f64::total_cmp);
    let at = |share: f64| differences[((differences.len() - 1) as f64 * share).ceil() as usize];
    let (median, p95) = (at(0.5), at(0.95));
    println!("{what}: {} pairs, median {median:.3} ms, p95 {p95:.3} ms", differences.len());
    assert!(median <= 2.0, "{what}: median {median} ms: {differences:?}");
    assert!(p95 <= 10.0, "{what}: p95 {p95} ms: {differences:?}");
}

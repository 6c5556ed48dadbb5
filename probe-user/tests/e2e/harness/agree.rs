//! What every request must look like in the records: there once, with what the client saw on its own clock.

use std::path::Path;

use wattprobe::record::{End, Kind, RequestRecord, TokenSource};

use super::ask::{Dialect, Leave, Seen};
use super::books;
use super::clock;
use super::emulated;
use super::probe::Outcome;

/// Nanoseconds by which two readings of the clocks of day and of boot may be apart.
const NEVER_EARLY: i128 = 1_000_000;

/// So many that one in twenty is not the worst of them.
const MANY: usize = 40;

/// How far the probe's clock and the client's were apart, milliseconds, 95th percentiles.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Apart {
    /// Instant of the first content of all streams; `None` where there was no stream.
    pub(crate) first_ms: Option<f64>,
    /// Time to it from when the request came.
    pub(crate) ttft_ms: Option<f64>,
}

/// Every request has exactly one record that agrees with the client in every respect, and no record is
/// anything else.
pub(crate) fn check(outcome: &Outcome, seen: &[Seen]) -> Apart {
    let records = books::by_id(outcome);
    let unseen = seen.iter().filter(|one| !records.contains_key(one.ask.id.as_str()));
    let nameless = outcome.records.iter().filter(|record| record.external_id.is_none());
    let (unseen, nameless): (Vec<_>, Vec<_>) = (unseen.collect(), nameless.collect());
    assert!(unseen.is_empty(), "no record has the ids of {unseen:?}; without an id: {nameless:?}");
    assert_eq!(records.len(), seen.len(), "records with an id against requests sent");
    assert_eq!(outcome.records.len(), seen.len(), "records against requests sent");
    arrivals_are_told(&outcome.records);
    let (mut arrivals, mut starts, mut ends) = (Vec::new(), Vec::new(), Vec::new());
    let (mut firsts, mut ttfts, mut all) = (Vec::new(), Vec::new(), Vec::new());
    for one in seen {
        let id = one.ask.id.as_str();
        let record = records.get(id).unwrap_or_else(|| panic!("{id} was not seen"));
        let start = clock::from_rfc3339(&record.start);
        // Until the server reads it, it lies unread: of eight at once the last for long, where a server has one thread.
        let unread = record.unread_s.unwrap_or_default();
        let arrival = start - (unread * 1e9) as i128;
        assert!(arrival + NEVER_EARLY >= i128::from(one.start), "{id}: {one:?}, {record:?}");
        let told = record.unread_s.is_some() || !one.ask.beside;
        if told {
            arrivals.push((milliseconds(arrival - i128::from(one.start)), id));
        }
        if !one.ask.beside {
            starts.push((milliseconds(start - i128::from(one.start)), id));
        }
        if one.ask.leave.is_some() {
            assert!(
                books::is_cut_short(record.end) || sent_to_nobody(record, one),
                "{id}: {record:?}"
            );
            continue;
        }
        check_answered(record, one);
        let at = |seconds: f64| start + (seconds * 1e9) as i128;
        // A slow client has the last byte long after the server wrote it.
        if one.ask.slow {
            assert!(at(record.duration_s) <= i128::from(one.end) + NEVER_EARLY, "{id}: {record:?}");
            continue;
        }
        ends.push((milliseconds(at(record.duration_s) - i128::from(one.end)), id));
        if let (Some(ttft), Some(first), true) = (record.ttft_s, one.first, one.ask.stream) {
            firsts.push((milliseconds(at(ttft) - i128::from(first)), id));
            let ttft = ((unread + ttft) * 1e9) as i128;
            let apart = (milliseconds(ttft - i128::from(first - one.start)), id);
            all.push(apart);
            if told {
                ttfts.push(apart);
            }
        }
    }
    agree("arrival", arrivals, 10.0);
    agree("start", starts, 10.0);
    agree("end", ends, 10.0);
    if firsts.is_empty() {
        let streams = seen.iter().filter(|one| one.ask.stream && one.complete && !one.ask.slow);
        assert_eq!(streams.count(), 0, "a stream without a first token");
        return Apart::default();
    }
    // A short run has fewer, and one over TLS.
    let many = firsts.len() >= MANY;
    let bound = if many { 5.0 } else { 10.0 };
    let first_ms = Some(agree("first content of streams", firsts, bound));
    let told_ms = agree("time to it", ttfts, bound);
    let ttft_ms = Some(if many { agree("time to it, all", all, bound) } else { told_ms });
    Apart { first_ms, ttft_ms }
}

/// Where the kernel tells when requests came it does of nearly all in clear text, and of some over TLS: see the known limits.
fn arrivals_are_told(records: &[RequestRecord]) {
    let over_tls = |record: &&RequestRecord| record.flags.iter().any(|flag| flag == "tls");
    let known = |tls: bool| {
        let of = || records.iter().filter(move |record| over_tls(record) == tls);
        (of().filter(|record| record.unread_s.is_some()).count(), of().count())
    };
    let ((clear, all_clear), (tls, all_tls)) = (known(false), known(true));
    println!("arrivals known: {clear} of {all_clear} in clear text, {tls} of {all_tls} over TLS");
    if Path::new("/sys/kernel/tracing/events/sock/sk_data_ready").exists() {
        // Not of one on a connection that was open before, nor of those that came while their connections were being accepted:
        // of a few that may be half.
        let least = if all_clear >= MANY { all_clear * 9 / 10 } else { all_clear / 2 };
        let enough = clear + 1 > least;
        assert!(enough, "{clear} of {all_clear} arrivals are known");
        assert!(tls > 0 || all_tls == 0, "no arrival over TLS is known");
    } else {
        assert_eq!(clear + tls, 0, "nothing tells of arrivals");
    }
}

/// Requests without names, one after another: each begins and ends when the client says.
pub(crate) fn in_time(records: &[RequestRecord], seen: &[Seen]) {
    let mut records: Vec<_> = records.iter().map(|r| (clock::from_rfc3339(&r.start), r)).collect();
    records.sort_by_key(|(start, _)| *start);
    let pairs = || records.iter().zip(seen);
    let apart = |of: i128, one: u64| milliseconds(of - i128::from(one));
    let starts = pairs().map(|((start, _), one)| (apart(*start, one.start), &*one.ask.id));
    agree("start", starts.collect(), 10.0);
    let end = |start: i128, r: &RequestRecord| start + (r.duration_s * 1e9) as i128;
    let ends = pairs().map(|((start, r), one)| (apart(end(*start, r), one.end), &*one.ask.id));
    agree("end", ends.collect(), 10.0);
}

/// A server that does not look whether its client is there writes the whole of a plain answer: it was sent to
/// its last byte, as the record says. llama.cpp looks once in a second in which no other answer has moved.
fn sent_to_nobody(record: &RequestRecord, one: &Seen) -> bool {
    matches!(one.ask.leave, Some(Leave::BeforeAnswer(_)))
        && !one.ask.stream
        && (record.end, record.status) == (End::Complete, Some(200))
        && record.completion_tokens.is_some()
}

fn check_answered(record: &RequestRecord, one: &Seen) {
    let id = &one.ask.id;
    assert!(one.complete, "{id}: the client got all of it: {one:?}");
    assert_eq!(record.end, End::Complete, "{id}: {record:?}");
    assert_eq!(record.status, one.status, "{id}");
    assert_eq!(record.path.as_deref(), Some(one.ask.path), "{id}");
    if one.ask.tokens.is_none() {
        assert_eq!(record.completion_tokens, None, "{id}: what is read has no tokens");
        assert_eq!(record.kind, Kind::Check, "{id}");
        return;
    }
    assert_eq!(record.stream, Some(one.ask.stream), "{id}");
    assert_eq!(record.kind, Kind::Inference, "{id}");
    check_timing(record, one);
    assert!(record.ttft_s.is_some() || one.first.is_none(), "{id}: {record:?}");
    assert_eq!(record.prompt_tokens, one.prompt_tokens, "{id}: {record:?}");
    assert_eq!(record.completion_tokens, one.completion_tokens, "{id}: {record:?}");
    assert!(one.completion_tokens.is_some(), "{id}: the server counted: {one:?}");
    let source = match one.ask.dialect {
        Dialect::OpenAi => TokenSource::Usage,
        Dialect::Ollama => TokenSource::Timings,
    };
    assert_eq!(record.token_source, source, "{id}");
    assert!(record.joules.is_some_and(|j| j > 0.0), "{id}: {record:?}");
    assert!(record.cpu_s.is_some_and(|s| s > 0.0), "{id}: {record:?}");
}

/// What a request did when adds up, and only a stream has gaps.
fn check_timing(record: &RequestRecord, one: &Seen) {
    let id = &one.ask.id;
    if let (Some(queue), Some(prefill), Some(decode)) =
        (record.queue_s, record.prefill_s, record.decode_s)
    {
        let spans = queue + prefill + decode;
        assert!(spans <= record.duration_s + 1e-6, "{id}: {record:?}");
    }
    assert!(one.ask.stream || record.itl_p50_s.is_none(), "{id}: {record:?}");
    if let (Some(p50), Some(p99)) = (record.itl_p50_s, record.itl_p99_s) {
        let longest = record.duration_s * (1.0 + 1.0 / 64.0);
        assert!(0.0 < p50 && p50 <= p99 && p99 <= longest, "{id}: {record:?}");
    }
}

fn milliseconds(ns: i128) -> f64 {
    (ns as f64 / 1e6).abs()
}

/// An emulated processor takes twenty times as long from one system call to the next.
fn slower() -> f64 {
    if emulated() { 20.0 } else { 1.0 }
}

/// Median within 2 ms, 95th percentile within the bound; the latter.
fn agree(what: &str, mut differences: Vec<(f64, &str)>, bound: f64) -> f64 {
    assert!(!differences.is_empty(), "{what}: nothing to compare");
    differences.sort_by(|a, b| a.0.total_cmp(&b.0));
    let at = |share: f64| differences[((differences.len() - 1) as f64 * share).ceil() as usize].0;
    let (median, p95) = (at(0.5), at(0.95));
    println!("{what}: {} pairs, median {median:.3} ms, p95 {p95:.3} ms", differences.len());
    let (typical, bound) = (2.0 * slower(), bound * slower());
    assert!(median <= typical, "{what}: median {median} ms: {differences:?}");
    assert!(p95 <= bound, "{what}: p95 {p95} ms: {differences:?}");
    p95
}

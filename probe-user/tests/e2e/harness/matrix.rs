//! One cell of the matrix: a server, a transport, the mixed load, and every assertion.
//!
//! Every request is in the records exactly once, as the client saw it; the tokens of the records sum to the
//! server's own counters, those of clients that left aside; the target's CPU time is the kernel's, of all its
//! processes together; and the books close.

use std::collections::BTreeMap;

use wattprobe::record::RequestRecord;

use super::ask::{Dialect, Seen};
use super::meter::{Count, Meter};
use super::priority::First;
use super::probe::{Outcome, Probe};
use super::server::{Recipe, Transport};
use super::truth::{cpu_seconds, descendants, stolen_seconds};
use super::{agree, alone, books, load, long};

/// Tokens of a prompt of the load at most, whatever the server's template adds.
const PROMPT: u64 = 100;

/// CPU seconds of a server.
#[derive(Clone, Copy)]
pub(crate) struct Spent {
    /// Of the process that was started.
    pub(crate) first_s: f64,
    /// Of those that it started.
    pub(crate) others_s: f64,
}

/// Requests, and how far the server's counters moved meanwhile.
struct Part {
    seen: Vec<Seen>,
    moved: Count,
}

/// In OpenAI's dialect.
pub(crate) fn sees_every_request(recipe: &Recipe, transport: Transport) -> Spent {
    speaks(recipe, transport, Dialect::OpenAi)
}

/// In any dialect: 200 requests with `cargo xtask test --long`, else 50.
pub(crate) fn speaks(recipe: &Recipe, transport: Transport, dialect: Dialect) -> Spent {
    let _alone = alone();
    let dir = tempfile::tempdir().expect("a temporary directory");
    let first = First::now();
    let server = recipe.start(dir.path(), &transport.host(dir.path()), 0);
    drop(first);
    let pid = server.process.id();
    let probe = Probe::on_port(dir.path(), &server.address.port(), &[]);
    let (before, stolen_before) = (spent(pid), stolen_seconds());

    let first = First::now();
    let mut meter = Meter::new(&server.address);
    let mut count = meter.at_rest();
    let mut part = |seen: Vec<Seen>| {
        let moved = meter.at_rest() - count;
        count = count + moved;
        Part { seen, moved }
    };
    let mut parts = Vec::new();
    for stretch in 0..if long() { 4 } else { 1 } {
        parts.push(part(load::answered(&server.address, dialect, stretch)));
        parts.push(part(load::abandoned(&server.address, dialect, stretch)));
    }
    drop(first);

    let (after, stolen_s) = (spent(pid), stolen_seconds() - stolen_before);
    let spent = Spent {
        first_s: after.first_s - before.first_s,
        others_s: after.others_s - before.others_s,
    };
    let outcome = probe.finish();
    let records = books::by_id(&outcome);
    let told = parts.iter().map(|part| tokens_are_the_servers(part, &records));
    let told = told.fold(Count::default(), |sum, told| sum + told);
    let mut seen: Vec<_> = parts.into_iter().flat_map(|part| part.seen).collect();
    let sent = seen.len();
    seen.extend(meter.seen);
    let apart = agree::check(&outcome, &seen);
    books::close(&outcome);
    books::nothing_lost(&outcome);
    cpu_is_all_processes(&outcome, spent, stolen_s);
    let ms = |apart: Option<f64>| apart.expect("there were streams");
    println!(
        "{} {transport:?} {dialect:?}: {sent} requests and {} reads of the counters, each once; p95 of first content \
         {:.2} ms, of the time to it {:.2} ms; {} prompt and {} completion \
         tokens, as the server counted",
        recipe.name,
        seen.len() - sent,
        ms(apart.first_ms),
        ms(apart.ttft_ms),
        told.prompt,
        told.completion,
    );
    spent
}

/// The records' tokens are what the server counted meanwhile. Where clients left it may have counted more,
/// by no more than they had asked for. What the records of those that stayed sum to.
fn tokens_are_the_servers(part: &Part, records: &BTreeMap<&str, &RequestRecord>) -> Count {
    let (mut told, mut most) = (Count::default(), Count::default());
    for one in &part.seen {
        if one.ask.leave.is_some() {
            most = most + Count { prompt: PROMPT, completion: one.ask.tokens.unwrap_or(0).into() };
        } else if let Some(record) = records.get(one.ask.id.as_str()) {
            let (prompt, completion) = (record.prompt_tokens, record.completion_tokens);
            let (prompt, completion) = (prompt.unwrap_or(0), completion.unwrap_or(0));
            told = told + Count { prompt, completion };
        }
    }
    let (moved, most) = (part.moved, told + most);
    let between = |told: u64, moved: u64, most: u64| told <= moved && moved <= most;
    assert!(
        between(told.prompt, moved.prompt, most.prompt)
            && between(told.completion, moved.completion, most.completion),
        "the records say {told:?}, the server counted {moved:?}, at most {most:?}"
    );
    told
}

fn spent(pid: u32) -> Spent {
    let others_s = descendants(pid).into_iter().map(cpu_seconds).sum();
    Spent { first_s: cpu_seconds(pid), others_s }
}

/// Within 2 % of the kernel's count. What the hypervisor stole is in the probe's time and not in the
/// kernel's, which has a grain of a hundredth of a second for each process.
fn cpu_is_all_processes(outcome: &Outcome, spent: Spent, stolen_s: f64) {
    const GRAIN_S: f64 = 0.05;
    let (name, book) = outcome.target();
    let (ours, kernels) = (book.cpu_ns as f64 / 1e9, spent.first_s + spent.others_s);
    println!(
        "{name}: {ours:.3} CPU s, the kernel says {:.2} and {:.2} in other processes, {stolen_s:.2} s stolen",
        spent.first_s, spent.others_s
    );
    assert!(
        ours >= kernels * 0.98 - GRAIN_S && ours <= kernels * 1.02 + GRAIN_S + stolen_s,
        "{name}: {ours} CPU s against {kernels} by the kernel, {stolen_s} s stolen"
    );
}

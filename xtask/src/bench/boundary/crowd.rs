//! Thousands at once: connections that are all open, and streams that all run, each to its last event.

use anyhow::{Result, ensure};

use super::run::{Bench, Outcome};
use super::throughput::Sum;

/// Connections that are open at once.
const CONNECTIONS: u64 = 5_000;
/// Streams that run at once.
const STREAMS: u64 = 2_000;
/// Pieces of content in each.
const EVENTS: u64 = 40;

pub(super) fn run(bench: &Bench<'_>) -> Result<()> {
    println!("| at once | requests | events | lost | probe, resident | probe, CPU |");
    println!("|---|---|---|---|---|---|");
    let (sum, outcome) = one(bench, CONNECTIONS, &["--each", "2"])?;
    outcome.whole(2 * CONNECTIONS)?;
    row(&format!("{CONNECTIONS} connections"), &sum, &outcome)?;
    let (sum, outcome) = one(bench, STREAMS, &["--each", "1", "--ask", "stream"])?;
    outcome.whole(STREAMS)?;
    ensure!(sum.events == STREAMS * EVENTS, "the client got {} events", sum.events);
    // These streams do not say how many tokens they had, so the probe says how many events it saw.
    let exact = outcome.records.iter().filter(|record| {
        record["token_source"] == "chunks" && record["completion_tokens"] == EVENTS
    });
    let exact = exact.count() as u64;
    ensure!(exact == STREAMS, "of {STREAMS} streams {exact} have all {EVENTS} events");
    row(&format!("{STREAMS} streams"), &sum, &outcome)
}

fn one(bench: &Bench<'_>, connections: u64, options: &[&str]) -> Result<(Sum, Outcome)> {
    let mut server = bench.program("lab-flood");
    let server = bench.serve(server.args(["serve", "--events", &EVENTS.to_string()]))?;
    let connections = connections.to_string();
    let options = [&["--connections", &connections], options].concat();
    bench.watched(&server.address, || bench.drive(&server, &options))
}

fn row(name: &str, sum: &Sum, outcome: &Outcome) -> Result<()> {
    println!(
        "| {name} | {} | {} | {} | {:.1} MB | {:.2} s |",
        sum.requests,
        sum.events,
        outcome.number("/events/lost")?,
        outcome.number("/self/rss_bytes")? / 1e6,
        outcome.cpu_s,
    );
    Ok(())
}

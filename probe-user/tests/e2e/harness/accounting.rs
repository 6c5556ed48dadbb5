//! Thirty seconds of load on a counter of constant power: every joule follows on-CPU time, and the
//! kernel's own accounts say how much of that there was.

use std::time::Duration;

use super::client::Address;
use super::probe::{Outcome, Probe};
use super::server::Recipe;
use super::truth::{Busy, cpu_seconds, stolen_seconds};
use super::{alone, books, load};

const TIME: Duration = Duration::from_secs(30);
/// The time stamp counter as a counter of energy: a nanojoule a count.
const TSC: &str = "perf:msr/tsc/,scale=1e-9";

/// Runs the load beside so many busy processes and compares.
pub(crate) fn agrees_with_the_kernel(recipe: &Recipe, neighbours: usize) {
    let _alone = alone();
    let dir = tempfile::tempdir().expect("a temporary directory");
    let server = recipe.start(dir.path(), "127.0.0.1", 0);
    let slices = dir.path().join("slices.jsonl");
    let slices = slices.to_str().expect("a temporary path is text");
    let probe =
        Probe::on_port(dir.path(), &server.address.port(), &["--source", TSC, "--slices", slices]);

    let (cpu_before, stolen_before) = (cpu_seconds(server.process.id()), stolen_seconds());
    let answered = under_load(&server.address, neighbours);
    let true_s = cpu_seconds(server.process.id()) - cpu_before;
    let stolen_s = stolen_seconds() - stolen_before;
    let outcome = probe.finish();

    println!("{}: {answered} answered, {neighbours} busy neighbours", recipe.name);
    books::close(&outcome);
    books::nothing_lost(&outcome);
    books::kernel_agrees(&outcome);
    cpu_agrees(&outcome, true_s, stolen_s);
    slices_sum_to_the_clock(&outcome);
}

fn under_load(server: &Address, neighbours: usize) -> usize {
    let _busy = Busy::start(neighbours);
    load::keep_busy(server, 2, TIME)
}

/// Within 1 % of the kernel's count. Slices by wall clock include what the hypervisor stole, the
/// kernel's count does not.
fn cpu_agrees(outcome: &Outcome, true_s: f64, stolen_s: f64) {
    let (name, book) = outcome.target();
    let ours = book.cpu_ns as f64 / 1e9;
    println!("{name}: {ours:.3} CPU s, the kernel says {true_s:.3}, {stolen_s:.2} s were stolen");
    assert!(true_s > 3.0, "there was load: {true_s} s");
    assert!(
        ours >= true_s * 0.99 && ours <= true_s * 1.01 + stolen_s,
        "{name}: {ours} CPU s against {true_s} by the kernel, {stolen_s} s stolen"
    );
    for (domain, book) in &outcome.summary.domains {
        assert_eq!(book.void_windows, 0, "{domain}: constant power is never implausible");
    }
}

/// The stream's time on CPU is the target's clock, to the nanosecond, and no two slices of a CPU
/// overlap.
fn slices_sum_to_the_clock(outcome: &Outcome) {
    let (name, book) = outcome.target();
    let streamed: u64 = outcome.slices.iter().map(|s| s.end_ns - s.begin_ns).sum();
    assert_eq!(streamed, book.cpu_ns, "{name}: {} slices against the clock", outcome.slices.len());
    let mut slices = outcome.slices.clone();
    slices.sort_by_key(|s| (s.cpu, s.begin_ns));
    for pair in slices.windows(2).filter(|pair| pair[0].cpu == pair[1].cpu) {
        assert!(pair[0].end_ns <= pair[1].begin_ns, "a CPU runs one thing at a time: {pair:?}");
    }
}

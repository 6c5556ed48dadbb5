//! Laws that hold on every machine, whatever happens on it: one a file, over the random machines of `machine` and the
//! tapes of what a ledger is told of them. Raise `PROPTEST_CASES` for a longer search.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod conservation;
mod cut_in_two;
mod extremes;
mod faults;
mod gaps;
mod late_domains;
mod lost_boundaries;
mod machine;
mod order;
mod reuse;
mod silence;
mod size;
mod tape;
mod twins;
mod wraps;

use proptest::test_runner::Config;

/// So many cases, or as many as `PROPTEST_CASES` says.
fn cases(cases: u32) -> Config {
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    Config { cases: asked.unwrap_or(cases), failure_persistence: None, ..Config::default() }
}

//! Laws that hold on every machine, whatever happens on it, under every combination of policies: one a file, over the
//! random machines of `machine` and the tapes of what a ledger is told of them. `PROPTEST_CASES` is the number of cases of
//! each law, over all combinations together; raise it for a longer search.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod conservation;
mod cut;
mod faults;
mod gaps;
mod host;
mod hostile;
mod lost;
mod machine;
mod order;
mod reuse;
mod silence;
mod tape;
mod twins;
mod wraps;

use probe_ledger::{Idle, Policies, Share, Weight};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRunner};

/// Every combination of policies: the one list of them.
fn every_policy() -> Vec<Policies> {
    let idles = |weight, share| Idle::ALL.map(|idle| Policies { weight, share, idle });
    let shares = |weight| Share::ALL.into_iter().flat_map(move |share| idles(weight, share));
    Weight::ALL.into_iter().flat_map(shares).collect()
}

/// Looks for a case that breaks a law, under each combination of policies in turn: so many in all, or as many as
/// `PROPTEST_CASES` says.
fn hold<S: Strategy>(
    cases: u32,
    strategy: &S,
    law: impl Fn(Policies, S::Value) -> Result<(), TestCaseError>,
) {
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    let all = every_policy();
    let each = asked.unwrap_or(cases).div_ceil(all.len() as u32);
    for policies in all {
        let config = Config {
            cases: each,
            failure_persistence: None,
            max_shrink_iters: 5_000,
            // Every list seeds a generator of its own; the default one takes most of the time.
            rng_algorithm: RngAlgorithm::XorShift,
            ..Config::default()
        };
        let held = TestRunner::new(config).run(strategy, |case| law(policies, case));
        assert!(held.is_ok(), "{policies:?}: {}", held.unwrap_err());
    }
}

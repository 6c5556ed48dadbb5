//! Laws that hold on every machine, whatever happens on it, under every combination of policies: one a file, over the
//! random machines of `machine` and the tapes of what a ledger is told of them. `PROPTEST_CASES` is the number of cases of
//! each law, over all combinations together; `LAWS_SEED` another number to draw them from. Without it they are the same in
//! every run, and what fails once fails again; for a search, `LAWS_SEED=$RANDOM PROPTEST_CASES=100000`.
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
mod reach;
mod reuse;
mod silence;
mod tape;
mod twins;
mod wraps;

use probe_ledger::{Idle, Policies, Share, Weight};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

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
    let all = every_policy();
    let each = number("PROPTEST_CASES").unwrap_or(cases.into()).div_ceil(all.len() as u64) as u32;
    let seed = seed();
    for (i, policies) in all.into_iter().enumerate() {
        let mut runner = runner(each, &format!("{seed} {i} {}", std::any::type_name_of_val(&law)));
        let held = runner.run(strategy, |case| law(policies, case));
        assert!(held.is_ok(), "LAWS_SEED={seed}, {policies:?}: {}", held.unwrap_err());
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|number| number.parse().ok())
}

fn seed() -> u64 {
    number("LAWS_SEED").unwrap_or(1)
}

/// Draws the same cases for the same name.
fn runner(cases: u32, name: &str) -> TestRunner {
    let config =
        Config { cases, failure_persistence: None, max_shrink_iters: 5_000, ..<_>::default() };
    // FNV-1a.
    let hash = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
    let mut hash = name.bytes().fold(0xcbf2_9ce4_8422_2325, hash);
    let seed = [host::next(&mut hash), host::next(&mut hash) | 1].map(u64::to_le_bytes);
    // Every list seeds a generator of its own; the default one takes most of the time.
    let rng = TestRng::from_seed(RngAlgorithm::XorShift, seed.as_flattened());
    TestRunner::new_with_rng(config, rng)
}

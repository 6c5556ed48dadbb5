//! A ledger with short names for tests.
#![expect(dead_code, reason = "every test file uses its own part of this")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use probe_ledger::*;

/// A counter of nanojoules on package 0 that is exact when read: no idle power, no bound, no period.
pub(crate) fn exact(name: &str) -> DomainSpec {
    DomainSpec {
        name: name.to_owned(),
        scale: Scale::NANOJOULES,
        range: Range::Bits(64),
        scope: Scope::Package(0),
        additive: true,
        idle: Some(Nanowatts(0)),
        idle_error: None,
        max_power: None,
        period: Nanos(0),
        quantum: Nanojoules(1),
        class: Ratio(0),
        expected_window: Nanos(u64::MAX),
        pulse: None,
    }
}

pub(crate) fn ledger(domains: Vec<DomainSpec>, consumers: usize, packages: usize) -> Ledger {
    let (horizon, patience) = (Nanos::from_millis(10_000), Nanos::from_millis(60_000));
    let policies = Policies::default();
    Ledger::new(Config { domains, consumers, packages, cpus: 1, horizon, patience, policies })
        .unwrap()
}

pub(crate) fn sample(
    ledger: &mut Ledger,
    domain: usize,
    t: u64,
    counter: u64,
    clocks: &[u64],
) -> Window {
    let sample = Sample { t: Nanos(t), counter: Some(counter), clocks, weights: None };
    ledger.sample(DomainId(domain), &sample)
}

pub(crate) fn missing(ledger: &mut Ledger, domain: usize, t: u64, clocks: &[u64]) -> Window {
    ledger.sample(DomainId(domain), &Sample { t: Nanos(t), counter: None, clocks, weights: None })
}

pub(crate) fn at(
    ledger: &mut Ledger,
    target: usize,
    t: u64,
    clocks: &[u64],
    request: u64,
    change: Change,
) -> Result<(), Refused> {
    let boundary = Boundary { t: Nanos(t), clocks, request: RequestId(request), change };
    ledger.boundary(ConsumerId(target), &boundary)
}

pub(crate) fn only(ledger: &mut Ledger) -> Account {
    let mut settled = ledger.settled();
    assert_eq!(settled.len(), 1, "{settled:?}");
    settled.remove(0)
}

/// Joules of an account in nanojoules, and its ends.
pub(crate) fn bar(account: &Account) -> (u64, u64, u64) {
    let energy = account.energy.unwrap();
    (energy.low.0, energy.energy.0, energy.high.0)
}

pub(crate) fn nj(account: &Account) -> u64 {
    account.energy.unwrap().energy.0
}

pub(crate) fn flags(account: &Account) -> Vec<&'static str> {
    account.flags.iter().map(Flag::name).collect()
}

pub(crate) fn active(ledger: &Ledger, domain: usize) -> Vec<u64> {
    let book = ledger.books(DomainId(domain)).unwrap();
    assert!(book.closes(), "{book:?}");
    book.consumers.iter().map(|c| c.active.0).collect()
}

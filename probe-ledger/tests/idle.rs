//! Idle energy: who is given it, and how its power is learned.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::{at, exact, flags, sample};
use probe_ledger::*;

const MS: u64 = 1_000_000;

/// One package that idles at 10 W; consumers 0 and 1 are targets.
fn ledger(idle: Idle, power: Option<f64>) -> Ledger {
    let spec = DomainSpec { idle: power.map(Nanowatts::from_watts), ..exact("package-0") };
    Ledger::new(Config {
        domains: vec![spec],
        consumers: 3,
        packages: 1,
        cpus: 1,
        horizon: Nanos::from_millis(10_000),
        patience: Nanos::from_millis(60_000),
        policies: Policies { idle, ..Policies::default() },
    })
    .unwrap()
}

/// 100 ms at 50 W, 10 W of it idle: target 0 runs 60 ms, target 1 20 ms, others 20 ms. Request 1 of target 0 is
/// resident from 20 to 80 ms, request 2 of target 1 from 50 ms to the end.
fn overlapping(policy: Idle) -> (Ledger, Vec<Account>) {
    let mut ledger = ledger(policy, Some(10.0));
    sample(&mut ledger, 0, 0, 0, &[0, 0, 0]);
    at(&mut ledger, 0, 20 * MS, &[0], 1, Change::Enter).unwrap();
    at(&mut ledger, 1, 50 * MS, &[0], 2, Change::Enter).unwrap();
    at(&mut ledger, 0, 80 * MS, &[60 * MS], 1, Change::Leave).unwrap();
    at(&mut ledger, 1, 100 * MS, &[20 * MS], 2, Change::Leave).unwrap();
    sample(&mut ledger, 0, 100 * MS, 5_000_000_000, &[60 * MS, 20 * MS, 20 * MS]);
    ledger.finish(Nanos(100 * MS));
    let mut accounts = ledger.settled();
    accounts.sort_by_key(|account| account.request.0);
    (ledger, accounts)
}

fn idles(accounts: &[Account]) -> Vec<Option<u64>> {
    accounts.iter().map(|account| account.idle.map(Nanojoules::get)).collect()
}

#[test]
fn none_gives_nothing_which_is_not_zero() {
    let (ledger, accounts) = overlapping(Idle::None);
    assert_eq!(idles(&accounts), [None, None]);
    let book = ledger.books(DomainId(0)).unwrap();
    assert_eq!((book.idle_given.0, book.idle_kept.0), (0, 1_000_000_000));
}

#[test]
fn even_shares_an_instant_between_the_residents_of_all_targets() {
    let (ledger, accounts) = overlapping(Idle::Even);
    // 20 to 50 ms alone, 50 to 80 ms one half; then the other alone for 20 ms. 10 nJ a microsecond.
    assert_eq!(idles(&accounts), [Some(450_000_000), Some(350_000_000)]);
    let book = ledger.books(DomainId(0)).unwrap();
    assert_eq!((book.idle_given.0, book.idle_kept.0), (800_000_000, 200_000_000));
}

#[test]
fn proportional_shares_it_as_the_active_energy_was() {
    let (ledger, accounts) = overlapping(Idle::Proportional);
    assert_eq!(idles(&accounts), [Some(600_000_000), Some(200_000_000)]);
    let joules: Vec<u64> = accounts.iter().map(|a| a.energy.unwrap().energy.0).collect();
    assert_eq!(joules, [2_400_000_000, 800_000_000]);
    let book = ledger.books(DomainId(0)).unwrap();
    assert_eq!((book.idle_given.0, book.idle_kept.0), (800_000_000, 200_000_000));
}

/// Quiet windows of 100 ms at these milliwatts.
fn quiet(ledger: &mut Ledger, t: &mut u64, counter: &mut u64, milliwatts: &[u64]) {
    for power in milliwatts {
        *t += 100 * MS;
        *counter += power * 100 * 1_000;
        sample(ledger, 0, *t, *counter, &[0, 0, 0]);
    }
}

#[test]
fn a_learned_power_holds_for_later_windows_only_and_says_so() {
    let mut ledger = ledger(Idle::Even, None);
    let (mut t, mut counter) = (0, 0);
    sample(&mut ledger, 0, 0, 0, &[0, 0, 0]);
    let request = |ledger: &mut Ledger, t: u64, id| {
        at(ledger, 0, t, &[0], id, Change::Enter).unwrap();
        at(ledger, 0, t + 10 * MS, &[0], id, Change::Leave).unwrap();
    };
    request(&mut ledger, 10 * MS, 1);
    // Noise of one per cent around 10 W: 9.9, 10, 10.1.
    let noise: Vec<u64> = (0..60).map(|i| 9_900 + 100 * (i / 10 % 3)).collect();
    quiet(&mut ledger, &mut t, &mut counter, &noise);
    let before = ledger.settled().remove(0);
    assert_eq!((before.idle, flags(&before)), (None, vec!["idle-unknown"]));
    let known = ledger.idle(DomainId(0)).unwrap();
    assert!(known.learned);
    assert!(known.power.0.abs_diff(10_000_000_000) <= 100_000_000, "{known:?}");
    assert!(known.error.unwrap().0 >= 100_000_000, "{known:?}");
    // Those ten windows that closed after it was known, and no other.
    let taken = ledger.books(DomainId(0)).unwrap().idle.0;
    assert!((8_000_000_000..=11_000_000_000).contains(&taken), "{taken}");
    request(&mut ledger, t + 10 * MS, 2);
    quiet(&mut ledger, &mut t, &mut counter, &[20_000]);
    let after = ledger.settled().remove(0);
    assert_eq!(flags(&after), ["idle-learned"]);
    let given = after.idle.unwrap().0;
    assert!(given.abs_diff(100_000_000) <= 1_000_000, "{given}");
    assert!(ledger.books(DomainId(0)).unwrap().closes());
}

#[test]
fn a_device_beside_256_cpus_is_quiet_by_its_own_use_and_not_by_theirs() {
    // 100 W; so many milliseconds of each 100 somebody computes on it.
    for (busy, learned) in [(20, None), (6, None), (5, Some(Nanowatts::from_watts(100.0)))] {
        let spec = DomainSpec { idle: None, scope: Scope::Device, ..exact("gpu-0") };
        let mut ledger = Ledger::new(Config {
            domains: vec![spec],
            consumers: 1,
            packages: 2,
            cpus: 128,
            horizon: Nanos::from_millis(10_000),
            patience: Nanos::from_millis(60_000),
            policies: Policies::default(),
        })
        .unwrap();
        for i in 0..200 {
            sample(&mut ledger, 0, i * 100 * MS, i * 10_000_000_000, &[i * busy * MS]);
        }
        let known = ledger.idle(DomainId(0)).map(|known| known.power);
        assert_eq!(known, learned, "{busy} ms of 100");
    }
}

#[test]
fn a_told_power_is_never_learned_over() {
    let mut ledger = ledger(Idle::None, Some(3.0));
    let (mut t, mut counter) = (0, 0);
    sample(&mut ledger, 0, 0, 0, &[0, 0, 0]);
    quiet(&mut ledger, &mut t, &mut counter, &[10_000; 200]);
    let known = ledger.idle(DomainId(0)).unwrap();
    assert_eq!((known.power, known.learned), (Nanowatts::from_watts(3.0), false));
}

#[test]
fn a_power_that_only_sinks_never_makes_active_energy_negative() {
    let mut ledger = ledger(Idle::Proportional, None);
    let (mut t, mut counter) = (0, 0);
    sample(&mut ledger, 0, 0, 0, &[0, 0, 0]);
    for power in (0..400).rev() {
        quiet(&mut ledger, &mut t, &mut counter, &[power * 50]);
        let book = ledger.books(DomainId(0)).unwrap();
        assert!(book.closes() && book.idle <= book.measured, "{book:?}");
    }
}

/// A request of a second, alone on a machine that draws 19 W and is told to idle at so much, ±3 W.
fn alone(told: f64) -> Account {
    let spec = DomainSpec {
        idle: Some(Nanowatts::from_watts(told)),
        idle_error: Some(Nanowatts::from_watts(3.0)),
        ..exact("package-0")
    };
    let mut ledger = common::ledger(vec![spec], 1, 1);
    for ms in 0..=1_200_u64 {
        sample(&mut ledger, 0, ms * MS, ms * 19 * MS, &[ms * MS]);
        match ms {
            100 => at(&mut ledger, 0, ms * MS, &[ms * MS], 1, Change::Enter).unwrap(),
            1_100 => at(&mut ledger, 0, ms * MS, &[ms * MS], 1, Change::Leave).unwrap(),
            _ => {}
        }
    }
    common::only(&mut ledger)
}

#[test]
fn idle_power_above_what_was_counted_leaves_nothing_but_its_own_doubt_and_is_told() {
    let account = alone(20.0);
    let energy = account.energy.unwrap();
    assert_eq!((energy.energy, energy.low), (Nanojoules(0), Nanojoules(0)));
    // 3 W for a second: it may idle at 17 W, and the request have drawn 2 J.
    assert_eq!(energy.parts.idle, Nanojoules(3_000_000_000));
    assert!(energy.high >= Nanojoules(3_000_000_000), "{energy:?}");
    assert_eq!(flags(&account), ["idle-above-measured"]);
    // A watt less than was counted: the bar is the same, and nothing is to be told.
    let account = alone(18.0);
    let energy = account.energy.unwrap();
    assert_eq!((energy.energy, energy.low), (Nanojoules(1_000_000_000), Nanojoules(0)));
    assert_eq!(energy.parts.idle, Nanojoules(3_000_000_000));
    assert!(account.flags.is_empty());
}

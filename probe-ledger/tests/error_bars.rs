//! Error bars: each part by itself, in numbers.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::{at, bar, exact, flags, ledger, nj, only, sample};
use probe_ledger::Change::{Enter, Leave};
use probe_ledger::*;

const MS: u64 = 1_000_000;

/// A sole request for ten windows of 1 ms at 5 W.
fn ten_milliseconds(spec: DomainSpec) -> Account {
    let mut l = ledger(vec![spec], 1, 1);
    sample(&mut l, 0, 0, 0, &[0]);
    at(&mut l, 0, 0, &[0], 1, Enter).unwrap();
    for t in 1..=10 {
        sample(&mut l, 0, t * MS, t * 5 * MS, &[t * MS]);
    }
    at(&mut l, 0, 10 * MS, &[10 * MS], 1, Leave).unwrap();
    only(&mut l)
}

#[test]
fn a_continuous_measured_counter_has_a_tiny_bar_that_is_not_zero() {
    let account = ten_milliseconds(exact("package-0"));
    assert_eq!(bar(&account), (50 * MS - 1, 50 * MS, 50 * MS + 1));
    let parts = account.energy.unwrap().parts;
    assert_eq!((parts.edges.0, parts.quantum.0, parts.gap.0, parts.class.0), (0, 1, 0, 0));
}

#[test]
fn a_sensor_period_costs_its_power_at_both_edges() {
    let account = ten_milliseconds(DomainSpec { period: Nanos(MS), ..exact("package-0") });
    // 0.689 of 5 W for 1 ms at each edge, in quadrature: 97.5 % of a period's energy.
    let parts = account.energy.unwrap().parts;
    assert_eq!(parts.edges, Nanojoules(4_871_966));
    let (low, energy, high) = bar(&account);
    assert_eq!((energy - low, high - energy), (4_871_966, 4_871_966));
}

#[test]
fn idle_power_counts_at_the_edges_by_the_requests_share() {
    let spec = DomainSpec {
        period: Nanos(MS),
        idle: Some(Nanowatts::from_watts(2.0)),
        ..exact("package-0")
    };
    let mut l = ledger(vec![spec], 2, 1);
    sample(&mut l, 0, 0, 0, &[0, 0]);
    at(&mut l, 0, 0, &[0], 1, Enter).unwrap();
    sample(&mut l, 0, 10 * MS, 100 * MS, &[10 * MS, 10 * MS]);
    at(&mut l, 0, 10 * MS, &[10 * MS], 1, Leave).unwrap();
    let account = only(&mut l);
    // 10 W, 2 of them idle, 4 the request's: 0.689 of 4 mJ and half of 2 mJ at each edge.
    assert_eq!(nj(&account), 40 * MS);
    assert_eq!(account.energy.unwrap().parts.edges, Nanojoules(4_871_966));
}

#[test]
fn an_edge_window_without_an_update_counts_at_the_mean_power() {
    let spec = DomainSpec { period: Nanos(MS), ..exact("package-0") };
    let mut l = ledger(vec![spec], 1, 1);
    sample(&mut l, 0, 0, 0, &[0]);
    at(&mut l, 0, 0, &[0], 1, Enter).unwrap();
    sample(&mut l, 0, MS, 0, &[MS]);
    sample(&mut l, 0, 2 * MS, 8 * MS, &[2 * MS]);
    sample(&mut l, 0, 4 * MS, 8 * MS, &[4 * MS]);
    at(&mut l, 0, 4 * MS, &[4 * MS], 1, Leave).unwrap();
    let account = only(&mut l);
    // 8 mJ in 4 ms: 0.689 of 2 mJ at each edge.
    assert_eq!(account.energy.unwrap().parts.edges, Nanojoules(1_948_787));
}

#[test]
fn each_edge_counts_at_the_power_over_a_period_if_that_is_above_the_mean() {
    let spec = DomainSpec { period: Nanos(MS), ..exact("package-0") };
    let mut l = ledger(vec![spec], 1, 1);
    sample(&mut l, 0, 0, 0, &[0]);
    at(&mut l, 0, 0, &[0], 1, Enter).unwrap();
    sample(&mut l, 0, MS / 2, 0, &[MS / 2]);
    sample(&mut l, 0, MS, 6 * MS, &[MS]);
    for t in 2..10 {
        sample(&mut l, 0, t * MS, 6 * MS, &[t * MS]);
    }
    sample(&mut l, 0, 9 * MS + MS / 2, 10 * MS, &[9 * MS + MS / 2]);
    sample(&mut l, 0, 10 * MS, 14 * MS, &[10 * MS]);
    at(&mut l, 0, 10 * MS, &[10 * MS], 1, Leave).unwrap();
    // 6 W where it entered, 8 W where it left, 1.4 W on average: √(6² + 8²) = 10.
    assert_eq!(only(&mut l).energy.unwrap().parts.edges, Nanojoules(6_890_000));
}

#[test]
fn the_quantum_counts_by_the_share_of_the_edge_windows() {
    let spec = DomainSpec { quantum: Nanojoules(61_000), ..exact("package-0") };
    let mut l = ledger(vec![spec], 2, 1);
    sample(&mut l, 0, 0, 0, &[0, 0]);
    at(&mut l, 0, 0, &[0], 1, Enter).unwrap();
    sample(&mut l, 0, MS, 5 * MS, &[MS, MS]);
    at(&mut l, 0, MS, &[MS], 1, Leave).unwrap();
    let parts = only(&mut l).energy.unwrap().parts;
    // 0.566 of half of 61 µJ at each edge: 0.566 × 30,500 × √2.
    assert_eq!(parts.quantum, Nanojoules(24_414));
}

#[test]
fn a_model_is_off_by_its_class() {
    let account =
        ten_milliseconds(DomainSpec { class: Ratio::from_f64(0.5), ..exact("package-0") });
    assert_eq!(account.energy.unwrap().parts.class, Nanojoules(25 * MS));
    assert_eq!(bar(&account), (25 * MS - 1, 50 * MS, 75 * MS + 1));
}

#[test]
fn a_gap_in_which_residents_changed_may_be_all_or_nothing() {
    let spec = DomainSpec { expected_window: Nanos(2 * MS), ..exact("package-0") };
    let mut l = ledger(vec![spec], 1, 1);
    sample(&mut l, 0, 0, 0, &[0]);
    at(&mut l, 0, 0, &[0], 1, Enter).unwrap();
    sample(&mut l, 0, MS, 1_000, &[MS]);
    at(&mut l, 0, 3 * MS, &[3 * MS], 1, Leave).unwrap();
    sample(&mut l, 0, 11 * MS, 11_000, &[11 * MS]);
    let account = only(&mut l);
    assert_eq!(flags(&account), ["gap"]);
    assert_eq!(bar(&account), (1_000 - 1, 3_000, 11_000 + 1));
    assert_eq!(account.energy.unwrap().parts.gap, Nanojoules(8_000));
}

#[test]
fn a_gap_in_which_nothing_changed_is_flagged_but_not_uncertain() {
    let spec = DomainSpec { expected_window: Nanos(2 * MS), ..exact("package-0") };
    let mut l = ledger(vec![spec], 1, 1);
    sample(&mut l, 0, 0, 0, &[0]);
    at(&mut l, 0, 0, &[0], 1, Enter).unwrap();
    sample(&mut l, 0, 10 * MS, 10_000, &[10 * MS]);
    at(&mut l, 0, 10 * MS, &[10 * MS], 1, Leave).unwrap();
    let account = only(&mut l);
    assert_eq!(flags(&account), ["gap"]);
    assert_eq!(account.energy.unwrap().parts.gap, Nanojoules(0));
}

#[test]
fn residency_without_coverage_widens_the_upper_end() {
    let mut l = ledger(vec![exact("package-0")], 1, 1);
    at(&mut l, 0, 0, &[0], 1, Enter).unwrap();
    sample(&mut l, 0, 1_000, 0, &[1_000]);
    sample(&mut l, 0, 5_000, 4_000, &[5_000]);
    at(&mut l, 0, 5_000, &[5_000], 1, Leave).unwrap();
    let account = only(&mut l);
    assert_eq!(flags(&account), ["partial"]);
    assert_eq!(bar(&account), (4_000 - 1, 4_000, 5_000 + 1));
}

#[test]
fn the_lower_end_is_never_negative() {
    let account = ten_milliseconds(DomainSpec { period: Nanos(1_000 * MS), ..exact("package-0") });
    assert_eq!(account.energy.unwrap().low, Nanojoules(0));
    assert_eq!(nj(&account), 50 * MS);
}

#[test]
fn unknown_idle_power_is_flagged_on_every_request() {
    let account = ten_milliseconds(DomainSpec { idle: None, ..exact("package-0") });
    assert_eq!(flags(&account), ["idle-unknown"]);
}

#[test]
fn domains_add_their_random_parts_in_quadrature_and_their_systematic_ones_linearly() {
    let spec = DomainSpec { period: Nanos(MS), class: Ratio::from_f64(0.1), ..exact("package-0") };
    let mut l = ledger(vec![spec.clone(), spec], 1, 1);
    for d in 0..2 {
        sample(&mut l, d, 0, 0, &[0]);
    }
    at(&mut l, 0, 0, &[0], 1, Enter).unwrap();
    for d in 0..2 {
        sample(&mut l, d, 10 * MS, 30 * MS, &[10 * MS]);
    }
    at(&mut l, 0, 10 * MS, &[10 * MS], 1, Leave).unwrap();
    let estimate = only(&mut l).energy.unwrap();
    assert_eq!(estimate.energy, Nanojoules(60 * MS));
    // 0.689 of four edges of 3 mJ; 10 % of 60 mJ; both together in quadrature.
    assert_eq!((estimate.parts.edges.0, estimate.parts.class.0), (4_134_000, 6 * MS));
    assert_eq!(estimate.high.0, 60 * MS + 7_286_286);
}

/// Half of the energy of ten windows is another consumer's.
fn beside_another(spec: DomainSpec) -> Account {
    let mut l = ledger(vec![spec], 2, 1);
    sample(&mut l, 0, 0, 0, &[0, 0]);
    at(&mut l, 0, 0, &[0], 1, Enter).unwrap();
    for t in 1..=10 {
        sample(&mut l, 0, t * MS, t * 10 * MS, &[t * MS, t * MS]);
    }
    at(&mut l, 0, 10 * MS, &[10 * MS], 1, Leave).unwrap();
    only(&mut l)
}

#[test]
fn beside_others_a_nanosecond_may_have_drawn_more_or_less_than_theirs() {
    let account = beside_another(exact("package-0"));
    let (low, energy, high) = bar(&account);
    assert_eq!(energy, 50 * MS);
    // 2.2 times the other's power: 2.2 of 3.2 parts; as much less: 1 of 3.2.
    assert!(low.abs_diff(100 * MS * 10 / 32) <= 2, "{low}");
    assert!(high.abs_diff(100 * MS * 22 / 32) <= 2, "{high}");
    assert!(account.energy.unwrap().parts.weight.0.abs_diff(high - energy) <= 2);
    let alone = ten_milliseconds(exact("package-0"));
    assert_eq!(alone.energy.unwrap().parts.weight, Nanojoules(0));
}

#[test]
fn the_uncertainty_of_idle_power_counts_by_the_requests_share() {
    let spec = DomainSpec {
        idle: Some(Nanowatts::from_watts(2.0)),
        idle_error: Some(Nanowatts::from_watts(0.5)),
        ..exact("package-0")
    };
    // Half of 0.5 W for 10 ms.
    assert_eq!(beside_another(spec.clone()).energy.unwrap().parts.idle, Nanojoules(2_500_000));
    assert_eq!(ten_milliseconds(spec).energy.unwrap().parts.idle, Nanojoules(5_000_000));
}

/// A GPU at 100 W for ten windows of 10 ms, half of which the target is charged; a request is resident from 20 ms
/// to 80 ms.
fn on_a_device(split: Split, used: [u64; 2]) -> Account {
    let mut l = ledger(vec![DomainSpec { scope: Scope::Device, ..exact("gpu-0") }], 2, 1);
    l.split(DomainId(0), split);
    for t in 0..=10 {
        let t = t * 10 * MS;
        sample(&mut l, 0, t, t * 100, &used.map(|percent| t * percent / 100));
        match t / MS {
            20 => at(&mut l, 0, t, &[0], 1, Enter).unwrap(),
            80 => at(&mut l, 0, t, &[0], 1, Leave).unwrap(),
            _ => {}
        }
    }
    only(&mut l)
}

#[test]
fn equal_parts_of_a_device_may_be_nothing_or_the_whole() {
    let account = on_a_device(Split::Equal, [50, 50]);
    let (low, energy, high) = bar(&account);
    assert_eq!(energy, 3_000 * MS, "half of 100 W for 60 ms");
    assert_eq!((low, account.energy.unwrap().parts.split.0), (0, 3_000 * MS));
    assert!(high.abs_diff(6_000 * MS) <= 2, "{high}");
    assert!(account.flags.contains(Flag::GpuSharedEqual));
}

#[test]
fn parts_that_the_device_knows_are_not_doubted() {
    let account = on_a_device(Split::Utilisation, [75, 25]);
    let (low, energy, high) = bar(&account);
    assert_eq!(energy, 4_500 * MS, "three quarters of 100 W for 60 ms");
    assert_eq!(account.energy.unwrap().parts.split, Nanojoules(0));
    assert!(
        low > 2_000 * MS && high < 6_000 * MS,
        "another may draw another power there: {low} {high}"
    );
    assert_eq!(flags(&account), ["gpu-shared"]);
}

#[test]
fn time_that_nobody_was_seen_on_a_device_may_have_been_somebody_elses() {
    let account = on_a_device(Split::Utilisation, [1, 0]);
    let (low, energy, high) = bar(&account);
    assert_eq!(
        energy,
        6_000 * MS,
        "all of 100 W for 60 ms, though it was seen for 1 % of the time"
    );
    assert!(low.abs_diff(60 * MS) <= 2 && high - energy <= 2, "{low} {high}");
    assert_eq!(account.energy.unwrap().parts.split.0, 5_940 * MS);
    let account = on_a_device(Split::Utilisation, [30, 10]);
    let (low, energy, _) = bar(&account);
    assert_eq!(energy, 4_500 * MS);
    assert_eq!(
        account.energy.unwrap().parts.split.0,
        2_700 * MS,
        "seen for 40 % of the time: {low}"
    );
}

#[test]
fn who_was_not_on_a_shared_device_is_told_nothing_of_it() {
    let account = on_a_device(Split::Equal, [0, 100]);
    assert_eq!(nj(&account), 0);
    assert!(flags(&account).is_empty(), "{:?}", account.flags);
    assert_eq!(bar(&account).2, 1, "a nanojoule");
}

#[test]
fn a_device_whose_users_nobody_knows_may_have_worked_for_the_request() {
    let account = on_a_device(Split::Unknown, [0, 0]);
    let (low, energy, high) = bar(&account);
    assert_eq!((low, energy), (0, 0));
    assert!(high.abs_diff(6_000 * MS) <= 2, "{high}");
    assert_eq!(flags(&account), ["gpu-users-unknown"]);
}

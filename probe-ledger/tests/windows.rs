//! Windows: what a counter's movement is worth and who is charged.

mod common;

use common::{active, at, exact, ledger, missing, nj, only, sample};
use probe_ledger::*;

#[test]
fn the_first_sample_is_a_baseline_and_charges_nobody() {
    let mut l = ledger(vec![exact("package-0")], 2, 1);
    assert_eq!(sample(&mut l, 0, 1_000, 987_654_321, &[500, 600]), Window::First);
    assert_eq!(active(&l, 0), [0, 0]);
    assert_eq!(l.books(DomainId(0)).unwrap().measured, Nanojoules(0));
}

#[test]
fn a_window_is_shared_by_on_cpu_time() {
    let mut l = ledger(vec![exact("package-0")], 3, 1);
    sample(&mut l, 0, 0, 100, &[0, 0, 0]);
    let window = sample(&mut l, 0, 1_000, 1_100, &[600, 300, 100]);
    let closed =
        Closed { length: Nanos(1_000), units: 1_000, energy: Nanojoules(1_000), gap: false };
    assert_eq!(window, Window::Closed(closed));
    assert_eq!(active(&l, 0), [600, 300, 100]);
    let book = l.books(DomainId(0)).unwrap();
    assert_eq!(book.consumers[0].background, Nanojoules(600));
    assert_eq!(book.consumers[1].cpu, Nanos(300));
    assert_eq!(book.gross_units, [600, 300, 100]);
}

#[test]
fn idle_comes_off_first_and_the_rest_is_residual_when_nobody_ran() {
    let spec = DomainSpec { idle: Some(Nanowatts::from_watts(2.0)), ..exact("package-0") };
    let mut l = ledger(vec![spec], 1, 1);
    sample(&mut l, 0, 0, 0, &[0]);
    sample(&mut l, 0, 1_000_000, 5_000_000, &[1_000_000]);
    sample(&mut l, 0, 2_000_000, 8_000_000, &[1_000_000]);
    sample(&mut l, 0, 3_000_000, 9_000_000, &[2_000_000]);
    let book = l.books(DomainId(0)).unwrap();
    // 1 ms at 2 W is 2 mJ; the third window measured 1 mJ only, all of it idle.
    assert_eq!(book.idle, Nanojoules(5_000_000));
    assert_eq!(book.residual, Nanojoules(1_000_000));
    assert_eq!(active(&l, 0), [3_000_000]);
    assert_eq!(book.measured, Nanojoules(9_000_000));
    assert_eq!(book.gross_units, [6_000_000]);
}

#[test]
fn a_sensor_that_updates_in_lumps_still_pays_its_idle_power() {
    let spec = DomainSpec {
        idle: Some(Nanowatts::from_watts(1.0)),
        period: Nanos(1_000_000),
        ..exact("package-0")
    };
    let mut l = ledger(vec![spec], 1, 1);
    sample(&mut l, 0, 0, 0, &[0]);
    // No update in the first window, two in the second: 2 ms at 10 W.
    sample(&mut l, 0, 1_000_000, 0, &[1_000_000]);
    sample(&mut l, 0, 2_000_000, 20_000_000, &[2_000_000]);
    assert_eq!(l.books(DomainId(0)).unwrap().idle, Nanojoules(2_000_000));
    assert_eq!(active(&l, 0), [18_000_000]);
    // What is due is carried for one period, no longer.
    for t in 3..10 {
        sample(&mut l, 0, t * 1_000_000, 20_000_000, &[t * 1_000_000]);
    }
    sample(&mut l, 0, 10_000_000, 100_000_000, &[10_000_000]);
    assert_eq!(l.books(DomainId(0)).unwrap().idle, Nanojoules(4_000_000));
}

#[test]
fn fractions_of_a_nanojoule_of_idle_energy_are_not_lost() {
    let spec = DomainSpec { idle: Some(Nanowatts(1_500_000)), ..exact("package-0") };
    let mut l = ledger(vec![spec], 1, 1);
    for t in 0..=1_000 {
        sample(&mut l, 0, t * 1_000, t * 100, &[0]);
    }
    // 1.5 mW over a microsecond is 1.5 nJ, a thousand times.
    assert_eq!(l.books(DomainId(0)).unwrap().idle, Nanojoules(1_500));
}

#[test]
fn a_missing_counter_leaves_the_window_open() {
    let spec = DomainSpec { expected_window: Nanos(1_500), ..exact("package-0") };
    let mut l = ledger(vec![spec], 1, 1);
    sample(&mut l, 0, 0, 0, &[0]);
    assert_eq!(missing(&mut l, 0, 1_000, &[400]), Window::Missing);
    let closed = Closed { length: Nanos(2_000), units: 70, energy: Nanojoules(70), gap: true };
    assert_eq!(sample(&mut l, 0, 2_000, 70, &[800]), Window::Closed(closed));
    let book = l.books(DomainId(0)).unwrap();
    assert_eq!((book.windows, book.gaps, book.consumers[0].cpu), (1, 1, Nanos(800)));
}

#[test]
fn more_than_the_physical_bound_voids_the_window_and_the_next_one_counts_again() {
    let spec = DomainSpec { max_power: Some(Nanowatts::from_watts(100.0)), ..exact("package-0") };
    let mut l = ledger(vec![spec], 1, 1);
    sample(&mut l, 0, 0, 0, &[0]);
    // 100 W for 1 ms is 0.1 J, and one quantum more is allowed.
    let window = sample(&mut l, 0, 1_000_000, 100_000_002, &[1_000_000]);
    assert_eq!(window, Window::Void(Void::Implausible));
    let window = sample(&mut l, 0, 2_000_000, 200_000_003, &[2_000_000]);
    assert!(matches!(window, Window::Closed(c) if c.energy == Nanojoules(100_000_001)));
    let book = l.books(DomainId(0)).unwrap();
    assert_eq!((book.void_windows, book.windows, book.measured.0), (1, 1, 100_000_001));
    assert_eq!(book.consumers[0].cpu, Nanos(2_000_000), "time is known in a void window, too");
}

#[test]
fn a_sensor_may_deliver_one_more_period_than_the_window_is_long() {
    let spec = DomainSpec {
        max_power: Some(Nanowatts::from_watts(100.0)),
        period: Nanos(20_000_000),
        ..exact("gpu-0")
    };
    let mut l = ledger(vec![spec], 1, 1);
    sample(&mut l, 0, 0, 0, &[0]);
    let window = sample(&mut l, 0, 1_000_000, 2_100_000_001, &[1_000_000]);
    assert!(matches!(window, Window::Closed(_)), "{window:?}");
    let window = sample(&mut l, 0, 2_000_000, 4_200_000_003, &[2_000_000]);
    assert_eq!(window, Window::Void(Void::Implausible));
}

#[test]
fn a_counter_that_starts_again_voids_one_window() {
    let mut l = ledger(vec![exact("package-0")], 1, 1);
    sample(&mut l, 0, 0, 1_000_000, &[0]);
    assert_eq!(sample(&mut l, 0, 1_000, 10, &[1_000]), Window::Void(Void::Reset));
    sample(&mut l, 0, 2_000, 60, &[2_000]);
    assert_eq!(active(&l, 0), [50]);
}

#[test]
fn a_32_bit_rapl_register_wraps_without_loss() {
    let spec = DomainSpec {
        scale: Scale::from_joules_per_count(61.035e-6).unwrap(),
        range: Range::Bits(32),
        max_power: Some(Nanowatts::from_watts(500.0)),
        ..exact("package-0")
    };
    let mut l = ledger(vec![spec], 1, 1);
    sample(&mut l, 0, 0, u64::from(u32::MAX) - 9, &[0]);
    let window = sample(&mut l, 0, 100_000_000, 990, &[100_000_000]);
    assert!(matches!(window, Window::Closed(c) if c.units == 1_000), "{window:?}");
    assert_eq!(active(&l, 0), [61_035_000]);
}

#[test]
fn a_window_so_long_that_the_counter_may_have_wrapped_twice_is_void() {
    let spec = DomainSpec {
        scale: Scale::MICROJOULES,
        range: Range::Max(262_143_328_850),
        max_power: Some(Nanowatts::from_watts(400.0)),
        ..exact("package-0")
    };
    let mut l = ledger(vec![spec], 1, 1);
    let minute = 60_000_000_000;
    sample(&mut l, 0, 0, 0, &[0]);
    let window = sample(&mut l, 0, 10 * minute, 5_000_000, &[1]);
    assert!(matches!(window, Window::Closed(_)), "{window:?}");
    let window = sample(&mut l, 0, 21 * minute, 6_000_000, &[2]);
    assert_eq!(window, Window::Void(Void::Ambiguous));
}

#[test]
fn books_that_are_full_void_the_window_instead_of_overflowing() {
    let mut l = ledger(vec![exact("package-0")], 1, 1);
    sample(&mut l, 0, 0, 0, &[0]);
    sample(&mut l, 0, 1, u64::MAX, &[1]);
    assert_eq!(
        sample(&mut l, 0, 2, u64::MAX, &[2]),
        Window::Closed(Closed { length: Nanos(1), units: 0, energy: Nanojoules(0), gap: false })
    );
    let mut l = ledger(vec![DomainSpec { scale: Scale::MICROJOULES, ..exact("package-0") }], 1, 1);
    let most = u64::MAX / 1_000;
    sample(&mut l, 0, 0, 0, &[0]);
    sample(&mut l, 0, 1, most, &[1]);
    assert_eq!(sample(&mut l, 0, 2, most + 1, &[2]), Window::Void(Void::Full));
    assert_eq!(active(&l, 0), [most * 1_000]);
}

#[test]
fn a_request_of_two_full_domains_costs_the_largest_number_and_not_what_is_left_of_it() {
    let mut l = ledger(vec![exact("package-0"), exact("dram-0")], 1, 1);
    for d in 0..2 {
        sample(&mut l, d, 0, 0, &[0]);
    }
    at(&mut l, 0, 0, &[0], 1, Change::Enter).unwrap();
    for d in 0..2 {
        sample(&mut l, d, 100, u64::MAX - 1, &[100]);
    }
    at(&mut l, 0, 100, &[100], 1, Change::Leave).unwrap();
    let account = only(&mut l);
    for share in &account.domains {
        assert_eq!(share.active.unwrap().energy, Nanojoules(u64::MAX - 1));
    }
    assert_eq!(nj(&account), u64::MAX);
    for d in 0..2 {
        assert!(l.books(DomainId(d)).unwrap().closes());
    }
}

#[test]
fn samples_out_of_order_or_of_the_wrong_shape_are_counted_and_ignored() {
    let mut l = ledger(vec![exact("package-0")], 2, 1);
    sample(&mut l, 0, 1_000, 100, &[0, 0]);
    assert_eq!(sample(&mut l, 0, 1_000, 200, &[9, 9]), Window::Ignored(Ignored::Stale));
    assert_eq!(sample(&mut l, 0, 2_000, 200, &[9]), Window::Ignored(Ignored::Clocks));
    assert_eq!(sample(&mut l, 7, 2_000, 200, &[9, 9]), Window::Ignored(Ignored::NoSuchDomain));
    let seen = l.anomalies();
    assert_eq!((seen.stale_samples, seen.malformed_samples), (1, 2));
}

#[test]
fn a_clock_that_goes_backwards_stands_still_until_it_has_caught_up() {
    let mut l = ledger(vec![exact("package-0")], 2, 1);
    sample(&mut l, 0, 0, 0, &[1_000, 1_000]);
    sample(&mut l, 0, 1_000, 100, &[900, 1_100]);
    sample(&mut l, 0, 2_000, 200, &[1_050, 1_150]);
    assert_eq!(active(&l, 0), [50, 150]);
    let book = l.books(DomainId(0)).unwrap();
    assert_eq!(book.consumers[0].cpu, Nanos(50));
    assert_eq!(l.anomalies().clocks_backwards, 1);
}

#[test]
fn the_kernels_books_are_kept_to_the_bit() {
    let spec = DomainSpec { scale: Scale::RAPL, ..exact("package-0") };
    let mut l = ledger(vec![spec], 3, 1);
    let (mut kernel, mut clocks, mut counter) = ([0u64; 3], [0u64; 3], 0u64);
    sample(&mut l, 0, 0, 0, &clocks);
    for t in 1..=1_000u64 {
        let units = 400_000_000 + t * 7_919 % 1_000;
        let used = [t * 31 % 900_000, t * 17 % 300_000, 100_003];
        counter += units;
        for k in 0..3 {
            clocks[k] += used[k];
            kernel[k] += kernel_charge(units, used[k], used.iter().sum());
        }
        sample(&mut l, 0, t * 1_000_000, counter, &clocks);
    }
    let book = l.books(DomainId(0)).unwrap();
    assert_eq!(book.gross_units, kernel.map(u128::from));
    // Three parts a window, each rounded to the nearest unit.
    let sum: u128 = book.gross_units.iter().sum();
    assert!(sum.abs_diff(book.units) <= u128::from(book.windows) * 3 / 2);
}

#[test]
fn a_package_that_does_not_exist_is_refused_with_its_name() {
    let config = Config {
        domains: vec![DomainSpec { scope: Scope::Package(2), ..exact("dram-2") }],
        consumers: 1,
        packages: 2,
        cpus: 1,
        horizon: Nanos(1),
        patience: Nanos(1),
        policies: Policies::default(),
    };
    let refused = Ledger::new(config).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "domain dram-2 covers package 2, but there are 2: count packages from 0"
    );
}

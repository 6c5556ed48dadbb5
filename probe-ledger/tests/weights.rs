//! Windows that are shared by weights instead of clocks.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use probe_ledger::{
    Book, Boundary, Change, Config, ConsumerId, DomainId, DomainSpec, Flag, Ledger, Nanojoules,
    Nanos, Nanowatts, Policies, Range, Ratio, RequestId, Sample, Scale, Scope, Weight, Weights,
    Window,
};
use proptest::prelude::*;

const D: DomainId = DomainId(0);

fn ledger(consumers: usize, idle: Option<Nanowatts>) -> Ledger {
    let spec = DomainSpec {
        name: "package-0".to_owned(),
        scale: Scale::NANOJOULES,
        range: Range::Bits(64),
        scope: Scope::Package(0),
        additive: true,
        idle,
        idle_error: None,
        max_power: None,
        period: Nanos(0),
        quantum: Nanojoules(1),
        class: Ratio(0),
        expected_window: Nanos(u64::MAX),
        pulse: None,
    };
    let horizon = Nanos(u64::MAX);
    let policies = Policies::default();
    let (domains, patience) = (vec![spec], horizon);
    Ledger::new(Config { domains, consumers, packages: 1, cpus: 1, horizon, patience, policies })
        .unwrap()
}

fn sample(
    ledger: &mut Ledger,
    t: u64,
    nj: u64,
    clocks: &[u64],
    weights: Option<(&[u64], u64)>,
) -> Window {
    let weights = weights.map(|(consumers, nobody)| Weights { consumers, nobody, measured: false });
    ledger.sample(D, &Sample { t: Nanos(t), counter: Some(nj), clocks, weights })
}

fn active(ledger: &Ledger) -> Vec<u64> {
    ledger.books(D).unwrap().consumers.iter().map(|c| c.active.get()).collect()
}

#[test]
fn thirty_watts_beside_five_are_told_apart_by_weights_and_not_by_clocks() {
    let second = 1_000_000_000;
    for (weights, charged) in [
        (None, [17_500_000_000, 17_500_000_000]),
        (Some(([30_u64, 5].as_slice(), 0)), [30_000_000_000, 5_000_000_000]),
    ] {
        let mut ledger = ledger(2, None);
        sample(&mut ledger, 0, 0, &[0, 0], weights.map(|_| ([0, 0].as_slice(), 0)));
        sample(&mut ledger, second, 35 * second, &[second, second], weights);
        assert_eq!(active(&ledger), charged);
    }
}

#[test]
fn what_weighs_for_nobody_is_idle_and_not_active() {
    let mut ledger = ledger(1, None);
    sample(&mut ledger, 0, 0, &[0], Some((&[0], 0)));
    sample(&mut ledger, 1_000, 1_000, &[10], Some((&[30], 70)));
    let book = ledger.books(D).unwrap();
    assert_eq!((book.idle.get(), active(&ledger)[0], book.residual.get()), (700, 300, 0));
    assert!(book.closes());
    // Nobody ran: all of it.
    sample(&mut ledger, 2_000, 1_500, &[10], Some((&[30], 80)));
    assert_eq!((ledger.books(D).unwrap().idle.get(), active(&ledger)[0]), (1_200, 300));
}

#[test]
fn a_busy_window_in_which_no_weight_moved_is_shared_by_the_clocks_and_counted() {
    let mut ledger = ledger(2, None);
    for (i, clocks) in [[0, 0], [30, 10]].iter().enumerate() {
        let i = i as u64;
        sample(&mut ledger, i * 100, i * 1_000, clocks, Some((&[7, 7], 7)));
    }
    assert_eq!((active(&ledger), ledger.books(D).unwrap().unweighted), (vec![750, 250], 1));
    // And one in which nobody ran: residual, as ever.
    sample(&mut ledger, 200, 1_500, &[30, 10], Some((&[7, 7], 7)));
    let book = ledger.books(D).unwrap();
    assert_eq!((book.residual.get(), book.unweighted), (500, 1));
}

#[test]
fn a_sample_with_the_wrong_number_of_weights_is_refused_and_counted() {
    let mut ledger = ledger(2, None);
    let window = sample(&mut ledger, 0, 0, &[0, 0], Some((&[0], 0)));
    assert!(matches!(window, Window::Ignored(probe_ledger::Ignored::Clocks)));
    assert_eq!(ledger.anomalies().malformed_samples, 1);
}

#[test]
fn a_boundary_cuts_weighted_energy_on_the_clock() {
    let mut ledger = ledger(2, None);
    sample(&mut ledger, 0, 0, &[0, 0], Some((&[0, 0], 0)));
    let request = RequestId(1);
    // The target runs 50 ns; the request is there for the last 20 of them.
    let enter = Boundary { t: Nanos(70), clocks: &[30], request, change: Change::Enter };
    ledger.boundary(ConsumerId(0), &enter).unwrap();
    let leave = Boundary { t: Nanos(100), clocks: &[50], request, change: Change::Leave };
    ledger.boundary(ConsumerId(0), &leave).unwrap();
    sample(&mut ledger, 100, 1_000, &[50, 50], Some((&[9, 1], 0)));
    let account = ledger.settled().remove(0);
    assert_eq!(account.energy.unwrap().energy, Nanojoules(360));
    assert_eq!(ledger.books(D).unwrap().consumers[0].background, Nanojoules(540));
}

/// Charges a request of a target that had half of everything, beside another one, in eight windows of so long with such weights.
fn bar_with(long: u64, weights: impl Fn(u64) -> Option<[u64; 2]>, measured: bool) -> Nanojoules {
    let mut ledger = ledger(2, None);
    let request = RequestId(1);
    for i in 0..=10 {
        let (t, clock) = (i * long, i * long / 2);
        let by = weights(i);
        let weights = by.as_ref().map(|by| Weights { consumers: by, nobody: 0, measured });
        let clocks = [clock, clock];
        ledger
            .sample(D, &Sample { t: Nanos(t), counter: Some(i * 1_000), clocks: &clocks, weights });
        let change = match i {
            1 => Change::Enter,
            9 => Change::Leave,
            _ => continue,
        };
        let boundary = Boundary { t: Nanos(t), clocks: &[clock], request, change };
        ledger.boundary(ConsumerId(0), &boundary).unwrap();
    }
    let energy = ledger.settled().remove(0).energy.unwrap();
    assert_eq!(energy.energy, Nanojoules(4_000));
    energy.parts.weight
}

#[test]
fn of_the_bar_for_others_power_less_is_left_the_longer_weights_were_measured() {
    let even = |i| Some([i, i]);
    let ms = 1_000_000;
    // 4000 nJ, half of the windows' energy others', who may have drawn 2.2 times as much: 4000 × 1.2 × 0.5 / (0.5 + 2.2 × 0.5).
    let guessed = bar_with(100 * ms, |_| None, false);
    assert_eq!(guessed, Nanojoules(1_501));
    assert_eq!(bar_with(100 * ms, even, false), guessed, "a policy is no measurement");
    assert_eq!(
        bar_with(ms, even, true),
        guessed,
        "8 ms are too short for what counters of cores show"
    );
    // Of 800 ms, 200 are at the ends: 0.5 + 0.25 of the others' half is in doubt.
    assert_eq!(bar_with(100 * ms, even, true), Nanojoules(1_242));
    // Where they were missing at one end, its two windows of eight were shared by the clocks.
    assert_eq!(bar_with(100 * ms, |i| (i != 5).then_some([i, i]), true), Nanojoules(1_311));
}

/// Two targets for a second each on CPU, the second on a core that runs three times as fast, in ten windows; of one of the
/// samples the cycles are not known. And the flags of a request of the first that is there in one window.
fn cycles(policy: Weight, unknown: Option<u64>, there: u64) -> (Vec<u64>, u64, Vec<&'static str>) {
    let mut ledger = ledger(2, None);
    let request = RequestId(1);
    for i in 0..=10 {
        let (t, clocks) = (i * 100_000_000, [i * 100_000_000; 2]);
        let known = (unknown != Some(i)).then_some(());
        let by = [clocks[0], clocks[1] * 3]
            .map(|cycles| policy.of(t, None, known.map(|()| cycles)))
            .into_iter()
            .collect::<Option<Vec<u64>>>();
        let weights = by.as_deref().map(|by| (by, 0));
        sample(&mut ledger, t, i * 800_000_000, &clocks, weights);
        let change = match i.checked_sub(there) {
            Some(0) => Change::Enter,
            Some(1) => Change::Leave,
            _ => continue,
        };
        let boundary = Boundary { t: Nanos(t), clocks: &clocks[..1], request, change };
        ledger.boundary(ConsumerId(0), &boundary).unwrap();
    }
    let flags = ledger.settled().remove(0).flags.iter().map(Flag::name).collect();
    (active(&ledger), ledger.books(D).unwrap().unweighted, flags)
}

#[test]
fn by_cycles_a_target_on_a_core_three_times_as_fast_pays_three_times_as_much() {
    let flags = vec!["idle-unknown"];
    let (charged, unweighted, told) = cycles(Weight::Cycles, None, 5);
    assert_eq!((charged, unweighted, &told), (vec![2_000_000_000, 6_000_000_000], 0, &flags));
    let (charged, unweighted, told) = cycles(Weight::Time, None, 5);
    assert_eq!((charged, unweighted, &told), (vec![4_000_000_000; 2], 0, &flags));
}

#[test]
fn windows_whose_cycles_are_not_known_are_shared_by_time_and_their_residents_say_so() {
    // Two windows of ten, of 800 mJ each: 400 and 400 instead of 200 and 600.
    for (there, told) in [
        (2, vec!["idle-unknown"]),
        (4, vec!["idle-unknown", "weights-missing"]),
        (5, vec!["idle-unknown", "weights-missing"]),
        (6, vec!["idle-unknown"]),
    ] {
        let (charged, unweighted, flags) = cycles(Weight::Cycles, Some(5), there);
        assert_eq!((charged, unweighted), (vec![2_400_000_000, 5_600_000_000], 2));
        assert_eq!(flags, told, "there in window {there}");
    }
}

/// What a machine with two threads a core shows of two targets, one of which ran beside the other thread.
fn beside(policy: Weight, alone: u64, beside: u64) -> Vec<u64> {
    let mut ledger = ledger(2, None);
    for i in 0..2 {
        let clocks = [alone * i, beside * i];
        let by = [(clocks[0], 0), (clocks[1], clocks[1])];
        let by = by.map(|(time, beside)| policy.of(time, Some(beside), None));
        let by = by.iter().copied().collect::<Option<Vec<u64>>>();
        let weights = by.as_deref().map(|by| (by, 0));
        sample(&mut ledger, i * 1_000, i * 16_000, &clocks, weights);
    }
    assert!(ledger.books(D).unwrap().closes());
    active(&ledger)
}

#[test]
fn a_target_beside_a_busy_sibling_is_charged_six_tenths_of_one_alone() {
    assert_eq!(beside(Weight::Smt, 500, 500), [10_000, 6_000]);
    assert_eq!(beside(Weight::Smt, 0, 500), [0, 16_000], "all that was active is somebody's");
    assert_eq!(beside(Weight::Time, 500, 500), [8_000, 8_000]);
}

/// What one step adds: time, energy, clocks, weights, nobody's weight, and whether the sample has weights.
type Step = (u64, u64, [u64; 3], [u64; 3], u64, bool);

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let small = || prop_oneof![Just(0_u64), 0_u64..1_000_000];
    let three = move || [small(), small(), small()];
    let step = (1_u64..1_000_000, small(), three(), three(), small(), any::<bool>());
    proptest::collection::vec(step, 1..40)
}

/// Plays steps; `weights` makes the weights of a step from its own.
fn play(steps: &[Step], idle: bool, weights: impl Fn(&Step) -> Option<([u64; 3], u64)>) -> Book {
    let mut ledger = ledger(3, idle.then(|| Nanowatts::from_watts(0.1)));
    let (mut t, mut nj, mut clocks) = (0, 0, [0; 3]);
    let (mut sums, mut nobody) = ([0; 3], 0);
    sample(&mut ledger, t, nj, &clocks, Some((&sums, 0)));
    for step in steps {
        (t, nj) = (t + step.0, nj + step.1);
        for (clock, more) in clocks.iter_mut().zip(step.2) {
            *clock += more;
        }
        let given = weights(step).map(|(more, none)| {
            for k in 0..3 {
                sums[k] += more[k];
            }
            nobody += none;
            (sums, nobody)
        });
        sample(&mut ledger, t, nj, &clocks, given.as_ref().map(|(sums, none)| (&sums[..], *none)));
        assert!(ledger.books(D).unwrap().closes());
    }
    ledger.books(D).unwrap().clone()
}

proptest! {
    #[test]
    fn books_close_whatever_the_weights(steps in steps(), idle in any::<bool>()) {
        let book = play(&steps, idle, |s| s.5.then_some((s.3, s.4)));
        let total: u64 = steps.iter().map(|s| s.1).sum();
        prop_assert_eq!(book.measured.get(), total);
    }

    #[test]
    fn only_the_proportions_of_weights_count(steps in steps(), by in 1_u64..1_000_000) {
        let one = play(&steps, false, |s| Some((s.3, s.4)));
        let many = play(&steps, false, |s| Some((s.3.map(|w| w * by), s.4 * by)));
        prop_assert_eq!(one, many);
    }

    #[test]
    fn weights_that_are_the_clocks_change_nothing(steps in steps(), idle in any::<bool>()) {
        let clocks = play(&steps, idle, |_| None);
        let weights = play(&steps, idle, |s| Some((s.2, 0)));
        // But that the clocks' windows lacked weights, which the first sample had.
        prop_assert_eq!(Book { unweighted: 0, ..clocks }, weights);
    }

    #[test]
    fn who_weighs_nothing_is_charged_nothing(steps in steps()) {
        // Nobody's weight moves in every window, so none is left to the clocks.
        let book = play(&steps, false, |s| Some(([0, s.3[1], s.3[2]], s.4 + 1)));
        prop_assert_eq!(book.consumers[0].active.get(), 0);
        prop_assert_eq!(book.unweighted, 0);
    }

    #[test]
    fn gross_units_are_the_clocks_whatever_the_weights(steps in steps()) {
        let clocks = play(&steps, false, |_| None);
        let weights = play(&steps, false, |s| Some((s.3, s.4)));
        prop_assert_eq!(clocks.gross_units, weights.gross_units);
    }

    #[test]
    fn more_weight_is_never_less_energy(steps in steps(), more in 1_u64..1_000_000) {
        let one = play(&steps[..1], false, |s| Some((s.3, s.4)));
        let two = play(&steps[..1], false, |s| Some(([s.3[0] + more, s.3[1], s.3[2]], s.4)));
        // Odd nanojoules go to the largest remainder, so by one at most.
        if one.unweighted == 0 {
            prop_assert!(two.consumers[0].active.get() + 1 >= one.consumers[0].active.get());
        }
    }
}

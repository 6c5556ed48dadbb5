//! The truth lies inside the bar: a sensor that updates every millisecond, read every millisecond or so, and a request
//! whose joules are known. The proof over a whole simulated host is the simulator's; this is the arithmetic.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::{at, bar, exact, ledger, only, sample};
use probe_ledger::Change::{Enter, Leave};
use probe_ledger::*;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

const US: u64 = 1_000;
const PERIOD: u64 = 1_000 * US;
const IDLE_WATTS: u64 = 10;

/// Energy until `t`, nJ: idle power always, `watts` more between the request's ends.
fn energy(t: u64, watts: u64, enter: u64, leave: u64) -> u64 {
    IDLE_WATTS * t + watts * (t.clamp(enter, leave) - enter)
}

/// A request whose joules are known.
#[derive(Clone, Debug)]
struct Case {
    watts: u64,
    enter: u64,
    length: u64,
    phase: u64,
    tick: u64,
    quantum: u64,
}

fn case() -> impl Strategy<Value = Case> {
    let quantum = prop_oneof![Just(1u64), Just(15_259), Just(61_035)];
    (1u64..100, 3_000u64..8_000, 5_000u64..100_000, 0u64..1_000, 700u64..1_300, quantum).prop_map(
        |(watts, enter, length, phase, tick, quantum)| Case {
            watts,
            enter: enter * US,
            length: length * US,
            phase: phase * US,
            tick: tick * US,
            quantum,
        },
    )
}

/// Low end, truth, high end.
fn bar_of(case: &Case) -> (u64, u64, u64) {
    let (enter, leave) = (case.enter, case.enter + case.length);
    let spec = DomainSpec {
        idle: Some(Nanowatts(IDLE_WATTS * 1_000_000_000)),
        period: Nanos(PERIOD),
        quantum: Nanojoules(case.quantum),
        ..exact("package-0")
    };
    let mut l = ledger(vec![spec], 1, 1);
    let ran = |t: u64| t.clamp(enter, leave) - enter;
    let (mut entered, mut left) = (false, false);
    for t in (0..leave + 5 * PERIOD).step_by(usize::try_from(case.tick).unwrap()) {
        if !entered && t >= enter {
            at(&mut l, 0, enter, &[ran(enter)], 1, Enter).unwrap();
            entered = true;
        }
        if !left && t >= leave {
            at(&mut l, 0, leave, &[ran(leave)], 1, Leave).unwrap();
            left = true;
        }
        // The sensor last updated at a multiple of its period, and shows whole quanta.
        let updated = (t + PERIOD - case.phase) / PERIOD * PERIOD + case.phase;
        let counter = energy(updated.saturating_sub(PERIOD), case.watts, enter, leave);
        sample(&mut l, 0, t, counter / case.quantum * case.quantum, &[ran(t)]);
    }
    let (low, _, high) = bar(&only(&mut l));
    (low, case.watts * case.length, high)
}

#[test]
fn of_a_sensor_that_updates_in_steps_the_truth_lies_inside_at_least_95_in_100_bars() {
    const CASES: usize = 3_000;
    let mut runner = TestRunner::deterministic();
    let mut inside = 0;
    for _ in 0..CASES {
        let case = case().new_tree(&mut runner).unwrap().current();
        let (low, truth, high) = bar_of(&case);
        inside += usize::from(low <= truth && truth <= high);
        // And it is not honest by being useless: two periods' energy and two quanta each way.
        let most = 2 * (2 * (case.watts + IDLE_WATTS) * PERIOD + 2 * case.quantum);
        assert!(high - low <= most, "{case:?}: {low} to {high}");
    }
    let part = inside as f64 / CASES as f64;
    assert!(part >= 0.95, "{part}");
}

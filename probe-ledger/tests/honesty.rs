//! The truth lies inside the bar: a sensor that updates every millisecond, read every millisecond or so, and a request
//! whose joules are known. The proof over a whole simulated host is the simulator's; this is the arithmetic.

mod common;

use common::{at, bar, exact, ledger, only, sample};
use probe_ledger::Change::{Enter, Leave};
use probe_ledger::*;
use proptest::prelude::*;

const US: u64 = 1_000;
const PERIOD: u64 = 1_000 * US;
const IDLE_WATTS: u64 = 10;

/// Energy until `t`, nJ: idle power always, `watts` more between the request's ends.
fn energy(t: u64, watts: u64, enter: u64, leave: u64) -> u64 {
    IDLE_WATTS * t + watts * (t.clamp(enter, leave) - enter)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn the_truth_lies_inside_the_bar_of_a_sensor_that_updates_in_steps(
        watts in 1u64..100,
        enter in 3_000u64..8_000,
        length in 5_000u64..100_000,
        phase in 0u64..1_000,
        tick in 700u64..1_300,
        quantum in prop_oneof![Just(1u64), Just(15_259), Just(61_035)],
    ) {
        let (enter, leave) = (enter * US, (enter + length) * US);
        let spec = DomainSpec {
            idle: Some(Nanowatts(IDLE_WATTS * 1_000_000_000)),
            period: Nanos(PERIOD),
            quantum: Nanojoules(quantum),
            ..exact("package-0")
        };
        let mut l = ledger(vec![spec], 1, 1);
        let ran = |t: u64| t.clamp(enter, leave) - enter;
        let (mut entered, mut left) = (false, false);
        for t in (0..leave + 5 * PERIOD).step_by((tick * US) as usize) {
            if !entered && t >= enter {
                at(&mut l, 0, enter, &[ran(enter)], 1, Enter).unwrap();
                entered = true;
            }
            if !left && t >= leave {
                at(&mut l, 0, leave, &[ran(leave)], 1, Leave).unwrap();
                left = true;
            }
            // The sensor last updated at a multiple of its period, and shows whole quanta.
            let updated = (t + PERIOD - phase * US) / PERIOD * PERIOD + phase * US;
            let counter = energy(updated.saturating_sub(PERIOD), watts, enter, leave);
            sample(&mut l, 0, t, counter / quantum * quantum, &[ran(t)]);
        }
        let account = only(&mut l);
        let truth = watts * (leave - enter);
        let (low, estimate, high) = bar(&account);
        prop_assert!(low <= truth && truth <= high, "{} <= {} <= {} ({})", low, truth, high, estimate);
        // And it is not honest by being useless: three periods' energy and three quanta each way.
        prop_assert!(high - low <= 2 * (3 * (watts + IDLE_WATTS) * PERIOD + 3 * quantum));
    }
}

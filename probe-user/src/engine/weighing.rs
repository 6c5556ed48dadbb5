//! What a tick says a domain's energy is to be shared by, besides the clocks: what was drawn on the cores where they have
//! energy counters, else what the weight policy makes of the clocks.

use probe_common::{CONSUMERS, IDLE};
use probe_ledger::Weight;

use super::readings::Clocks;
use crate::event::Tick;

/// Weights as a sample carries them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct By {
    /// Of the consumers.
    pub weights: Clocks,
    /// Of nobody.
    pub nobody: u64,
    /// They follow from energy counters.
    pub measured: bool,
}

/// By misses of the last cache level, what memory follows: `None` where they are not known. They stand still as weights by
/// policy do.
pub(super) fn by_misses(weight: Weight, tick: &Tick, before: Option<&Clocks>) -> Option<Clocks> {
    let misses = tick.misses.as_ref().filter(|_| weight == Weight::Cycles)?;
    Some(std::array::from_fn(|k| before.map_or(0, |before| before[k]).max(misses[k + 1])))
}

/// By the policy: `None` where it asks for nothing but the clocks, or for what this machine does not have.
///
/// Of a slice at whose end the sibling's clock was torn the kernel takes back what it told while the slice was in progress.
/// A weight then stands still until it has caught up.
pub(super) fn by_policy(weight: Weight, tick: &Tick, before: Option<&Clocks>) -> Option<Clocks> {
    let mut weights = [0; CONSUMERS - 1];
    for (k, to) in weights.iter_mut().enumerate() {
        let i = k + 1;
        let part = |of: &Option<Box<[u64; CONSUMERS]>>| of.as_ref().map(|of| of[i]);
        *to = weight.of(tick.clock[i], part(&tick.beside), part(&tick.cycles))?;
        *to = before.map_or(*to, |before| before[k].max(*to));
    }
    const { assert!(IDLE == 0) };
    Some(weights)
}

#[cfg(test)]
mod tests {
    use probe_common::MAX_COUNTERS;
    use probe_ledger::{
        Config, DomainId, DomainSpec, Ledger, Nanojoules, Nanos, Policies, Range, Ratio, Scale,
        Scope,
    };

    use super::super::readings::{Fed, Feed, Readings};
    use super::*;

    fn tick(clock: u64, beside: Option<u64>) -> Tick {
        let counter = [None; MAX_COUNTERS];
        let beside = beside.map(|ns| Box::new([ns; CONSUMERS]));
        let (cores, cycles, misses) = (None, None, None);
        Tick {
            package: 0,
            t: 1,
            number: 1,
            counter,
            clock: [clock; CONSUMERS],
            cores,
            beside,
            cycles,
            misses,
        }
    }

    #[test]
    fn by_smt_time_beside_a_busy_sibling_weighs_less_and_without_siblings_there_are_no_weights() {
        let smt = |tick: &Tick| by_policy(Weight::Smt, tick, None).map(|by| by[3]);
        assert_eq!(smt(&tick(100, Some(25))), Some(900));
        assert_eq!(smt(&tick(100, None)), None);
        assert_eq!(by_policy(Weight::Time, &tick(100, Some(25)), None), None);
        assert_eq!(by_policy(Weight::Cycles, &tick(100, Some(25)), None), None);
    }

    #[test]
    fn by_cycles_a_consumer_weighs_its_cycles_and_a_tick_without_them_has_no_weights() {
        let mut told = tick(100, Some(25));
        told.cycles = Some(Box::new([70; CONSUMERS]));
        assert_eq!(by_policy(Weight::Cycles, &told, None), Some([70; CONSUMERS - 1]));
        assert_eq!(by_policy(Weight::Time, &told, None), None);
        told.cycles = None;
        assert_eq!(by_policy(Weight::Cycles, &told, Some(&[70; CONSUMERS - 1])), None);
    }

    #[test]
    fn a_weight_does_not_go_back() {
        let before = by_policy(Weight::Smt, &tick(100, Some(25)), None).unwrap();
        let after = by_policy(Weight::Smt, &tick(100, Some(26)), Some(&before)).unwrap();
        assert_eq!(after, before);
    }

    const MS: u64 = 1_000_000;

    fn domain(scope: Scope) -> DomainSpec {
        DomainSpec {
            name: "package-0".to_owned(),
            scale: Scale::NANOJOULES,
            range: Range::Bits(64),
            scope,
            additive: true,
            idle: None,
            idle_error: None,
            max_power: None,
            period: Nanos(0),
            quantum: Nanojoules(1),
            class: Ratio(0),
            expected_window: Nanos(u64::MAX),
            pulse: None,
        }
    }

    /// What the consumers 4 and 5 are charged of 16 J that a domain counted while both ran for 500 ms, the second of
    /// them beside a busy sibling, on one package or each on its own.
    fn charged(weight: Weight, packages: usize, siblings: bool) -> [u64; 2] {
        charged_by(weight, packages, |tick| {
            if siblings {
                let mut beside = [0; CONSUMERS];
                beside[5] = tick.clock[5];
                tick.beside = Some(Box::new(beside));
            }
        })
    }

    /// The same, where the ticks tell this besides the clocks.
    fn charged_by(weight: Weight, packages: usize, tell: impl Fn(&mut Tick)) -> [u64; 2] {
        let (charged, unweighted) = run_by(weight, packages, tell);
        assert_eq!(unweighted, 0);
        charged
    }

    /// And how many windows lacked the weights that others had.
    fn run_by(weight: Weight, packages: usize, tell: impl Fn(&mut Tick)) -> ([u64; 2], u64) {
        run_of(false, weight, packages, tell)
    }

    /// The domain may be memory.
    fn run_of(
        memory: bool,
        weight: Weight,
        packages: usize,
        tell: impl Fn(&mut Tick),
    ) -> ([u64; 2], u64) {
        let scope = if packages == 1 { Scope::Package(0) } else { Scope::Machine };
        let config = Config {
            domains: vec![domain(scope)],
            consumers: CONSUMERS - 1,
            packages,
            cpus: 1,
            horizon: Nanos(u64::MAX),
            patience: Nanos(u64::MAX),
            policies: Policies { weight, ..Policies::default() },
        };
        let mut ledger = Ledger::new(config).unwrap();
        let (id, package, feed) = (DomainId(0), 0, Feed::Kernel { slot: 0 });
        let (splits, weighed) = (<_>::default(), false);
        let fed =
            Fed { id, package, scope, additive: true, feed, failed: 0, splits, weighed, memory };
        let mut readings = Readings::new(vec![fed], packages, CONSUMERS - 1, weight);
        for i in 0..=10_u64 {
            for package in (0..packages).rev() {
                let mut tick = tick(0, None);
                (tick.package, tick.t, tick.number) = (package, i * 100 * MS, i + 1);
                tick.counter[0] = Some(i * 1_600_000_000);
                if package == 0 {
                    tick.clock[4] = i * 50 * MS;
                }
                if package + 1 == packages {
                    tick.clock[5] = i * 50 * MS;
                }
                tell(&mut tick);
                readings.tick(&tick, &mut ledger, |_, _, _, _| {});
            }
        }
        let book = ledger.books(id).unwrap();
        assert!(book.closes());
        assert_eq!(book.measured.get(), 16_000_000_000);
        assert_eq!(ledger.anomalies().clocks_backwards, 0);
        ([4, 5].map(|who: usize| book.consumers[who - 1].active.get()), book.unweighted)
    }

    #[test]
    fn by_smt_who_ran_beside_a_busy_sibling_pays_six_tenths_on_a_package_and_on_a_machine_of_two() {
        for packages in [1, 2] {
            assert_eq!(charged(Weight::Smt, packages, true), [10_000_000_000, 6_000_000_000]);
            assert_eq!(charged(Weight::Time, packages, true), [8_000_000_000; 2]);
        }
    }

    #[test]
    fn by_cycles_who_ran_three_times_as_fast_pays_three_times_as_much_and_by_time_where_none_are_counted()
     {
        for packages in [1, 2] {
            let cycles = charged_by(Weight::Cycles, packages, |tick| {
                let mut cycles = tick.clock;
                cycles[5] *= 3;
                tick.cycles = Some(Box::new(cycles));
            });
            assert_eq!(cycles, [4_000_000_000, 12_000_000_000]);
            let none = charged_by(Weight::Cycles, packages, |_| {});
            assert_eq!(none, charged(Weight::Time, packages, false));
        }
    }

    #[test]
    fn memory_follows_misses_where_they_are_counted_and_the_policy_where_they_are_not() {
        let run = |weight, misses: fn(&Tick) -> Option<u64>| {
            run_of(true, weight, 1, |tick| {
                let mut cycles = tick.clock;
                cycles[5] *= 3;
                tick.cycles = Some(Box::new(cycles));
                let mut of = tick.clock;
                tick.misses = misses(tick).map(|times| {
                    of[4] *= times;
                    Box::new(of)
                });
            })
        };
        assert_eq!(run(Weight::Cycles, |_| Some(7)), ([14_000_000_000, 2_000_000_000], 0));
        assert_eq!(run(Weight::Cycles, |_| None), ([4_000_000_000, 12_000_000_000], 0));
        // Once they were counted a window without them goes by time.
        let once = run(Weight::Cycles, |tick| (tick.number != 6).then_some(7));
        assert_eq!(once, ([12_800_000_000, 3_200_000_000], 2));
        assert_eq!(run(Weight::Time, |_| Some(7)), ([8_000_000_000; 2], 0));
    }

    #[test]
    fn a_tick_without_cycles_leaves_its_windows_to_time_on_whatever_package_it_came() {
        for (packages, unknown) in [(1, 0), (2, 0), (2, 1)] {
            let (charged, unweighted) = run_by(Weight::Cycles, packages, |tick| {
                let mut cycles = tick.clock;
                cycles[5] *= 3;
                let known = (tick.package, tick.number) != (unknown, 6);
                tick.cycles = known.then(|| Box::new(cycles));
            });
            // Two windows of ten, of 1.6 J each.
            assert_eq!(unweighted, 2, "of {packages} packages, not known of package {unknown}");
            assert_eq!(charged, [4_800_000_000, 11_200_000_000]);
        }
    }

    #[test]
    fn by_smt_cores_of_one_thread_are_charged_exactly_as_by_time() {
        assert_eq!(charged(Weight::Smt, 1, false), charged(Weight::Time, 1, false));
        assert_eq!(charged(Weight::Smt, 2, false), [8_000_000_000; 2]);
    }
}

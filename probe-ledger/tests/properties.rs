//! What holds on every host, whatever happens on it.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;
#[path = "common/world.rs"]
mod world;

use std::collections::HashSet;

use probe_ledger::*;
use proptest::prelude::*;
use world::{CONSUMERS, TARGETS, Telling, Told, World, worlds};

fn check_conservation(world: &World, told: &Told) -> Result<(), TestCaseError> {
    for (d, spec) in world.domains.iter().enumerate() {
        let book = told.book(d);
        prop_assert!(book.closes(), "{:?}", book);
        prop_assert_eq!(u128::from(book.measured.get()), told.closed[d]);
        let units = u64::try_from(book.units).unwrap();
        prop_assert_eq!(book.measured, spec.scale.energy(units));
        let mut requests = 0;
        for k in 0..CONSUMERS {
            let target = u128::from(book.consumers[k].requests.get());
            prop_assert_eq!(told.charged(d, |a| a.target == ConsumerId(k)), target);
            requests += target;
            prop_assert!(k < TARGETS || target == 0);
        }
        prop_assert_eq!(told.charged(d, |_| true), requests);
        // Each consumer's part of each window is rounded to the nearest unit.
        let rounding = u128::from(book.windows) * CONSUMERS as u128 / 2;
        prop_assert!(book.gross_units.iter().sum::<u128>() <= book.units + rounding);
    }
    for k in 0..CONSUMERS {
        let additive = (0..world.domains.len()).filter(|d| world.domains[*d].additive);
        let active: u64 = additive.map(|d| told.book(d).consumers[k].active.get()).sum();
        let target = told.ledger.target(ConsumerId(k));
        prop_assert_eq!(target.requests.get() + target.background.get(), active);
    }
    prop_assert_eq!(told.ledger.unsettled(), 0);
    Ok(())
}

fn check_accounts(told: &Told) -> Result<(), TestCaseError> {
    for account in &told.accounts {
        prop_assert!(account.mean_residents >= 1.0);
        for share in &account.domains {
            prop_assert!(share.covered <= account.resident);
            let Some(active) = share.active else { continue };
            prop_assert!(active.low < active.energy || active.energy.get() == 0);
            prop_assert!(active.energy < active.high, "a bar is never empty");
            if let (Some(prefill), Some(decode)) = (share.prefill, share.decode) {
                prop_assert_eq!(prefill.get() + decode.get(), active.energy.get());
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..Default::default() })]

    #[test]
    fn every_nanojoule_is_charged_once(world in worlds(true)) {
        let told = world.tell_all();
        check_conservation(&world, &told)?;
        check_accounts(&told)?;
    }

    #[test]
    fn without_faults_everything_counted_is_measured(world in worlds(false)) {
        let told = world.tell_all();
        for (d, truth) in world.truth().into_iter().enumerate() {
            prop_assert_eq!(told.book(d).units, truth);
            prop_assert_eq!(told.book(d).void_windows, 0);
        }
        for account in &told.accounts {
            for share in &account.domains {
                prop_assert_eq!(share.covered, account.resident);
            }
        }
        check_conservation(&world, &told)?;
    }

    #[test]
    fn lost_samples_cost_resolution_never_joules(
        world in worlds(false), lost in prop::collection::hash_set(0usize..120, 0..100)
    ) {
        let all = world.tell_all();
        let some = world.tell(&Telling { dropped: &lost, name: &|id| id, extra: vec![], idle: Idle::None });
        for d in 0..world.domains.len() {
            prop_assert_eq!(all.book(d).measured, some.book(d).measured);
            let cpu = |told: &Told| told.book(d).consumers.iter().map(|c| c.cpu).collect::<Vec<_>>();
            prop_assert_eq!(cpu(&all), cpu(&some));
        }
        prop_assert_eq!(all.accounts.len(), some.accounts.len());
        check_conservation(&world, &some)?;
    }

    #[test]
    fn where_a_counter_starts_and_wraps_makes_no_difference(world in worlds(false), starts in any::<u64>()) {
        let mut moved = world.clone();
        moved.starts.iter_mut().for_each(|s| *s = starts);
        let mut wraps_at_once = world.clone();
        wraps_at_once.starts.iter_mut().zip(&world.domains).for_each(|(s, spec)| {
            *s = match spec.range { Range::Max(max) => max, Range::Bits(_) => u64::MAX };
        });
        let told = world.tell_all();
        for other in [moved.tell_all(), wraps_at_once.tell_all()] {
            for d in 0..world.domains.len() {
                prop_assert_eq!(told.book(d), other.book(d));
            }
            prop_assert_eq!(&told.accounts, &other.accounts);
        }
    }

    #[test]
    fn what_requests_are_called_makes_no_difference(world in worlds(true), mask in any::<u64>()) {
        let mut renamed = world.tell(&Telling {
            dropped: &HashSet::new(),
            name: &|id| (id ^ mask).reverse_bits(),
            extra: vec![],
            idle: Idle::None,
        });
        for account in &mut renamed.accounts {
            account.request.0 = account.request.0.reverse_bits() ^ mask;
        }
        prop_assert_eq!(world.tell_all().accounts, renamed.accounts);
    }

    #[test]
    fn requests_that_overlap_from_end_to_end_pay_the_same(
        world in worlds(true), from in 0usize..60, length in 1usize..60
    ) {
        let extra = vec![(100, from, from + length), (101, from, from + length)];
        let told = world.tell(&Telling { dropped: &HashSet::new(), name: &|id| id, extra, idle: Idle::None });
        check_conservation(&world, &told)?;
        for d in 0..world.domains.len() {
            let [a, b] = [100, 101].map(|id| told.charged(d, |a| a.request == RequestId(id)));
            prop_assert!(a.abs_diff(b) <= told.segments.into(), "{} {}", a, b);
        }
    }

    #[test]
    fn a_request_cut_in_two_costs_the_sum(
        world in worlds(true), from in 0usize..40, first in 1usize..40, second in 1usize..40
    ) {
        let tell = |extra| world.tell(&Telling { dropped: &HashSet::new(), name: &|id| id, extra, idle: Idle::None });
        let (middle, to) = (from + first, from + first + second);
        let whole = tell(vec![(100, from, to)]);
        let cut = tell(vec![(100, from, middle), (101, middle, to)]);
        for d in 0..world.domains.len() {
            let ours = |a: &Account| a.request.0 >= 100;
            let (one, two) = (whole.charged(d, ours), cut.charged(d, ours));
            prop_assert!(one.abs_diff(two) <= cut.segments.into(), "{} {}", one, two);
            prop_assert_eq!(whole.book(d).measured, cut.book(d).measured);
            let active = |told: &Told| told.book(d).consumers.iter().map(|c| c.active).collect::<Vec<_>>();
            prop_assert_eq!(active(&whole), active(&cut));
        }
    }

    #[test]
    fn a_request_that_never_enters_gets_nothing(world in worlds(true)) {
        let told = world.tell_all();
        let (mut ledger, strangers) = (told.ledger, [900, 901]);
        for id in strangers {
            for change in [Change::First, Change::Leave] {
                let boundary = Boundary { t: Nanos(u64::MAX), clocks: &[0, 0], request: RequestId(id), change };
                prop_assert_eq!(
                    ledger.boundary(ConsumerId(0), &boundary),
                    Err(Refused::NotResident(RequestId(id)))
                );
            }
        }
        prop_assert!(ledger.settled().is_empty());
        prop_assert!(told.accounts.iter().all(|a| !strangers.contains(&a.request.0)));
    }

    #[test]
    fn idle_energy_is_given_once_or_kept(world in worlds(true), even in any::<bool>(), mask in any::<u64>()) {
        let idle = if even { Idle::Even } else { Idle::Proportional };
        let tell = |name: &dyn Fn(u64) -> u64| {
            world.tell(&Telling { dropped: &HashSet::new(), name, extra: vec![], idle })
        };
        let told = tell(&|id| id);
        check_conservation(&world, &told)?;
        let none = world.tell_all();
        for (d, spec) in world.domains.iter().enumerate() {
            let book = told.book(d);
            let given = |a: &Account| a.domains[d].idle.map_or(0, Nanojoules::get);
            prop_assert_eq!(told.accounts.iter().map(given).sum::<u64>(), book.idle_given.get());
            prop_assert_eq!(book.idle_given.get() + book.idle_kept.get(), book.idle.get());
            // What is charged is charged under every idle policy alike.
            prop_assert_eq!(&book.consumers, &none.book(d).consumers);
            prop_assert_eq!((book.measured, book.idle), (none.book(d).measured, none.book(d).idle));
            if spec.idle.is_none() {
                prop_assert!(told.accounts.iter().all(|a| a.domains[d].idle.is_none()));
            }
            prop_assert!(none.accounts.iter().all(|a| a.domains[d].idle.is_none()));
            prop_assert_eq!(none.book(d).idle_kept, none.book(d).idle);
        }
        let mut renamed = tell(&|id| (id ^ mask).reverse_bits());
        for account in &mut renamed.accounts {
            account.request.0 = account.request.0.reverse_bits() ^ mask;
        }
        prop_assert_eq!(told.accounts, renamed.accounts);
    }
}

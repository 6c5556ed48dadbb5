//! Law 9, lost ring records. Counters and clocks are cumulative: any samples but a domain's last one may be lost, and what was read,
//! ran and is charged in all is the same. Any boundaries may be lost: then requests get less or more, but no consumer does.

use proptest::prelude::*;

use crate::hold;
use crate::host::next;
use crate::machine::{BEGIN, Kind, machines};
use crate::tape::{Input, Tape};

/// Without some of the records that `may` be lost: so many of 256.
fn without(tape: &Tape, seed: u64, part: u8, may: impl Fn(&Input) -> bool) -> Tape {
    let (mut tape, mut seed) = (tape.clone(), seed);
    tape.inputs.retain(|input| !may(input) || next(&mut seed) % 256 >= u64::from(part));
    tape
}

#[test]
fn any_samples_but_the_last_may_be_lost_and_totals_are_unchanged() {
    let case = (machines(Kind::default()), any::<u64>(), any::<u8>());
    hold(324, &case, |policies, (machine, seed, part)| {
        let tape = machine.tape(policies);
        let lost = without(&tape, seed, part, |input| match input {
            Input::Sample { t, .. } => *t != BEGIN && *t != tape.end,
            _ => false,
        });
        let (all, some) = (tape.tell(), lost.tell());
        for d in 0..machine.domains.len() {
            let (a, b) = (all.book(d), some.book(d));
            prop_assert_eq!((a.measured, a.units), (b.measured, b.units));
            prop_assert!(b.closes(), "{:?}", b);
            let charged: u64 = some.active(d).iter().sum();
            prop_assert_eq!(a.measured.get(), b.idle.get() + b.residual.get() + charged);
            for (a, b) in a.consumers.iter().zip(&b.consumers) {
                prop_assert_eq!(a.cpu, b.cpu);
                prop_assert_eq!(b.active.get(), b.requests.get() + b.background.get());
            }
        }
        prop_assert_eq!(all.accounts.len(), some.accounts.len());
        for account in &some.accounts {
            prop_assert_eq!(account.resident, all.account(account.request.0).unwrap().resident);
            prop_assert!(account.domains.iter().all(|share| share.covered == account.resident));
        }
        Ok(())
    });
}

#[test]
fn any_boundaries_may_be_lost_and_no_consumer_is_charged_otherwise() {
    let case = (machines(Kind { faults: true, hasty: true }), any::<u64>(), any::<u8>());
    hold(324, &case, |policies, (machine, seed, part)| {
        let tape = machine.tape(policies);
        let lost = without(&tape, seed, part, |input| {
            matches!(input, Input::Boundary { .. } | Input::Work { .. })
        });
        let (all, some) = (tape.tell(), lost.tell());
        for d in 0..machine.domains.len() {
            let (a, b) = (all.book(d), some.book(d));
            prop_assert_eq!((a.measured, a.idle, a.residual), (b.measured, b.idle, b.residual));
            prop_assert_eq!(all.active(d), some.active(d));
            prop_assert!(b.closes(), "{:?}", b);
            let charged: u128 = (0..4).map(|k| some.charged(d, k)).sum();
            prop_assert_eq!(
                charged,
                b.consumers.iter().map(|c| u128::from(c.requests.get())).sum()
            );
        }
        prop_assert_eq!(some.ledger.unsettled(), 0);
        Ok(())
    });
}

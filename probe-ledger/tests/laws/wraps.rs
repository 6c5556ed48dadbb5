//! Law 6, wraps. Where a counter starts, and so where it wraps, changes nothing at all: not a bit of the books, the accounts,
//! the flags. That includes wraps at the very count that a sample shows, one before it and one after it.

use probe_ledger::*;
use proptest::prelude::*;

use crate::hold;
use crate::host::modulus;
use crate::machine::{Kind, Machine, machines};
use crate::tape::Input;

/// Every counter starts so that it wraps about where that sample of its domain shows it.
fn wrapping(machine: &Machine, policies: Policies, place: usize, off: u64) -> Machine {
    let mut wraps = machine.clone();
    wraps.starts.fill(0);
    let tape = wraps.tape(policies);
    for (d, spec) in machine.domains.iter().enumerate() {
        let shown: Vec<u64> = tape
            .inputs
            .iter()
            .filter_map(|input| match input {
                Input::Sample { domain, counter, .. } if *domain == d => *counter,
                _ => None,
            })
            .collect();
        let modulus = modulus(spec.range);
        let to_wrap = u128::from(shown[place % shown.len()]);
        let start = modulus - to_wrap + modulus + u128::from(off) - 1;
        wraps.starts[d] = (start % modulus) as u64;
    }
    wraps
}

#[test]
fn a_wrap_at_any_point_changes_nothing() {
    let case = (machines(Kind::default()), any::<u64>(), any::<prop::sample::Index>(), 0u64..3);
    hold(324, &case, |policies, (machine, anywhere, place, off)| {
        let one = machine.tape(policies).tell();
        let mut moved = machine.clone();
        moved.starts.fill(anywhere);
        let wraps = wrapping(&machine, policies, place.index(1_000), off);
        for other in [moved, wraps].map(|machine| machine.tape(policies).tell()) {
            for d in 0..machine.domains.len() {
                prop_assert_eq!(one.book(d), other.book(d));
            }
            prop_assert_eq!(&one.accounts, &other.accounts);
        }
        Ok(())
    });
}

//! Law 2, permutation. Neither what requests are called nor the order in which they come at one instant changes what they cost.
//!
//! Names change nothing at all. The order decides who gets odd nanojoules: each request's energy stays within two nanojoules in
//! every interval it is settled in. Where prices are learned, sums of floating-point numbers depend on the order of their
//! terms: `work` adds a millionth part of the machine's energy.

use proptest::prelude::*;

use crate::hold;
use crate::host::next;
use crate::machine::{Kind, Machine, machines};
use crate::tape::zeros_are_nothing;

fn shuffled(machine: &Machine, seed: u64) -> Machine {
    let (mut machine, mut seed) = (machine.clone(), seed);
    for i in (1..machine.requests.len()).rev() {
        machine.requests.swap(i, (next(&mut seed) % (i as u64 + 1)) as usize);
    }
    machine
}

#[test]
fn what_requests_are_called_makes_no_difference() {
    let case = (machines(Kind { faults: true, hasty: true }), any::<u64>());
    hold(216, &case, |policies, (machine, mask)| {
        let mut renamed = machine.clone();
        renamed
            .requests
            .iter_mut()
            .for_each(|request| request.id = (request.id ^ mask).reverse_bits());
        let (one, mut other) = (machine.tape(policies).tell(), renamed.tape(policies).tell());
        for account in &mut other.accounts {
            account.request.0 = account.request.0.reverse_bits() ^ mask;
        }
        prop_assert_eq!(&one.accounts, &other.accounts);
        for d in 0..machine.domains.len() {
            prop_assert_eq!(one.book(d), other.book(d));
        }
        Ok(())
    });
}

#[test]
fn the_order_in_which_requests_come_at_one_instant_makes_no_difference() {
    let case = (machines(Kind { faults: true, hasty: false }), any::<u64>());
    hold(432, &case, |policies, (machine, seed)| {
        // Many instants that requests have in common.
        let mut machine = machine;
        let lessons = machine.lessons;
        machine.requests.iter_mut().filter(|request| request.from >= lessons).for_each(|request| {
            (request.from, request.to) = (request.from / 12 * 12, request.to.div_ceil(12) * 12);
        });
        let (tape, other) = (machine.tape(policies), shuffled(&machine, seed).tape(policies));
        let (one, other) = (tape.tell(), other.tell());
        prop_assert_eq!(one.accounts.len(), other.accounts.len());
        for account in &one.accounts {
            let again = other.account(account.request.0).unwrap();
            prop_assert_eq!(account.resident, again.resident);
            prop_assert_eq!(account.flags, again.flags);
            let intervals = tape.intervals(tape.residency(account.request.0).unwrap());
            for (d, share) in account.domains.iter().enumerate() {
                let learned = match policies.share {
                    probe_ledger::Share::Work => one.book(d).measured.get() / 1_000_000,
                    _ => 0,
                };
                let (a, b) = (share.active, again.domains[d].active);
                prop_assert!(a.is_some() == b.is_some() || zeros_are_nothing(share));
                let nj = |e: Option<probe_ledger::Estimate>| e.map_or(0, |e| e.energy.get());
                let off = nj(a).abs_diff(nj(b));
                prop_assert!(off <= 2 * intervals + learned, "{} {:?} {:?}", intervals, a, b);
            }
        }
        for d in 0..machine.domains.len() {
            prop_assert_eq!(one.active(d), other.active(d));
        }
        Ok(())
    });
}

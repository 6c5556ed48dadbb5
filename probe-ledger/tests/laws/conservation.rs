//! Law 1, conservation. For each domain, to the nanojoule, after every single input, whatever counters do and however little
//! patience the ledger has:
//!
//! ```text
//! joules read = Σ requests + Σ background + Σ others + idle + unattributed + not settled yet
//! ```
//!
//! Joules read is the conversion of the counts that the tape shows between the ends of valid windows, all at once.

use probe_ledger::*;
use proptest::prelude::*;

use crate::hold;
use crate::machine::{CONSUMERS, Kind, TARGETS, machines};
use crate::tape::{Tape, Told};

/// What holds after every input.
fn closed(tape: &Tape, told: &Told) -> Result<(), TestCaseError> {
    for (d, spec) in tape.domains.iter().enumerate() {
        let (book, wide) = (told.book(d), |e: Nanojoules| u128::from(e.get()));
        let valid = || told.windows[d].iter().filter(|seen| seen.void.is_none());
        let counts: u128 = valid().map(|seen| seen.counts).sum();
        let read = spec.scale.energy(u64::try_from(counts).unwrap());
        prop_assert_eq!((book.measured, book.units), (read, counts));
        prop_assert_eq!(wide(read), valid().map(|seen| u128::from(seen.energy)).sum::<u128>());
        let mut charged = wide(book.idle) + wide(book.residual);
        for (k, consumer) in book.consumers.iter().enumerate() {
            let unsettled = consumer.unsettled();
            prop_assert!(unsettled.is_some(), "more settled than charged: {consumer:?}");
            charged += wide(consumer.requests) + wide(consumer.background);
            charged += wide(unsettled.unwrap());
            prop_assert!(told.charged(d, k) <= wide(consumer.requests));
            if k >= TARGETS {
                prop_assert_eq!(
                    consumer.background,
                    consumer.active,
                    "nobody asked anything of it"
                );
            }
        }
        prop_assert_eq!(wide(read), charged, "{:?}", book);
        prop_assert!(book.closes(), "{:?}", book);
    }
    Ok(())
}

/// What holds besides once it has finished.
fn finished(tape: &Tape, told: &Told) -> Result<(), TestCaseError> {
    prop_assert_eq!(told.ledger.unsettled(), 0);
    for (d, _) in tape.domains.iter().enumerate() {
        let book = told.book(d);
        for (k, consumer) in book.consumers.iter().enumerate() {
            prop_assert_eq!(consumer.unsettled(), Some(Nanojoules(0)));
            prop_assert_eq!(told.charged(d, k), u128::from(consumer.requests.get()));
        }
        let given = |a: &Account| a.domains[d].idle.map_or(0, Nanojoules::get);
        prop_assert_eq!(told.accounts.iter().map(given).sum::<u64>(), book.idle_given.get());
        prop_assert_eq!(book.idle_given.get() + book.idle_kept.get(), book.idle.get());
        if tape.policies.idle == Idle::None {
            prop_assert!(told.accounts.iter().all(|a| a.domains[d].idle.is_none()));
        }
        let rounding = u128::from(book.windows) * CONSUMERS as u128 / 2;
        prop_assert!(book.gross_units.iter().sum::<u128>() <= book.units + rounding);
    }
    for k in 0..CONSUMERS {
        let additive = (0..tape.domains.len()).filter(|d| tape.domains[*d].additive);
        let active: u64 = additive.map(|d| told.active(d)[k]).sum();
        let target = told.ledger.target(ConsumerId(k));
        prop_assert_eq!(target.requests.get() + target.background.get(), active);
    }
    Ok(())
}

/// An account agrees with itself.
fn whole(account: &Account) -> Result<(), TestCaseError> {
    prop_assert!(account.mean_residents >= 1.0);
    for share in &account.domains {
        prop_assert!(share.covered <= account.resident);
        let Some(active) = share.active else { continue };
        prop_assert!(active.low < active.energy || active.energy.get() == 0);
        prop_assert!(active.energy < active.high, "a bar is never empty");
        prop_assert!(share.prefill.is_none() || share.prefill <= Some(active.energy));
    }
    Ok(())
}

#[test]
fn every_nanojoule_read_is_charged_once_at_every_moment() {
    hold(432, &machines(Kind { faults: true, hasty: true }), |policies, machine| {
        let tape = machine.tape(policies);
        let mut held = Ok(());
        let told = tape.tell_and(|told| {
            if held.is_ok() {
                held = closed(&tape, told);
            }
        });
        held?;
        finished(&tape, &told)?;
        told.accounts.iter().try_for_each(whole)
    });
}

#[test]
fn without_faults_everything_counted_is_measured() {
    hold(216, &machines(Kind::default()), |policies, machine| {
        let told = machine.tape(policies).tell();
        for (d, counts) in machine.counted().into_iter().enumerate() {
            prop_assert_eq!((told.book(d).units, told.book(d).void_windows), (counts, 0));
        }
        for account in &told.accounts {
            prop_assert!(account.domains.iter().all(|share| share.covered == account.resident));
        }
        Ok(())
    });
}

#[test]
fn the_idle_policy_changes_nothing_that_is_charged() {
    hold(216, &machines(Kind { faults: true, hasty: true }), |policies, machine| {
        let told = machine.tape(policies).tell();
        let none = machine.tape(Policies { idle: Idle::None, ..policies }).tell();
        for d in 0..machine.domains.len() {
            let (a, b) = (told.book(d), none.book(d));
            prop_assert_eq!((a.measured, a.idle, a.residual), (b.measured, b.idle, b.residual));
            prop_assert_eq!(&a.consumers, &b.consumers);
            prop_assert_eq!((b.idle_given, b.idle_kept), (Nanojoules(0), b.idle));
            let unknown = told.ledger.idle(DomainId(d)).is_none() && a.idle == Nanojoules(0);
            let given = told.accounts.iter().any(|account| account.domains[d].idle.is_some());
            prop_assert!(!(unknown && given), "0 J of an idle power that nobody knows");
        }
        prop_assert_eq!(told.accounts.len(), none.accounts.len());
        for (a, b) in told.accounts.iter().zip(&none.accounts) {
            prop_assert_eq!(
                (a.request, a.energy, a.cpu, a.flags),
                (b.request, b.energy, b.cpu, b.flags)
            );
            for (a, b) in a.domains.iter().zip(&b.domains) {
                prop_assert_eq!((a.active, a.prefill, a.flags), (b.active, b.prefill, b.flags));
            }
        }
        Ok(())
    });
}

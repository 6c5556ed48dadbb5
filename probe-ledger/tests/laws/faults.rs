//! Law 10, counters that are stuck, go backwards, leap or are missing. No window and no request holds more than the domain can draw
//! in its time, and none holds less than nothing; what is worthless is void, counted and flagged; who was resident in nothing but
//! void windows has no joules, which is not 0 J.

use probe_ledger::*;
use proptest::prelude::*;

use crate::hold;
use crate::machine::{Kind, machines};
use crate::tape::{Seen, Told};

/// What a domain can draw in a window: a stale sensor may bring what it counted in one more of its periods, and a late one's
/// period is as long as any window it was held in.
fn most(spec: &DomainSpec, before: &[Seen], window: &Seen) -> u128 {
    let length = |seen: &Seen| seen.end - seen.begin;
    let late = before.iter().chain([window]).map(length).max().unwrap_or(0);
    let time = length(window) + spec.period.get().max(if spec.pulse.is_some() { late } else { 0 });
    u128::from(spec.max_power.unwrap().0) * u128::from(time) / 1_000_000_000
        + u128::from(spec.quantum.get())
}

fn windows(spec: &DomainSpec, windows: &[Seen], book: &Book) -> Result<(), TestCaseError> {
    for (i, window) in windows.iter().enumerate() {
        let most = most(spec, &windows[..i], window);
        prop_assert!(u128::from(window.energy) <= most, "{window:?} holds more than {most} nJ");
    }
    let count =
        |why: fn(Void) -> bool| windows.iter().filter(|w| w.void.is_some_and(why)).count() as u64;
    prop_assert_eq!(book.void_windows, count(|_| true));
    for (cause, n) in &book.voids {
        let seen = windows.iter().filter(|w| w.void == Some(*cause)).count() as u64;
        prop_assert_eq!(*n, seen, "{}", cause.name());
    }
    prop_assert_eq!(book.voids.values().sum::<u64>(), book.void_windows);
    prop_assert_eq!(book.windows, windows.len() as u64 - count(|_| true));
    Ok(())
}

fn request(
    told: &Told,
    d: usize,
    share: &DomainShare,
    ends: (u64, u64),
) -> Result<(), TestCaseError> {
    let (enter, leave) = ends;
    let inside = |seen: &&Seen| seen.begin < leave && enter < seen.end;
    let touches = |seen: &&Seen| seen.begin <= leave && enter <= seen.end;
    let windows = || told.windows[d].iter();
    for window in windows().filter(inside) {
        if let Some(why) = window.void {
            prop_assert!(share.flags.contains(Flag::Void), "{window:?} {share:?}");
            prop_assert!(why != Void::Stuck || share.flags.contains(Flag::CounterStuck));
            prop_assert!(enter == leave || share.flags.contains(Flag::Partial));
        }
    }
    let valid = || windows().filter(touches).filter(|seen| seen.void.is_none());
    let Some(active) = share.active else {
        let zero = valid().all(|seen| seen.energy == 0);
        let faulty =
            [Flag::CounterStuck, Flag::CounterLate].iter().any(|f| share.flags.contains(*f));
        let none = windows().filter(inside).all(|seen| seen.void.is_some());
        prop_assert!(none || faulty || zero, "it was measured: {share:?}");
        return Ok(());
    };
    prop_assert!(valid().next().is_some(), "nothing measured it: {share:?}");
    let whole: u64 = valid().map(|seen| seen.energy).sum();
    prop_assert!(active.energy.get() <= whole, "more than its windows hold: {active:?} {whole}");
    prop_assert!(active.low <= active.energy && active.energy <= active.high);
    Ok(())
}

#[test]
fn no_counter_makes_a_spike_a_debt_or_a_zero_that_was_not_measured() {
    hold(540, &machines(Kind { faults: true, hasty: false }), |policies, machine| {
        let tape = machine.tape(policies);
        let told = tape.tell();
        for (d, spec) in machine.domains.iter().enumerate() {
            prop_assert!(told.book(d).closes(), "{:?}", told.book(d));
            windows(spec, &told.windows[d], told.book(d))?;
            for account in &told.accounts {
                let ends = tape.residency(account.request.0).unwrap();
                request(&told, d, &account.domains[d], ends)?;
            }
        }
        for account in &told.accounts {
            let measured = |share: &&DomainShare| {
                machine.domains[share.domain.0].additive && share.active.is_some()
            };
            let sum =
                account.domains.iter().filter(measured).map(|s| s.active.unwrap().energy.get());
            let known = account.domains.iter().any(|share| measured(&share));
            prop_assert_eq!(account.energy.map(|e| e.energy.get()), known.then(|| sum.sum()));
        }
        Ok(())
    });
}

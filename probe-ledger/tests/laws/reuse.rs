//! Law 7, reuse. Numbers are used again, and what was under a number never lands on what is there now, nor the other way round.
//!
//! * A connection's number (fd, stream) given to the next request as soon as the one before has left, at whatever target, settled or
//!   not: the accounts are those of numbers never used twice, to the bit.
//! * A process that ends: its consumer is charged nothing from the first window on that begins after that; the one that has its PID
//!   now is charged nothing in any window that ends before it came.
//! * A clock that begins again at 0 because somebody else is behind it counts nobody's time twice, and books close.

use probe_ledger::*;
use proptest::prelude::*;

use crate::hold;
use crate::machine::{CONSUMERS, Kind, Machine, machines};
use crate::tape::{Input, Tape};

/// Gives every request the lowest number that is free when it enters.
fn reused(tape: &Tape) -> (Tape, Vec<(u64, u64)>) {
    let (mut tape, mut names, mut taken) = (tape.clone(), Vec::new(), Vec::<(u64, u64)>::new());
    for input in &mut tape.inputs {
        let (id, change) = match input {
            Input::Boundary { request, change, .. } => (request, Some(*change)),
            Input::Work { request, .. } => (request, None),
            _ => continue,
        };
        if change == Some(Change::Enter) {
            let free = (0..).find(|name| taken.iter().all(|(_, used)| used != name)).unwrap();
            taken.push((*id, free));
            names.push((*id, free));
        }
        let own = *id;
        *id = taken.iter().find(|(id, _)| *id == own).unwrap().1;
        if change == Some(Change::Leave) {
            taken.retain(|(id, _)| *id != own);
        }
    }
    (tape, names)
}

#[test]
fn a_number_used_again_keeps_the_energy_of_its_owners_apart() {
    hold(324, &machines(Kind { faults: true, hasty: true }), |policies, machine| {
        let tape = machine.tape(policies);
        let (again, names) = reused(&tape);
        let (once, mut again) = (tape.tell(), again.tell());
        prop_assert_eq!(once.accounts.len(), again.accounts.len());
        for (a, b) in once.accounts.iter().zip(&mut again.accounts) {
            let name = names.iter().find(|(id, _)| *id == a.request.0).unwrap().1;
            prop_assert_eq!(b.request, RequestId(name));
            b.request = a.request;
            prop_assert_eq!(&*b, a);
        }
        for d in 0..machine.domains.len() {
            prop_assert_eq!(once.book(d), again.book(d));
        }
        Ok(())
    });
}

/// Consumer 0 runs until an instant, consumer 3 from then on.
fn hand_over(machine: &Machine, policies: Policies, step: usize) -> (Tape, u64) {
    let mut tape = machine.tape(policies);
    let at = machine.instant(step);
    let mut then: Vec<Option<(u64, u64)>> = vec![None; machine.domains.len()];
    let mut weights: Vec<Option<(u64, u64)>> = vec![None; machine.domains.len()];
    let change = |list: &mut [u64], t: u64, then: &mut Option<(u64, u64)>| {
        if t <= at {
            *then = Some((list[0], list[3]));
        }
        let (old, new) = then.unwrap();
        list[0] = list[0].min(old);
        list[3] = list[3].saturating_sub(new);
    };
    for input in &mut tape.inputs {
        let Input::Sample { t, domain: d, clocks, weights: weighed, .. } = input else { continue };
        change(clocks, *t, &mut then[*d]);
        if let Some(weighed) = weighed {
            if then[*d].is_some() && weights[*d].is_none() {
                weights[*d] = Some((weighed.consumers[0], weighed.consumers[3]));
            }
            change(&mut weighed.consumers, *t, &mut weights[*d]);
        }
    }
    (tape, at)
}

#[test]
fn the_next_owner_of_a_pid_pays_for_nothing_before_it_came_and_the_last_for_nothing_after_it_ended()
{
    let case = (machines(Kind { faults: true, hasty: false }), any::<prop::sample::Index>());
    hold(324, &case, |policies, (machine, step)| {
        let (tape, at) = hand_over(&machine, policies, step.index(machine.steps.len()));
        let mut before: Vec<Vec<u64>> = vec![vec![0; CONSUMERS]; machine.domains.len()];
        let mut held = Ok(());
        let mut look = |told: &crate::tape::Told| -> Result<(), TestCaseError> {
            for (d, before) in before.iter_mut().enumerate() {
                let now = told.active(d);
                let old = std::mem::replace(before, now.clone());
                let Some(window) = told.windows[d].last() else { continue };
                if window.begin >= at {
                    prop_assert_eq!(now[0], old[0], "charged after it ended");
                }
                if window.end <= at {
                    prop_assert_eq!(now[3], 0, "charged before it came");
                }
            }
            Ok(())
        };
        tape.tell_and(|told| {
            if held.is_ok() {
                held = look(told);
            }
        });
        held
    });
}

#[test]
fn a_clock_that_begins_again_counts_no_time_twice() {
    let case =
        (machines(Kind { faults: true, hasty: true }), any::<prop::sample::Index>(), 0..CONSUMERS);
    hold(216, &case, |policies, (machine, step, consumer)| {
        let at = machine.instant(step.index(machine.steps.len()));
        let tape = machine.tape(policies);
        let mut again = tape.clone();
        let mut then = vec![None; machine.domains.len()];
        for input in &mut again.inputs {
            let Input::Sample { t, domain, clocks, .. } = input else { continue };
            if *t >= at {
                clocks[consumer] -= *then[*domain].get_or_insert(clocks[consumer]);
            }
        }
        let (one, told) = (tape.tell(), again.tell());
        for d in 0..machine.domains.len() {
            let (a, b) = (&one.book(d), told.book(d));
            prop_assert!(b.closes(), "{:?}", b);
            prop_assert!(b.consumers[consumer].cpu <= a.consumers[consumer].cpu);
        }
        Ok(())
    });
}

//! Law 8, clock gaps. Where ticks are missing for a while:
//!
//! * totals are unchanged: joules read, on-CPU time, and that the books close;
//! * the window is a gap, and so says every request that was resident in it, and no other;
//! * the error bar covers what the ticks would have shown. Bars are promises for 95 of 100; this one is kept always, where a gap
//!   alone makes them: one consumer has the domain to itself, idle power is 0, and residents share equally.

use probe_ledger::*;
use proptest::prelude::*;

use crate::hold;
use crate::machine::{Kind, Machine, machines};
use crate::tape::{Input, Tape};

const TICK: u64 = 1_000_000;

/// Ticks of every domain once a millisecond; one consumer.
fn ticking() -> impl Strategy<Value = Machine> {
    machines(Kind::default()).prop_map(|machine| {
        let mut machine = machine.untold();
        for step in &mut machine.steps {
            (step.dt, step.read) = (TICK, step.read | 7);
        }
        for spec in &mut machine.domains {
            (spec.idle, spec.expected_window) = (Some(Nanowatts(0)), Nanos(TICK));
        }
        Machine { lone: true, ..machine }
    })
}

/// Without the samples between two instants; the first and the last of each domain stay.
fn without(tape: &Tape, from: u64, to: u64) -> Tape {
    let mut tape = tape.clone();
    let (begin, end) = (crate::machine::BEGIN, tape.end);
    tape.inputs.retain(|input| match input {
        Input::Sample { t, .. } => *t == begin || *t == end || *t < from || *t > to,
        _ => true,
    });
    tape
}

#[test]
fn a_gap_costs_no_joule_is_flagged_and_the_error_bar_covers_it() {
    let case = (ticking(), any::<prop::sample::Index>(), 0u64..20);
    hold(324, &case, |policies, (machine, step, ticks)| {
        let from = machine.instant(step.index(machine.steps.len()));
        let tape = machine.tape(policies);
        let gap = without(&tape, from, from + ticks * TICK);
        let (one, told) = (tape.tell(), gap.tell());
        for d in 0..machine.domains.len() {
            let (a, b) = (one.book(d), told.book(d));
            prop_assert_eq!((a.measured, a.units), (b.measured, b.units));
            for (a, b) in a.consumers.iter().zip(&b.consumers) {
                prop_assert_eq!((a.cpu, a.active), (b.cpu, b.active));
            }
            prop_assert!(b.closes());
            prop_assert_eq!((a.gaps, b.gaps), (0, 1));
            let window = told.windows[d].iter().find(|window| window.gap).unwrap();
            for account in &told.accounts {
                let id = account.request.0;
                let (enter, leave) = gap.residency(id).unwrap();
                let flagged = account.domains[d].flags.contains(Flag::Gap);
                if enter < window.end && window.begin < leave {
                    prop_assert!(flagged, "{} was resident in a gap", id);
                }
                if leave < window.begin || window.end < enter {
                    prop_assert!(!flagged, "{} was not resident in a gap", id);
                }
                let fine = one.energies(id).unwrap()[d];
                let Some(bar) = account.domains[d].active else {
                    // It came and went at the instant of a sample, after it.
                    prop_assert_eq!((enter, fine), (leave, 0));
                    continue;
                };
                let odd = 2 * tape.intervals((enter, leave));
                prop_assert!(
                    bar.low.get() <= fine + odd && fine <= bar.high.get() + odd,
                    "{} in {}: {} is not in {:?}",
                    id,
                    d,
                    fine,
                    bar
                );
            }
        }
        Ok(())
    });
}

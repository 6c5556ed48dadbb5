//! Law 4, silence. A connection on which nothing is asked gets nothing:
//!
//! * one that never enters has no account, and leaves everybody else's as it is, to the bit;
//! * one that is resident but never worked on (queued until it gives up, or with its last token out at once) is charged 0 nJ and 0 ns
//!   under every policy. Of idle energy it gets nothing either but under `even`, which goes by residency and nothing else;
//! * others pay what they would without it, within an odd nanojoule an interval. (Where the instants of phases inside a window
//!   are told, its boundaries show better where the target's clock was at them: this law is for requests that
//!   nothing is told of.)

use probe_ledger::*;
use proptest::prelude::*;

use crate::hold;
use crate::machine::{Kind, Report, Request, machines, request};
use crate::tape::Input;

const SILENT: u64 = 100;

fn silent(request: &Request, queued: bool) -> Request {
    let told = Report {
        begin: queued.then_some(255),
        first: None,
        last: (!queued).then_some(0),
        prompt: Some(7),
        cached: 0,
        completion: Some(9),
    };
    Request { id: SILENT, told: Some(told), first: None, ..request.clone() }
}

#[test]
fn a_connection_that_never_enters_leaves_everything_as_it_is() {
    let case =
        (machines(Kind { faults: true, hasty: true }), prop::collection::vec(any::<u16>(), 1..20));
    hold(216, &case, |policies, (machine, places)| {
        let tape = machine.tape(policies);
        let mut noisy = tape.clone();
        for place in &places {
            let at = usize::from(*place) % (noisy.inputs.len() + 1);
            let change = if place & 1 == 0 { Change::First } else { Change::Leave };
            let (target, clocks) = (usize::from(place % 3), vec![u64::MAX; 2]);
            noisy
                .inputs
                .insert(at, Input::Boundary { t: u64::MAX, target, clocks, request: 900, change });
            noisy.inputs.insert(at, Input::Work { request: 900, work: Work::default() });
        }
        let (quiet, told) = (tape.tell(), noisy.tell());
        prop_assert_eq!(&quiet.accounts, &told.accounts);
        for d in 0..machine.domains.len() {
            prop_assert_eq!(quiet.book(d), told.book(d));
        }
        let refused = told.ledger.anomalies().refused_boundaries
            - quiet.ledger.anomalies().refused_boundaries;
        prop_assert_eq!(refused, places.len() as u64);
        Ok(())
    });
}

#[test]
fn a_request_that_is_never_worked_on_gets_nothing() {
    let case = (machines(Kind { faults: true, hasty: false }), request(60), any::<bool>());
    hold(324, &case, |policies, (machine, request, queued)| {
        let tape = machine.with(&[silent(&machine.later(&request), queued)]).tape(policies);
        if tape.residency(SILENT).is_none_or(|(_, leave)| leave == tape.end) {
            // It never enters, or is resident at the end still: nobody knows that it was queued.
            return Ok(());
        }
        let told = tape.tell();
        let account = told.account(SILENT).unwrap();
        prop_assert_eq!(account.cpu, Nanos(0));
        for share in &account.domains {
            prop_assert_eq!(share.active.map_or(0, |e| e.energy.get()), 0);
            if policies.idle != Idle::Even {
                prop_assert_eq!(share.idle.map_or(0, Nanojoules::get), 0);
            }
        }
        Ok(())
    });
}

#[test]
fn others_pay_the_same_beside_a_request_that_is_never_worked_on() {
    let case = (machines(Kind { faults: true, hasty: false }), request(60), any::<bool>());
    hold(324, &case, |policies, (machine, request, queued)| {
        let machine = machine.untold();
        let tape = machine.with(&[silent(&machine.later(&request), queued)]).tape(policies);
        if tape.residency(SILENT).is_none_or(|(_, leave)| leave == tape.end) {
            return Ok(());
        }
        let (without, with) = (machine.tape(policies).tell(), tape.tell());
        for request in &machine.requests {
            let (Some(a), Some(b)) = (without.energies(request.id), with.energies(request.id))
            else {
                continue;
            };
            let odd = 2 * tape.intervals(tape.residency(request.id).unwrap());
            for (a, b) in a.into_iter().zip(b) {
                prop_assert!(a.abs_diff(b) <= odd, "{} {} {}", a, b, odd);
            }
        }
        Ok(())
    });
}

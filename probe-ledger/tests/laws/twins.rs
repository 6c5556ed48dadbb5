//! Law 3, twins. Requests that are identical, resident from the same instant to the same instant and told alike, pay the same:
//! their energies, prefills and decodes differ by one odd nanojoule at most in every interval they are settled in. So do their parts
//! of idle energy.
//!
//! Where the ledger's patience ends while they are resident, it settles the older part of their time by what it knows by then, and that
//! may be what was told of the first, but not yet of the second. So little patience is for twins of which nothing is told, and their
//! phases are not compared then.

use probe_ledger::*;
use proptest::prelude::*;

use crate::hold;
use crate::machine::{Kind, machines, request};
use crate::tape::zeros_are_nothing;

#[test]
fn identical_requests_that_overlap_pay_the_same() {
    let case = (machines(Kind { faults: true, hasty: true }), request(60), 2u64..4);
    hold(432, &case, |policies, (machine, mut twin, n)| {
        let patient = machine.patience == u64::MAX;
        twin.told = twin.told.filter(|_| patient);
        twin = machine.later(&twin);
        let ids = 100..100 + n;
        let twins: Vec<_> =
            ids.clone().map(|id| crate::machine::Request { id, ..twin.clone() }).collect();
        let tape = machine.with(&twins).tape(policies);
        let Some(residency) = tape.residency(100) else { return Ok(()) };
        let told = tape.tell();
        let odd = tape.intervals(residency);
        let of = |id| told.account(id).unwrap();
        for (a, b) in ids.map(|id| (of(100), of(id))) {
            prop_assert_eq!((a.resident, a.flags, a.target), (b.resident, b.flags, b.target));
            prop_assert!(a.cpu.get().abs_diff(b.cpu.get()) <= odd);
            for (a, b) in a.domains.iter().zip(&b.domains) {
                let faulty = zeros_are_nothing(a);
                let nj = |e: Option<Nanojoules>| e.map_or(0, Nanojoules::get);
                let active = |share: &DomainShare| share.active.map(|e| e.energy);
                for (what, a, b) in [
                    ("energy", active(a), active(b)),
                    ("prefill", a.prefill, b.prefill),
                    ("decode", a.decode, b.decode),
                    ("idle", a.idle, b.idle),
                ] {
                    prop_assert!(a.is_some() == b.is_some() || faulty, "{}", what);
                    if matches!(what, "prefill" | "decode") && !patient {
                        continue;
                    }
                    prop_assert!(nj(a).abs_diff(nj(b)) <= odd, "{} {:?} {:?} {}", what, a, b, odd);
                }
                prop_assert_eq!((a.covered, a.flags), (b.covered, b.flags));
            }
        }
        Ok(())
    });
}

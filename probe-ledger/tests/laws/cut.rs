//! Law 5, a request cut in two. Where a request is replaced by two, the first of which leaves when the second enters:
//!
//! * under `equal` (and under every policy while nothing is told of anybody, when all share equally) and under `tokens`, if each half
//!   has the tokens of its part of the time, the two cost what the one did, and everybody else what they did before;
//! * under `work` prices are learned from requests, and two teach something else than one: who overlaps may pay another
//!   part. What holds is that all requests of the target together cost the same;
//! * under every policy the domain's books are the same: joules read, idle, and what each consumer is charged.
//!
//! * what a request that is alone is charged before its first content is what the first of two costs that it is cut into there,
//!   and the rest what the second does.
//!
//! Each within two odd nanojoules in every interval that it is settled in; the books exactly.

use probe_ledger::*;
use proptest::prelude::*;

use crate::hold;
use crate::machine::{Kind, Machine, Report, Request, machines};
use crate::tape::{Tape, Told};

const WHOLE: u64 = 100;
const REST: u64 = 101;
/// Time of a token.
const TOKEN: u64 = 100_000;

/// A request of target 0 that works at an even pace, and where it is cut. Steps.
#[derive(Clone, Copy, Debug)]
struct Cut {
    from: usize,
    at: usize,
    to: usize,
    /// It only reads its prompt; else it only generates.
    reads: bool,
}

impl Cut {
    fn part(&self, machine: &Machine, id: u64, (from, to): (usize, usize), told: bool) -> Request {
        let tokens = (machine.instant(to) - machine.instant(from)) / TOKEN;
        let (first, prompt, completion) =
            if self.reads { (255, tokens, 0) } else { (0, 0, tokens) };
        let report = Report {
            begin: None,
            first: Some(first),
            last: None,
            prompt: Some(prompt),
            cached: 0,
            completion: Some(completion),
        };
        Request { id, target: 0, from, to, first: None, told: told.then_some(report) }
    }

    /// The tape with the one, and with the two. A boundary at the cut shows where the target's clock was, in both.
    fn tapes(&self, machine: &Machine, policies: Policies, told: bool) -> (Tape, Tape) {
        let part = |id, ends| self.part(machine, id, ends, told);
        let one = Request { first: Some(self.at), ..part(WHOLE, (self.from, self.to)) };
        let two = [part(WHOLE, (self.from, self.at)), part(REST, (self.at, self.to))];
        (machine.with(&[one]).tape(policies), machine.with(&two).tape(policies))
    }
}

fn case() -> impl Strategy<Value = (Machine, Cut)> {
    let cut = (prop::array::uniform3(0usize..60), any::<bool>());
    (machines(Kind { faults: true, hasty: false }), cut).prop_map(
        |(mut machine, (mut ends, reads))| {
            machine.steps.iter_mut().for_each(|step| step.dt = step.dt / TOKEN * TOKEN);
            let lessons = machine.lessons;
            ends = ends.map(|end| lessons + end % (machine.steps.len() - lessons));
            ends.sort_unstable();
            let [from, at, to] = ends;
            (machine, Cut { from, at, to, reads })
        },
    )
}

fn same_books(machine: &Machine, one: &Told, two: &Told) -> Result<(), TestCaseError> {
    for d in 0..machine.domains.len() {
        let (a, b) = (one.book(d), two.book(d));
        prop_assert_eq!((a.measured, a.idle, a.residual), (b.measured, b.idle, b.residual));
        prop_assert_eq!(one.active(d), two.active(d));
    }
    Ok(())
}

fn same_accounts(tape: &Tape, one: &Told, two: &Told) -> Result<(), TestCaseError> {
    for account in &one.accounts {
        let id = account.request.0;
        let odd = 2 * tape.intervals(tape.residency(id).unwrap());
        for d in 0..account.domains.len() {
            let of = |told: &Told, id| told.energies(id).map_or(0, |nj| nj[d]);
            let rest = if id == WHOLE { of(two, REST) } else { 0 };
            let (a, b) = (of(one, id), of(two, id) + rest);
            prop_assert!(a.abs_diff(b) <= odd, "{} in {}: {} {} {}", id, d, a, b, odd);
        }
    }
    Ok(())
}

#[test]
fn a_request_of_which_nothing_is_told_cut_in_two_costs_the_sum() {
    hold(324, &case(), |policies, (machine, cut)| {
        let machine = machine.untold();
        let (tape, cut) = cut.tapes(&machine, policies, false);
        let (one, two) = (tape.tell(), cut.tell());
        same_books(&machine, &one, &two)?;
        same_accounts(&cut, &one, &two)
    });
}

#[test]
fn a_request_whose_tokens_are_told_cut_in_two_costs_the_sum() {
    hold(432, &case(), |policies, (machine, cut)| {
        let (tape, cut) = cut.tapes(&machine, policies, true);
        let (one, two) = (tape.tell(), cut.tell());
        same_books(&machine, &one, &two)?;
        if policies.share != Share::Work {
            return same_accounts(&cut, &one, &two);
        }
        for d in 0..machine.domains.len() {
            let odd = 2 * u128::from(cut.intervals((0, u64::MAX)));
            let (a, b) = (one.charged(d, 0), two.charged(d, 0));
            prop_assert!(a.abs_diff(b) <= odd, "{} {} {}", a, b, odd);
        }
        Ok(())
    });
}

#[test]
fn the_prefill_of_a_request_is_what_one_that_ends_at_its_first_content_costs() {
    hold(216, &case(), |policies, (mut machine, cut)| {
        machine.requests.retain(|request| request.target != 0);
        let (tape, cut_tape) = cut.tapes(&machine, policies, false);
        let (one, two) = (tape.tell(), cut_tape.tell());
        same_books(&machine, &one, &two)?;
        let Some(whole) = one.account(WHOLE) else { return Ok(()) };
        let odd = 2 * cut_tape.intervals(tape.residency(WHOLE).unwrap());
        let costs = |id, d: usize| two.energies(id).map_or(0, |nj| nj[d]);
        for (d, share) in whole.domains.iter().enumerate() {
            let (Some(prefill), Some(decode)) = (share.prefill, share.decode) else {
                // Nothing of it was measured.
                prop_assert!(share.active.is_none(), "{:?}", share);
                continue;
            };
            let (read, wrote) = (costs(WHOLE, d), costs(REST, d));
            prop_assert!(prefill.get().abs_diff(read) <= odd, "{} for {}", prefill, read);
            prop_assert!(decode.get().abs_diff(wrote) <= odd, "{} for {}", decode, wrote);
        }
        Ok(())
    });
}

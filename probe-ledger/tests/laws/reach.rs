//! What the random machines reach: a law says nothing of what never happens on them.

use probe_ledger::*;
use proptest::prelude::*;
use proptest::strategy::ValueTree;

use crate::machine::{Kind, machines};
use crate::runner;
use crate::tape::Told;

const CASES: usize = 200;

/// Of machines of a kind, how many in a hundred come to something.
fn part(name: &str, kind: Kind, policies: Policies, comes: impl Fn(&Told) -> bool) -> usize {
    let (mut runner, machines) = (runner(1, name), machines(kind));
    let machines = (0..CASES).map(|_| machines.new_tree(&mut runner).unwrap().current());
    let came = machines.filter(|machine| comes(&machine.tape(policies).tell())).count();
    100 * came / CASES
}

fn faulty() -> Kind {
    Kind { faults: true, hasty: false }
}

#[test]
fn on_a_quarter_of_the_machines_requests_that_overlap_share_by_prices() {
    let priced = |account: &Account| {
        let unknown = [Flag::ShareUnknown, Flag::WorkUnfitted];
        let known = !unknown.iter().any(|flag| account.flags.contains(*flag));
        // Of requests that never shared an interval, this part is 0.
        known && account.energy.is_some_and(|energy| energy.parts.policy.get() > 0)
    };
    let work = Policies { share: Share::Work, ..Policies::default() };
    for kind in [Kind::default(), faulty()] {
        let part = part("priced", kind, work, |told| told.accounts.iter().any(priced));
        assert!(part >= 25, "{part} % of {kind:?}");
    }
}

#[test]
fn on_a_sixth_of_the_machines_idle_power_is_learned_while_requests_come() {
    let learned = |told: &Told| {
        let flagged = |account: &Account| account.flags.contains(Flag::IdleLearned);
        told.accounts.iter().any(flagged)
    };
    let part = part("idle", faulty(), Policies::default(), learned);
    assert!(part >= 16, "{part} %");
}

#[test]
fn on_a_third_of_the_machines_time_is_distrusted_and_on_a_third_a_guess_is_charged() {
    let distrusted = |told: &Told| {
        let voids = |d: &Vec<_>| {
            d.iter().any(|seen: &crate::tape::Seen| {
                matches!(seen.void, Some(Void::Suspended | Void::Hotplug))
            })
        };
        told.windows.iter().any(voids)
    };
    let part_of = |comes: &dyn Fn(&Told) -> bool| part("odd", faulty(), Policies::default(), comes);
    let broken = part_of(&distrusted);
    assert!(broken >= 33, "{broken} %");
    let guessed = part_of(&|told| {
        told.accounts
            .iter()
            .flat_map(|account| &account.domains)
            .any(|share| share.active.is_some_and(|active| active.parts.split.get() > 0))
    });
    assert!(guessed >= 33, "{guessed} %");
}

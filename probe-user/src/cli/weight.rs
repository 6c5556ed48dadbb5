//! Which weights of on-CPU time this machine has, and why not the others: for `attach`, which says so once, and `doctor`.

use probe_ledger::Weight;

use crate::{
    cycles::Cycles,
    siblings::Siblings,
    source::{Domain, Reading},
};

/// What a weight policy comes to on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Has {
    /// All it asks for.
    All,
    /// Something better is known, or there is nothing to know: what, for people.
    Other(String),
    /// What it asks for is not known: why, and after a semicolon the remedy. Time is taken.
    Unknown(String),
}

/// What a weight policy comes to where these domains are read. `cycles` are looked for only where the policy asks for them.
#[must_use]
pub(super) fn has(weight: Weight, siblings: &Siblings, cycles: &Cycles, domains: &[Domain]) -> Has {
    let cores = domains.iter().any(|domain| matches!(domain.reading, Reading::Cores(_)));
    match (weight, siblings) {
        (Weight::Time, _) => Has::All,
        _ if cores => {
            Has::Other("energy counters of single cores weigh the packages instead".into())
        }
        (Weight::Smt, Siblings::Pairs(_)) => Has::All,
        (Weight::Smt, Siblings::None) => {
            Has::Other("every core has one thread: it is the same as time".into())
        }
        (Weight::Smt, Siblings::Unknown(why)) => Has::Unknown(why.clone()),
        (Weight::Cycles, _) => match cycles {
            Cycles::Counted(_) => Has::All,
            Cycles::Unknown(why) => Has::Unknown(why.clone()),
        },
        _ => Has::Unknown("not in this version; use time".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cycles::CpuEvents;

    fn none() -> Cycles {
        Cycles::Unknown("no PMU; use time".into())
    }

    #[test]
    fn smt_is_time_on_cores_of_one_thread_and_unknown_where_the_cores_are() {
        let smt = |siblings: &Siblings| has(Weight::Smt, siblings, &none(), &[]);
        assert_eq!(smt(&Siblings::Pairs(vec![(0, 1)])), Has::All);
        let Has::Other(text) = smt(&Siblings::None) else { panic!("not told") };
        assert!(text.contains("same as time"), "{text}");
        let why = Siblings::Unknown("four threads; use another".into());
        assert_eq!(smt(&why), Has::Unknown("four threads; use another".into()));
        assert_eq!(has(Weight::Time, &why, &none(), &[]), Has::All);
    }

    #[test]
    fn cycles_are_there_where_every_cpu_counts_them_whatever_the_siblings() {
        let cycles = |of: &Cycles| has(Weight::Cycles, &Siblings::None, of, &[]);
        assert_eq!(cycles(&Cycles::Counted(CpuEvents::default())), Has::All);
        assert_eq!(cycles(&none()), Has::Unknown("no PMU; use time".into()));
    }
}

//! Which weights of on-CPU time this machine has, and why not the others: for `attach`, which says so once, and `doctor`.

use probe_ledger::Weight;

use crate::{
    siblings::Siblings,
    source::{Domain, Reading},
};

/// Flag of a run whose weight policy asks for what this machine does not have: it goes by time.
pub(super) const WEIGHT_UNKNOWN: &str = "weight-unknown";

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

/// What a weight policy comes to where these domains are read.
#[must_use]
pub(super) fn has(weight: Weight, siblings: &Siblings, domains: &[Domain]) -> Has {
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
        _ => Has::Unknown("not in this version; use time".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn smt_is_time_on_cores_of_one_thread_and_unknown_where_the_cores_are() {
        let pairs = Siblings::Pairs(vec![(0, 1)]);
        assert_eq!(has(Weight::Smt, &pairs, &[]), Has::All);
        let Has::Other(text) = has(Weight::Smt, &Siblings::None, &[]) else { panic!("not told") };
        assert!(text.contains("same as time"), "{text}");
        let why = Siblings::Unknown("four threads; use another".into());
        assert_eq!(has(Weight::Smt, &why, &[]), Has::Unknown("four threads; use another".into()));
        assert_eq!(has(Weight::Time, &why, &[]), Has::All);
    }
}

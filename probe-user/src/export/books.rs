//! Do the books close? Integer arithmetic over one snapshot, no tolerance.
//!
//! For every domain: measured = idle + residual + Σ active. For every target, over the additive
//! domains: Σ active = requests + background.

use std::collections::{BTreeMap, BTreeSet};

use crate::snapshot::Snapshot;

/// Consumers that are not targets.
pub const NOT_TARGETS: [&str; 3] = ["other", "kernel", "self"];

/// Left side minus right side of every equation, nanojoules; all 0 when the books close.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closure {
    /// By domain: measured − (idle + residual + Σ active).
    pub domains: BTreeMap<String, i128>,
    /// By target: Σ additive active − (requests + background).
    pub targets: BTreeMap<String, i128>,
}

impl Closure {
    /// Checks a snapshot.
    #[must_use]
    pub fn of(snapshot: &Snapshot) -> Self {
        let domains = snapshot.domains.iter().map(|(name, book)| {
            let active: i128 = book.consumers.values().map(|c| i128::from(c.active_nj)).sum();
            let charged = i128::from(book.idle_nj) + i128::from(book.residual_nj) + active;
            (name.clone(), i128::from(book.measured_nj) - charged)
        });
        // A consumer that is neither a target nor one of the known others would hide energy.
        let additive = || snapshot.domains.values().filter(|d| d.additive);
        let mut names: BTreeSet<&String> = snapshot.targets.keys().collect();
        names.extend(
            additive()
                .flat_map(|d| d.consumers.keys())
                .filter(|name| !NOT_TARGETS.contains(&name.as_str())),
        );
        let targets = names.into_iter().map(|name| {
            let active: i128 = additive()
                .filter_map(|d| d.consumers.get(name))
                .map(|c| i128::from(c.active_nj))
                .sum();
            let booked = snapshot
                .targets
                .get(name)
                .map_or(0, |t| i128::from(t.requests_nj) + i128::from(t.background_nj));
            (name.clone(), active - booked)
        });
        Self { domains: domains.collect(), targets: targets.collect() }
    }

    /// Whether every equation holds to the nanojoule.
    #[must_use]
    pub fn closes(&self) -> bool {
        self.difference_nj() == 0
    }

    /// Sum of the absolute differences, nanojoules.
    #[must_use]
    pub fn difference_nj(&self) -> i128 {
        self.domains.values().chain(self.targets.values()).map(|d| d.abs()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::super::example;
    use super::*;

    #[test]
    fn the_example_closes_to_the_nanojoule() {
        let closure = Closure::of(&example::snapshot(10.0));
        assert_eq!(closure.domains.len(), 3);
        assert_eq!(closure.targets.len(), 1);
        assert_eq!(closure.difference_nj(), 0);
    }

    #[test]
    fn one_nanojoule_too_few_is_found_with_its_sign_and_place() {
        let mut snapshot = example::snapshot(10.0);
        snapshot.domains.get_mut("dram-0").unwrap().residual_nj += 1;
        let closure = Closure::of(&snapshot);
        assert!(!closure.closes());
        assert_eq!(closure.domains["dram-0"], -1);
        assert_eq!(closure.difference_nj(), 1);
    }

    #[test]
    fn opposite_errors_do_not_cancel() {
        let mut snapshot = example::snapshot(10.0);
        snapshot.domains.get_mut("dram-0").unwrap().measured_nj += 7;
        snapshot.domains.get_mut("package-0").unwrap().measured_nj -= 7;
        assert_eq!(Closure::of(&snapshot).difference_nj(), 14);
    }

    #[test]
    fn a_consumer_that_no_book_knows_is_an_error_of_its_energy() {
        let mut snapshot = example::snapshot(10.0);
        let target = snapshot.targets.remove("llama").unwrap();
        let closure = Closure::of(&snapshot);
        let energy = i128::from(target.requests_nj + target.background_nj);
        assert_eq!(closure.targets["llama"], energy);
    }
}

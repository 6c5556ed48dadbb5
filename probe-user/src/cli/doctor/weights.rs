//! Which weights of on-CPU time there are besides time itself.

use probe_ledger::Weight;

use super::{Row, unusable};
use crate::{
    cli::weight::{Has, has},
    cycles::{CpuEvents, Cycles},
    siblings::Siblings,
    source::Domain,
};

/// One row for each; none is required, since time is always there.
pub(super) fn rows(siblings: &Siblings, cycles: &Cycles, domains: &[Domain]) -> Vec<Row> {
    let policies = Weight::ALL.into_iter().filter(|weight| *weight != Weight::Time);
    policies
        .map(|weight| {
            let there = match weight {
                Weight::Cycles => {
                    let CpuEvents { cycles, misses } = cycles.counters();
                    let (cycles, misses) = (cycles.len(), misses.len());
                    format!(
                        "CPUs that count cycles: {cycles}, misses of the last cache level: {misses}"
                    )
                }
                _ => format!("cores of two threads: {}", siblings.pairs().len()),
            };
            row(weight, has(weight, siblings, cycles, domains), there)
        })
        .collect()
}

/// `there`: what is said where the machine has all that the policy asks for.
fn row(weight: Weight, has: Has, there: String) -> Row {
    let name = format!("weight-{}", weight.name());
    let (present, detail) = match has {
        Has::All => (true, there),
        Has::Other(what) => (false, what),
        Has::Unknown(why) => return unusable(&name, &why),
    };
    Row { name, present, usable: true, required: false, detail, remedy: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weight_that_the_machine_has_not_is_told_with_the_remedy_and_never_required() {
        let cycles = Cycles::Unknown("CPU 0 counts no cycles; use --weight time".into());
        let rows = rows(&Siblings::Pairs(vec![(0, 2), (1, 3)]), &cycles, &[]);
        let told: Vec<_> = rows.iter().map(|row| (row.name.as_str(), row.usable)).collect();
        assert_eq!(told, [("weight-cycles", false), ("weight-smt", true)]);
        assert_eq!(rows[1].detail, "cores of two threads: 2");
        assert_eq!(rows[0].remedy.as_deref(), Some("use --weight time"));
        assert!(rows.iter().all(|row| !row.required));
    }
}

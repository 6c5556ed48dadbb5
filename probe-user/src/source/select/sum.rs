//! What may be summed with what, and what a sum lacks.
//!
//! A sensor of the whole machine is summed with nothing: beside a measured package it is set aside, else it
//! stands alone, and neither cards nor the model are added to it. The model's watts hold memory.

use std::collections::HashSet;

use super::{Choice, Outcome};
use crate::source::{Domain, Note, Quality, Scope};

/// Flag of a run that sums packages of which a part is there and cannot be read.
const PART_UNREADABLE: &str = "part-unreadable";

impl Choice<'_> {
    /// A part of a package that is measured otherwise (a die, its memory): the sum lacks it, and says so.
    pub(super) fn tell_missing_parts(&mut self) {
        for (part, why) in std::mem::take(&mut self.refused) {
            let measured = |d: &Domain| d.additive && d.quality == Quality::Measured;
            let beside = |d: &Domain| measured(d) && d.scope == part.scope;
            if self.taken(&part.name).is_none() && self.domains.iter().any(beside) {
                let name = &part.name;
                let text = format!("{name} is there and cannot be read, so sums lack it: {why}");
                self.note("auto", Outcome::Refused, text);
                self.flags.insert(PART_UNREADABLE.to_owned());
            }
        }
    }

    /// The model's watts include memory: a measured memory domain beside it would count twice.
    pub(super) fn set_memory_beside_model_aside(&mut self) {
        let modelled: HashSet<_> = self
            .domains
            .iter()
            .filter(|d| d.additive && d.quality == Quality::Modelled)
            .map(|d| d.scope)
            .collect();
        let dram = |d: &Domain| d.name.starts_with("dram-") && modelled.contains(&d.scope);
        for domain in self.domains.iter_mut().filter(|d| d.additive && dram(d)) {
            domain.additive = false;
            self.notes.push(Note {
                source: domain.source.clone(),
                outcome: Outcome::Aside,
                text: format!("{}: the model's watts include memory, not summed", domain.name),
            });
        }
    }

    /// A sensor of the whole machine holds all others' energy: only one side of the two is summed.
    pub(super) fn set_whole_machine_apart(&mut self) {
        let Some(first) = self.domains.iter().position(|d| d.additive && whole(d)) else { return };
        let packages = self.domains.iter().any(|d| d.additive && measured_package(d));
        for (index, domain) in self.domains.iter_mut().enumerate() {
            let aside = if packages { whole(domain) } else { index != first };
            if !domain.additive || !aside {
                continue;
            }
            domain.additive = false;
            let why =
                if packages { "it holds the packages' energy" } else { "part of the machine" };
            self.notes.push(Note {
                source: domain.source.clone(),
                outcome: Outcome::Aside,
                text: format!("{}: {why}, which is summed already; not summed", domain.name),
            });
        }
    }

    /// Whether a package or the whole machine is measured.
    pub(super) fn knows_machine(&self) -> bool {
        self.domains.iter().any(|d| whole(d) || measured_package(d))
    }
}

/// A sensor of the whole machine, by its power.
pub(super) fn whole(domain: &Domain) -> bool {
    domain.scope == Scope::Machine && domain.quality == Quality::Integrated
}

/// A whole package, and not by the model.
pub(super) fn measured_package(domain: &Domain) -> bool {
    domain.additive && domain.name.starts_with("package-") && domain.quality != Quality::Modelled
}

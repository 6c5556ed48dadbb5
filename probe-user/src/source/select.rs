//! Chooses among the sources: one domain for each thing that can be measured, and why.
//!
//! `auto` climbs the contract's rungs for every domain by itself: RAPL through perf, then powercap,
//! then the model for packages that nothing measures. A named source is an order: if it cannot be
//! used, that is an error and no other takes its place. A domain that two sources read keeps the
//! first; the second is kept beside it as `NAME@SOURCE`, never summed with it.

use std::collections::BTreeSet;

use probe_common::MAX_COUNTERS;

use super::perf::{OpenError, PerfEvent};
use super::{
    Domain, Kind, PerfSpec, Quality, Reading, SourceError, SourceSpec, model, perf, powercap,
};
use crate::roots::Roots;
use crate::topology::Topology;

/// What became of a source or a domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is used.
    Chosen,
    /// It is there, but not needed or not to be summed.
    Aside,
    /// It cannot be used.
    Refused,
}

/// One line of the explanation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The source it is about.
    pub source: String,
    /// What became of it.
    pub outcome: Outcome,
    /// Why, and what to do about it.
    pub text: String,
}

/// The domains of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Selection {
    /// In the order chosen; names are unique.
    pub domains: Vec<Domain>,
    /// Why these.
    pub notes: Vec<Note>,
    /// The CPU that ticks for each package: the one its PMU names, else the package's leader.
    pub tick_cpus: Vec<u32>,
}

/// Tries whether a counter can be opened.
pub type Opener<'a> = &'a dyn Fn(&PerfEvent) -> Result<(), OpenError>;

/// Chooses the domains for the `--source` options given; none given means `auto`.
///
/// # Errors
/// When a source that was asked for by name cannot be used.
pub fn select(
    roots: &Roots,
    topology: &Topology,
    specs: &[SourceSpec],
) -> Result<Selection, SourceError> {
    select_with(roots, topology, specs, &|event| event.open().map(drop))
}

/// [`select`] with another way to try counters.
///
/// # Errors
/// When a source that was asked for by name cannot be used.
pub fn select_with(
    roots: &Roots,
    topology: &Topology,
    specs: &[SourceSpec],
    opener: Opener<'_>,
) -> Result<Selection, SourceError> {
    let mut choice = Choice { roots, topology, opener, domains: vec![], notes: vec![] };
    let specs = if specs.is_empty() { &[SourceSpec::Auto] } else { specs };
    for (i, spec) in specs.iter().enumerate() {
        let same = |other: &SourceSpec| other.to_string() == spec.to_string();
        if specs.get(..i).is_some_and(|before| before.iter().any(same)) {
            return Err(SourceError::Twice(spec.to_string()));
        }
        match spec {
            SourceSpec::Auto => choice.auto(),
            SourceSpec::RaplPerf => choice.order(perf::rapl(roots, topology)?)?,
            SourceSpec::RaplPowercap => choice.order(powercap::domains(roots, topology)?)?,
            SourceSpec::Model => choice.order(choice.model())?,
            SourceSpec::Perf(spec) => choice.perf(spec)?,
        }
    }
    choice.finish()
}

struct Choice<'a> {
    roots: &'a Roots,
    topology: &'a Topology,
    opener: Opener<'a>,
    domains: Vec<Domain>,
    notes: Vec<Note>,
}

impl Choice<'_> {
    fn note(&mut self, source: &str, outcome: Outcome, text: String) {
        self.notes.push(Note { source: source.to_owned(), outcome, text });
    }

    fn taken(&self, name: &str) -> Option<&Domain> {
        self.domains.iter().find(|d| d.name == name)
    }

    fn model(&self) -> Vec<Domain> {
        let cpu = model::CpuId::read(self.roots);
        model::domains(&model::lookup(cpu.as_ref()), self.topology)
    }

    /// Fails if a domain cannot be read right now.
    fn usable(&self, domain: &Domain) -> Result<(), SourceError> {
        match &domain.reading {
            Reading::Kernel(event) => (self.opener)(event).map_err(SourceError::Open),
            Reading::File(zone) => zone.open().map(drop).map_err(SourceError::Zone),
            Reading::Model(_) => Ok(()),
        }
    }

    /// The best rung of every domain that has none yet.
    fn auto(&mut self) {
        for (source, found) in [
            ("rapl-perf", perf::rapl(self.roots, self.topology)),
            ("rapl-powercap", powercap::domains(self.roots, self.topology)),
        ] {
            match found {
                Ok(domains) => self.fill(source, domains),
                Err(error) => self.note(source, Outcome::Refused, error.to_string()),
            }
        }
        self.fill("model", self.model());
    }

    fn fill(&mut self, source: &str, domains: Vec<Domain>) {
        for domain in domains {
            if let Some(better) = self.taken(&domain.name) {
                let text = format!("{} is read by {}", domain.name, better.source);
                self.note(source, Outcome::Aside, text);
            } else if domain.name.ends_with("-mmio") {
                let text = format!("{} shows a counter that is read already", domain.name);
                self.note(source, Outcome::Aside, text);
            } else {
                match self.usable(&domain) {
                    Ok(()) => self.domains.push(domain),
                    Err(error) => self.note(source, Outcome::Refused, error.to_string()),
                }
            }
        }
    }

    /// All domains of a source that was asked for by name.
    fn order(&mut self, domains: Vec<Domain>) -> Result<(), SourceError> {
        for mut domain in domains {
            self.usable(&domain)?;
            if let Some(first) = self.taken(&domain.name) {
                let text = format!(
                    "{} is read by {} already; kept beside it to compare, not summed",
                    domain.name, first.source
                );
                domain.name = format!("{}@{}", domain.name, domain.source);
                domain.additive = false;
                self.note(&domain.source.clone(), Outcome::Aside, text);
            }
            self.domains.push(domain);
        }
        Ok(())
    }

    /// A perf event: under the name its event has in RAPL, or as the package's counter if it is the
    /// first without such a name, or as `EVENT-N`, not summed.
    fn perf(&mut self, spec: &PerfSpec) -> Result<(), SourceError> {
        let mut domains = perf::named(self.roots, self.topology, spec)?;
        if Kind::of_event(&spec.event).is_none()
            && domains.iter().any(|d| self.taken(&d.name).is_some())
        {
            for domain in &mut domains {
                domain.name = domain.name.replacen("package", &spec.event, 1);
                domain.additive = false;
            }
            let text = "the packages have a counter already; kept beside it, not summed".to_owned();
            self.note(&spec.to_string(), Outcome::Aside, text);
        }
        self.order(domains)
    }

    fn explain_chosen(&mut self) {
        for domain in &self.domains {
            let sum = if domain.additive { "summed" } else { "beside, not summed" };
            let how = match &domain.reading {
                Reading::Kernel(e) => format!("read by the kernel on CPU {}", e.cpu),
                Reading::File(zone) => format!("read from {}", zone.path.display()),
                Reading::Model(m) => format!(
                    "{} threads, {} W idle and {} W busy each, ±{:.0} %",
                    m.threads,
                    m.min_watts,
                    m.max_watts,
                    domain.class_ratio * 100.0
                ),
            };
            self.notes.push(Note {
                source: domain.source.clone(),
                outcome: Outcome::Chosen,
                text: format!("{}: {how}; {sum}", domain.name),
            });
        }
    }

    fn finish(mut self) -> Result<Selection, SourceError> {
        self.set_memory_beside_model_aside();
        let mut names = BTreeSet::new();
        if let Some(twin) = self.domains.iter().find(|d| !names.insert(d.name.clone())) {
            return Err(SourceError::Twice(twin.source.clone()));
        }
        let tick_cpus = self.place();
        self.explain_chosen();
        for package in 0..self.topology.packages.len() {
            let counters = self
                .domains
                .iter()
                .filter(|d| matches!(&d.reading, Reading::Kernel(e) if e.package == package));
            let counters = counters.count();
            if counters > MAX_COUNTERS {
                return Err(SourceError::TooManyCounters { package, counters, most: MAX_COUNTERS });
            }
        }
        if !self.domains.iter().any(|d| d.additive) {
            let text = "no chosen domain belongs to the additive set: requests will show no joules; \
                        add a source that covers packages";
            self.note("auto", Outcome::Refused, text.to_owned());
        }
        Ok(Selection { domains: self.domains, notes: self.notes, tick_cpus })
    }

    /// The model's watts include memory: a measured memory domain beside it would count twice.
    fn set_memory_beside_model_aside(&mut self) {
        let modelled: BTreeSet<_> = self
            .domains
            .iter()
            .filter(|d| d.additive && d.quality == Quality::Modelled)
            .map(|d| d.package)
            .collect();
        let dram = |d: &Domain| d.name.starts_with("dram-") && modelled.contains(&d.package);
        for domain in self.domains.iter_mut().filter(|d| d.additive && dram(d)) {
            domain.additive = false;
            self.notes.push(Note {
                source: domain.source.clone(),
                outcome: Outcome::Aside,
                text: format!("{}: the model's watts include memory, not summed", domain.name),
            });
        }
    }

    /// Decides each package's ticking CPU and moves the events there that any CPU may read.
    fn place(&mut self) -> Vec<u32> {
        let named = |package: usize| {
            self.domains.iter().find_map(|d| match &d.reading {
                Reading::Kernel(e) if e.named && e.package == package => Some(e.cpu),
                _ => None,
            })
        };
        let packages = self.topology.packages.iter().enumerate();
        let cpus: Vec<u32> =
            packages.map(|(i, p)| named(i).unwrap_or_else(|| p.leader())).collect();
        for domain in &mut self.domains {
            if let Reading::Kernel(event) = &mut domain.reading
                && !event.named
                && let Some(&cpu) = cpus.get(event.package)
            {
                event.cpu = cpu;
            }
        }
        cpus
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::testing::Tree;

    /// A kernel that opens every counter.
    const ALL: Opener<'_> = &|_| Ok(());
    /// A kernel that allows no counter.
    const NONE: Opener<'_> =
        &|e| Err(OpenError::Permission { pmu: e.pmu.clone(), event: e.event.clone(), cpu: e.cpu });

    fn choose(tree: &Tree, specs: &[&str], opener: Opener<'_>) -> Result<Selection, SourceError> {
        let specs: Vec<_> = specs.iter().map(|s| s.parse().unwrap()).collect();
        select_with(&tree.roots(), &tree.topology(), &specs, opener)
    }

    fn rows(selection: &Selection) -> Vec<(&str, &str, bool)> {
        selection.domains.iter().map(|d| (d.name.as_str(), d.source.as_str(), d.additive)).collect()
    }

    fn said(selection: &Selection, outcome: Outcome, text: &str) -> bool {
        selection.notes.iter().any(|n| n.outcome == outcome && n.text.contains(text))
    }

    fn laptop() -> Tree {
        Tree::new()
            .cpus(&[0, 0])
            .cpuinfo("GenuineIntel", 6, 158, 10)
            .power_pmu(&["energy-pkg", "energy-cores"], "0")
            .zone("intel-rapl:0", "package-0", 5)
            .zone("intel-rapl:0:0", "core", 5)
            .zone("intel-rapl:0:1", "dram", 5)
            .zone("intel-rapl-mmio:0", "package-0", 5)
    }

    #[test]
    fn auto_takes_the_best_rung_of_each_domain_by_itself() {
        let selection = choose(&laptop(), &[], ALL).unwrap();
        assert_eq!(
            rows(&selection),
            [
                ("package-0", "rapl-perf", true),
                ("core-0", "rapl-perf", false),
                ("dram-0", "rapl-powercap", true)
            ]
        );
        assert!(said(&selection, Outcome::Aside, "package-0-mmio"));
        assert_eq!(selection.tick_cpus, [0]);
    }

    #[test]
    fn auto_steps_down_where_the_kernel_refuses_and_says_why() {
        let selection = choose(&laptop(), &["auto"], NONE).unwrap();
        assert_eq!(
            rows(&selection),
            [
                ("package-0", "rapl-powercap", true),
                ("dram-0", "rapl-powercap", true),
                ("core-0", "rapl-powercap", false)
            ]
        );
        assert!(said(&selection, Outcome::Refused, "CAP_PERFMON"));
    }

    #[test]
    fn auto_models_packages_that_nothing_measures() {
        let tree = Tree::new().cpus(&[0, 1]).cpuinfo("AuthenticAMD", 25, 17, 1);
        let selection = choose(&tree, &[], ALL).unwrap();
        assert_eq!(rows(&selection), [("package-0", "model", true), ("package-1", "model", true)]);
        assert!(said(&selection, Outcome::Refused, "virtual machines have no RAPL"));
        assert!(said(&selection, Outcome::Chosen, "0.7391 W idle and 2.2822 W busy each, ±50 %"));
        let tree = tree.zone("intel-rapl:0", "package-1", 5);
        let selection = choose(&tree, &[], ALL).unwrap();
        assert_eq!(
            rows(&selection),
            [("package-1", "rapl-powercap", true), ("package-0", "model", true)]
        );
    }

    #[test]
    fn measured_memory_is_not_added_to_a_modelled_package() {
        let tree = Tree::new().cpus(&[0]).power_pmu(&["energy-ram"], "0");
        let selection = choose(&tree, &[], ALL).unwrap();
        assert_eq!(
            rows(&selection),
            [("dram-0", "rapl-perf", false), ("package-0", "model", true)]
        );
        assert!(said(&selection, Outcome::Aside, "include memory"));
    }

    #[test]
    fn a_named_source_that_cannot_be_used_is_an_error() {
        let tree = laptop();
        assert!(matches!(choose(&tree, &["rapl-perf"], NONE), Err(SourceError::Open(_))));
        let energy = "class/powercap/intel-rapl:0/energy_uj";
        tree.write(energy, "soon");
        assert!(matches!(choose(&tree, &["rapl-powercap"], ALL), Err(SourceError::Zone(_))));
        let tree = Tree::new().cpus(&[0]);
        assert!(matches!(choose(&tree, &["rapl-perf"], ALL), Err(SourceError::NoPmu { .. })));
        assert!(matches!(
            choose(&tree, &["rapl-powercap"], ALL),
            Err(SourceError::NoPowercap { .. })
        ));
        assert!(matches!(choose(&tree, &["perf:a/b/"], ALL), Err(SourceError::NoPmu { .. })));
    }

    #[test]
    fn two_sources_of_one_domain_are_compared_and_not_summed() {
        let selection = choose(&laptop(), &["rapl-perf", "rapl-powercap"], ALL).unwrap();
        assert_eq!(
            rows(&selection),
            [
                ("package-0", "rapl-perf", true),
                ("core-0", "rapl-perf", false),
                ("package-0@rapl-powercap", "rapl-powercap", false),
                ("dram-0", "rapl-powercap", true),
                ("core-0@rapl-powercap", "rapl-powercap", false),
                ("package-0-mmio", "rapl-powercap", false)
            ]
        );
    }

    #[test]
    fn the_first_other_event_is_the_package_and_further_ones_stand_beside_it() {
        let tree = Tree::new().cpus(&[0, 1]).msr_pmu();
        let specs = ["perf:msr/tsc/,scale=1e-9", "perf:msr/aperf/,scale=1e-9"];
        let selection = choose(&tree, &specs, ALL).unwrap();
        assert_eq!(
            rows(&selection),
            [
                ("package-0", "perf:msr/tsc/", true),
                ("package-1", "perf:msr/tsc/", true),
                ("aperf-0", "perf:msr/aperf/", false),
                ("aperf-1", "perf:msr/aperf/", false)
            ]
        );
        assert_eq!(selection.tick_cpus, [0, 1]);
    }

    #[test]
    fn the_same_source_twice_is_an_error_even_with_another_scale() {
        let tree = Tree::new().cpus(&[0]).msr_pmu();
        let specs = ["perf:msr/tsc/,scale=1e-9", "perf:msr/tsc/,scale=2e-9"];
        assert!(matches!(choose(&tree, &specs, ALL), Err(SourceError::Twice(_))));
        assert!(matches!(choose(&tree, &["model", "model"], ALL), Err(SourceError::Twice(_))));
    }

    #[test]
    fn a_package_ticks_where_its_pmu_says_and_other_events_follow() {
        let tree = Tree::new().cpus(&[0, 0]).msr_pmu().power_pmu(&["energy-pkg"], "1");
        let specs = ["perf:msr/tsc/,scale=1e-9", "perf:power/energy-pkg/"];
        let selection = choose(&tree, &specs, ALL).unwrap();
        assert_eq!(selection.tick_cpus, [1]);
        let cpus: Vec<_> = selection
            .domains
            .iter()
            .map(|d| match &d.reading {
                Reading::Kernel(e) => e.cpu,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(cpus, [1, 1]);
        let names: Vec<_> =
            rows(&selection).into_iter().map(|(name, _, sum)| (name, sum)).collect();
        let second = "package-0@perf:power/energy-pkg/";
        assert_eq!(names, [("package-0", true), (second, false)]);
    }

    #[test]
    fn more_counters_than_a_tick_reads_are_refused() {
        let tree = Tree::new().cpus(&[0]).msr_pmu();
        let events: Vec<_> = (0..9).map(|i| format!("e{i}")).collect();
        for event in &events {
            let file = format!("bus/event_source/devices/msr/events/{event}");
            tree.write(&file, "event=0x00\n");
        }
        let specs: Vec<_> = events.iter().map(|e| format!("perf:msr/{e}/,scale=1")).collect();
        let specs: Vec<_> = specs.iter().map(String::as_str).collect();
        let error = choose(&tree, &specs, ALL).unwrap_err();
        assert!(matches!(error, SourceError::TooManyCounters { counters: 9, .. }), "{error}");
    }

    #[test]
    fn a_selection_without_an_additive_domain_says_what_is_missing() {
        let tree = Tree::new().cpus(&[0]).power_pmu(&["energy-cores"], "0");
        let selection = choose(&tree, &["perf:power/energy-cores/"], ALL).unwrap();
        assert!(said(&selection, Outcome::Refused, "additive"));
    }
}

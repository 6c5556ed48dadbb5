//! Chooses among the sources: one domain for each thing that can be measured, and why.
//!
//! `auto` climbs the contract's rungs for every domain by itself: AMD's counters of single cores, by which
//! the energy of their packages is then shared, RAPL through perf, then powercap, then hwmon, then a
//! battery where no package is measured, then the model for packages that nothing measures. Where both of
//! RAPL's faces show a summed domain, the second is read too, to compare (`package-0@rapl-powercap`). A
//! named source is an order: if it cannot be used, that is an error and no other takes its place. A domain
//! that two sources read keeps the first; the second is kept beside it as `NAME@SOURCE`, not summed.
//!
//! What is summed with what is in `sum`, what is told of it in `tell`.

mod sum;
mod tell;

use std::collections::BTreeSet;
use std::path::Path;

use probe_common::MAX_COUNTERS;

use self::sum::{measured_package, whole};
use super::open::{OpenError, PerfEvent};
use super::{
    Domain, Kind, PerfSpec, Reading, SourceError, SourceSpec, battery, core_perf, hwmon, model,
    nvml, perf, powercap,
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
    /// What every number of a run with these domains should carry.
    pub flags: Vec<String>,
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
    let mut choice = Choice {
        roots,
        topology,
        opener,
        domains: vec![],
        notes: vec![],
        refused: vec![],
        flags: BTreeSet::new(),
    };
    let specs = if specs.is_empty() { &[SourceSpec::Auto] } else { specs };
    for (i, spec) in specs.iter().enumerate() {
        let same = |other: &SourceSpec| other.to_string() == spec.to_string();
        if specs.get(..i).is_some_and(|before| before.iter().any(same)) {
            return Err(SourceError::Twice(spec.to_string()));
        }
        match spec {
            SourceSpec::Auto => choice.auto(),
            SourceSpec::AmdCorePerf => choice.order(core_perf::domains(roots, topology)?)?,
            SourceSpec::RaplPerf => choice.order(perf::rapl(roots, topology)?)?,
            SourceSpec::RaplPowercap => choice.order(powercap::domains(roots, topology)?)?,
            SourceSpec::Nvml => choice.gpus()?,
            SourceSpec::Hwmon => choice.order(hwmon::domains(roots, topology)?)?,
            SourceSpec::Battery => choice.order(battery::domains(roots)?)?,
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
    /// Summed domains that are there and cannot be read, and why.
    refused: Vec<(Domain, String)>,
    /// What every number of the run should say.
    flags: BTreeSet<String>,
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

    /// Whether the tick of the domain's package has no room for it.
    fn full(&self, domain: &Domain) -> bool {
        match &domain.reading {
            Reading::Kernel(event) => self.counters(event.package) >= MAX_COUNTERS,
            _ => false,
        }
    }

    /// How many counters the tick of a package reads.
    fn counters(&self, package: usize) -> usize {
        let here = |d: &&Domain| matches!(&d.reading, Reading::Kernel(e) if e.package == package);
        self.domains.iter().filter(here).count()
    }

    /// Fails if a domain cannot be read right now.
    fn usable(&self, domain: &Domain) -> Result<(), SourceError> {
        match &domain.reading {
            Reading::Kernel(event) => (self.opener)(event).map_err(SourceError::Open),
            Reading::Cores(counters) => {
                let mut events = counters.cores.iter().map(|core| &core.event);
                events.try_for_each(self.opener).map_err(SourceError::Open)
            }
            Reading::Polled(polled) => polled.open().map(drop).map_err(SourceError::Sensor),
            Reading::Model(_) => Ok(()),
        }
    }

    /// The best rung of every domain that has none yet.
    fn auto(&mut self) {
        for (source, found) in [
            (core_perf::NAME, core_perf::domains(self.roots, self.topology)),
            ("rapl-perf", perf::rapl(self.roots, self.topology)),
            ("rapl-powercap", powercap::domains(self.roots, self.topology)),
        ] {
            match found {
                Ok(domains) => self.fill(source, domains),
                Err(error) => self.note(source, Outcome::Refused, error.to_string()),
            }
        }
        match nvml::domains(self.roots.nvml.as_deref()) {
            Ok(found) => {
                self.fill("nvml", found.domains);
                for error in found.refused {
                    self.note("nvml", Outcome::Refused, error.to_string());
                }
            }
            Err(error) => {
                self.note("nvml", Outcome::Refused, error.to_string());
                let named =
                    self.roots.nvml.as_deref().is_some_and(|p| p != Path::new(nvml::LIBRARY));
                if named {
                    let text =
                        "the NVIDIA library that was named is not used: see `wattprobe doctor`";
                    self.note("auto", Outcome::Refused, text.to_owned());
                }
            }
        }
        match hwmon::domains(self.roots, self.topology) {
            Ok(domains) => self.fill(hwmon::SOURCE, domains),
            Err(error) => self.note(hwmon::SOURCE, Outcome::Refused, error.to_string()),
        }
        match battery::domains(self.roots) {
            Ok(domains) if !self.knows_machine() => self.fill(battery::SOURCE, domains),
            Ok(_) => {
                let text = "not needed: something better measures".to_owned();
                self.note(battery::SOURCE, Outcome::Aside, text);
            }
            Err(error) => self.note(battery::SOURCE, Outcome::Refused, error.to_string()),
        }
        if self.domains.iter().any(whole) && !self.domains.iter().any(measured_package) {
            let text = "not needed: the whole machine is measured".to_owned();
            self.note("model", Outcome::Aside, text);
        } else {
            self.fill("model", self.model());
        }
    }

    /// A card takes the next number that no card of another source has.
    fn renumber(&self, domain: &mut Domain) {
        if domain.source != hwmon::SOURCE {
            return;
        }
        let Some(kind) = ["gpu-", "igpu-"].into_iter().find(|kind| domain.name.starts_with(kind))
        else {
            return;
        };
        let mut names = (0..1024).map(|n: u32| format!("{kind}{n}"));
        if let Some(free) = names.find(|name| self.taken(name).is_none()) {
            domain.name = free;
        }
    }

    /// All GPUs, asked for by name: each of them must be there.
    fn gpus(&mut self) -> Result<(), SourceError> {
        let found = nvml::domains(self.roots.nvml.as_deref())?;
        match found.refused.into_iter().next() {
            Some(error) => Err(error.into()),
            None => self.order(found.domains),
        }
    }

    fn fill(&mut self, source: &str, domains: Vec<Domain>) {
        for mut domain in domains {
            self.renumber(&mut domain);
            if let Some(better) = self.taken(&domain.name) {
                if better.additive && better.is_rapl() && domain.is_rapl() {
                    self.twin(source, domain);
                    continue;
                }
                let text = format!("{} is read by {}", domain.name, better.source);
                self.note(source, Outcome::Aside, text);
            } else if domain.name.ends_with("-mmio") {
                let text = format!("{} shows a counter that is read already", domain.name);
                self.note(source, Outcome::Aside, text);
            } else {
                match self.usable(&domain) {
                    Ok(()) if self.full(&domain) => {
                        let name = &domain.name;
                        let text = format!("{name}: a tick reads at most {MAX_COUNTERS} counters");
                        self.note(source, Outcome::Aside, text);
                    }
                    Ok(()) => self.domains.push(domain),
                    Err(error) => {
                        let why = error.to_string();
                        self.note(source, Outcome::Refused, why.clone());
                        if domain.additive {
                            self.refused.push((domain, why));
                        }
                    }
                }
            }
        }
    }

    /// A second way to read a summed domain is read as well, to compare.
    fn twin(&mut self, source: &str, mut domain: Domain) {
        if let Err(error) = self.usable(&domain) {
            return self.note(source, Outcome::Refused, error.to_string());
        }
        let text =
            format!("{} is read by another source already; read too, to compare", domain.name);
        self.note(source, Outcome::Aside, text);
        domain.name = format!("{}@{source}", domain.name);
        domain.additive = false;
        self.domains.push(domain);
    }

    /// All domains of a source that was asked for by name.
    fn order(&mut self, domains: Vec<Domain>) -> Result<(), SourceError> {
        for mut domain in domains {
            self.usable(&domain)?;
            self.renumber(&mut domain);
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

    fn finish(mut self) -> Result<Selection, SourceError> {
        self.tell_missing_parts();
        self.set_memory_beside_model_aside();
        self.set_whole_machine_apart();
        let mut names = BTreeSet::new();
        if let Some(twin) = self.domains.iter().find(|d| !names.insert(d.name.clone())) {
            return Err(SourceError::Twice(twin.source.clone()));
        }
        let tick_cpus = self.place();
        self.explain_chosen();
        for package in 0..self.topology.packages.len() {
            let counters = self.counters(package);
            if counters > MAX_COUNTERS {
                return Err(SourceError::TooManyCounters { package, counters, most: MAX_COUNTERS });
            }
        }
        if !self.domains.iter().any(|d| d.additive) {
            let text = "no chosen domain belongs to the additive set: requests will show no joules; \
                        add a source that covers packages";
            self.note("auto", Outcome::Refused, text.to_owned());
        }
        let mut flags = self.filtering(&tick_cpus);
        flags.extend(self.flags);
        Ok(Selection { domains: self.domains, notes: self.notes, tick_cpus, flags })
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
mod tests;

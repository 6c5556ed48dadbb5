//! Perf counters as energy domains: RAPL's PMU and any other that counts joules.
//!
//! A PMU's cpumask names the CPU that reads for each package (or die). A PMU without one (`msr`) counts
//! per CPU and is read on the CPU that ticks for its package. Facility: sysfs, see [`super::pmu`].

use std::collections::BTreeMap;

use super::kind::RAPL_PERIOD_NS;
use super::pmu::Pmu;
use super::{Domain, Kind, PerfEvent, PerfSpec, Quality, Range, Reading, SourceError};
use crate::roots::Roots;
use crate::topology::Topology;

/// The domains of the PMU `power`.
///
/// # Errors
/// When there is no such PMU, or its tree is broken.
pub fn rapl(roots: &Roots, topology: &Topology) -> Result<Vec<Domain>, SourceError> {
    let pmu = Pmu::read(roots, "power")?;
    let mut domains = Vec::new();
    for event in Kind::EVENTS.into_iter().filter(|e| pmu.has(e)) {
        let spec = PerfSpec { pmu: pmu.name.clone(), event: event.into(), scale: None };
        domains.extend(of_event(&pmu, &spec, topology, "rapl-perf")?);
    }
    if domains.is_empty() { Err(SourceError::NoEnergyEvents) } else { Ok(domains) }
}

/// The domains of `perf:PMU/EVENT/`: one for each package, or for each CPU of the cpumask.
///
/// # Errors
/// When there is no such event, it is not in joules, or the tree is broken.
pub fn named(
    roots: &Roots,
    topology: &Topology,
    spec: &PerfSpec,
) -> Result<Vec<Domain>, SourceError> {
    of_event(&Pmu::read(roots, &spec.pmu)?, spec, topology, &spec.to_string())
}

fn of_event(
    pmu: &Pmu,
    spec: &PerfSpec,
    topology: &Topology,
    source: &str,
) -> Result<Vec<Domain>, SourceError> {
    let attr = pmu.attr(&spec.event)?;
    let scale = match spec.scale {
        Some(scale) => scale,
        None => pmu.joules_per_count(&spec.event)?.ok_or_else(|| SourceError::NoScale {
            pmu: pmu.name.clone(),
            event: spec.event.clone(),
        })?,
    };
    let kind = Kind::of_event(&spec.event);
    // Only the PMU `power` is known to be RAPL behind those names, with RAPL's period and step.
    let rapl = kind.filter(|_| pmu.name == "power");
    let mut seen = BTreeMap::<usize, usize>::new();
    let mut domains = Vec::new();
    for (cpu, package) in places(pmu, topology)? {
        let unit = seen.entry(package).or_default();
        let kind = kind.unwrap_or(Kind::Package);
        domains.push(Domain {
            name: kind.domain(package, *unit),
            source: source.to_owned(),
            quality: Quality::Measured,
            additive: kind.additive(),
            scope: kind.scope(package),
            joules_per_count: scale,
            range: Range::Bits(64),
            period_ns: if rapl.is_some() { RAPL_PERIOD_NS } else { 0 },
            quantum_nj: rapl.map_or_else(|| one_count_nj(scale), Kind::quantum_nj),
            max_watts: match (spec.scale, rapl) {
                (None, Some(kind)) => kind.max_watts(),
                _ => f64::INFINITY,
            },
            idle_watts: (source != "rapl-perf").then_some(0.0),
            idle_error_watts: None,
            class_ratio: 0.0,
            reading: Reading::Kernel(PerfEvent {
                pmu: pmu.name.clone(),
                event: spec.event.clone(),
                type_: pmu.type_,
                config: attr.config,
                cpu,
                package,
                named: pmu.cpumask.is_some(),
            }),
        });
        *unit += 1;
    }
    Ok(domains)
}

/// The CPUs to open an event on, each with its package, by package.
fn places(pmu: &Pmu, topology: &Topology) -> Result<Vec<(u32, usize)>, SourceError> {
    let mut places: Vec<_> = match &pmu.cpumask {
        Some(mask) => {
            mask.iter().filter_map(|&cpu| Some((cpu, topology.package_of(cpu)?))).collect()
        }
        None => {
            topology.packages.iter().enumerate().map(|(index, p)| (p.leader(), index)).collect()
        }
    };
    places.sort_by_key(|&(cpu, package)| (package, cpu));
    if places.is_empty() {
        let cpus = pmu.cpumask.clone().unwrap_or_default();
        return Err(SourceError::NoCpu { pmu: pmu.name.clone(), cpus });
    }
    Ok(places)
}

/// One count in nanojoules, rounded up and at least 1.
fn one_count_nj(joules_per_count: f64) -> u64 {
    (joules_per_count * 1e9).ceil().max(1.0) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Scope;
    use crate::source::testing::Tree;

    fn event(domain: &Domain) -> &PerfEvent {
        match &domain.reading {
            Reading::Kernel(event) => event,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn rapl_has_one_domain_for_each_event_and_package_on_the_cpu_of_the_mask() {
        let tree = Tree::new()
            .cpus(&[0, 0, 1, 1])
            .power_pmu(&["energy-pkg", "energy-ram", "energy-psys"], "1,2");
        let topology = tree.topology();
        let domains = rapl(&tree.roots(), &topology).unwrap();
        let names: Vec<_> = domains.iter().map(|d| (d.name.as_str(), d.additive)).collect();
        assert_eq!(
            names,
            [
                ("package-0", true),
                ("package-1", true),
                ("dram-0", true),
                ("dram-1", true),
                ("psys", false),
                ("psys-1", false)
            ]
        );
        assert_eq!(event(&domains[0]).cpu, 1);
        assert_eq!(event(&domains[1]).cpu, 2);
        assert!(event(&domains[0]).named);
        assert_eq!(domains[0].joules_per_count, 2f64.powi(-32));
        assert_eq!(domains[0].period_ns, 1_000_000);
        assert_eq!(domains[0].quantum_nj, 61_036);
        assert_eq!(domains[0].idle_watts, None);
        assert_eq!(domains[0].max_watts, 1_500.0);
        assert_eq!(domains[4].scope, Scope::Machine);
    }

    #[test]
    fn a_package_with_two_dies_in_the_mask_has_two_additive_domains() {
        let tree = Tree::new().cpus(&[0, 0, 0, 0]).power_pmu(&["energy-pkg"], "0,2");
        let domains = rapl(&tree.roots(), &tree.topology()).unwrap();
        let names: Vec<_> = domains.iter().map(|d| d.name.as_str()).collect();
        assert_eq!(names, ["package-0", "package-0-die-1"]);
        assert!(domains.iter().all(|d| d.additive && d.scope == Scope::Package(0)));
    }

    #[test]
    fn a_pmu_without_cpumask_is_opened_on_each_packages_leader_with_the_declared_scale() {
        let tree = Tree::new().cpus(&[0, 0, 1, 1]).msr_pmu();
        let spec = PerfSpec { pmu: "msr".into(), event: "tsc".into(), scale: Some(1e-9) };
        let domains = named(&tree.roots(), &tree.topology(), &spec).unwrap();
        assert_eq!(domains.len(), 2);
        assert_eq!(domains[1].name, "package-1");
        assert_eq!(domains[1].source, "perf:msr/tsc/");
        assert_eq!(event(&domains[1]).cpu, 2);
        assert!(!event(&domains[1]).named);
        assert_eq!(domains[1].idle_watts, Some(0.0));
        assert_eq!((domains[1].period_ns, domains[1].quantum_nj), (0, 1));
        assert!(domains[1].max_watts.is_infinite() && domains[1].additive);
    }

    #[test]
    fn an_event_without_scale_says_how_to_declare_one() {
        let tree = Tree::new().cpus(&[0]).msr_pmu();
        let spec = PerfSpec { pmu: "msr".into(), event: "tsc".into(), scale: None };
        let error = named(&tree.roots(), &tree.topology(), &spec).unwrap_err();
        assert!(error.to_string().contains("perf:msr/tsc/,scale=JOULES_PER_COUNT"), "{error}");
    }

    #[test]
    fn a_mask_of_offline_cpus_is_an_error() {
        let tree = Tree::new().cpus(&[0, 0]).power_pmu(&["energy-pkg"], "7");
        let error = rapl(&tree.roots(), &tree.topology()).unwrap_err();
        assert!(matches!(error, SourceError::NoCpu { .. }), "{error}");
    }

    #[test]
    fn a_power_pmu_without_energy_events_is_an_error() {
        let tree = Tree::new().cpus(&[0]).power_pmu(&[], "0");
        let error = rapl(&tree.roots(), &tree.topology()).unwrap_err();
        assert!(matches!(error, SourceError::NoEnergyEvents), "{error}");
    }
}

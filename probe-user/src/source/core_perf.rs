//! AMD's energy counters of single cores: what each core draws, and so by what a package's energy is shared.
//!
//! A core lies within its package, so the domain `core-N` (all cores of package N together) is never summed with
//! it; but a package's active energy is shared by what each consumer drew on the cores it ran on, instead of by
//! time alone. Facility: the perf PMU `power_core` (Linux 6.14, AMD family 17h and later), read in the kernel
//! on each core's own CPUs; `thread_siblings_list` says which those are.

use std::fmt;

use super::kind::RAPL_PERIOD_NS;
use super::model::CpuId;
use super::pmu::Pmu;
use super::{Domain, Kind, PerfEvent, Quality, Range, Reading, SourceError};
use crate::files;
use crate::kernel::CORE_PERIOD_NS;
use crate::roots::Roots;
use crate::topology::{Topology, parse_cpu_list};

/// The label of the source.
pub const NAME: &str = "amd-core-perf";
const PMU: &str = "power_core";
const EVENT: &str = "energy-core";
/// The kernel side sums the clocks of at most so many CPUs for a core.
const MOST_THREADS: usize = 2;

/// The counters of a package's cores.
#[derive(Clone, Debug, PartialEq)]
pub struct CoreCounters {
    /// Package index.
    pub package: usize,
    /// Its cores.
    pub cores: Vec<Core>,
}

/// One core.
#[derive(Clone, Debug, PartialEq)]
pub struct Core {
    /// Its counter, opened on the first CPU.
    pub event: PerfEvent,
    /// Its online CPUs, at most two, the one that the PMU names first.
    pub cpus: Vec<u32>,
}

impl fmt::Display for CoreCounters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let threads: usize = self.cores.iter().map(|core| core.cpus.len()).sum();
        let (cores, package) = (self.cores.len(), self.package);
        write!(f, "{cores} cores read by the kernel on their own {threads} CPUs, ")?;
        write!(f, "shares the energy of package-{package}")
    }
}

/// The domains `core-N`, one for each package whose cores have counters.
///
/// # Errors
/// When there is no such PMU, or its tree is broken.
pub fn domains(roots: &Roots, topology: &Topology) -> Result<Vec<Domain>, SourceError> {
    let pmu = match Pmu::read(roots, PMU) {
        Err(SourceError::NoPmu { .. }) => return Err(missing(roots)),
        read => read?,
    };
    let attr = pmu.attr(EVENT)?;
    let scale = pmu
        .joules_per_count(EVENT)?
        .ok_or_else(|| SourceError::NoScale { pmu: PMU.into(), event: EVENT.into() })?;
    let mask = pmu.cpumask.clone().unwrap_or_default();
    let mut packages: Vec<Vec<Core>> = topology.packages.iter().map(|_| vec![]).collect();
    for &cpu in &mask {
        let Some(package) = topology.package_of(cpu) else { continue };
        let event = PerfEvent {
            pmu: PMU.into(),
            event: EVENT.into(),
            type_: pmu.type_,
            config: attr.config,
            cpu,
            package,
            named: true,
        };
        let core = Core { event, cpus: threads(roots, topology, cpu)? };
        if let Some(cores) = packages.get_mut(package) {
            cores.push(core);
        }
    }
    let all = || packages.iter().flatten();
    if all().next().is_none() {
        return Err(SourceError::NoCpu { pmu: PMU.into(), cpus: mask });
    }
    let mut seen = std::collections::BTreeSet::new();
    if let Some(&cpu) = all().flat_map(|core| &core.cpus).find(|cpu| !seen.insert(**cpu)) {
        return Err(SourceError::TwoCores { cpu });
    }
    let with_cores = packages.into_iter().enumerate().filter(|(_, cores)| !cores.is_empty());
    Ok(with_cores.map(|(package, cores)| domain(package, cores, scale)).collect())
}

fn domain(package: usize, cores: Vec<Core>, joules_per_count: f64) -> Domain {
    let kind = Kind::Core;
    Domain {
        name: kind.domain(package, 0),
        source: NAME.to_owned(),
        quality: Quality::Measured,
        additive: kind.additive(),
        scope: kind.scope(package),
        joules_per_count,
        range: Range::Bits(64),
        // A core's window may be that old when a tick takes its book.
        period_ns: CORE_PERIOD_NS + RAPL_PERIOD_NS,
        quantum_nj: kind.quantum_nj(),
        max_watts: kind.max_watts(),
        idle_watts: None,
        idle_error_watts: None,
        class_ratio: 0.0,
        reading: Reading::Cores(CoreCounters { package, cores }),
    }
}

/// The online CPUs of a CPU's core, itself first.
///
/// # Errors
/// When the file that lists them is broken.
pub fn threads(roots: &Roots, topology: &Topology, cpu: u32) -> Result<Vec<u32>, SourceError> {
    let path = roots.sys(format!("devices/system/cpu/cpu{cpu}/topology/thread_siblings_list"));
    let text = match files::text(&path) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(vec![cpu]),
        Err(source) => return Err(SourceError::Read { path, source }),
    };
    let listed = parse_cpu_list(&text)
        .map_err(|_| SourceError::garbage(&path, &text, "a list of CPUs such as 0,64"))?;
    let package = topology.package_of(cpu);
    let online = |other: &u32| *other != cpu && topology.package_of(*other) == package;
    let cpus: Vec<u32> = [cpu].into_iter().chain(listed.into_iter().filter(online)).collect();
    if cpus.len() > MOST_THREADS {
        let found = cpus.len();
        return Err(SourceError::TooManyThreads { cpu, found, most: MOST_THREADS });
    }
    Ok(cpus)
}

/// Why the PMU is not there, as well as can be told.
fn missing(roots: &Roots) -> SourceError {
    let vendor = CpuId::read(roots).map(|id| id.vendor);
    let release = files::text(&roots.proc("sys/kernel/osrelease")).ok();
    let version = release.as_deref().and_then(version);
    match (vendor.as_deref(), version) {
        (Some(vendor), _) if !["AuthenticAMD", "HygonGenuine"].contains(&vendor) => {
            SourceError::NoCoreEnergy { why: format!("a CPU by {vendor} does not count it; use rapl-perf") }
        }
        (_, Some((major, minor))) if (major, minor) < (6, 14) => SourceError::NoCoreEnergy {
            why: format!("Linux {major}.{minor} cannot read it; boot Linux 6.14 or later, or use rapl-perf"),
        },
        _ => SourceError::NoCoreEnergy {
            why: "there is no PMU power_core; load the module rapl (virtual machines have no RAPL), or use rapl-perf".to_owned(),
        },
    }
}

/// `6.12.38+deb13` is 6.12.
fn version(release: &str) -> Option<(u32, u32)> {
    let (major, rest) = release.split_once('.')?;
    let minor = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Scope;
    use crate::source::testing::Tree;

    fn read(tree: &Tree) -> Result<Vec<Domain>, SourceError> {
        domains(&tree.roots(), &tree.topology())
    }

    fn cpus(domain: &Domain) -> Vec<Vec<u32>> {
        match &domain.reading {
            Reading::Cores(counters) => counters.cores.iter().map(|c| c.cpus.clone()).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn each_package_has_one_domain_of_its_cores_beside_the_package() {
        let tree = Tree::new()
            .cpus(&[0, 0, 1, 1, 0, 0, 1, 1])
            .siblings(&["0,4", "1,5", "2,6", "3,7"])
            .power_core_pmu("0-3");
        let domains = read(&tree).unwrap();
        let names: Vec<_> = domains.iter().map(|d| (d.name.as_str(), d.additive)).collect();
        assert_eq!(names, [("core-0", false), ("core-1", false)]);
        assert_eq!(cpus(&domains[0]), [[0, 4], [1, 5]]);
        assert_eq!(cpus(&domains[1]), [[2, 6], [3, 7]]);
        assert_eq!((domains[1].scope, domains[1].source.as_str()), (Scope::Package(1), NAME));
        assert_eq!(domains[0].joules_per_count, 2f64.powi(-32));
        // A core's window may be 50 ms old, its register 1 ms.
        assert_eq!(domains[0].period_ns, 51_000_000);
        let Reading::Cores(counters) = &domains[0].reading else { panic!("no cores") };
        assert_eq!(counters.cores[1].event.config[0], 1);
        let said = "2 cores read by the kernel on their own 4 CPUs, shares the energy of package-0";
        assert_eq!(counters.to_string(), said);
    }

    #[test]
    fn a_sibling_that_is_offline_is_left_out_and_without_the_list_a_cpu_is_a_core() {
        let tree = Tree::new().cpus(&[0, 0]).siblings(&["0,8"]).power_core_pmu("0,1");
        assert_eq!(cpus(&read(&tree).unwrap()[0]), [[0], [1]]);
    }

    #[test]
    fn a_cpu_of_two_cores_or_a_core_of_many_threads_is_an_error() {
        let tree = Tree::new().cpus(&[0, 0]).siblings(&["0,1"]).power_core_pmu("0,1");
        let error = read(&tree).unwrap_err();
        assert!(matches!(error, SourceError::TwoCores { cpu: 1 | 0 }), "{error}");
        let tree = Tree::new().cpus(&[0; 4]).siblings(&["0-3"]).power_core_pmu("0");
        let error = read(&tree).unwrap_err();
        assert!(matches!(error, SourceError::TooManyThreads { found: 4, .. }), "{error}");
    }

    #[test]
    fn why_there_is_no_such_pmu_is_told_by_what_helps() {
        for (vendor, release, says) in [
            ("GenuineIntel", "6.18.1\n", "GenuineIntel does not count it"),
            ("AuthenticAMD", "6.12.38+deb13-amd64\n", "boot Linux 6.14"),
            ("AuthenticAMD", "5.15.0\n", "Linux 5.15 cannot"),
            ("AuthenticAMD", "6.14.0-rc1\n", "load the module rapl"),
            ("AuthenticAMD", "noise", "load the module rapl"),
        ] {
            let tree = Tree::new().cpus(&[0]).cpuinfo(vendor, 25, 1, 0);
            tree.write("proc/sys/kernel/osrelease", release);
            let text = read(&tree).unwrap_err().to_string();
            assert!(text.contains(says) && text.contains("use rapl-perf"), "{text}");
        }
    }

    #[test]
    fn broken_trees_are_errors_and_a_mask_of_offline_cpus_too() {
        let broken = |file: &str, content: &str| {
            let tree = Tree::new().cpus(&[0, 0]).siblings(&["0", "1"]).power_core_pmu("0,1");
            tree.write(file, content);
            read(&tree).unwrap_err()
        };
        let dir = "bus/event_source/devices/power_core";
        let error = broken(&format!("{dir}/cpumask"), "7");
        assert!(matches!(error, SourceError::NoCpu { .. }), "{error}");
        let error = broken(&format!("{dir}/cpumask"), "");
        assert!(matches!(error, SourceError::NoCpu { .. }), "{error}");
        let error = broken(&format!("{dir}/events/energy-core.unit"), "Celsius");
        assert!(matches!(error, SourceError::NotJoules { .. }), "{error}");
        let siblings = "devices/system/cpu/cpu1/topology/thread_siblings_list";
        let error = broken(siblings, "0..1");
        assert!(error.to_string().contains("thread_siblings_list"), "{error}");
    }
}

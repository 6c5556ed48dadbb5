//! Which CPUs this machine has and which package (socket) each belongs to.
//!
//! Energy counters are per package, clocks are per CPU: this map is what joins them. It must not know
//! what a counter is. Facility: `/sys/devices/system/cpu/online` and each CPU's
//! `topology/physical_package_id` (any kernel).

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use probe_common::{MAX_CPUS, MAX_PACKAGES};

use crate::files;
use crate::roots::Roots;

/// Longest CPU list this reads; the kernel's own limit is 8192 CPUs.
const MAX_LISTED: u32 = 8192;

/// Why the CPUs cannot be mapped.
#[derive(Debug, thiserror::Error)]
pub enum TopologyError {
    /// A file of sysfs could not be read.
    #[error("cannot read {}: {source}; check that sysfs is mounted there, or name it with --sysfs-root", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// A file of sysfs does not say what it should.
    #[error("{} holds {found:?}, not {expected}; name a real sysfs with --sysfs-root", path.display())]
    Garbage {
        /// The file.
        path: PathBuf,
        /// Its beginning.
        found: String,
        /// What belongs there.
        expected: &'static str,
    },
    /// More CPUs than the clock slots cover.
    #[error("CPU {cpu} is online, but this build covers CPUs 0 to {}; boot with fewer CPUs (nr_cpus={}) or raise MAX_CPUS in probe-common and rebuild", MAX_CPUS - 1, MAX_CPUS)]
    TooManyCpus {
        /// The highest online CPU.
        cpu: u32,
    },
    /// More packages than a boundary carries clocks for.
    #[error(
        "this machine has {packages} packages, but this build covers {}; raise MAX_PACKAGES in probe-common and rebuild",
        MAX_PACKAGES
    )]
    TooManyPackages {
        /// How many there are.
        packages: usize,
    },
}

/// One package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Package {
    /// The kernel's `physical_package_id`; `None` where the machine does not say.
    pub physical_id: Option<i32>,
    /// Its online CPUs, ascending.
    pub cpus: Vec<u32>,
}

impl Package {
    /// The CPU that acts for the package where no PMU names another: its lowest.
    #[must_use]
    pub fn leader(&self) -> u32 {
        self.cpus.first().copied().unwrap_or(0)
    }
}

/// The online CPUs by package; a package's index is its place in `packages`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topology {
    /// Packages by ascending physical id, so that index 0 is the first socket; never empty.
    pub packages: Vec<Package>,
}

impl Topology {
    /// Reads the map of the online CPUs.
    ///
    /// # Errors
    /// When sysfs is unreadable or nonsense, or the machine is larger than the kernel side's tables.
    pub fn read(roots: &Roots) -> Result<Self, TopologyError> {
        let path = roots.sys("devices/system/cpu/online");
        let online = parse_cpu_list(&read(&path)?).map_err(|found| TopologyError::Garbage {
            path: path.clone(),
            found,
            expected: "a list of CPUs such as 0-3,6",
        })?;
        let highest = *online.last().ok_or(TopologyError::Garbage {
            path,
            found: String::new(),
            expected: "at least one CPU",
        })?;
        if highest as usize >= MAX_CPUS {
            return Err(TopologyError::TooManyCpus { cpu: highest });
        }
        let mut by_id = BTreeMap::<i32, Vec<u32>>::new();
        for &cpu in &online {
            match physical_id(roots, cpu)? {
                Some(id) => by_id.entry(id).or_default().push(cpu),
                None => return Ok(Self::single(online)),
            }
        }
        if by_id.len() > MAX_PACKAGES {
            return Err(TopologyError::TooManyPackages { packages: by_id.len() });
        }
        let packages =
            by_id.into_iter().map(|(id, cpus)| Package { physical_id: Some(id), cpus }).collect();
        Ok(Self { packages })
    }

    /// All CPUs in one package, for machines that do not say.
    #[must_use]
    pub fn single(cpus: Vec<u32>) -> Self {
        Self { packages: vec![Package { physical_id: None, cpus }] }
    }

    /// Index of the package a CPU belongs to; `None` for an offline CPU.
    #[must_use]
    pub fn package_of(&self, cpu: u32) -> Option<usize> {
        self.packages.iter().position(|p| p.cpus.contains(&cpu))
    }

    /// Index of the package the kernel calls `id`. A machine with a single package has no other.
    #[must_use]
    pub fn package_by_physical_id(&self, id: i32) -> Option<usize> {
        match self.packages.as_slice() {
            [only] => only.physical_id.is_none_or(|own| own == id).then_some(0),
            many => many.iter().position(|p| p.physical_id == Some(id)),
        }
    }

    /// The online CPUs, package by package.
    pub fn online(&self) -> impl Iterator<Item = u32> + '_ {
        self.packages.iter().flat_map(|package| &package.cpus).copied()
    }
}

/// The package of one CPU; `None` where the file is missing or the kernel says -1, "unknown".
fn physical_id(roots: &Roots, cpu: u32) -> Result<Option<i32>, TopologyError> {
    let path = roots.sys(format!("devices/system/cpu/cpu{cpu}/topology/physical_package_id"));
    let text = match files::text(&path) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(TopologyError::Read { path, source }),
    };
    match text.trim().parse::<i32>() {
        Ok(id) => Ok((id >= 0).then_some(id)),
        Err(_) => Err(TopologyError::Garbage {
            path,
            found: excerpt(&text),
            expected: "the number of a package",
        }),
    }
}

fn read(path: &Path) -> Result<String, TopologyError> {
    files::text(path).map_err(|source| TopologyError::Read { path: path.to_path_buf(), source })
}

/// Parses the kernel's CPU list (`0-3,6`), ascending and without repeats; an empty list is empty.
///
/// # Errors
/// The beginning of the text, if it is no such list.
pub fn parse_cpu_list(text: &str) -> Result<Vec<u32>, String> {
    let mut cpus = Vec::new();
    for part in text.trim().split(',').filter(|p| !p.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let bounds = (first.trim().parse::<u32>(), last.trim().parse::<u32>());
        match bounds {
            (Ok(first), Ok(last)) if first <= last && last < MAX_LISTED => {
                cpus.extend(first..=last);
            }
            _ => return Err(excerpt(text)),
        }
        if cpus.len() > MAX_LISTED as usize {
            return Err(excerpt(text));
        }
    }
    cpus.sort_unstable();
    cpus.dedup();
    Ok(cpus)
}

/// The beginning of a file's text, short enough for an error message.
pub(crate) fn excerpt(text: &str) -> String {
    text.trim().chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(online: &str, ids: &[(u32, &str)]) -> (tempfile::TempDir, Roots) {
        let dir = tempfile::tempdir().unwrap();
        let cpu = dir.path().join("devices/system/cpu");
        std::fs::create_dir_all(&cpu).unwrap();
        std::fs::write(cpu.join("online"), online).unwrap();
        for (n, id) in ids {
            let topology = cpu.join(format!("cpu{n}/topology"));
            std::fs::create_dir_all(&topology).unwrap();
            std::fs::write(topology.join("physical_package_id"), id).unwrap();
        }
        let roots = Roots { sysfs: dir.path().into(), procfs: "/nonexistent".into(), nvml: None };
        (dir, roots)
    }

    #[test]
    fn physical_ids_are_renumbered_from_zero_and_the_lowest_cpu_leads() {
        let (_dir, roots) = machine("0-3\n", &[(0, "36"), (1, "0"), (2, "36"), (3, "0")]);
        let topology = Topology::read(&roots).unwrap();
        assert_eq!(topology.packages[0].cpus, [1, 3]);
        assert_eq!(topology.packages[1].cpus, [0, 2]);
        assert_eq!(topology.packages[1].leader(), 0);
        assert_eq!(topology.package_of(2), Some(1));
        assert_eq!(topology.package_by_physical_id(36), Some(1));
        assert_eq!(topology.package_by_physical_id(1), None);
        assert_eq!(topology.package_of(9), None);
        assert_eq!(topology.packages[0].physical_id, Some(0));
    }

    #[test]
    fn offline_cpus_are_left_out() {
        let (_dir, roots) = machine("0,2", &[(0, "0"), (1, "0"), (2, "0")]);
        let topology = Topology::read(&roots).unwrap();
        assert_eq!(topology.packages[0].cpus, [0, 2]);
        assert_eq!(topology.online().collect::<Vec<_>>(), [0, 2]);
    }

    #[test]
    fn without_topology_files_or_with_unknown_packages_the_machine_is_one_package() {
        for ids in [vec![], vec![(0, "-1"), (1, "-1")], vec![(0, "0")]] {
            let (_dir, roots) = machine("0-1", &ids);
            let topology = Topology::read(&roots).unwrap();
            assert_eq!(topology.packages.len(), 1);
            assert_eq!(topology.packages[0].cpus, [0, 1]);
            assert_eq!(topology.packages[0].physical_id, None);
        }
    }

    #[test]
    fn a_machine_larger_than_the_tables_is_refused() {
        let (_dir, roots) = machine("0-256", &[]);
        let error = Topology::read(&roots).unwrap_err();
        assert!(matches!(error, TopologyError::TooManyCpus { cpu: 256 }), "{error}");
        let ids: Vec<_> =
            ["0", "1", "2", "3", "4", "5", "6", "7", "8"].into_iter().zip(0..).collect();
        let ids: Vec<_> = ids.into_iter().map(|(id, cpu)| (cpu, id)).collect();
        let (_dir, roots) = machine("0-8", &ids);
        let error = Topology::read(&roots).unwrap_err();
        assert!(matches!(error, TopologyError::TooManyPackages { packages: 9 }), "{error}");
    }

    #[test]
    fn unreadable_or_nonsensical_sysfs_names_the_file() {
        let roots = Roots { sysfs: "/nonexistent".into(), procfs: "/proc".into(), nvml: None };
        let text = Topology::read(&roots).unwrap_err().to_string();
        assert!(text.contains("/nonexistent/devices/system/cpu/online"), "{text}");
        for online in ["", "many", "3-1", "0-4294967295", "-1"] {
            let (_dir, roots) = machine(online, &[]);
            let error = Topology::read(&roots).unwrap_err();
            assert!(matches!(error, TopologyError::Garbage { .. }), "{online}: {error}");
        }
        let (_dir, roots) = machine("0", &[(0, "first")]);
        assert!(matches!(Topology::read(&roots), Err(TopologyError::Garbage { .. })));
    }

    #[test]
    fn cpu_lists_are_sorted_without_repeats() {
        assert_eq!(parse_cpu_list("8,0-2,1\n"), Ok(vec![0, 1, 2, 8]));
        assert_eq!(parse_cpu_list("\n"), Ok(vec![]));
        assert!(parse_cpu_list("0-8191,0-8191,0-8191").is_err());
    }

    #[test]
    fn this_machine_has_cpus() {
        let topology = Topology::read(&Roots::default()).unwrap();
        assert!(topology.online().count() >= 1);
        assert_eq!(topology.package_of(topology.packages[0].leader()), Some(0));
    }

    #[test]
    fn a_single_package_is_not_every_package() {
        let named = Package { physical_id: Some(1), cpus: vec![0] };
        let topology = Topology { packages: vec![named] };
        assert_eq!(topology.package_by_physical_id(1), Some(0));
        assert_eq!(topology.package_by_physical_id(0), None, "that one is offline");
        assert_eq!(Topology::single(vec![0]).package_by_physical_id(5), Some(0));
    }
}

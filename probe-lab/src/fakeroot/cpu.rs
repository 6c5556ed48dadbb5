//! CPUs: topology, `/proc/cpuinfo`, `/proc/stat`.

use std::fmt::Write;
use std::io;

use super::{Built, Package};

/// What a CPU calls itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cpu {
    /// `vendor_id`.
    pub vendor: &'static str,
    /// `cpu family`.
    pub family: u32,
    /// `model`.
    pub model: u32,
    /// `model name`.
    pub name: &'static str,
}

impl Cpu {
    /// A server of AMD's fourth generation.
    pub const AMD_ZEN4_SERVER: Self =
        Self { vendor: "AuthenticAMD", family: 25, model: 17, name: "AMD EPYC 9354" };
    /// A server of AMD's second generation.
    pub const AMD_ZEN2_SERVER: Self =
        Self { vendor: "AuthenticAMD", family: 23, model: 49, name: "AMD EPYC 7742" };
    /// An Ice Lake server.
    pub const INTEL_ICELAKE_SERVER: Self =
        Self { vendor: "GenuineIntel", family: 6, model: 106, name: "Intel(R) Xeon(R) Gold 6338" };
    /// A Skylake client.
    pub const INTEL_SKYLAKE_CLIENT: Self =
        Self { vendor: "GenuineIntel", family: 6, model: 94, name: "Intel(R) Core(TM) i7-6700" };
    /// A CPU that no table knows.
    pub const UNKNOWN: Self =
        Self { vendor: "NobodyInside", family: 1, model: 1, name: "Mystery CPU" };
}

/// Where a CPU sits.
struct Place {
    cpu: usize,
    package: usize,
    core: usize,
    siblings: Vec<usize>,
    package_cpus: Vec<usize>,
}

pub(super) fn write(built: &Built, packages: &[Package], cpu: &Cpu) -> io::Result<()> {
    let places = places(packages);
    let all: Vec<usize> = places.iter().map(|p| p.cpu).collect();
    for file in ["online", "possible", "present"] {
        built
            .write(built.sys(format!("devices/system/cpu/{file}")), &format!("{}\n", list(&all)))?;
    }
    let mut cpuinfo = String::new();
    let mut stat = String::from("cpu  0 0 0 0 0 0 0 0 0 0\n");
    for p in &places {
        let dir = format!("devices/system/cpu/cpu{}/topology", p.cpu);
        for (file, value) in [
            ("physical_package_id", p.package.to_string()),
            ("die_id", "0".to_owned()),
            ("core_id", p.core.to_string()),
            ("thread_siblings_list", list(&p.siblings)),
            ("core_cpus_list", list(&p.siblings)),
            ("core_siblings_list", list(&p.package_cpus)),
            ("package_cpus_list", list(&p.package_cpus)),
        ] {
            built.write(built.sys(format!("{dir}/{file}")), &format!("{value}\n"))?;
        }
        // Writing to a string cannot fail.
        let _ = write!(
            cpuinfo,
            "processor\t: {}\nvendor_id\t: {}\ncpu family\t: {}\nmodel\t\t: {}\n\
             model name\t: {}\nphysical id\t: {}\ncore id\t\t: {}\nflags\t\t: fpu tsc msr\n\n",
            p.cpu, cpu.vendor, cpu.family, cpu.model, cpu.name, p.package, p.core,
        );
        let _ = writeln!(stat, "cpu{} 0 0 0 0 0 0 0 0 0 0", p.cpu);
    }
    built.write(built.proc("cpuinfo"), &cpuinfo)?;
    built.write(built.proc("stat"), &stat)
}

fn places(packages: &[Package]) -> Vec<Place> {
    let mut places = Vec::new();
    let mut next = 0;
    for (package, p) in packages.iter().enumerate() {
        let first = next;
        next += p.cores * p.threads_per_core;
        for cpu in first..next {
            let core = (cpu - first) / p.threads_per_core;
            let sibling = first + core * p.threads_per_core;
            places.push(Place {
                cpu,
                package,
                core,
                siblings: (sibling..sibling + p.threads_per_core).collect(),
                package_cpus: (first..next).collect(),
            });
        }
    }
    places
}

/// A kernel CPU list of consecutive numbers: `0-3`, `5`, or nothing.
fn list(cpus: &[usize]) -> String {
    match cpus {
        [] => String::new(),
        [one] => one.to_string(),
        [first, .., last] => format!("{first}-{last}"),
    }
}

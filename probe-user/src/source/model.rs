//! The rung where nothing measures: published watts per hardware thread × how long threads are busy.
//!
//! A package with `n` threads takes `n × min` watts idle and `max - min` more for every busy thread.
//! This is an estimate of ±50 %, labelled `modelled`, and covers the whole server's share (see the
//! table's note), so no measured memory domain is added to it. Facility: `/proc/cpuinfo`.

use procfs::CpuInfo;
use std::fmt;

use procfs::prelude::FromBufRead;

use super::watts::{GENERAL, Row, TABLE};
use super::{Domain, Kind, ModelPower, Quality, Range, Reading, Scope};
use crate::files;
use crate::roots::Roots;
use crate::topology::Topology;

/// Half-width of the model's error, the contract's ±50 %.
pub const MODEL_RATIO: f64 = 0.5;

/// What `/proc/cpuinfo` says of the first CPU, as far as the table needs it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CpuId {
    /// `vendor_id`, or the implementer of an ARM core.
    pub vendor: String,
    /// `cpu family`, or the architecture of an ARM core.
    pub family: u32,
    /// `model`, or the part of an ARM core.
    pub model: u32,
    /// `stepping`.
    pub stepping: u32,
    /// `model name`, empty where there is none.
    pub name: String,
}

/// What the model takes for this machine's CPU.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelCpu {
    /// Which row of the table, or that none fits.
    pub row: String,
    /// Idle, W per hardware thread.
    pub min_watts: f64,
    /// Busy, W per hardware thread.
    pub max_watts: f64,
}

impl CpuId {
    /// Reads the first CPU of `/proc/cpuinfo`; `None` where it is missing or names none.
    #[must_use]
    pub fn read(roots: &Roots) -> Option<Self> {
        let text = files::bytes(&roots.proc("cpuinfo")).ok()?;
        let info = CpuInfo::from_buf_read(text.as_slice()).ok()?;
        let field = |name: &str| info.get_field(0, name);
        let number = |name: &str| info.get_field(0, name).and_then(parse_number);
        let arm = field("CPU implementer");
        Some(Self {
            vendor: field("vendor_id").or(arm)?.to_owned(),
            family: number("cpu family").or_else(|| number("CPU architecture"))?,
            model: number("model").or_else(|| number("CPU part"))?,
            stepping: number("stepping").unwrap_or(0),
            name: field("model name").unwrap_or_default().to_owned(),
        })
    }

    fn fits(&self, row: &Row) -> bool {
        let within = |(first, last): (u32, u32), n| (first..=last).contains(&n);
        row.vendor == self.vendor
            && row.family == self.family
            && within(row.models, self.model)
            && within(row.steppings, self.stepping)
    }
}

impl fmt::Display for CpuId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { vendor, family, model, .. } = self;
        write!(f, "{vendor} family {family} model {model}")
    }
}

fn parse_number(text: &str) -> Option<u32> {
    match text.strip_prefix("0x") {
        Some(hex) => u32::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

/// The table's row for a CPU; the general value where none fits or the CPU is not known.
#[must_use]
pub fn lookup(cpu: Option<&CpuId>) -> ModelCpu {
    let row = cpu.and_then(|cpu| TABLE.iter().find(|row| cpu.fits(row)));
    let found = row.unwrap_or(&GENERAL);
    ModelCpu { row: found.name.to_owned(), min_watts: found.min, max_watts: found.max }
}

/// One domain for each package.
#[must_use]
pub fn domains(cpu: &ModelCpu, topology: &Topology) -> Vec<Domain> {
    let package = |(index, package): (usize, &crate::topology::Package)| {
        let threads = package.cpus.len();
        let idle = cpu.min_watts * threads as f64;
        Domain {
            name: Kind::Package.domain(index, 0),
            source: "model".to_owned(),
            quality: Quality::Modelled,
            additive: true,
            scope: Scope::Package(index),
            joules_per_count: 1e-9,
            range: Range::Bits(64),
            period_ns: 0,
            quantum_nj: 1,
            // Clocks may exceed the wall clock by their own jitter; the model cannot exceed this.
            max_watts: cpu.max_watts * threads as f64 * 1.5,
            idle_watts: Some(idle),
            idle_error_watts: None,
            class_ratio: MODEL_RATIO,
            reading: Reading::Model(ModelPower {
                min_watts: cpu.min_watts,
                max_watts: cpu.max_watts,
                threads,
            }),
        }
    };
    topology.packages.iter().enumerate().map(package).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::testing::Tree;

    fn of(vendor: &str, family: u32, model: u32, stepping: u32) -> ModelCpu {
        let tree = Tree::new().cpuinfo(vendor, family, model, stepping);
        lookup(CpuId::read(&tree.roots()).as_ref())
    }

    #[test]
    fn a_genoa_is_found_by_family_and_model() {
        let cpu = of("AuthenticAMD", 25, 17, 1);
        assert_eq!(
            (cpu.row.as_str(), cpu.min_watts, cpu.max_watts),
            ("EPYC 4th Gen", 0.7391, 2.2822)
        );
    }

    #[test]
    fn skylake_and_cascade_lake_are_told_apart_by_stepping() {
        assert_eq!(of("GenuineIntel", 6, 85, 4).row, "Skylake (Server)");
        assert_eq!(of("GenuineIntel", 6, 85, 7).row, "Cascade Lake");
        assert_eq!(of("GenuineIntel", 6, 143, 8).row, "Sapphire Rapids");
    }

    #[test]
    fn an_unknown_cpu_takes_the_general_value_and_says_so() {
        for cpu in [of("GenuineIntel", 6, 999, 0), of("CentaurHauls", 7, 0, 0), lookup(None)] {
            assert_eq!((cpu.min_watts, cpu.max_watts), (0.74, 3.5));
            assert_eq!(cpu.row, "an unknown CPU");
        }
    }

    #[test]
    fn an_arm_core_is_found_by_implementer_and_part() {
        let tree = Tree::new();
        tree.write(
            "proc/cpuinfo",
            "processor\t: 0\nCPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: 0x3\n\
             CPU part\t: 0xd0c\n\n",
        );
        let cpu = lookup(CpuId::read(&tree.roots()).as_ref());
        assert_eq!((cpu.row.as_str(), cpu.max_watts), ("Neoverse N1", 1.71));
    }

    #[test]
    fn broken_cpuinfo_names_no_cpu() {
        for text in ["", "\n\n", "processor", "garbage\n", "processor\t: 0\nmodel : x\n"] {
            let tree = Tree::new();
            tree.write("proc/cpuinfo", text);
            assert_eq!(CpuId::read(&tree.roots()), None, "{text:?}");
        }
        assert_eq!(CpuId::read(&Tree::new().roots()), None);
    }

    #[test]
    fn every_row_burns_more_busy_than_idle_and_is_plausible_for_a_server() {
        for row in TABLE.iter().chain([&GENERAL]) {
            assert!(row.min > 0.1 && row.min < row.max && row.max < 10.0, "{}", row.name);
        }
    }

    #[test]
    fn a_package_idles_at_its_threads_times_the_minimum() {
        let tree = Tree::new().cpus(&[0, 0, 0, 1]);
        let domains = domains(&of("AuthenticAMD", 25, 17, 1), &tree.topology());
        assert_eq!(domains.len(), 2);
        assert!((domains[0].idle_watts.unwrap() - 3.0 * 0.7391).abs() < 1e-12);
        assert_eq!((domains[0].quality, domains[0].class_ratio), (Quality::Modelled, 0.5));
        assert!((domains[1].max_watts - 1.5 * 2.2822).abs() < 1e-12);
    }
}

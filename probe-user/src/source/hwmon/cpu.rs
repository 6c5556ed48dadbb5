//! `amd_energy`: energy of AMD sockets (Documentation/hwmon/amd_energy.rst, Linux 5.8 to 5.12 and AMD's own
//! module since). Labels are `EsocketN` and `EcoreNNN`; a core's energy lies within its socket's, so
//! cores are left out. The registers move once a millisecond.

use super::chip::Chip;
use super::{Class, Domain, HwmonInput, Scope, energy};
use crate::source::Kind;
use crate::source::kind::RAPL_PERIOD_NS;
use crate::topology::Topology;

pub(super) fn domains(chips: &[Chip], topology: &Topology) -> Vec<Domain> {
    let class =
        Class { period_ns: RAPL_PERIOD_NS, ratio: 0.0, max_watts: Kind::Package.max_watts() };
    let socket = |chip: &Chip, k: u32| -> Option<Domain> {
        let label = chip.text(&format!("energy{k}_label"))?;
        let package = package(topology, label.strip_prefix("Esocket")?)?;
        let path = chip.dir.join(format!("energy{k}_input"));
        let input = HwmonInput { path, longest_gap_ns: None, card: None };
        Some(energy(Kind::Package.domain(package, 0), Scope::Package(package), input, &class))
    };
    let mut found: Vec<Domain> = Vec::new();
    for chip in chips.iter().filter(|chip| chip.name == "amd_energy") {
        for domain in chip.inputs("energy", "_input").into_iter().filter_map(|k| socket(chip, k)) {
            if found.iter().all(|other| other.name != domain.name) {
                found.push(domain);
            }
        }
    }
    found
}

/// The package of a socket's number, which its driver counts from 0 in the kernel's order.
pub(super) fn package(topology: &Topology, number: &str) -> Option<usize> {
    let index: usize = number.trim().parse().ok()?;
    (index < topology.packages.len()).then_some(index)
}

//! The kinds of domain RAPL knows, and what follows from the kind alone.

use super::Scope;

/// What a counter covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A whole socket.
    Package,
    /// Its memory.
    Dram,
    /// All its cores together (RAPL's power plane 0): part of the package.
    Core,
    /// Its built-in graphics (power plane 1): part of the package, so never the contract's `gpu-N`.
    Igpu,
    /// The whole platform, packages included.
    Psys,
}

impl Kind {
    /// The kind of an event of the PMU `power`.
    #[must_use]
    pub fn of_event(event: &str) -> Option<Self> {
        Some(match event {
            "energy-pkg" => Self::Package,
            "energy-ram" => Self::Dram,
            "energy-cores" => Self::Core,
            "energy-gpu" => Self::Igpu,
            "energy-psys" => Self::Psys,
            _ => return None,
        })
    }

    /// The kind of a powercap zone by its `name` file; a package's carries its number.
    #[must_use]
    pub fn of_zone(name: &str) -> Option<Self> {
        Some(match name {
            "dram" => Self::Dram,
            "core" => Self::Core,
            "uncore" => Self::Igpu,
            "psys" => Self::Psys,
            _ if name.starts_with("package-") => Self::Package,
            _ => return None,
        })
    }

    /// The events of the PMU `power`, the additive ones first.
    pub const EVENTS: [&'static str; 5] =
        ["energy-pkg", "energy-ram", "energy-cores", "energy-gpu", "energy-psys"];

    /// Name of the domain; `unit` counts repeats within a package (dies), 0 for the first.
    #[must_use]
    pub fn domain(self, package: usize, unit: usize) -> String {
        let base = match self {
            Self::Package => format!("package-{package}"),
            Self::Dram => format!("dram-{package}"),
            Self::Core => format!("core-{package}"),
            Self::Igpu => format!("igpu-{package}"),
            Self::Psys if package == 0 => "psys".to_owned(),
            Self::Psys => format!("psys-{package}"),
        };
        if unit == 0 { base } else { format!("{base}-die-{unit}") }
    }

    /// What it covers.
    #[must_use]
    pub fn scope(self, package: usize) -> Scope {
        if self == Self::Psys { Scope::Machine } else { Scope::Package(package) }
    }

    /// Whether it belongs to the additive set: packages and their memory; the rest lies within them.
    #[must_use]
    pub fn additive(self) -> bool {
        matches!(self, Self::Package | Self::Dram)
    }

    /// Largest step of RAPL's register, nJ: 2^-14 J (Intel SDM 15.10.1; finer on AMD and on server
    /// DRAM), and 1 J for psys (Sapphire Rapids, `intel_rapl_msr`'s unit quirk).
    #[must_use]
    pub fn quantum_nj(self) -> u64 {
        if self == Self::Psys { 1_000_000_000 } else { 61_036 }
    }

    /// Mean power no such domain reaches, W: about three times the largest published one (500 W for
    /// a package), so that only broken readings exceed it.
    #[must_use]
    pub fn max_watts(self) -> f64 {
        match self {
            Self::Package | Self::Core => 1_500.0,
            Self::Dram | Self::Igpu => 500.0,
            Self::Psys => 20_000.0,
        }
    }
}

/// RAPL's registers move about once a millisecond (Intel SDM 15.10; measured with jitter).
pub(crate) const RAPL_PERIOD_NS: u64 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_packages_and_memory_are_summed() {
        let additive: Vec<_> =
            Kind::EVENTS.iter().filter(|e| Kind::of_event(e).is_some_and(Kind::additive)).collect();
        assert_eq!(additive, [&"energy-pkg", &"energy-ram"]);
    }

    #[test]
    fn names_follow_the_contract_and_never_claim_to_be_a_gpu() {
        assert_eq!(Kind::Package.domain(1, 0), "package-1");
        assert_eq!(Kind::Package.domain(0, 1), "package-0-die-1");
        assert_eq!(Kind::Igpu.domain(0, 0), "igpu-0");
        assert_eq!(Kind::Psys.domain(0, 0), "psys");
        assert_eq!(Kind::of_zone("package-0-die-1"), Some(Kind::Package));
        assert_eq!(Kind::of_zone("uncore"), Some(Kind::Igpu));
        assert_eq!(Kind::of_zone("battery"), None);
    }
}

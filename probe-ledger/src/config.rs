//! What a ledger is opened with.

use crate::counter::Range;
use crate::domain::{DomainSpec, Scope};
use crate::policy::Policies;
use crate::unit::Nanos;

/// Domains, consumers and policies of a run; fixed while it lasts.
#[derive(Clone, Debug)]
pub struct Config {
    /// The domains; `DomainId(i)` is the i-th.
    pub domains: Vec<DomainSpec>,
    /// How many consumers there are; every sample carries one clock for each.
    pub consumers: usize,
    /// How many packages there are; every boundary carries one clock for each.
    pub packages: usize,
    /// How many CPUs a package has: the more, the more of them do housekeeping while nobody works.
    pub cpus: usize,
    /// A boundary waits at most this long for the domains to pass it: a domain that has not closed a window
    /// by then is not waited for until it samples again. Bounds what is kept.
    pub horizon: Nanos,
    /// A request is settled only once everybody is known who overlapped it, but not later than this after they came: who
    /// is resident for longer shares equally from then on. Bounds what is kept.
    pub patience: Nanos,
    /// How energy is shared where no sensor can tell.
    pub policies: Policies,
}

/// A configuration that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// No such package.
    #[error(
        "domain {domain} covers package {package}, but there are {packages}: count packages from 0"
    )]
    NoSuchPackage {
        /// Its name.
        domain: String,
        /// The index it names.
        package: usize,
        /// How many there are.
        packages: usize,
    },
    /// No such width.
    #[error("domain {domain} has a counter of {bits} bits: give 1 to 64")]
    NoSuchWidth {
        /// Its name.
        domain: String,
        /// The width it names.
        bits: u32,
    },
}

impl Config {
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        for spec in &self.domains {
            let domain = || spec.name.clone();
            if let Scope::Package(package) = spec.scope
                && package >= self.packages
            {
                let packages = self.packages;
                return Err(ConfigError::NoSuchPackage { domain: domain(), package, packages });
            }
            if let Range::Bits(bits) = spec.range
                && !(1..=64).contains(&bits)
            {
                return Err(ConfigError::NoSuchWidth { domain: domain(), bits });
            }
        }
        Ok(())
    }
}

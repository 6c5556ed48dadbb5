//! What comes in at a tick, and what became of it.

use crate::flag::{Flag, Flags};
use crate::unit::{Nanojoules, Nanos};

/// A domain's counter and every consumer's clock, read at one instant.
#[derive(Clone, Copy, Debug)]
pub struct Sample<'a> {
    /// The instant, `CLOCK_MONOTONIC`.
    pub t: Nanos,
    /// The raw counter; `None` if it could not be read: the window then stays open.
    pub counter: Option<u64>,
    /// Cumulative on-CPU nanoseconds of each consumer on the domain's CPUs, by `ConsumerId`; idle is nobody's.
    pub clocks: &'a [u64],
    /// What the window's energy is shared by, where something better than the clocks is known; `None`: the
    /// clocks. Boundaries are placed on the clocks in either case.
    pub weights: Option<Weights<'a>>,
}

/// Cumulative weights, in any unit: only their proportions in a window count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weights<'a> {
    /// Of each consumer, by `ConsumerId`.
    pub consumers: &'a [u64],
    /// Of nobody: that part of the energy is idle energy.
    pub nobody: u64,
    /// They follow from what energy counters showed of who ran a moment ago, and so whose the energy was is less of a guess.
    pub measured: bool,
}

/// What a sample did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    /// The domain's first reading: a baseline, no window.
    First,
    /// A window was closed and charged.
    Closed(Closed),
    /// A window was closed and charged to nobody.
    Void(Void),
    /// There was no reading: the window stays open.
    Missing,
    /// The counter has not moved for longer than it should: the window stays open.
    Held,
    /// The sample was not used.
    Ignored(Ignored),
}

/// A window that was charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed {
    /// Its length.
    pub length: Nanos,
    /// Counter units in it.
    pub units: u64,
    /// Energy in it: idle + charged + residual.
    pub energy: Nanojoules,
    /// Whether it is longer than the domain's windows should be.
    pub gap: bool,
}

/// Why a window is void.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Void {
    /// The counter went backwards other than by a plausible wrap.
    Reset,
    /// More energy than the domain can physically take in that time.
    Implausible,
    /// So long that the counter may have wrapped more than once.
    Ambiguous,
    /// The domain's books would exceed 18.4 GJ.
    Full,
    /// The counter has not moved while it must have, or moves again after that.
    Stuck,
    /// The machine was suspended in it.
    Suspended,
    /// The CPU that reads the counter went away or came in it.
    Hotplug,
}

/// Why what a counter shows of some time is worthless.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// The machine was suspended: counters may have been reset, or have counted on while no clock did.
    Suspended,
    /// The CPU that reads the counter went away, or another reads it now.
    Hotplug,
}

/// Why a sample was not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ignored {
    /// It is not later than the domain's last one.
    Stale,
    /// There is no such domain.
    NoSuchDomain,
    /// It does not carry one clock, or not one weight, a consumer.
    Clocks,
}

impl Void {
    /// Its word in summaries.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Reset => "reset",
            Self::Implausible => "implausible",
            Self::Ambiguous => "ambiguous",
            Self::Full => "full",
            Self::Stuck => "stuck",
            Self::Suspended => "suspended",
            Self::Hotplug => "hotplug",
        }
    }

    /// What requests that were resident in such a window carry.
    pub(crate) fn flags(self) -> Flags {
        let why = match self {
            Self::Reset | Self::Implausible | Self::Ambiguous | Self::Full => None,
            Self::Stuck => Some(Flag::CounterStuck),
            Self::Suspended => Some(Flag::Suspended),
            Self::Hotplug => Some(Flag::Hotplug),
        };
        [Some(Flag::Void), why].into_iter().flatten().collect()
    }
}

impl From<Cause> for Void {
    fn from(cause: Cause) -> Self {
        match cause {
            Cause::Suspended => Self::Suspended,
            Cause::Hotplug => Self::Hotplug,
        }
    }
}

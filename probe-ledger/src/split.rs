//! How it is known which consumer used a device, and what that is worth.
//!
//! The CPUs' clocks are exact. Of a device it is known less: who was there, at best how much each of them did. A
//! split that was only guessed leaves each of those who were there anything from nothing to the whole.

use crate::flag::Flag;

/// How the use of a domain was found out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Split {
    /// By clocks, or nobody used it.
    #[default]
    Clocks,
    /// One process alone was there: all of it is its.
    Exclusive,
    /// By what the device says each process used of it.
    Utilisation,
    /// By the size of the partition each process runs in, whatever it did there.
    Partition,
    /// In equal parts: several were there, and nobody knows what each did.
    Equal,
    /// Nobody knows who was there.
    Unknown,
}

impl Split {
    /// Every one.
    pub const ALL: [Self; 6] = [
        Self::Clocks,
        Self::Exclusive,
        Self::Utilisation,
        Self::Partition,
        Self::Equal,
        Self::Unknown,
    ];

    /// What a request that is charged by it is told.
    #[must_use]
    pub fn flag(self) -> Option<Flag> {
        match self {
            Self::Clocks => None,
            Self::Exclusive => Some(Flag::GpuExclusive),
            Self::Utilisation => Some(Flag::GpuShared),
            Self::Partition => Some(Flag::GpuMig),
            Self::Equal => Some(Flag::GpuSharedEqual),
            Self::Unknown => Some(Flag::GpuUsersUnknown),
        }
    }

    /// Nobody measured what each of several did.
    pub(crate) fn guessed(self) -> bool {
        matches!(self, Self::Partition | Self::Equal | Self::Unknown)
    }

    /// How far off a part may be: energy that may be none of the request's, and energy that may be its on top.
    /// `active` is the window's, `charge` the target's and `part` the request's; `seen` is how much of the window's
    /// length anybody was seen using the device.
    pub(crate) fn doubt(self, active: u64, charge: u64, part: u64, seen: Seen) -> (u64, u64) {
        match self {
            Self::Clocks | Self::Exclusive => (0, 0),
            // Somebody who was not seen may have used it for the rest of the time.
            Self::Utilisation => (part - seen.of(part), 0),
            // The target may have used all of it, of which the request keeps its share.
            Self::Partition | Self::Equal if charge > 0 => {
                let all = u128::from(active) * u128::from(part) / u128::from(charge);
                (part, u64::try_from(all).unwrap_or(u64::MAX).saturating_sub(part))
            }
            // It was not among those who were there.
            Self::Partition | Self::Equal => (0, 0),
            Self::Unknown => (part, active.saturating_sub(part)),
        }
    }
}

/// How much of a window anybody was seen using a device.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    /// All consumers' time, ns; several at once may have more than the window.
    pub(crate) used: u64,
    /// The window's length, ns.
    pub(crate) length: u64,
}

impl Seen {
    /// The same part of an energy, all of it at most.
    fn of(self, energy: u64) -> u64 {
        let used = self.used.min(self.length);
        let part = u128::from(energy) * u128::from(used) / u128::from(self.length.max(1));
        u64::try_from(part).unwrap_or(energy).min(energy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Seen = Seen { used: 7, length: 7 };

    #[test]
    fn equal_parts_may_be_nothing_or_everything() {
        // Half of 10 J to the target, of which the request has 2 J: it keeps 2/5 of whatever the target used.
        assert_eq!(Split::Equal.doubt(10, 5, 2, ALL), (2, 2));
        assert_eq!(Split::Equal.doubt(10, 0, 0, ALL), (0, 0), "it was not there");
        assert_eq!(Split::Exclusive.doubt(10, 10, 4, ALL), (0, 0));
        assert_eq!(Split::Unknown.doubt(10, 0, 0, ALL), (0, 10));
    }

    #[test]
    fn what_nobody_was_seen_using_may_be_somebody_elses() {
        let doubt = |used, length| Split::Utilisation.doubt(100, 100, 80, Seen { used, length });
        assert_eq!(doubt(50, 50), (0, 0));
        assert_eq!(doubt(1, 50), (79, 0), "seen for 2 % of the time");
        assert_eq!(doubt(70, 50), (0, 0), "two at once");
        assert_eq!(doubt(0, 0), (80, 0));
    }
}

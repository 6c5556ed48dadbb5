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

    /// How far off a part may be: energy that may be none of the request's, and energy that may be its on top.
    /// `active` is the window's, `charge` the target's and `part` the request's.
    pub(crate) fn doubt(self, active: u64, charge: u64, part: u64) -> (u64, u64) {
        match self {
            Self::Clocks | Self::Exclusive | Self::Utilisation => (0, 0),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_parts_may_be_nothing_or_everything() {
        // Half of 10 J to the target, of which the request has 2 J: it keeps 2/5 of whatever the target used.
        assert_eq!(Split::Equal.doubt(10, 5, 2), (2, 2));
        assert_eq!(Split::Equal.doubt(10, 0, 0), (0, 0), "it was not there");
        assert_eq!(Split::Exclusive.doubt(10, 10, 4), (0, 0));
        assert_eq!(Split::Unknown.doubt(10, 0, 0), (0, 10));
    }
}

//! What a reader of a number should know about it.

/// Something that limits what a request's joules mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u32)]
pub enum Flag {
    /// The idle power of a domain is unknown: it was taken as 0, so idle energy is inside the joules.
    IdleUnknown = 1 << 0,
    /// A window it was resident in was implausible or reset: that energy is charged to nobody.
    Void = 1 << 1,
    /// It was resident in a window longer than expected.
    Gap = 1 << 2,
    /// A part of its residency was not covered by valid windows of a domain.
    Partial = 1 << 3,
    /// A domain stopped sampling for longer than the horizon and was not waited for.
    Stalled = 1 << 4,
    /// The run ended before a domain closed its last window.
    Unfinished = 1 << 5,
    /// A boundary of it arrived after a window it belongs to had closed: it was moved into the next one.
    Late = 1 << 6,
    /// It was still resident when the run ended.
    Interrupted = 1 << 7,
    /// One process alone was on a device: what the device used is its.
    GpuExclusive = 1 << 8,
    /// A device was shared by what it says each process used.
    GpuShared = 1 << 9,
    /// A device was shared by the size of the partitions, busy or not.
    GpuMig = 1 << 10,
    /// A device was shared in equal parts, because nobody knows who did what.
    GpuSharedEqual = 1 << 11,
    /// Nobody knows who was on a device: its energy is charged to nobody.
    GpuUsersUnknown = 1 << 12,
    /// A counter did not move while it must have: that time was not measured.
    CounterStuck = 1 << 16,
    /// A counter moved much more seldom than its kind should: the error bar uses the period that was measured, and
    /// 0 J is not believed.
    CounterLate = 1 << 17,
    /// The machine was suspended while it was resident: windows across that are void.
    Suspended = 1 << 18,
    /// The CPU that reads a counter went away while it was resident: windows across that are void.
    Hotplug = 1 << 19,
    /// It overlapped others, and what one of them did is not known: they share equally there.
    ShareUnknown = 1 << 20,
    /// It overlapped others before enough was known of what the target's work costs: they share equally there.
    WorkUnfitted = 1 << 21,
    /// The idle power of a domain was learned in this run, from windows in which hardly anybody ran.
    IdleLearned = 1 << 22,
    /// It was resident in a window that the weights are not known of: that one is shared by time.
    WeightsMissing = 1 << 23,
    /// A domain counted no more than its idle power all the time, though somebody used it: the idle power is not this machine's,
    /// or not any more.
    IdleAbove = 1 << 24,
}

impl Flag {
    /// Every flag.
    pub const ALL: [Self; 22] = [
        Self::IdleUnknown,
        Self::Void,
        Self::Gap,
        Self::Partial,
        Self::Stalled,
        Self::Unfinished,
        Self::Late,
        Self::Interrupted,
        Self::GpuExclusive,
        Self::GpuShared,
        Self::GpuMig,
        Self::GpuSharedEqual,
        Self::GpuUsersUnknown,
        Self::CounterStuck,
        Self::CounterLate,
        Self::Suspended,
        Self::Hotplug,
        Self::ShareUnknown,
        Self::WorkUnfitted,
        Self::IdleLearned,
        Self::WeightsMissing,
        Self::IdleAbove,
    ];

    /// As in records.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::IdleUnknown => "idle-unknown",
            Self::Void => "void-window",
            Self::Gap => "gap",
            Self::Partial => "partial",
            Self::Stalled => "domain-stalled",
            Self::Unfinished => "unfinished-window",
            Self::Late => "late-boundary",
            Self::Interrupted => "interrupted",
            Self::GpuExclusive => "gpu-exclusive",
            Self::GpuShared => "gpu-shared",
            Self::GpuMig => "gpu-mig",
            Self::GpuSharedEqual => "gpu-shared-equal",
            Self::GpuUsersUnknown => "gpu-users-unknown",
            Self::CounterStuck => "counter-stuck",
            Self::CounterLate => "counter-late",
            Self::Suspended => "suspended",
            Self::Hotplug => "cpu-hotplug",
            Self::ShareUnknown => "share-unknown",
            Self::WorkUnfitted => "work-unfitted",
            Self::IdleLearned => "idle-learned",
            Self::WeightsMissing => "weights-missing",
            Self::IdleAbove => "idle-above-measured",
        }
    }
}

/// A set of [`Flag`]s.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Flags(u32);

impl Flags {
    /// No flag.
    pub const NONE: Self = Self(0);

    /// Adds one.
    pub fn insert(&mut self, flag: Flag) {
        self.0 |= flag as u32;
    }

    /// Whether it is in the set.
    #[must_use]
    pub fn contains(self, flag: Flag) -> bool {
        self.0 & flag as u32 != 0
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Those in either.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Those in the set, in a fixed order.
    pub fn iter(self) -> impl Iterator<Item = Flag> {
        Flag::ALL.into_iter().filter(move |flag| self.contains(*flag))
    }
}

impl From<Flag> for Flags {
    fn from(flag: Flag) -> Self {
        Self(flag as u32)
    }
}

impl FromIterator<Flag> for Flags {
    fn from_iter<I: IntoIterator<Item = Flag>>(flags: I) -> Self {
        let mut set = Self::NONE;
        flags.into_iter().for_each(|flag| set.insert(flag));
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_holds_what_was_put_in_and_lists_it_in_order() {
        let set: Flags = [Flag::Gap, Flag::IdleUnknown].into_iter().collect();
        assert_eq!(set.iter().map(Flag::name).collect::<Vec<_>>(), ["idle-unknown", "gap"]);
        assert!(set.contains(Flag::Gap) && !set.contains(Flag::Void));
        assert_eq!(Flag::ALL.into_iter().collect::<Flags>().iter().count(), 22);
    }
}

//! Policies: how energy is shared where no sensor can tell. They are data, recorded with every number.

/// What on-CPU time weighs when a window's active energy is shared between consumers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Weight {
    /// A nanosecond on CPU is a nanosecond.
    #[default]
    Time,
    /// A cycle is a cycle, however quick.
    Cycles,
    /// A nanosecond in which the other thread of the core was busy is worth six tenths of one alone.
    Smt,
}

/// How residents share what their target is charged while they overlap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Share {
    /// Each of n gets 1/n.
    #[default]
    Equal,
    /// By the tokens that each received or had generated.
    Tokens,
    /// By what each one's tokens cost, as learned from the target's own history.
    Work,
}

/// How idle energy reaches requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Idle {
    /// Not at all: it stays its own line.
    #[default]
    None,
    /// By residency: an instant's idle energy goes in equal parts to all who are resident then, of whatever target; with
    /// nobody resident it stays idle.
    Even,
    /// By active energy: a window's idle energy is shared over the consumers as its active energy is, and a target's part
    /// over its requests as its active energy is.
    Proportional,
}

/// One of each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Policies {
    /// Between consumers.
    pub weight: Weight,
    /// Between overlapping requests.
    pub share: Share,
    /// For idle energy.
    pub idle: Idle,
}

/// Tenths that a nanosecond is worth.
const ALONE: u64 = 10;
/// Of them, those that it loses beside a busy sibling: two threads of a core together do a fifth more than one.
const LOST: u64 = 4;

impl Weight {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Time, Self::Cycles, Self::Smt];

    /// What a consumer weighs by this policy: cumulative, as its parts are. `time` is its on-CPU nanoseconds, `beside`
    /// those of them beside a busy sibling, `cycles` what it ran in them. `None`: the policy asks for nothing but time, or
    /// what it asks for is not known. No rounding: tenths.
    #[must_use]
    pub fn of(self, time: u64, beside: Option<u64>, cycles: Option<u64>) -> Option<u64> {
        match self {
            Self::Time => None,
            Self::Cycles => cycles,
            Self::Smt => {
                beside.map(|ns| time.saturating_mul(ALONE).saturating_sub(ns.saturating_mul(LOST)))
            }
        }
    }

    /// As on the command line and in records.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Time => "time",
            Self::Cycles => "cycles",
            Self::Smt => "smt",
        }
    }
}

impl Share {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Equal, Self::Tokens, Self::Work];

    /// As on the command line and in records.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Equal => "equal",
            Self::Tokens => "tokens",
            Self::Work => "work",
        }
    }
}

/// Shares `amount` between `n`. The odd nanojoules start at `turn`, which moves on, so that they rotate and nobody is
/// favoured for his place; the parts add up to the amount exactly. Nothing is handed out when `n` is 0.
pub(crate) fn equally(amount: u64, n: usize, turn: &mut usize, parts: &mut Vec<u64>) {
    let portions = Portions::of(amount, n, turn);
    parts.clear();
    parts.extend((0..n).map(|place| portions.part(place)));
}

impl Idle {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::None, Self::Even, Self::Proportional];

    /// As on the command line and in records.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Even => "even",
            Self::Proportional => "proportional",
        }
    }
}

/// One amount shared between residents.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Portions {
    each: u64,
    odd: usize,
    first: usize,
    n: usize,
}

impl Portions {
    pub(crate) fn of(amount: u64, n: usize, turn: &mut usize) -> Self {
        let count = (n as u64).max(1);
        let (each, odd) = (amount / count, (amount % count) as usize);
        let first = *turn % n.max(1);
        *turn = (first + odd) % n.max(1);
        Self { each, odd, first, n }
    }

    /// The part of the resident at this place.
    pub(crate) fn part(self, place: usize) -> u64 {
        let after =
            if place >= self.first { place - self.first } else { place + self.n - self.first };
        self.each + u64::from(after < self.odd)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_nanosecond_beside_a_busy_sibling_weighs_six_tenths_of_one_alone() {
        let smt = |time, beside| Weight::Smt.of(time, Some(beside), None);
        assert_eq!((smt(100, 0), smt(100, 100), smt(100, 50)), (Some(1000), Some(600), Some(800)));
        assert_eq!(smt(1, 3), Some(0), "two clocks that do not agree weigh nothing, and not less");
        assert_eq!(smt(u64::MAX, 0), Some(u64::MAX));
        assert_eq!(Weight::Smt.of(100, None, Some(7)), None);
        assert_eq!(Weight::Cycles.of(100, Some(3), Some(7)), Some(7));
        assert_eq!(Weight::Cycles.of(100, Some(3), None), None);
        assert_eq!(Weight::Time.of(100, Some(3), Some(7)), None, "the clocks are all it asks for");
    }

    #[test]
    fn odd_nanojoules_rotate() {
        let mut turn = 0;
        let mut got = [0; 3];
        for _ in 0..3 {
            let portions = Portions::of(10, 3, &mut turn);
            for (place, sum) in got.iter_mut().enumerate() {
                *sum += portions.part(place);
            }
        }
        assert_eq!(got, [10, 10, 10]);
    }

    proptest! {
        #[test]
        fn parts_add_up_and_differ_by_one_at_most(amount in any::<u64>(), n in 1usize..40, start in any::<usize>()) {
            let mut turn = start;
            let portions = Portions::of(amount, n, &mut turn);
            let parts: Vec<u64> = (0..n).map(|i| portions.part(i)).collect();
            prop_assert_eq!(parts.iter().map(|p| u128::from(*p)).sum::<u128>(), u128::from(amount));
            prop_assert!(parts.iter().max().unwrap() - parts.iter().min().unwrap() <= 1);
        }
    }
}

//! Units: what a number means is in its type.
//!
//! Everything that is added up is an integer. Floating point appears only in conversions for people.

use std::fmt;

/// Nanoseconds per second; also nanojoules per joule and attojoules per nanojoule.
pub(crate) const NANO: u64 = 1_000_000_000;

/// Energy, 10⁻⁹ J. A `u64` holds 18.4 GJ: 213 days at one kilowatt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nanojoules(pub u64);

impl Nanojoules {
    /// No energy; not the same as "not measured", which is `Option::None` everywhere.
    pub const ZERO: Self = Self(0);

    /// The number of nanojoules.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// In joules, for people.
    #[must_use]
    pub fn joules(self) -> f64 {
        self.0 as f64 / NANO as f64
    }

    /// The sum, at most the largest value.
    #[must_use]
    pub fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl fmt::Display for Nanojoules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} nJ", self.0)
    }
}

/// A duration, or an instant of `CLOCK_MONOTONIC`, 10⁻⁹ s.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nanos(pub u64);

impl Nanos {
    /// No time.
    pub const ZERO: Self = Self(0);

    /// The number of nanoseconds.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// In seconds, for people.
    #[must_use]
    pub fn seconds(self) -> f64 {
        self.0 as f64 / NANO as f64
    }

    /// A number of milliseconds.
    #[must_use]
    pub const fn from_millis(ms: u64) -> Self {
        Self(ms.saturating_mul(1_000_000))
    }

    pub(crate) fn since(self, earlier: Self) -> Self {
        Self(self.0.saturating_sub(earlier.0))
    }

    /// The sum, at most the largest value.
    #[must_use]
    pub fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl fmt::Display for Nanos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ns", self.0)
    }
}

/// Power, 10⁻⁹ W. Times nanoseconds it is attojoules (10⁻¹⁸ J), which `u128` holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nanowatts(pub u64);

impl Nanowatts {
    /// From watts; negative and not-a-number become 0, too large becomes the largest.
    #[must_use]
    pub fn from_watts(watts: f64) -> Self {
        Self((watts * NANO as f64).round() as u64)
    }

    /// In watts, for people.
    #[must_use]
    pub fn watts(self) -> f64 {
        self.0 as f64 / NANO as f64
    }

    /// Energy at this power over that time, in attojoules; cannot overflow.
    pub(crate) fn over(self, time: Nanos) -> u128 {
        u128::from(self.0) * u128::from(time.0)
    }
}

/// A relative error, in parts per million.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ratio(pub u32);

impl Ratio {
    /// From a fraction: `0.5` is ±50 %. Negative and not-a-number become 0.
    #[must_use]
    pub fn from_f64(fraction: f64) -> Self {
        Self((fraction * 1e6).round() as u32)
    }

    /// That part of an energy, rounded up.
    pub(crate) fn of(self, energy: u64) -> u64 {
        mul_div_up(energy, u64::from(self.0), 1_000_000)
    }
}

/// `a × b / c` rounded up; saturates; `c` = 0 gives 0.
pub(crate) fn mul_div_up(a: u64, b: u64, c: u64) -> u64 {
    if c == 0 {
        return 0;
    }
    clamp((u128::from(a) * u128::from(b)).div_ceil(u128::from(c)))
}

/// The value, or the largest `u64`.
pub(crate) fn clamp(wide: u128) -> u64 {
    u64::try_from(wide).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn watts_become_nanowatts_and_nonsense_becomes_zero() {
        assert_eq!(Nanowatts::from_watts(12.5), Nanowatts(12_500_000_000));
        assert_eq!(Nanowatts::from_watts(-1.0), Nanowatts(0));
        assert_eq!(Nanowatts::from_watts(f64::NAN), Nanowatts(0));
        assert_eq!(Nanowatts(12_500_000_000).watts(), 12.5);
    }

    #[test]
    fn half_of_seven_is_four_when_rounded_up() {
        assert_eq!(Ratio::from_f64(0.5).of(7), 4);
        assert_eq!(mul_div_up(u64::MAX, u64::MAX, 1), u64::MAX);
        assert_eq!(mul_div_up(5, 5, 0), 0);
    }

    #[test]
    fn people_see_joules_and_seconds() {
        assert_eq!(Nanojoules(1_500_000_000).joules(), 1.5);
        assert_eq!(Nanos::from_millis(250).seconds(), 0.25);
        assert_eq!(Nanojoules(3).to_string(), "3 nJ");
    }
}

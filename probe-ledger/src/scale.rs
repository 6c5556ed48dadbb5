//! Energy per count, in fixed point.
//!
//! A scale is a whole number of 2⁻³² nJ per count, so that RAPL's 2⁻³² J (what the kernel's `power` PMU
//! publishes in its `.scale` files) is exactly 10⁹ and a counter of nanojoules exactly 2³². Converting never drifts: the
//! [`Accumulator`] carries the fraction of a nanojoule that a window leaves over into the next one, so
//! the sum over windows equals the conversion of the sum of counts.

use crate::unit::{Nanojoules, clamp};

const FRACTION_BITS: u32 = 32;
/// Below this, rounding the scale to fixed point costs more than one part in 8192.
const SMALLEST: f64 = 4096.0;

/// Why a scale cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum ScaleError {
    /// Not a finite positive number.
    #[error(
        "{0:e} joules per count is no energy: give a finite number above 0, as in the PMU event's .scale file"
    )]
    NotPositive(f64),
    /// Fixed point cannot hold it.
    #[error(
        "{0:e} joules per count is outside 1e-15 to 4.29, which fixed point holds: check the scale's unit (joules, not nJ or kJ)"
    )]
    OutOfRange(f64),
}

/// Energy of one count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Scale {
    /// 2⁻³² nJ per count.
    mult: u64,
}

impl Scale {
    /// A counter of nanojoules.
    pub const NANOJOULES: Self = Self { mult: 1 << FRACTION_BITS };
    /// A counter of microjoules: powercap's `energy_uj`, hwmon's `energyN_input`.
    pub const MICROJOULES: Self = Self { mult: 1_000 << FRACTION_BITS };
    /// A counter of millijoules: NVML's total energy.
    pub const MILLIJOULES: Self = Self { mult: 1_000_000 << FRACTION_BITS };
    /// RAPL through the kernel's `power` PMU: 2⁻³² J.
    pub const RAPL: Self = Self { mult: 1_000_000_000 };

    /// From joules per count.
    ///
    /// # Errors
    /// The number is not positive, or outside 10⁻¹⁵ J to 4.29 J per count.
    pub fn from_joules_per_count(joules: f64) -> Result<Self, ScaleError> {
        if !joules.is_finite() || joules <= 0.0 {
            return Err(ScaleError::NotPositive(joules));
        }
        let mult = (joules * 1e9 * (1u64 << FRACTION_BITS) as f64).round();
        // `as` would saturate; 2^64 itself is the first value that does not fit.
        if !(SMALLEST..18_446_744_073_709_551_616.0).contains(&mult) {
            return Err(ScaleError::OutOfRange(joules));
        }
        Ok(Self { mult: mult as u64 })
    }

    /// Energy of this many counts, rounded down; saturates at 18.4 GJ.
    #[must_use]
    pub fn energy(self, counts: u64) -> Nanojoules {
        Nanojoules(clamp(self.wide(counts) >> FRACTION_BITS))
    }

    /// The largest number of counts that is at most this energy.
    pub(crate) fn counts(self, energy: Nanojoules) -> u64 {
        clamp((u128::from(energy.0) << FRACTION_BITS) / u128::from(self.mult.max(1)))
    }

    fn wide(self, counts: u64) -> u128 {
        u128::from(counts) * u128::from(self.mult)
    }
}

/// Converts counts window by window without losing fractions of a nanojoule.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Accumulator {
    scale: Scale,
    /// Left over from the windows so far, 2⁻³² nJ; below 2³².
    fraction: u64,
}

impl Accumulator {
    pub(crate) fn new(scale: Scale) -> Self {
        Self { scale, fraction: 0 }
    }

    /// What the next `counts` are worth, and the state if they are accepted. `None`: more than 18.4 GJ.
    pub(crate) fn next(self, counts: u64) -> Option<(Nanojoules, Self)> {
        // Below 2^128: counts and mult are at most 2^64 - 1 and the fraction at most 2^32 - 1.
        let wide = self.scale.wide(counts) + u128::from(self.fraction);
        let energy = u64::try_from(wide >> FRACTION_BITS).ok()?;
        let fraction = (wide & u128::from(u32::MAX)) as u64;
        Some((Nanojoules(energy), Self { fraction, ..self }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_rapl_scale_of_the_pmu_is_exact() {
        let scale = Scale::from_joules_per_count(2.328_306_436_538_696_3e-10).unwrap();
        assert_eq!(scale, Scale::RAPL);
        assert_eq!(scale.energy(1 << 32), Nanojoules(1_000_000_000));
    }

    #[test]
    fn named_scales_are_what_their_names_say() {
        assert_eq!(Scale::NANOJOULES.energy(7), Nanojoules(7));
        assert_eq!(Scale::MICROJOULES.energy(7), Nanojoules(7_000));
        assert_eq!(Scale::MILLIJOULES.energy(7), Nanojoules(7_000_000));
        assert_eq!(Scale::from_joules_per_count(1e-9).unwrap(), Scale::NANOJOULES);
        assert_eq!(Scale::from_joules_per_count(1e-3).unwrap(), Scale::MILLIJOULES);
    }

    #[test]
    fn nonsense_scales_are_refused() {
        for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(matches!(Scale::from_joules_per_count(bad), Err(ScaleError::NotPositive(_))));
        }
        for bad in [1e-20, 5.0, 1e9] {
            assert!(matches!(Scale::from_joules_per_count(bad), Err(ScaleError::OutOfRange(_))));
        }
    }

    proptest! {
        #[test]
        fn windows_add_up_to_the_conversion_of_the_total(
            mult in 4096u64..1 << 62, counts in proptest::collection::vec(0u64..1 << 33, 1..50)
        ) {
            let scale = Scale { mult };
            let mut at = Accumulator::new(scale);
            let mut sum = 0u128;
            for c in &counts {
                let (energy, next) = at.next(*c).unwrap();
                sum += u128::from(energy.0);
                at = next;
            }
            let total = (u128::from(counts.iter().sum::<u64>()) * u128::from(mult)) >> 32;
            prop_assert_eq!(sum, total);
        }

        #[test]
        fn counts_is_the_largest_whose_energy_fits(mult in 4096u64.., nj in 0u64..1 << 50) {
            let scale = Scale { mult };
            let counts = scale.counts(Nanojoules(nj));
            prop_assert!(u128::from(counts) * u128::from(mult) <= u128::from(nj) << 32);
            if counts < u64::MAX {
                prop_assert!((u128::from(counts) + 1) * u128::from(mult) > u128::from(nj) << 32);
            }
        }
    }
}

//! The arithmetic of the kernel's own books, bit for bit.
//!
//! The tick program charges each window's counts to the consumers in the kernel, gross (no idle share
//! taken off), with 64-bit integers only. The ledger keeps the same sums
//! ([`Book::gross_units`](crate::Book::gross_units)), so that the two sets of books can be compared.

/// What the tick program charges a consumer that was on CPU `used` of `total` nanoseconds in a window of
/// `counts` counter units: `counts × used / total`, rounded half up.
///
/// Below 2³² ns of `total` (4.29 CPU seconds in one window) that is exact to half a unit. With s bits more,
/// the kernel drops 2s low bits of `used` and `total` so that the product fits 64 bits: the part of the counts that `total`
/// does not divide is then shared with a relative error of 2⁻⁽³⁰⁻ˢ⁾. Beyond 2⁴⁸ ns (78 CPU hours in a
/// window) the arithmetic wraps.
#[must_use]
pub fn kernel_charge(counts: u64, used: u64, total: u64) -> u64 {
    if total == 0 {
        return 0;
    }
    let shift = (64 - total.leading_zeros()).saturating_sub(32).min(16) * 2;
    let part = total >> shift;
    let (whole, rest) = (counts / total, counts % total);
    let fraction = rest.wrapping_mul(used >> shift).wrapping_add(part / 2) / part;
    whole.wrapping_mul(used).wrapping_add(fraction)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn half_a_unit_rounds_up() {
        assert_eq!(kernel_charge(1, 1, 2), 1);
        assert_eq!(kernel_charge(10, 1, 3), 3);
        assert_eq!(kernel_charge(11, 1, 3), 4);
    }

    #[test]
    fn nobody_on_cpu_is_charged_nothing() {
        assert_eq!(kernel_charge(1_000, 0, 0), 0);
        assert_eq!(kernel_charge(1_000, 0, 7), 0);
    }

    #[test]
    fn a_sole_consumer_gets_every_unit() {
        assert_eq!(kernel_charge(u64::MAX, 2_000_000, 2_000_000), u64::MAX);
        assert_eq!(kernel_charge(429_496_729, 1_000_000, 1_000_000), 429_496_729);
    }

    #[test]
    fn half_of_a_long_window_is_half_of_its_counts() {
        assert_eq!(kernel_charge(1_000_000, 1 << 33, 1 << 34), 500_000);
        assert_eq!(kernel_charge(1 << 40, 3_000_000_000, 6_000_000_000), 1 << 39);
    }

    proptest! {
        #[test]
        fn it_is_within_one_unit_of_the_exact_rational(
            counts in any::<u64>(), total in 1u64..1 << 32, part in 0.0f64..=1.0
        ) {
            let used = ((total as f64 * part) as u64).min(total);
            let charged = i128::from(kernel_charge(counts, used, total));
            let product = i128::from(counts) * i128::from(used);
            // |charged - product / total| <= 1/2, without dividing.
            prop_assert!((2 * (charged * i128::from(total) - product)).abs() <= i128::from(total));
        }

        #[test]
        fn beyond_32_bits_it_is_off_by_the_dropped_bits_only(
            counts in 0u64..1 << 50, total in 1u64 << 32..1 << 48, part in 0.0f64..=1.0
        ) {
            let used = ((total as f64 * part) as u64).min(total);
            let charged = kernel_charge(counts, used, total) as f64;
            let exact = counts as f64 * used as f64 / total as f64;
            let shift = 32 - total.leading_zeros().cast_signed();
            let rest = (counts % total) as f64;
            let bound = 1.0 + rest * 2f64.powi(shift - 30) + exact * 1e-12;
            prop_assert!((charged - exact).abs() <= bound, "{} {} {}", charged, exact, bound);
        }

        #[test]
        fn no_numbers_panic(counts in any::<u64>(), used in any::<u64>(), total in any::<u64>()) {
            let _ = kernel_charge(counts, used, total);
        }
    }
}

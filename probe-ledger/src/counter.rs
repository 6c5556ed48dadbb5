//! Raw counters: how far one moved between two readings.
//!
//! Energy counters are cumulative and wrap. Subtraction is modular; a counter that went backwards has
//! either wrapped or been reset (module reload, suspend, another sensor behind the same name), and only
//! the physics tells which: a wrap whose distance could not have been run in the time is a reset.

/// Where a counter wraps to 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Range {
    /// A register of this many bits, 1 to 64: RAPL's is 32, perf's sums are 64.
    Bits(u32),
    /// The largest value: powercap's `max_energy_range_uj`. The counter is taken to wrap after max + 1 counts. The
    /// kernel converts a wrapping hardware register, so the true distance is longer by less than one
    /// hardware unit (61 µJ on Intel): at most that much is lost at each wrap.
    Max(u64),
}

impl Range {
    /// Number of distinct values; 0 is never returned.
    pub(crate) fn modulus(self) -> u128 {
        match self {
            Self::Bits(bits) => 1u128 << bits.clamp(1, 64),
            Self::Max(max) => u128::from(max) + 1,
        }
    }

    /// From one reading to the next. `most` is the largest plausible distance if it is known; if it is
    /// not, going back by less than half the range is a reset, by more a wrap.
    #[must_use]
    pub fn step(self, previous: Option<u64>, now: u64, most: Option<u64>) -> Delta {
        let Some(previous) = previous else {
            return Delta::First;
        };
        let modulus = self.modulus();
        if u128::from(now) >= modulus || u128::from(previous) >= modulus {
            return Delta::Reset;
        }
        if let Some(step) = now.checked_sub(previous) {
            return Delta::Step(step);
        }
        // now < previous < modulus <= 2^64, so this lies in 1..2^64.
        let wrapped = (modulus - u128::from(previous) + u128::from(now)) as u64;
        let plausible = match most {
            Some(most) => wrapped <= most,
            None => u128::from(wrapped) < modulus / 2,
        };
        if plausible { Delta::Wrapped(wrapped) } else { Delta::Reset }
    }
}

/// How far a counter moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delta {
    /// There is no earlier reading: a baseline, no distance.
    First,
    /// Forwards by this many counts.
    Step(u64),
    /// Through its end and on, this many counts in all.
    Wrapped(u64),
    /// Backwards, or outside its range: the distance is unknown.
    Reset,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_first_reading_is_a_baseline_only() {
        assert_eq!(Range::Bits(64).step(None, u64::MAX, None), Delta::First);
    }

    #[test]
    fn a_32_bit_register_wraps_through_its_end() {
        let range = Range::Bits(32);
        assert_eq!(range.step(Some(u64::from(u32::MAX)), 4, None), Delta::Wrapped(5));
        assert_eq!(range.step(Some(10), 15, None), Delta::Step(5));
    }

    #[test]
    fn powercap_wraps_one_count_after_its_maximum() {
        let range = Range::Max(262_143_328_850);
        assert_eq!(range.step(Some(262_143_328_850), 0, None), Delta::Wrapped(1));
        assert_eq!(range.step(Some(262_143_328_850), 262_143_328_851, None), Delta::Reset);
    }

    #[test]
    fn a_step_back_that_no_power_could_wrap_is_a_reset() {
        let range = Range::Bits(32);
        assert_eq!(range.step(Some(1_000), 999, Some(1_000_000)), Delta::Reset);
        assert_eq!(range.step(Some(1_000), 999, None), Delta::Reset);
        assert_eq!(range.step(Some(4_294_967_000), 5, Some(301)), Delta::Wrapped(301));
        assert_eq!(range.step(Some(4_294_967_000), 5, Some(300)), Delta::Reset);
    }

    #[test]
    fn a_64_bit_counter_that_goes_backwards_was_reset() {
        assert_eq!(Range::Bits(64).step(Some(1 << 40), 7, Some(1 << 50)), Delta::Reset);
    }

    proptest! {
        #[test]
        fn a_wrap_at_any_point_counts_the_true_distance(
            max in 1000u64.., start in any::<u64>(), run in 0u64..400
        ) {
            let range = Range::Max(max);
            let modulus = range.modulus();
            let from = u128::from(start) % modulus;
            let to = (from + u128::from(run)) % modulus;
            let counted = match range.step(Some(from as u64), to as u64, None) {
                Delta::Step(n) | Delta::Wrapped(n) => n,
                other => return Err(TestCaseError::fail(format!("{other:?}"))),
            };
            prop_assert_eq!(counted, run);
        }

        #[test]
        fn no_readings_panic(bits in any::<u32>(), max in any::<u64>(), a in any::<u64>(), b in any::<u64>(),
                             most in any::<Option<u64>>()) {
            let _ = Range::Bits(bits).step(Some(a), b, most);
            let _ = Range::Max(max).step(Some(a), b, most);
        }
    }
}

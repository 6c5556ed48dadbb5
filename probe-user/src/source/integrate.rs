//! Power readings to a cumulative count of energy, for sensors that show power only.
//!
//! Between two readings power is taken as linear. After a time without readings nobody knows what was
//! used: the count then starts again below where it ever was, so that the ledger sees a counter that was
//! reset and voids that window. What is missing is never zero.

/// Where the first count begins: far from both ends of a `u64`.
const BEGIN: u64 = 1 << 62;
/// Picojoules of a nanojoule: microwatts × nanoseconds are femtojoules, summed as twice those.
const PER_NANOJOULE: u128 = 2_000_000;

/// Integrates one sensor.
#[derive(Clone, Debug)]
pub(crate) struct Integrator {
    longest_gap_ns: u64,
    /// Instant and power of the reading before.
    last: Option<(u64, u64)>,
    /// Where the count began after the last gap, nJ.
    begin: u64,
    /// Energy since then, twice femtojoules.
    sum: u128,
}

impl Integrator {
    /// Two readings further apart than this are not integrated over.
    #[must_use]
    pub(crate) fn new(longest_gap_ns: u64) -> Self {
        Self { longest_gap_ns, last: None, begin: BEGIN, sum: 0 }
    }

    /// A reading at an instant (ns); returns the count, cumulative nanojoules.
    pub(crate) fn push(&mut self, t: u64, microwatts: u64) -> u64 {
        match self.last {
            Some((before, _)) if t <= before => return self.count(),
            Some((before, _)) if t - before > self.longest_gap_ns => self.missed(),
            Some((before, power)) => {
                let both = u128::from(power) + u128::from(microwatts);
                self.sum = self.sum.saturating_add(both.saturating_mul(u128::from(t - before)));
            }
            None => {}
        }
        self.last = Some((t, microwatts));
        self.count()
    }

    /// Readings are missing: the count starts again with the next one.
    pub(crate) fn missed(&mut self) {
        if self.last.take().is_some() {
            // Below any count so far, or the ledger would not see that it began again.
            self.begin = self.begin.saturating_sub(1);
            self.sum = 0;
        }
    }

    fn count(&self) -> u64 {
        let nj = u64::try_from(self.sum / PER_NANOJOULE).unwrap_or(u64::MAX);
        self.begin.saturating_add(nj)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    #[test]
    fn power_that_rises_evenly_counts_as_its_mean() {
        let mut count = Integrator::new(2 * S);
        let begin = count.push(S, 100_000_000);
        // 100 W to 300 W in a second: 200 J; then a second at 300 W.
        assert_eq!(count.push(2 * S, 300_000_000) - begin, 200 * S);
        assert_eq!(count.push(3 * S, 300_000_000) - begin, 500 * S);
        assert_eq!(count.push(3 * S, 900_000_000) - begin, 500 * S, "time stands still");
    }

    #[test]
    fn after_a_gap_the_count_is_below_where_it_ever_was() {
        let mut count = Integrator::new(S);
        let first = count.push(S, 100_000_000);
        let again = count.push(2 * S + 1, 100_000_000);
        assert!(again < first, "a gap of more than a second");
        assert_eq!(count.push(2 * S + 11, 100_000_000) - again, 1_000, "100 W for 10 ns");
        count.missed();
        count.missed();
        assert!(count.push(2 * S + 20, 100_000_000) < again);
    }
}

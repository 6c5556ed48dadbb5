//! How evenly the content of a stream came: the gaps between its writes with content, and two quantiles of them.
//!
//! Events in one write arrive together and are one point in time. Gaps are counted in steps of a 32nd of an octave, so a
//! quantile is off by a 64th (1.6 %) at most. Only steps that occurred take room: a stream has a few dozen, the most there
//! can be are 8 KiB, and nothing is allocated once its gaps have been met before.

use serde::{Deserialize, Serialize};

/// Steps an octave, as a power of two.
const FINE: u32 = 5;
/// The shortest gap told apart is 2^10 ns, about a microsecond.
const SHORTEST: u32 = 10;
/// Gaps of 2^42 ns (73 minutes) and more count as one: nothing moving for an hour is a timeout.
const LONGEST: u32 = 42;

/// Gaps between a stream's writes with content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gaps {
    /// How many.
    pub count: u64,
    /// Their median, ns.
    pub p50: u64,
    /// Their 99th percentile (the longest, of fewer than 100), ns.
    pub p99: u64,
}

/// The gaps of an open stream.
#[derive(Clone, Debug, Default)]
pub(super) struct Pace {
    /// When content was last written, if the next gap can be told.
    last: Option<u64>,
    /// By step, ascending: how many.
    counts: Vec<(u16, u32)>,
}

impl Pace {
    /// Content was written at `t`.
    pub(super) fn content(&mut self, t: u64) {
        if let Some(last) = self.last.replace(t) {
            let step = step(t.saturating_sub(last));
            match self.counts.binary_search_by_key(&step, |(step, _)| *step) {
                Ok(at) => self.counts[at].1 = self.counts[at].1.saturating_add(1),
                Err(at) => self.counts.insert(at, (step, 1)),
            }
        }
    }

    /// Content may have been written meanwhile: the gap up to the next is not known.
    pub(super) fn lost(&mut self) {
        self.last = None;
    }

    /// What they come to; `None` before there is one.
    pub(super) fn gaps(&self) -> Option<Gaps> {
        let count: u64 = self.counts.iter().map(|(_, n)| u64::from(*n)).sum();
        let quantile = |percent: u64| {
            // The nearest rank.
            let mut before = (count * percent).div_ceil(100);
            let found = self.counts.iter().find(|(_, n)| {
                let reached = before <= u64::from(*n);
                before = before.saturating_sub(u64::from(*n));
                reached
            });
            found.map(|(step, _)| middle(*step))
        };
        Some(Gaps { count, p50: quantile(50)?, p99: quantile(99)? })
    }

    /// Heap bytes held.
    pub(super) fn retained(&self) -> usize {
        self.counts.capacity() * size_of::<(u16, u32)>()
    }
}

fn step(gap: u64) -> u16 {
    let gap = gap.clamp(1 << SHORTEST, (1 << LONGEST) - 1);
    let octave = gap.ilog2();
    let within = (gap >> (octave - FINE)) - (1 << FINE);
    (((octave - SHORTEST) << FINE) as u64 + within) as u16
}

fn middle(step: u16) -> u64 {
    let step = u32::from(step);
    let width = (step >> FINE) + SHORTEST - FINE;
    let low = u64::from((1 << FINE) + (step & ((1 << FINE) - 1))) << width;
    low + (1 << width) / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn of(gaps: impl IntoIterator<Item = u64>) -> Pace {
        let (mut pace, mut t) = (Pace::default(), 5);
        pace.content(t);
        for gap in gaps {
            t += gap;
            pace.content(t);
        }
        pace
    }

    #[test]
    fn a_quantile_is_off_by_a_64th_at_most_from_a_microsecond_to_an_hour() {
        let mut gap = 1_100;
        while gap < 3_600_000 * MS {
            let told = of([gap]).gaps().unwrap();
            assert_eq!((told.count, told.p50), (1, told.p99));
            assert!(told.p50.abs_diff(gap) * 64 <= gap, "{gap} {told:?}");
            gap += gap / 7;
        }
        assert_eq!(step((1 << LONGEST) - 1), 1023, "so many steps and no more");
    }

    #[test]
    fn quantiles_are_those_of_the_gaps_by_nearest_rank() {
        let near = |told: u64, ms: u64| told.abs_diff(ms * MS) * 64 <= ms * MS;
        let told = of((1..=200).map(|ms| ms * MS)).gaps().unwrap();
        assert!(near(told.p50, 100) && near(told.p99, 198), "{told:?}");
        // One stall among 99 even gaps is beyond the 99th percentile of 100, and among 98 it is it.
        let stall = |even: usize| of([20 * MS].repeat(even).into_iter().chain([900 * MS])).gaps();
        assert!(near(stall(99).unwrap().p99, 20), "{:?}", stall(99));
        assert!(near(stall(98).unwrap().p99, 900), "{:?}", stall(98));
    }

    #[test]
    fn what_was_lost_makes_no_gap_and_one_write_has_none() {
        let mut pace = of([]);
        assert_eq!(pace.gaps(), None);
        pace.lost();
        pace.content(900 * MS);
        assert_eq!(pace.gaps(), None, "nobody knows when content came before it");
        pace.content(910 * MS);
        assert_eq!(pace.gaps().unwrap().count, 1);
    }

    #[test]
    fn a_long_stream_of_even_gaps_holds_next_to_nothing_and_the_oddest_holds_8_kilobytes() {
        let even = of((0..100_000_u64).map(|n| 20 * MS + n % 7 * MS / 4));
        assert_eq!(even.gaps().unwrap().count, 100_000);
        assert!(even.retained() <= 128, "{}", even.retained());
        let odd =
            of((0..200_000_u64).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (20 + n % 44)));
        assert!(odd.retained() <= 8 * 1024, "{}", odd.retained());
    }
}

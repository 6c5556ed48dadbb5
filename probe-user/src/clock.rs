//! The one place that asks what time it is. Everything else is handed instants.
//!
//! The kernel programs stamp with `CLOCK_MONOTONIC`; records show wall-clock time, converted with the
//! offset taken at the start, so that a stepped wall clock does not tear a run apart.

use std::time::Duration;

use jiff::Timestamp;
use rustix::time::{ClockId, clock_gettime};

/// Time, anchored at the moment it was made.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// Wall-clock ns minus monotonic ns.
    offset: i128,
}

/// A duration that lies between two, ns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asleep {
    /// At least.
    pub least: i128,
    /// At most.
    pub most: i128,
}

impl Clock {
    /// Anchors wall-clock time to monotonic time.
    #[must_use]
    pub fn start() -> Self {
        // The pair is read three times; the tightest reading has the least doubt about the offset.
        let pair = || {
            let before = nanos(ClockId::Monotonic);
            let wall = nanos(ClockId::Realtime);
            let after = nanos(ClockId::Monotonic);
            (after - before, wall - i128::midpoint(before, after))
        };
        let best = [pair(), pair(), pair()].into_iter().min_by_key(|(spread, _)| *spread);
        Self { offset: best.map_or(0, |(_, offset)| offset) }
    }

    /// The time of another run, by its [`Clock::offset`].
    #[must_use]
    pub fn at(offset: i64) -> Self {
        Self { offset: i128::from(offset) }
    }

    /// Wall-clock ns minus monotonic ns.
    #[must_use]
    pub fn offset(&self) -> i64 {
        i64::try_from(self.offset).unwrap_or(0)
    }

    /// `CLOCK_MONOTONIC` now, ns.
    #[must_use]
    pub fn now(&self) -> u64 {
        u64::try_from(nanos(ClockId::Monotonic)).unwrap_or(0)
    }

    /// How long the machine has been suspended since it booted.
    #[must_use]
    pub fn asleep(&self) -> Asleep {
        let before = nanos(ClockId::Monotonic);
        let boot = nanos(ClockId::Boottime);
        let after = nanos(ClockId::Monotonic);
        Asleep { least: boot - after, most: boot - before }
    }

    /// CPU time of this process so far, ns.
    #[must_use]
    pub fn own_cpu(&self) -> u64 {
        u64::try_from(nanos(ClockId::ProcessCPUTime)).unwrap_or(0)
    }

    /// A monotonic instant as RFC 3339 with nanoseconds, UTC.
    #[must_use]
    pub fn rfc3339(&self, monotonic: u64) -> String {
        let wall = i128::from(monotonic) + self.offset;
        Timestamp::from_nanosecond(wall).map_or_else(|_| String::new(), |t| format!("{t:.9}"))
    }

    /// How long ago an RFC 3339 instant was by the wall clock; `None`: it is still to come, or no instant.
    #[must_use]
    pub fn since(&self, date: &str) -> Option<Duration> {
        let then = date.parse::<Timestamp>().ok()?.as_nanosecond();
        let passed = i128::from(self.now()) + self.offset - then;
        (passed >= 0).then(|| Duration::from_nanos(u64::try_from(passed).unwrap_or(u64::MAX)))
    }
}

fn nanos(clock: ClockId) -> i128 {
    let now = clock_gettime(clock);
    i128::from(now.tv_sec) * 1_000_000_000 + i128::from(now.tv_nsec)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_monotonic_instant_reads_as_the_wall_clock_of_that_moment_with_nine_digits() {
        let clock = Clock { offset: 1_700_000_000_000_000_000 };
        assert_eq!(clock.rfc3339(1), "2023-11-14T22:13:20.000000001Z");
    }

    #[test]
    fn what_was_slept_is_an_interval_that_only_a_suspend_moves() {
        let clock = Clock::start();
        let (first, second) = (clock.asleep(), clock.asleep());
        assert!(first.least <= first.most && second.least <= first.most);
    }

    #[test]
    fn an_instant_was_so_long_ago_and_what_is_to_come_was_not() {
        let clock = Clock::start();
        let hour = 3_600 * 1_000_000_000;
        let ago = clock.since(&Clock::at(clock.offset() - hour).rfc3339(clock.now())).unwrap();
        assert!((3_600..3_700).contains(&ago.as_secs()), "{ago:?}");
        let to_come = Clock::at(clock.offset() + hour).rfc3339(clock.now());
        assert_eq!(clock.since(&to_come), None);
        assert_eq!(clock.since("yesterday"), None);
    }

    #[test]
    fn the_anchor_agrees_with_the_system_within_a_millisecond() {
        let clock = Clock::start();
        let wall = nanos(ClockId::Realtime);
        assert!((i128::from(clock.now()) + clock.offset - wall).abs() < 1_000_000);
    }
}

//! The one clock of this crate: `CLOCK_MONOTONIC`, the clock of `bpf_ktime_get_ns`.
//!
//! The load client's instants are compared with instants that eBPF programs stamped in the kernel,
//! so they have to come from the very same clock; that `std::time::Instant` happens to use it on
//! Linux is not part of its contract.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// An instant of `CLOCK_MONOTONIC` in nanoseconds since boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Monotonic(u64);

impl Monotonic {
    /// Reads the clock.
    #[must_use]
    pub fn now() -> Self {
        let t = clock_gettime(ClockId::Monotonic);
        // The kernel never returns a negative monotonic time.
        let (s, ns) = (u64::try_from(t.tv_sec).unwrap_or(0), u64::try_from(t.tv_nsec).unwrap_or(0));
        Self(s * 1_000_000_000 + ns)
    }

    /// Nanoseconds since boot, as `bpf_ktime_get_ns` counts them.
    #[must_use]
    pub fn nanos(self) -> u64 {
        self.0
    }

    /// Time since `earlier`; zero if `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// Time since this instant.
    #[must_use]
    pub fn elapsed(self) -> Duration {
        Self::now().since(self)
    }
}

/// Seconds since 1970, for the `created` field of an answer and nothing else.
#[must_use]
pub fn unix_seconds() -> i64 {
    clock_gettime(ClockId::Realtime).tv_sec
}

/// Now, RFC 3339, for the `created_at` field of an answer and nothing else.
#[cfg(feature = "server")]
#[must_use]
pub fn created_at() -> String {
    jiff::Timestamp::from_second(unix_seconds()).unwrap_or_default().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sleeping_20_ms_moves_the_clock_by_at_least_20_ms() {
        let before = Monotonic::now();
        std::thread::sleep(Duration::from_millis(20));
        assert!(before.elapsed() >= Duration::from_millis(20));
        assert_eq!(before.since(Monotonic::now()), Duration::ZERO);
    }
}

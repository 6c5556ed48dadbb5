//! The client's clock: `CLOCK_MONOTONIC`, which the kernel programs use too.

use std::thread;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds of a clock.
fn read(clock: ClockId) -> i128 {
    let t = clock_gettime(clock);
    i128::from(t.tv_sec) * 1_000_000_000 + i128::from(t.tv_nsec)
}

/// Now, `CLOCK_MONOTONIC` ns.
pub(crate) fn now() -> u64 {
    u64::try_from(read(ClockId::Monotonic)).expect("the machine is up for less than 584 years")
}

/// An RFC 3339 instant on `CLOCK_MONOTONIC`, ns.
pub(crate) fn from_rfc3339(text: &str) -> i128 {
    let stamp: jiff::Timestamp = text.parse().unwrap_or_else(|e| panic!("start {text:?}: {e}"));
    stamp.as_nanosecond() - ahead()
}

/// By how much the realtime clock is ahead. It is read between two readings of the monotonic one; of several
/// tries the quickest counts, as another may have been interrupted in between.
fn ahead() -> i128 {
    let tries = (0..8).map(|_| {
        let before = read(ClockId::Monotonic);
        let realtime = read(ClockId::Realtime);
        let after = read(ClockId::Monotonic);
        (after - before, realtime - i128::midpoint(before, after))
    });
    tries.min().expect("there are tries").1
}

/// Polls until `done`, at most `patience`; whether it came true.
pub(crate) fn wait_until(patience: Duration, mut done: impl FnMut() -> bool) -> bool {
    let deadline = now() + u64::try_from(patience.as_nanos()).expect("a short time");
    loop {
        if done() {
            return true;
        }
        if now() > deadline {
            return false;
        }
        thread::sleep(Duration::from_millis(20));
    }
}

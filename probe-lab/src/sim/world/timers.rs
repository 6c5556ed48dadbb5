//! What happens at a known instant; first come, first served among equals.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::sim::machine::NEVER;

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// A package's counters.
    Update(usize),
    DeviceUpdate,
    DeviceRead,
    /// The driver looks at who uses it.
    DeviceSample,
    Tick,
    Poll(usize),
    Govern,
    Balance,
    /// Short work on a CPU.
    Kernel(usize),
    /// The probe's own work.
    Round,
    Neighbour(usize),
    Arrive(usize),
    /// Of a server, a request's token.
    Write(usize, u64),
    GapEnd(usize),
    SpinEnd(usize),
}

/// All timers.
#[derive(Debug, Default)]
pub(super) struct Timers {
    heap: BinaryHeap<Reverse<(u64, u64, Timer)>>,
    set: u64,
}

impl Timers {
    pub(super) fn at(&mut self, t: u64, timer: Timer) {
        self.set += 1;
        self.heap.push(Reverse((t, self.set, timer)));
    }

    pub(super) fn next(&self) -> u64 {
        self.heap.peek().map_or(NEVER, |Reverse((t, ..))| *t)
    }

    pub(super) fn pop(&mut self) -> Option<Timer> {
        self.heap.pop().map(|Reverse((.., timer))| timer)
    }
}

//! What a nanosecond on a CPU weighs: energy of single cores, time beside a busy sibling, counted cycles and misses.

use crate::CONSUMERS;
#[cfg(doc)]
use crate::{CpuSlot, IDLE, TORN};

/// Which core a CPU belongs to, where cores have energy counters of their own.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CpuCore {
    /// The CPU that stands for the core: key of its [`CoreState`] and of its perf event. [`NO_CORE`]: the
    /// CPU's core has no counter.
    pub core: u32,
    /// The other CPU of the core; itself where there is none.
    pub sibling: u32,
    /// Another number for each perf event that the core has had; 0: it has none now, and no window is closed.
    pub epoch: u64,
}

/// No core: its energy is not counted.
pub const NO_CORE: u32 = u32::MAX;

/// One core's energy: key is the CPU that stands for it. Written by whoever holds `lock`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct CoreState {
    /// 1 while a CPU of the core closes a window.
    pub lock: u64,
    /// End of the last window, `CLOCK_MONOTONIC` ns; 0: none yet.
    pub t: u64,
    /// [`CpuCore::epoch`] then.
    pub epoch: u64,
    /// The counter then.
    pub counter: u64,
    /// On-CPU nanoseconds of the core's CPUs by consumer then.
    pub clock: [u64; CONSUMERS],
    /// What the core counted, by who ran on it, in counter units; [`IDLE`]: while nobody did.
    pub book: [u64; CONSUMERS],
    /// What a consumer draws on this core: counter units in 2^[`RATE_BITS`] ns on CPU, over the last
    /// [`RATE_NS`] of them; [`IDLE`]: whoever ran; 0: not known yet.
    pub rate: [u64; CONSUMERS],
    /// The same of the core while nobody runs.
    pub idle_rate: u64,
    /// Who ran on its CPUs at the end of the last window; [`IDLE`] for a CPU that it does not have.
    pub last: [u32; 2],
}

/// One CPU's clocks as the tick takes them, where cores have energy counters.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct CpuClocks {
    /// Now.
    pub now: [u64; CONSUMERS],
    /// When they were weighed last.
    pub weighed: [u64; CONSUMERS],
}

/// Binary places of [`CoreState::rate`].
pub const RATE_BITS: u32 = 16;
/// On-CPU time that a rate is a mean over: many of the counter's updates, which come about every
/// millisecond, and few of a reader's changes of mind.
pub const RATE_NS: u64 = 1 << 24;
/// A core's window is at least this long: the counter does not move more often.
pub const CORE_WINDOW_NS: u64 = 1_000_000;
/// How old what a core's counter shows is on average: half of the time between two of its updates.
pub const CORE_LAG_NS: u64 = 500_000;

/// A package's energy weights: key is the package. Written by its tick.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct CoreWeights {
    /// On-CPU time of each consumer, each nanosecond weighed with what it drew: counter units.
    pub weight: [u64; CONSUMERS],
    /// The rate where neither consumer nor core has one: the mean of those that had in the last tick.
    pub mean: u64,
}

/// One CPU's time beside a busy sibling, where cores have two threads: key is the CPU. Only programs on that CPU write
/// it, after its [`CpuSlot`]; `seq` is odd while they do.
#[repr(C, align(64))]
#[derive(Clone, Copy)]
pub struct BesideState {
    /// Even: consistent; odd: being written.
    pub seq: u64,
    /// Beginning of the slice in progress, `CLOCK_MONOTONIC` ns, as [`CpuSlot::start`]; 0: none yet.
    pub start: u64,
    /// Beginning of the slice before it.
    pub prev_start: u64,
    /// The sibling's idle clock at `start`; [`TORN`]: it could not be read.
    pub idle: u64,
    /// The sibling's idle clock at `prev_start`.
    pub prev_idle: u64,
    /// Consumer of the slice in progress.
    pub who: u32,
    /// Consumer of the slice before it.
    pub prev_who: u32,
    /// On-CPU nanoseconds by consumer in which the sibling was not idle, closed slices only.
    pub ns: [u64; CONSUMERS],
}

/// No sibling: the CPU is its core's only thread, or it is not known.
pub const NO_SIBLING: u32 = u32::MAX;

/// What one CPU's counter (of cycles, or of misses of the last cache level) moved while each consumer ran, where slices are
/// weighed by it: key is the CPU. Only programs on that CPU write it, after its [`CpuSlot`]; `seq` is odd while they do.
/// What lies between two readings of the counter is a *piece* of a slice.
#[repr(C, align(64))]
#[derive(Clone, Copy)]
pub struct CountState {
    /// Even: consistent; odd: being written.
    pub seq: u64,
    /// When the counter was read last, `CLOCK_MONOTONIC` ns: at the begin of the slice in progress or, by a timer, within
    /// it; 0: never.
    pub start: u64,
    /// When it was read before that.
    pub prev_start: u64,
    /// The counter at `start`; [`TORN`]: it could not be read.
    pub count: u64,
    /// How long it had not counted by then, though it was to, ns: a piece in which that grew is not known.
    pub off: u64,
    /// What it moved in the piece from `prev_start` to `start`.
    pub prev_moved: u64,
    /// Consumer of the piece in progress.
    pub who: u32,
    /// Consumer of the piece before it.
    pub prev_who: u32,
    /// Pieces of which the count is not known, those of nobody left out.
    pub missed: u64,
    /// What it moves for a consumer in 2^[`RATE_BITS`] ns, over the last [`RATE_NS`] of its; [`IDLE`]: for whoever ran; 0:
    /// not known yet. What a piece in progress is taken to have, by readers on other CPUs, which cannot read it.
    pub rate: [u64; CONSUMERS],
    /// What it moved by consumer, closed pieces only. [`IDLE`]: while nobody ran.
    pub moved: [u64; CONSUMERS],
}

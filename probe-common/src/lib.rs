//! The ABI between the eBPF programs and user space: what lies in the maps and in the ring buffer.
//!
//! Everything is `repr(C)` with explicit padding, so that the bytes mean the same to both compilers;
//! sizes and offsets are asserted below. This crate knows nothing else: no parsing, no policy.
#![no_std]

use core::mem::{offset_of, size_of};

#[cfg(feature = "user")]
mod pod {
    use super::{
        BesideState, Conn, ConnKey, Control, CoreState, CountState, CpuCore, CpuSlot, Process,
        TickState,
    };

    // SAFETY: all are `repr(C)` without implicit padding, and any bit pattern is valid.
    unsafe impl aya::Pod for CpuSlot {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Process {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Conn {}
    // SAFETY: as above.
    unsafe impl aya::Pod for ConnKey {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Control {}
    // SAFETY: as above.
    unsafe impl aya::Pod for TickState {}
    // SAFETY: as above.
    unsafe impl aya::Pod for CpuCore {}
    // SAFETY: as above.
    unsafe impl aya::Pod for CoreState {}
    // SAFETY: as above.
    unsafe impl aya::Pod for BesideState {}
    // SAFETY: as above.
    unsafe impl aya::Pod for CountState {}
}

/// CPUs the clock slots cover; a machine with more is refused at load.
pub const MAX_CPUS: usize = 256;
/// Packages (sockets) a boundary carries clocks for; a machine with more is refused at load.
pub const MAX_PACKAGES: usize = 8;
/// Energy counters the tick reads per package.
pub const MAX_COUNTERS: usize = 8;
/// Consumers a clock distinguishes: idle, kernel, other, self and the targets.
pub const CONSUMERS: usize = 16;

/// The idle task.
pub const IDLE: u32 = 0;
/// The kernel's own threads.
pub const KERNEL: u32 = 1;
/// Every process that is no target.
pub const OTHER: u32 = 2;
/// The probe itself.
pub const SELF: u32 = 3;
/// The first target; target `i` is consumer `FIRST_TARGET + i`.
pub const FIRST_TARGET: u32 = 4;
/// Targets one probe can watch.
pub const MAX_TARGETS: usize = CONSUMERS - FIRST_TARGET as usize;

/// Bytes kept from the beginning of one read or write.
pub const HEAD_BYTES: usize = 4096;
/// Bytes kept from the end of one read or write that is longer than [`HEAD_BYTES`].
pub const TAIL_BYTES: usize = 1024;

/// One CPU's clocks. Only programs on that CPU write it, `sched_switch` and the resync, with interrupts
/// off; `seq` is odd while they do.
#[repr(C, align(64))]
#[derive(Clone, Copy)]
pub struct CpuSlot {
    /// Even: consistent; odd: being written.
    pub seq: u64,
    /// Beginning of the slice in progress, `CLOCK_MONOTONIC` ns; 0 before the CPU's first switch.
    pub start: u64,
    /// Beginning of the slice before it: what a reader's instant must not precede.
    pub prev_start: u64,
    /// Consumer of the slice in progress.
    pub who: u32,
    /// Consumer of the slice before it: lets a reader undo a switch that came after its instant.
    pub prev_who: u32,
    /// Process of the slice in progress.
    pub tgid: u32,
    /// Padding.
    pub _pad: u32,
    /// On-CPU nanoseconds by consumer, closed slices only.
    pub ns: [u64; CONSUMERS],
    /// When the resync ran here last, `CLOCK_MONOTONIC` ns: timers die with a CPU that goes offline.
    pub resync: u64,
}

/// What is known of one process: key is the tgid.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct Process {
    /// Its consumer.
    pub who: u32,
    /// 1 once its last thread has exited; the entry is folded when the kernel frees the task, or when
    /// the number goes to a new process.
    pub dead: u32,
    /// On-CPU nanoseconds, closed slices only.
    pub ns: u64,
}

/// A watched connection: key is [`ConnKey`].
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct Conn {
    /// Unique for the life of the probe.
    pub id: u64,
    /// Bytes received so far.
    pub rx: u64,
    /// Bytes sent so far.
    pub tx: u64,
}

/// Process and file descriptor.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConnKey {
    /// Process.
    pub tgid: u32,
    /// File descriptor.
    pub fd: i32,
}

/// State of one package's tick, kept between two ticks.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct TickState {
    /// Number of the last emitted tick.
    pub number: u64,
    /// Counters then.
    pub counter: [u64; MAX_COUNTERS],
    /// Clocks then.
    pub clock: [u64; CONSUMERS],
    /// Counters that were read then.
    pub valid: u32,
    /// Timer expiries seen since: the tick is emitted when they reach the divisor.
    pub skipped: u32,
    /// [`CountState::missed`] of all CPUs together, of cycles and of cache misses, as of the last tick that user space was
    /// told of.
    pub missed: [u64; 2],
}

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

/// What user space tells the programs; map index 0.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct Control {
    /// Requests in flight: the tick runs at full rate while it is not 0.
    pub in_flight: u32,
    /// Timer expiries per tick while nothing is in flight.
    pub idle_divisor: u32,
    /// Not 0: write the slice stream.
    pub slices: u32,
    /// Padding.
    pub _pad: u32,
    /// How long after the last byte on a watched connection the tick keeps its full rate.
    pub linger_ns: u64,
}

/// Every loss the programs count; index into the losses map.
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Loss {
    /// A tick found no room in the ring buffer.
    Tick = 0,
    /// A boundary found no room in the ring buffer.
    Io = 1,
    /// A lifecycle record found no room in the ring buffer.
    Process = 2,
    /// A slice found no room in the slice stream.
    Slice = 3,
    /// The process table was full: its time is in the consumer's clock but in no process's book.
    ProcessTable = 4,
    /// The connection table was full: that connection is not watched.
    ConnTable = 5,
    /// A clock slot stayed torn after every retry: that tick or boundary clock is missing, or a slice's time beside
    /// a busy sibling.
    Torn = 6,
    /// A counter could not be read in a tick, or a CPU's cycles or cache misses at a switch.
    Counter = 7,
    /// A CPU changed tasks without a `sched_switch` that programs saw: until the next resync or switch
    /// its time went to the task before.
    Switch = 8,
}
/// Number of [`Loss`] kinds.
pub const LOSSES: usize = 9;

/// What a ring-buffer record is; the first field of each.
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// [`TickRecord`].
    Tick = 1,
    /// [`IoRecord`]: a connection was accepted.
    Open = 2,
    /// [`IoRecord`]: bytes were read from it.
    Recv = 3,
    /// [`IoRecord`]: bytes were written to it.
    Send = 4,
    /// [`IoRecord`]: it was closed.
    Close = 5,
    /// [`IoRecord`]: its sending side was shut down.
    Shutdown = 6,
    /// [`IoRecord`]: a read or write failed; `len` is the errno.
    Error = 7,
    /// [`ProcessRecord`]: a target's process forked; `other` is the child.
    Fork = 8,
    /// [`ProcessRecord`]: a target's process called exec.
    Exec = 9,
    /// [`ProcessRecord`]: a target's process ended.
    Exit = 10,
    /// [`ProcessRecord`]: a target's process began to listen.
    Listen = 11,
}

/// A tick: counters and clocks of one package at one instant.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct TickRecord {
    /// [`Kind::Tick`].
    pub kind: u32,
    /// Package index.
    pub package: u32,
    /// The instant the clocks are exact at, `CLOCK_MONOTONIC` ns.
    pub t: u64,
    /// Number of this tick on its package, counting from 1.
    pub number: u64,
    /// Bit `i`: counter `i` was read.
    pub valid: u32,
    /// What follows the tick: [`HAVE_CORES`] and so on; 0: nothing.
    pub have: u32,
    /// Raw counters.
    pub counter: [u64; MAX_COUNTERS],
    /// On-CPU nanoseconds of the package's CPUs by consumer, slices in progress included.
    pub clock: [u64; CONSUMERS],
}

/// [`TickRecord::have`]: it is a [`CoreTickRecord`].
pub const HAVE_CORES: u32 = 1;
/// [`TickRecord::have`]: it is a [`WideTickRecord`], with time beside a busy sibling.
pub const HAVE_BESIDE: u32 = 2;
/// [`TickRecord::have`]: it is a [`WideTickRecord`], with cycles.
pub const HAVE_CYCLES: u32 = 4;
/// [`TickRecord::have`]: it is a [`WideTickRecord`], with misses of the last cache level.
pub const HAVE_MISSES: u32 = 8;

/// A tick with what weights may be made of.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct WideTickRecord {
    /// The tick.
    pub tick: TickRecord,
    /// With [`HAVE_BESIDE`]: on-CPU nanoseconds by consumer in which the CPU's sibling was not idle, at the tick's
    /// instant, slices in progress included.
    pub beside: [u64; CONSUMERS],
    /// With [`HAVE_CYCLES`]: cycles of the package's CPUs by consumer, at the tick's instant, slices in progress included.
    /// It is missing in the first tick after a slice whose cycles are not known.
    pub cycles: [u64; CONSUMERS],
    /// With [`HAVE_MISSES`]: misses of the last cache level, as `cycles`.
    pub misses: [u64; CONSUMERS],
}

/// A tick where cores have energy counters.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct CoreTickRecord {
    /// The tick.
    pub tick: TickRecord,
    /// [`CoreWeights::weight`] at its instant, slices in progress included.
    pub weight: [u64; CONSUMERS],
    /// [`CoreState::book`], all cores of the package together, as of the last window of each.
    pub book: [u64; CONSUMERS],
}

/// A clock that could not be read.
pub const TORN: u64 = u64::MAX;

/// A boundary on a watched connection; `head + tail` payload bytes follow.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct IoRecord {
    /// [`Kind`].
    pub kind: u32,
    /// Consumer index of the target.
    pub who: u32,
    /// When the system call returned (close and shutdown: when it was entered), `CLOCK_MONOTONIC` ns.
    pub t: u64,
    /// Connection.
    pub conn: u64,
    /// Bytes moved in this direction before this call; of a close those of both directions.
    pub offset: u64,
    /// Process.
    pub tgid: u32,
    /// Bytes this call moved; the errno of an error.
    pub len: u32,
    /// Payload bytes from the beginning of the call's bytes.
    pub head: u16,
    /// Payload bytes from their end, after the head; the bytes between were not captured.
    pub tail: u16,
    /// Padding.
    pub _pad: u32,
    /// On-CPU nanoseconds of the target by package, exact at `t`; [`TORN`] where a slot stayed torn.
    pub clock: [u64; MAX_PACKAGES],
}

/// A change in a target's process tree.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ProcessRecord {
    /// [`Kind`].
    pub kind: u32,
    /// Consumer index of the target.
    pub who: u32,
    /// When, `CLOCK_MONOTONIC` ns.
    pub t: u64,
    /// Process.
    pub tgid: u32,
    /// The child of a fork, else 0.
    pub other: u32,
}

/// One slice of a target, in the slice stream.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct SliceRecord {
    /// `CLOCK_MONOTONIC` ns.
    pub begin: u64,
    /// `CLOCK_MONOTONIC` ns.
    pub end: u64,
    /// Thread; 0: unknown, because the switch that ended the slice was not seen.
    pub pid: u32,
    /// Process.
    pub tgid: u32,
    /// CPU.
    pub cpu: u32,
    /// Consumer index of the target.
    pub who: u32,
}

const _: () = {
    assert!(size_of::<CpuSlot>() == 192 && offset_of!(CpuSlot, ns) == 40);
    assert!(size_of::<Process>() == 16);
    assert!(size_of::<Conn>() == 24);
    assert!(size_of::<ConnKey>() == 8);
    assert!(size_of::<TickState>() == 8 + 8 * MAX_COUNTERS + 8 * CONSUMERS + 24);
    assert!(size_of::<Control>() == 24);
    assert!(size_of::<TickRecord>() == 32 + 8 * MAX_COUNTERS + 8 * CONSUMERS);
    assert!(offset_of!(TickRecord, counter) == 32);
    assert!(size_of::<CpuCore>() == 16);
    assert!(size_of::<CoreState>() == 48 + 3 * 8 * CONSUMERS);
    assert!(size_of::<CoreWeights>() == 8 + 8 * CONSUMERS);
    assert!(size_of::<CoreTickRecord>() == size_of::<TickRecord>() + 2 * 8 * CONSUMERS);
    assert!(size_of::<BesideState>() == 192 && offset_of!(BesideState, ns) == 48);
    assert!(size_of::<CountState>() == 320 && offset_of!(CountState, moved) == 192);
    // One scratch holds either.
    assert!(size_of::<WideTickRecord>() == size_of::<TickRecord>() + 3 * 8 * CONSUMERS);
    assert!(size_of::<WideTickRecord>() > size_of::<CoreTickRecord>());
    assert!(size_of::<IoRecord>() == 48 + 8 * MAX_PACKAGES && offset_of!(IoRecord, clock) == 48);
    assert!(size_of::<ProcessRecord>() == 24);
    assert!(size_of::<SliceRecord>() == 32);
};

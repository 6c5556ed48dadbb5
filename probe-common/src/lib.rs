//! The ABI between the eBPF programs and user space: what lies in the maps and in the ring buffer.
//!
//! Everything is `repr(C)` with explicit padding, so that the bytes mean the same to both compilers;
//! sizes and offsets are asserted below. This crate knows nothing else: no parsing, no policy,
//! but the steps of [`Arrivals`].
#![no_std]

mod arrival;
mod connection;
mod record;
mod weight;

use core::mem::{offset_of, size_of};

pub use arrival::*;
pub use connection::*;
pub use record::*;
pub use weight::*;

#[cfg(feature = "user")]
mod pod {
    use super::{
        BesideState, Conn, ConnKey, Control, CoreState, CountState, CpuCore, CpuSlot, Process,
        Session, SessionCallKey, SessionKey, TickState,
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
    // SAFETY: as above.
    unsafe impl aya::Pod for Session {}
    // SAFETY: as above.
    unsafe impl aya::Pod for SessionKey {}
    // SAFETY: as above.
    unsafe impl aya::Pod for SessionCallKey {}
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
    /// Bit `who`: the TLS functions of that target are hooked.
    pub tls: u32,
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
    /// No room for a TLS session, or a call of one: its plaintext is not seen.
    Tls = 9,
}
/// Number of [`Loss`] kinds.
pub const LOSSES: usize = 10;

const _: () = {
    assert!(size_of::<CpuSlot>() == 192 && offset_of!(CpuSlot, ns) == 40);
    assert!(size_of::<Process>() == 16);
    assert!(size_of::<Conn>() == 40);
    assert!(size_of::<ConnKey>() == 8);
    assert!(size_of::<SessionKey>() == 16);
    assert!(size_of::<Session>() == 24);
    assert!(size_of::<SessionCallKey>() == 16);
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

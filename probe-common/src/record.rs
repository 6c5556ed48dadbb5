//! What programs write into the rings.

use crate::{CONSUMERS, MAX_COUNTERS, MAX_PACKAGES};
#[cfg(doc)]
use crate::{CoreState, CoreWeights};

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
    /// [`IoRecord`]: the TLS session of the connection is known, so its plaintext is seen from here on.
    PlainOpen = 12,
    /// [`IoRecord`]: bytes that a TLS library deciphered; offset and length count plaintext.
    PlainRecv = 13,
    /// [`IoRecord`]: bytes that a TLS library enciphered; offset and length count plaintext.
    PlainSend = 14,
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
    /// Bytes moved in this direction before this call; of a close and a shutdown those received.
    pub offset: u64,
    /// Process.
    pub tgid: u32,
    /// Bytes this call moved; of a close and a shutdown the lower half of those sent before; the errno of an error.
    pub len: u32,
    /// Payload bytes from the beginning of the call's bytes.
    pub head: u16,
    /// Payload bytes from their end, after the head; the bytes between were not captured.
    pub tail: u16,
    /// Of a read: microseconds that the first of its bytes lay in the socket, plus 1; 0: not known.
    pub unread: u32,
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

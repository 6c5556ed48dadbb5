//! What the kernel side tells the rest, free of map layouts: ticks, socket events, process events.
//!
//! These are plain owned values, so that everything downstream can be tested without a kernel.

use serde::{Deserialize, Serialize};

use probe_common::{CONSUMERS, MAX_COUNTERS, MAX_PACKAGES};

/// On-CPU nanoseconds of one target by package at one instant.
pub type TargetClock = [u64; MAX_PACKAGES];

/// Counters and clocks of one package at one instant.
#[derive(Clone, Debug)]
pub struct Tick {
    /// Package index.
    pub package: usize,
    /// `CLOCK_MONOTONIC` ns; the clocks are exact at this instant.
    pub t: u64,
    /// Number of the tick on its package, from 1; a hole is a lost tick.
    pub number: u64,
    /// Raw counters; `None` where the read failed or there is none.
    pub counter: [Option<u64>; MAX_COUNTERS],
    /// On-CPU nanoseconds by consumer index (`probe_common::IDLE` …).
    pub clock: [u64; CONSUMERS],
    /// Where cores have energy counters.
    pub cores: Option<Box<CoreBooks>>,
    /// Of `clock`, nanoseconds in which the CPU's sibling was not idle, where cores have two threads.
    pub beside: Option<Box<[u64; CONSUMERS]>>,
    /// Cycles of the package's CPUs by consumer, where they are counted.
    pub cycles: Option<Box<[u64; CONSUMERS]>>,
    /// Misses of the last cache level of the package's CPUs by consumer, where they are counted.
    pub misses: Option<Box<[u64; CONSUMERS]>>,
}

/// What the cores of a package counted, by who ran on them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoreBooks {
    /// The clocks at the tick's instant, each nanosecond weighed with what was drawn: counter units, by
    /// consumer index; idle weighs nothing.
    pub weight: [u64; CONSUMERS],
    /// Counted up to the last window of each core, by consumer index; idle is while nobody ran.
    pub book: [u64; CONSUMERS],
}

/// A connection of a target, unique for the life of the probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ConnId(pub u64);

/// What happened on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IoKind {
    /// It was accepted (one found open at the start comes without: see `Tracker::found_open`).
    Open,
    /// The server read bytes; 0 bytes: the client will send no more.
    Recv,
    /// The server wrote bytes.
    Send,
    /// The server closed it, or the owning process ended.
    Close,
    /// The server shut down its sending side.
    Shutdown,
    /// A read or write failed with this errno.
    Error(i32),
    /// Its TLS session is known: the plaintext of what follows comes too.
    PlainOpen,
    /// The server's TLS library deciphered bytes; offset and length count plaintext.
    PlainRecv,
    /// It enciphered bytes; as `PlainRecv`.
    PlainSend,
}

/// One event on a watched connection.
#[derive(Clone, Debug)]
pub struct Io {
    /// `CLOCK_MONOTONIC` ns at which the system call returned (close and shutdown: was entered).
    pub t: u64,
    /// Connection.
    pub conn: ConnId,
    /// Consumer index of the target.
    pub who: u32,
    /// Process that made the call.
    pub tgid: u32,
    /// What happened.
    pub kind: IoKind,
    /// Bytes of this direction before this call: a jump is a lost record. Close and shutdown: all that were received.
    pub offset: u64,
    /// Bytes this call moved. Close and shutdown: all that were sent, their count's lower half.
    pub len: u32,
    /// The first `head` captured bytes are the beginning of the call's bytes, the rest their end.
    pub head: usize,
    /// Captured bytes, `head` then tail; at most `len`. When fewer than `len`, the gap lies between.
    pub payload: Vec<u8>,
    /// Of a read: when the first of its bytes came to the socket, `CLOCK_MONOTONIC` ns; `None` where that is not known.
    pub arrived: Option<u64>,
    /// The target's clocks at `t`.
    pub clock: TargetClock,
}

/// A change in a target's process tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProcessChange {
    /// Forked this child.
    Fork(u32),
    /// Called exec.
    Exec,
    /// Ended.
    Exit,
    /// Began to listen on a socket.
    Listen,
}

/// One process event.
#[derive(Clone, Copy, Debug)]
pub struct Process {
    /// `CLOCK_MONOTONIC` ns.
    pub t: u64,
    /// Consumer index of the target.
    pub who: u32,
    /// Process.
    pub tgid: u32,
    /// What changed.
    pub change: ProcessChange,
}

/// Anything the kernel side emits.
#[derive(Clone, Debug)]
pub enum Event {
    /// Counters and clocks; in a box, because it is large and rare.
    Tick(Box<Tick>),
    /// A socket event.
    Io(Io),
    /// A process event.
    Process(Process),
}

impl Event {
    /// The instant of the event, `CLOCK_MONOTONIC` ns.
    #[must_use]
    pub fn t(&self) -> u64 {
        match self {
            Self::Tick(e) => e.t,
            Self::Io(e) => e.t,
            Self::Process(e) => e.t,
        }
    }
}

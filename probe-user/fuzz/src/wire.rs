//! Socket events as the kernel side would tell them: offsets counted, bytes captured from both ends.

use wattprobe::{
    boundary::{Limits, Output, Tracker},
    event::{ConnId, Io, IoKind},
};

use crate::{script::Direction, watch::Watch};

/// Bytes captured of a call.
#[derive(Clone, Copy)]
pub struct Capture {
    /// From its beginning.
    pub head: usize,
    /// From its end.
    pub tail: usize,
}

impl Capture {
    /// All of them.
    pub const ALL: Self = Self { head: usize::MAX, tail: 0 };
}

/// A tracker, watched.
pub struct Wire {
    /// The tracker.
    pub tracker: Tracker,
    /// What it said.
    pub watch: Watch,
    /// The time of the next event.
    pub t: u64,
    out: Vec<Output>,
    connections: usize,
}

impl Wire {
    /// A tracker that may hold this many connections.
    #[must_use]
    pub fn new(connections: usize) -> Self {
        let tracker = Tracker::new(Limits { connections });
        Self { tracker, watch: Watch::default(), t: 1, out: Vec::new(), connections }
    }

    /// Lets the tracker do something, and checks what it said.
    pub fn on(&mut self, act: impl FnOnce(&mut Tracker, u64, &mut Vec<Output>)) {
        act(&mut self.tracker, self.t, &mut self.out);
        self.watch.check(&self.tracker, &mut self.out, self.t, self.connections);
    }

    /// One event.
    pub fn io(&mut self, io: &Io) {
        self.on(|tracker, _, out| tracker.on_io(io, out));
    }

    /// An event without bytes.
    #[must_use]
    pub fn event(&self, conn: u64, kind: IoKind) -> Io {
        Io {
            t: self.t,
            conn: ConnId(conn),
            who: 4 + (conn % 3) as u32,
            tgid: 100 + (conn % 3) as u32,
            kind,
            offset: 0,
            len: 0,
            head: 0,
            payload: Vec::new(),
            arrived: None,
            clock: [self.t / 2; 8],
        }
    }

    /// A close or a shutdown of a connection on which so many bytes were received and sent.
    #[must_use]
    pub fn end(&self, conn: u64, kind: IoKind, [received, sent]: [u64; 2]) -> Io {
        Io { offset: received, len: sent as u32, ..self.event(conn, kind) }
    }

    /// A call that moved `bytes` behind `offset` others.
    #[must_use]
    pub fn call(
        &self,
        conn: u64,
        direction: Direction,
        offset: u64,
        bytes: &[u8],
        capture: Capture,
    ) -> Io {
        let mut io = self.event(conn, direction.kind());
        (io.offset, io.len, io.payload) = (offset, bytes.len() as u32, bytes.to_vec());
        io.head = bytes.len();
        if bytes.len() > capture.head.saturating_add(capture.tail) {
            io.payload.drain(capture.head..bytes.len() - capture.tail);
            io.head = capture.head;
        }
        io
    }
}

//! What the tracker says: boundaries, finished requests, connections it cannot read.

use serde::{Deserialize, Serialize};

use super::facts::Facts;
use crate::event::{ConnId, TargetClock};

/// A request, unique for the life of the tracker, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RequestId(pub u64);

/// An instant with the target's clocks exact at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// `CLOCK_MONOTONIC` ns.
    pub t: u64,
    /// On-CPU ns of the target by package.
    pub clock: TargetClock,
}

/// Which instant of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum What {
    /// The first byte of its head was read.
    Start,
    /// It was fully read. Where its end is hidden: the first read that may have been the last. Where
    /// the server began to answer before the end: the last read before the answer.
    Body,
    /// The head of the final response was written.
    Head,
    /// The first content was written: a stream's first event that carries text, else the first byte
    /// of the body.
    First,
    /// More content was written.
    Chunk,
    /// The last byte of the response was written.
    End,
    /// It was closed without its last byte.
    Abort,
}

impl What {
    /// The name that stands on the tape.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Body => "body",
            Self::Head => "head",
            Self::First => "first",
            Self::Chunk => "chunk",
            Self::End => "end",
            Self::Abort => "abort",
        }
    }
}

/// One instant of one request.
///
/// Boundaries come in the order in which they became certain. A `start` is certain once the bytes
/// look like a request, an `end` that is marked by a close once the close is seen, the `body` of a request that
/// is answered early once the answer is: they then carry the moment of the byte itself, which may lie
/// before boundaries already given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Boundary {
    /// Which instant.
    pub what: What,
    /// The request.
    pub request: RequestId,
    /// Its connection.
    pub conn: ConnId,
    /// Consumer index of the target.
    pub who: u32,
    /// Process that made the call.
    pub tgid: u32,
    /// When, and the target's clocks then.
    pub at: Moment,
    /// `First` and `Chunk`: events with content in this write (1 where the body is no stream); else 0.
    pub events: u32,
}

/// Why bytes are not parsed: those of a connection, or of one compressed body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum NotUnderstood {
    /// TLS, and its plaintext is not had.
    Tls,
    /// HTTP/2, by its preface or by an upgrade.
    Http2,
    /// Upgraded to a WebSocket.
    WebSocket,
    /// Upgraded to something else.
    Upgrade,
    /// A tunnel opened by CONNECT.
    Tunnel,
    /// More pipelined requests than are followed.
    Pipeline,
    /// Not HTTP.
    Garbage,
    /// A request or response whose body is compressed; its connection is read on.
    Compressed,
}

impl NotUnderstood {
    /// Number of kinds.
    pub const COUNT: usize = 8;
    /// Every kind, in the order of [`Stats::not_understood`](super::Stats::not_understood).
    pub const ALL: [Self; Self::COUNT] = [
        Self::Tls,
        Self::Http2,
        Self::WebSocket,
        Self::Upgrade,
        Self::Tunnel,
        Self::Pipeline,
        Self::Garbage,
        Self::Compressed,
    ];

    /// The name that stands in reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tls => "tls",
            Self::Http2 => "http2",
            Self::WebSocket => "websocket",
            Self::Upgrade => "upgrade",
            Self::Tunnel => "tunnel",
            Self::Pipeline => "pipeline",
            Self::Garbage => "garbage",
            Self::Compressed => "compressed",
        }
    }

    /// What it is, for people.
    #[must_use]
    pub const fn told(self) -> &'static str {
        match self {
            Self::Tls => "a connection speaks TLS",
            Self::Http2 => "a connection speaks HTTP/2",
            Self::WebSocket => "a connection became a WebSocket",
            Self::Upgrade => "a connection was upgraded from HTTP/1 to something else",
            Self::Tunnel => "a connection became a tunnel",
            Self::Pipeline => {
                "a client sent more requests ahead of their answers than are followed"
            }
            Self::Garbage => "a connection does not speak HTTP/1",
            Self::Compressed => "a body is compressed (gzip, br, zstd)",
        }
    }

    /// What is measured all the same, for people.
    #[must_use]
    pub const fn still_measured(self) -> &'static str {
        match self {
            Self::Compressed => {
                "the request's times, bytes and energy are measured; the model and the tokens in such a body are not read"
            }
            _ => {
                "requests on it are not told apart; its energy is in the target's background, or in the requests that are open meanwhile"
            }
        }
    }
}

/// Anything the tracker emits.
#[derive(Clone, Debug)]
pub enum Output {
    /// An instant of a request.
    Boundary(Boundary),
    /// A request is over; follows its `End` or `Abort`.
    Finished(Box<Facts>),
    /// A connection will not be parsed any further, or a body was not.
    NotUnderstood {
        /// Which.
        conn: ConnId,
        /// Consumer index of the target.
        who: u32,
        /// Process.
        tgid: u32,
        /// `CLOCK_MONOTONIC` ns.
        t: u64,
        /// Why.
        kind: NotUnderstood,
    },
}

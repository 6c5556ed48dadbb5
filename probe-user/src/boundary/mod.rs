//! Request boundaries: from the system calls of a server's sockets to the instants of its requests.
//!
//! [`Tracker`] takes every [`Io`](crate::event::Io) of the watched connections in order and yields
//! [`Output`]s: a [`Boundary`] for each instant of a request (`start`, `body`, `head`, `first`,
//! `chunk`, `end`, `abort`) and, when the request is over, its [`Facts`].
//!
//! This is a pure state machine: no IO, no clock (time is in the events), no map layouts and no
//! joules. The bytes come from strangers and are cut by the kernel side's capture limits, so:
//!
//! - **No text is kept.** Prompts and completions pass through scanners that remember a path of known
//!   JSON keys and, after a capture gap, a bounded window that is dropped with the message. Only the
//!   `model`, the path without its query and `x-request-id` come out, each bounded.
//! - **Framing is counted, not guessed.** A gap inside a body or a chunk is skipped by its length. Where
//!   a gap or a lost record hides the framing itself, the request is flagged and the connection finds
//!   its way back at the terminator, at the next head, or at the close; the next request is intact.
//! - **What is not HTTP/1 is not parsed.** The connection is set aside under a [`NotUnderstood`] kind.
//!
//! Data flow: `tracker` (all connections) → `connection` (one) → `receive` and `reply` (its two
//! directions) → `framing` (where a message ends) → `request_scan` and `content` (what it says, through
//! `document` and `json_scan`) → `output` and `facts`.

mod answer;
mod bounded;
mod chunked;
mod connection;
mod content;
mod document;
mod exchange;
mod facts;
mod flags;
mod framing;
mod head;
mod head_text;
mod json_key;
mod json_scan;
mod json_tail;
mod lines;
mod output;
mod pieces;
mod queue;
mod receive;
mod reply;
mod request_scan;
mod sniff;
mod stats;
mod tail;
mod tokens;
mod tracker;

pub use facts::{Facts, ServerTimings};
pub use flags::{Flag, Flags};
pub use output::{Boundary, Moment, NotUnderstood, Output, RequestId, What};
pub use stats::Stats;
pub use tracker::{DEFAULT_HORIZON, Limits, Tracker};

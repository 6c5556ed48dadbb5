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
//! - **A loss costs the requests it touched, and no other.** A request of which every record was seen is told
//!   as if nothing had been lost around it, if its client does not pipeline. What cannot be known: a loss shows
//!   with the next call of its direction or with the close, so that the lost end of a request is not known before its
//!   answer, which then looks early; and behind lost answers, the next one is given to the last request that was seen,
//!   though one that was not may have come since. After a loss the tracker is compared with the kernel's own list of connections
//!   ([`Census`]): a request whose close was lost, too, ends as interrupted, and so does one whose last bytes were lost once
//!   its connection is quiet for a second. An answer that was lost whole before a close ends where the last thing was seen, and
//!   over TLS, where the two counts are of other bytes, such a request is marked and taken for aborted. A close from another
//!   thread than the one that writes may be told before the write, which then looks lost.
//! - **What is not HTTP/1 is not parsed.** The connection is set aside under a [`NotUnderstood`] kind; a compressed body is
//!   passed over by its length.
//! - **TLS is read where its plaintext is had** from the server's library; else requests are told apart by sizes and
//!   times, flagged, and have neither path nor tokens.
//!
//! Data flow: `tracker` (all connections) → `connection` (one) → `receive` and `reply` (its two
//! directions) → `framing` (where a message ends) → `request_scan` and `content` (what it says, through
//! `document` and `json_scan`) → `output` and `facts`.

mod answer;
mod bounded;
mod call;
mod chunked;
mod connection;
mod content;
mod document;
mod exchange;
mod facts;
mod flags;
mod framing;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod head;
mod head_text;
mod json_key;
mod json_scan;
mod json_tail;
mod lines;
mod output;
mod pace;
mod pieces;
mod queue;
mod receive;
mod reply;
mod request_scan;
mod route;
mod sniff;
mod stats;
mod stranger;
mod tail;
mod tls;
mod tokens;
mod tracker;

pub use connection::Moved;
pub use facts::{Facts, ServerTimings};
pub use flags::{Flag, Flags};
pub use output::{Boundary, Moment, NotUnderstood, Output, RequestId, What};
pub use pace::Gaps;
pub use stats::Stats;
pub use tracker::{Census, DEFAULT_HORIZON, Limits, Tracker};

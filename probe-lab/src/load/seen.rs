//! What the client saw of one request, and sums of it.

use serde::{Deserialize, Serialize};

/// One line of the client's log. Instants are nanoseconds of `CLOCK_MONOTONIC`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    /// Number of the request in the plan.
    pub id: u64,
    /// What was asked for.
    pub kind: Kind,
    /// Number of the connection that carried it.
    pub connection: u64,
    /// Requests that this connection had carried before.
    pub reused: u32,
    /// Path of the request.
    pub path: String,
    /// The `x-request-id` it was sent with.
    pub external_id: String,
    /// Right before the first byte of the request was written.
    pub start_ns: u64,
    /// Right after the read that brought the first text (stream) or body byte (plain).
    pub first_content_ns: Option<u64>,
    /// Right after the read that completed the answer; for an aborted request, right before the
    /// client closed.
    pub end_ns: u64,
    /// Status of the answer, if there was one.
    pub status: Option<u16>,
    /// How it ended.
    pub end: End,
    /// Prompt tokens as the server reported them.
    pub prompt_tokens: Option<u64>,
    /// Completion tokens as the server reported them.
    pub completion_tokens: Option<u64>,
    /// Events of the stream that carried text.
    pub content_events: u64,
    /// Bytes of the answer, head and framing included.
    pub bytes: u64,
    /// What went wrong, for `error`.
    pub error: Option<String>,
}

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A streamed answer, read to its end.
    Stream,
    /// A plain answer.
    Plain,
    /// A streamed answer that the client leaves in the middle.
    Abort,
    /// `GET /health`.
    Health,
    /// Random bytes instead of HTTP.
    Garbage,
    /// A body of many megabytes.
    BigBody,
    /// A request sent byte by byte.
    Slow,
    /// A body sent after `100 Continue`.
    Continue,
    /// Connections opened and closed at once.
    Churn,
}

/// How a request ended, as its client saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// The answer arrived whole, whatever its status.
    Complete,
    /// The client closed first.
    Aborted,
    /// The connection broke or the answer was malformed.
    Error,
}

/// Sums over many requests.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Totals {
    /// Requests sent.
    pub requests: u64,
    /// Requests by end.
    pub complete: u64,
    /// Requests that the client left.
    pub aborted: u64,
    /// Requests that failed.
    pub error: u64,
    /// Complete answers with a status of 400 or more.
    pub refused: u64,
    /// Prompt tokens reported.
    pub prompt_tokens: u64,
    /// Completion tokens reported.
    pub completion_tokens: u64,
    /// Bytes received.
    pub bytes: u64,
    /// From the first request's start to the last one's end, seconds.
    pub seconds: f64,
    #[serde(skip)]
    span: Option<(u64, u64)>,
}

impl Totals {
    /// Adds one request.
    pub fn add(&mut self, seen: &Seen) {
        self.requests += 1;
        match seen.end {
            End::Complete => self.complete += 1,
            End::Aborted => self.aborted += 1,
            End::Error => self.error += 1,
        }
        if seen.end == End::Complete && seen.status.is_some_and(|s| s >= 400) {
            self.refused += 1;
        }
        self.prompt_tokens += seen.prompt_tokens.unwrap_or(0);
        self.completion_tokens += seen.completion_tokens.unwrap_or(0);
        self.bytes += seen.bytes;
        let (start, end) = self.span.unwrap_or((seen.start_ns, seen.end_ns));
        let span = (start.min(seen.start_ns), end.max(seen.end_ns));
        self.span = Some(span);
        self.seconds = span.1.saturating_sub(span.0) as f64 / 1e9;
    }
}

//! Everything known of one request when it is over, except what it cost.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{
    flags::Flags,
    output::{Moment, RequestId},
    pace::Gaps,
    route,
};
use crate::{
    event::ConnId,
    record::{End, Kind, TokenSource},
};

/// Durations the server itself reported; `None` where it did not. They place the phases of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerTimings {
    /// Waiting before work began.
    pub queue: Option<Duration>,
    /// Loading the model (Ollama).
    pub load: Option<Duration>,
    /// Processing the prompt.
    pub prompt: Option<Duration>,
    /// Generating.
    pub predicted: Option<Duration>,
    /// The whole request (Ollama).
    pub total: Option<Duration>,
}

/// One finished request.
///
/// How it ended ([`Facts::outcome`]):
/// - `Complete`: the response was written to its last byte, as its framing says; without a length, up
///   to the server's own close.
/// - `Aborted`: the connection closed before that, whoever closed it and however the client left (end
///   of file, `ECONNRESET`, `EPIPE`: the latter add the flag `connection_reset`). A response head
///   without a body, written after the client had left, is no success and counts here too.
/// - `Reset`: the serving process ended while the request was open.
/// - `Timeout`: nothing moved for longer than the horizon. `Interrupted`: the probe stopped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// The request.
    pub request: RequestId,
    /// Its connection.
    pub conn: ConnId,
    /// Process that read it.
    pub tgid: u32,
    /// Consumer index of the target.
    pub who: u32,
    /// Method, at most 24 bytes.
    pub method: Option<String>,
    /// Path without the query, at most 256 bytes.
    pub path: Option<String>,
    /// Status of the final response.
    pub status: Option<u16>,
    /// `model` of the request, else of the response, at most 128 bytes.
    pub model: Option<String>,
    /// Whether a stream was asked for: the request's `stream`; where a JSON request was read whole,
    /// does not say and succeeded, whether a stream came.
    pub stream: Option<bool>,
    /// Prompt tokens by the best source that has them, those taken from a cache included.
    pub prompt_tokens: Option<u64>,
    /// Generated tokens by `token_source`.
    pub completion_tokens: Option<u64>,
    /// Where `completion_tokens` comes from; without one, where `prompt_tokens` does.
    pub token_source: TokenSource,
    /// Prompt tokens that were really processed (llama.cpp's `prompt_n`).
    pub prompt_processed: Option<u64>,
    /// Prompt tokens taken from a cache.
    pub prompt_cached: Option<u64>,
    /// Durations by the server's own account.
    pub timings: ServerTimings,
    /// When it came to the server's socket, `CLOCK_MONOTONIC` ns; `None` where that is not known.
    #[serde(default)]
    pub arrived: Option<u64>,
    /// First byte of the request's head read.
    pub start: Moment,
    /// Request fully read.
    pub body: Option<Moment>,
    /// Final response head written.
    pub head: Option<Moment>,
    /// First content written.
    pub first: Option<Moment>,
    /// Last byte written, or the moment it was given up.
    pub end: Moment,
    /// How it ended.
    pub outcome: End,
    /// The client's `x-request-id`, at most 128 bytes.
    pub external_id: Option<String>,
    /// Bytes of the request, head included.
    pub bytes_in: u64,
    /// Bytes of the response, heads and framing included.
    pub bytes_out: u64,
    /// Stream events that carried text; `None` where the body is no stream.
    pub content_events: Option<u64>,
    /// Gaps between writes with content; `None` where there was none, or no stream.
    #[serde(default)]
    pub gaps: Option<Gaps>,
    /// What the reader should know.
    pub flags: Flags,
}

impl Facts {
    /// What the request was for.
    #[must_use]
    pub fn kind(&self) -> Kind {
        let counted = self.token_source != TokenSource::None;
        route::kind(self.method.as_deref(), self.path.as_deref(), counted)
    }
}

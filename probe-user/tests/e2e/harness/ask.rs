//! One request and what came of it.

/// What to ask.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    /// Sent as `x-request-id`.
    pub(crate) id: String,
    /// `None`: `GET /health`.
    pub(crate) tokens: Option<u32>,
    /// As a stream.
    pub(crate) stream: bool,
    /// Ask the stream for its `usage`.
    pub(crate) usage: bool,
    /// Hang up after so many content events.
    pub(crate) hang_up_after: Option<usize>,
}

impl Ask {
    /// A plain answer of at most so many tokens.
    pub(crate) fn plain(id: impl Into<String>, tokens: u32) -> Self {
        Self {
            id: id.into(),
            tokens: Some(tokens),
            stream: false,
            usage: true,
            hang_up_after: None,
        }
    }

    /// A streamed answer of at most so many tokens.
    pub(crate) fn stream(id: impl Into<String>, tokens: u32) -> Self {
        Self { stream: true, ..Self::plain(id, tokens) }
    }

    /// A long stream, abandoned after three pieces.
    pub(crate) fn abandoned(id: impl Into<String>) -> Self {
        Self { hang_up_after: Some(3), ..Self::stream(id, 400) }
    }

    /// A streamed answer that is not asked for its usage.
    pub(crate) fn bare_stream(id: impl Into<String>, tokens: u32) -> Self {
        Self { usage: false, ..Self::stream(id, tokens) }
    }

    /// A health check.
    pub(crate) fn health(id: impl Into<String>) -> Self {
        Self { tokens: None, ..Self::plain(id, 0) }
    }

    /// The request as it goes over the wire.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let id = &self.id;
        let Some(tokens) = self.tokens else {
            return format!("GET /health HTTP/1.1\r\nHost: test\r\nx-request-id: {id}\r\n\r\n")
                .into();
        };
        let more = if self.stream && self.usage {
            r#","stream_options":{"include_usage":true}"#
        } else {
            ""
        };
        let body = format!(
            r#"{{"model":"smollm2","messages":[{{"role":"user","content":"Tell me about {id}"}}],"max_tokens":{tokens},"temperature":0,"stream":{}{more}}}"#,
            self.stream
        );
        format!(
            "POST /v1/chat/completions HTTP/1.1\r\nHost: test\r\nx-request-id: {id}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .into()
    }
}

/// What came of it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// What was asked.
    pub(crate) ask: Ask,
    /// Before the first byte was sent, `CLOCK_MONOTONIC` ns.
    pub(crate) start: u64,
    /// When the first content arrived.
    pub(crate) first: Option<u64>,
    /// When the last byte arrived.
    pub(crate) end: u64,
    /// HTTP status.
    pub(crate) status: Option<u16>,
    /// Whether the answer was complete.
    pub(crate) complete: bool,
    /// Whether the server keeps the connection.
    pub(crate) keeps: bool,
    /// `usage.prompt_tokens`.
    pub(crate) prompt_tokens: Option<u64>,
    /// `usage.completion_tokens`.
    pub(crate) completion_tokens: Option<u64>,
    /// `timings.predicted_n`.
    pub(crate) predicted: Option<u64>,
}

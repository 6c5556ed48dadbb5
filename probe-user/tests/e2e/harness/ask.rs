//! One request: what is asked, how it is sent and read, and what came of it.

use std::time::Duration;

/// What the client speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// `/v1/chat/completions`, server-sent events.
    #[default]
    OpenAi,
    /// `/api/chat`, lines of JSON.
    Ollama,
}

impl Dialect {
    /// The path of a chat.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::OpenAi => "/v1/chat/completions",
            Self::Ollama => "/api/chat",
        }
    }
}

/// How a request leaves the client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Sending {
    /// In one piece.
    #[default]
    Whole,
    /// The head, then every byte of the body by itself.
    ByteByByte,
    /// The head; the body when the server says `100 Continue`.
    Continue,
}

/// Where the client hangs up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Leave {
    /// When this part of the body is sent.
    InBody(f64),
    /// So long after the request was sent, without reading anything.
    BeforeAnswer(Duration),
    /// After so many pieces of content.
    AfterContents(usize),
}

/// What to ask.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    /// Sent as `x-request-id`.
    pub(crate) id: String,
    /// The path.
    pub(crate) path: &'static str,
    /// `None`: a `GET`.
    pub(crate) tokens: Option<u32>,
    /// As a stream.
    pub(crate) stream: bool,
    /// Ask the stream for its `usage`.
    pub(crate) usage: bool,
    /// What is spoken.
    pub(crate) dialect: Dialect,
    /// How it is sent.
    pub(crate) sending: Sending,
    /// Whether the answer is read a few bytes at a time, with pauses.
    pub(crate) slow: bool,
    /// Whether others are sent at the same instant, so that it may wait unread.
    pub(crate) beside: bool,
    /// Where the client hangs up, if it does.
    pub(crate) leave: Option<Leave>,
}

impl Ask {
    /// A plain answer of at most so many tokens.
    pub(crate) fn plain(id: impl Into<String>, tokens: u32) -> Self {
        Self {
            id: id.into(),
            path: Dialect::OpenAi.path(),
            tokens: Some(tokens),
            stream: false,
            usage: true,
            dialect: Dialect::OpenAi,
            sending: Sending::Whole,
            slow: false,
            beside: false,
            leave: None,
        }
    }

    /// A streamed answer of at most so many tokens.
    pub(crate) fn stream(id: impl Into<String>, tokens: u32) -> Self {
        Self { stream: true, ..Self::plain(id, tokens) }
    }

    /// A streamed answer that is not asked for its usage.
    pub(crate) fn bare_stream(id: impl Into<String>, tokens: u32) -> Self {
        Self { usage: false, ..Self::stream(id, tokens) }
    }

    /// A path that is read.
    pub(crate) fn get(id: impl Into<String>, path: &'static str) -> Self {
        Self { path, tokens: None, ..Self::plain(id, 0) }
    }

    /// A health check.
    pub(crate) fn health(id: impl Into<String>) -> Self {
        Self::get(id, "/health")
    }

    /// The same in another dialect; a path that is read is the same in all.
    pub(crate) fn speaking(self, dialect: Dialect) -> Self {
        let path = if self.tokens.is_some() { dialect.path() } else { self.path };
        Self { dialect, path, ..self }
    }

    /// The same, sent in another way.
    pub(crate) fn sent(self, sending: Sending) -> Self {
        Self { sending, ..self }
    }

    /// The same, read slowly.
    pub(crate) fn slowly(self) -> Self {
        Self { slow: true, ..self }
    }

    /// The same, abandoned on the way.
    pub(crate) fn leaving(self, leave: Leave) -> Self {
        Self { leave: Some(leave), ..self }
    }

    /// The request as it goes over the wire: head and body.
    pub(crate) fn bytes(&self) -> (Vec<u8>, Vec<u8>) {
        let (id, path) = (&self.id, self.path);
        let Some(tokens) = self.tokens else {
            let head = format!("GET {path} HTTP/1.1\r\nHost: test\r\nx-request-id: {id}\r\n\r\n");
            return (head.into(), Vec::new());
        };
        let stream = self.stream;
        let about = format!(r#"[{{"role":"user","content":"Tell me about {id}"}}]"#);
        let body = match self.dialect {
            Dialect::OpenAi => {
                let usage = if stream && self.usage {
                    r#","stream_options":{"include_usage":true}"#
                } else {
                    ""
                };
                // Without llama.cpp's cache every prompt token that is reported was also computed.
                format!(
                    r#"{{"model":"smollm2","messages":{about},"max_tokens":{tokens},"temperature":0,"cache_prompt":false,"stream":{stream}{usage}}}"#
                )
            }
            Dialect::Ollama => format!(
                r#"{{"model":"smollm2","messages":{about},"stream":{stream},"options":{{"num_predict":{tokens},"temperature":0}}}}"#
            ),
        };
        let expect =
            if self.sending == Sending::Continue { "Expect: 100-continue\r\n" } else { "" };
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: test\r\nx-request-id: {id}\r\n{expect}\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        (head.into(), body.into())
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
    /// Tokens of the prompt, as the answer says.
    pub(crate) prompt_tokens: Option<u64>,
    /// Tokens of the answer, as it says.
    pub(crate) completion_tokens: Option<u64>,
    /// `timings.predicted_n`.
    pub(crate) predicted: Option<u64>,
}

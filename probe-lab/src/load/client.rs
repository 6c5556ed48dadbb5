//! One connection's worth of a client: sends requests and records what it sees.

use std::io::{self, Write};

use serde_json::{Value, json};

use super::http::{Head, Reader};
use super::plan::prompt;
use super::seen::{End, Kind, Seen};
use super::tokens::{Events, Tokens};
use super::wire::{Target, Wire};
use crate::clock::Monotonic;

/// What requests look like.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Path of completions; messages are sent if it ends in `chat/completions`, a prompt if not.
    pub path: String,
    /// Value of the `model` field.
    pub model: String,
    /// Tokens of an answer.
    pub max_tokens: u32,
    /// Characters of a prompt, roughly.
    pub prompt_chars: usize,
    /// Seed of prompts and of the server's sampling.
    pub seed: u64,
    /// Ask streams to report their usage.
    pub usage: bool,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            path: "/v1/chat/completions".into(),
            model: "default".into(),
            max_tokens: 32,
            prompt_chars: 160,
            seed: 1,
            usage: true,
        }
    }
}

/// A client with at most one open connection.
pub struct Client<'a> {
    target: &'a Target,
    pub(super) shape: &'a Shape,
    open: Option<Open>,
    /// Number of the next connection; clients of one load count in steps.
    next_connection: u64,
    connection_step: u64,
}

pub(super) struct Open {
    pub(super) wire: Wire,
    pub(super) reader: Reader,
    number: u64,
    carried: u32,
}

impl<'a> Client<'a> {
    /// A client; of `of` clients it is number `number`, so that connections are told apart.
    #[must_use]
    pub fn new(target: &'a Target, shape: &'a Shape, number: u64, of: u64) -> Self {
        Self { target, shape, open: None, next_connection: number, connection_step: of.max(1) }
    }

    /// Closes the connection: the next request opens another.
    pub fn close(&mut self) {
        self.open = None;
    }

    /// Sends a request and reads its answer.
    pub fn send(&mut self, id: u64, kind: Kind) -> Seen {
        let request = self.request(id, kind);
        let mut seen = self.blank(id, kind);
        // A server may close a connection that it announced to keep, just when the next request is
        // on its way. As any client does, try once more if not a byte of an answer came.
        let reused = self.open.is_some();
        let result = match self.exchange(&request, &mut seen) {
            Err(e) if reused && seen.bytes == 0 && closed(&e) => {
                self.open = None;
                seen = self.blank(id, kind);
                self.exchange(&request, &mut seen)
            }
            result => result,
        };
        if let Err(e) = result {
            self.open = None;
            seen.end = End::Error;
            seen.end_ns = Monotonic::now().nanos();
            seen.error = Some(e.to_string());
        }
        seen
    }

    /// The connection to use: the open one, unless the server has closed it.
    fn connect(&mut self) -> io::Result<Open> {
        if let Some(open) = self.open.take()
            && !open.wire.stale()
        {
            return Ok(open);
        }
        let wire = self.target.connect()?;
        let number = self.next_connection;
        self.next_connection += self.connection_step;
        Ok(Open { wire, reader: Reader::new(), number, carried: 0 })
    }

    /// The connection of the request that starts now.
    pub(super) fn begin(&mut self, seen: &mut Seen) -> io::Result<Open> {
        let open = self.connect()?;
        seen.connection = open.number;
        seen.reused = open.carried;
        seen.start_ns = Monotonic::now().nanos();
        Ok(open)
    }

    fn exchange(&mut self, request: &[u8], seen: &mut Seen) -> io::Result<()> {
        let mut open = self.begin(seen)?;
        open.wire.write_all(request)?;
        self.receive(open, seen)
    }

    /// Reads the answer to a request that has been sent.
    pub(super) fn receive(&mut self, mut open: Open, seen: &mut Seen) -> io::Result<()> {
        let head = open.reader.head(&mut open.wire, false);
        // A head that breaks off is the beginning of an answer as well.
        seen.bytes = open.reader.arrived();
        let head = head?;
        seen.status = Some(head.status);
        let Head { mut framing, close, event_stream, .. } = head;
        let mut body = Vec::new();
        let mut events = Events::default();
        // Leave in the middle: after the second to fifth piece of text.
        let leave_at = (seen.kind == Kind::Abort).then_some(2 + seen.id % 4);
        while open.reader.body(&mut open.wire, &mut framing, &mut body)? {
            seen.bytes = open.reader.bytes;
            if event_stream {
                events.push(&body);
                body.clear();
            }
            let content = if event_stream { events.with_text > 0 } else { !body.is_empty() };
            if content {
                seen.first_content_ns.get_or_insert(open.reader.read_at.nanos());
            }
            if leave_at.is_some_and(|n| events.with_text >= n) {
                seen.content_events = events.with_text;
                seen.end = End::Aborted;
                seen.end_ns = Monotonic::now().nanos();
                drop(open);
                return Ok(());
            }
        }
        seen.end_ns = open.reader.read_at.nanos();
        seen.bytes = open.reader.bytes;
        seen.content_events = events.with_text;
        let mut tokens = events.tokens;
        if !event_stream && let Ok(answer) = serde_json::from_slice::<Value>(&body) {
            tokens.note(&answer);
        }
        let Tokens { prompt, completion } = tokens;
        (seen.prompt_tokens, seen.completion_tokens) = (prompt, completion);
        open.carried += 1;
        if !close {
            self.open = Some(open);
        }
        Ok(())
    }

    /// The bytes of a request, head and body.
    pub(super) fn request(&self, id: u64, kind: Kind) -> Vec<u8> {
        if kind == Kind::Health {
            return self.head(id, "GET", "/health", "").into_bytes();
        }
        let body = self.body(id, kind).to_string();
        let framing =
            format!("content-type: application/json\r\ncontent-length: {}\r\n", body.len());
        let mut request = self.head(id, "POST", &self.shape.path, &framing).into_bytes();
        request.extend_from_slice(body.as_bytes());
        request
    }

    pub(super) fn head(&self, id: u64, method: &str, path: &str, more: &str) -> String {
        format!(
            "{method} {}{path} HTTP/1.1\r\nhost: {}\r\nuser-agent: lab-load\r\n\
             x-request-id: {}\r\n{more}\r\n",
            self.target.prefix,
            self.target.host,
            self.external_id(id),
        )
    }

    pub(super) fn body(&self, id: u64, kind: Kind) -> Value {
        let shape = self.shape;
        let text = prompt(id, shape.prompt_chars, shape.seed);
        let mut body = if shape.path.ends_with("chat/completions") {
            json!({"messages": [{"role": "user", "content": text}]})
        } else {
            json!({"prompt": text})
        };
        // An answer that is to be left must be long enough to be left.
        let max_tokens =
            if kind == Kind::Abort { shape.max_tokens.max(400) } else { shape.max_tokens };
        body["model"] = json!(shape.model);
        body["max_tokens"] = json!(max_tokens);
        body["temperature"] = json!(0.8);
        body["seed"] = json!(shape.seed.wrapping_add(id) % (1 << 31));
        if matches!(kind, Kind::Stream | Kind::Abort) {
            body["stream"] = json!(true);
            if shape.usage {
                body["stream_options"] = json!({"include_usage": true});
            }
        }
        body
    }

    pub(super) fn blank(&self, id: u64, kind: Kind) -> Seen {
        let path = if kind == Kind::Health { "/health" } else { &self.shape.path };
        let now = Monotonic::now().nanos();
        Seen {
            id,
            kind,
            connection: 0,
            reused: 0,
            path: format!("{}{path}", self.target.prefix),
            external_id: self.external_id(id),
            start_ns: now,
            first_content_ns: None,
            end_ns: now,
            status: None,
            end: End::Complete,
            prompt_tokens: None,
            completion_tokens: None,
            content_events: 0,
            bytes: 0,
            error: None,
        }
    }

    fn external_id(&self, id: u64) -> String {
        format!("lab-{}-{id}", self.shape.seed)
    }
}

/// Whether an error means that the other side had closed.
fn closed(e: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(e.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
}

//! Reads an HTTP/1.1 answer piece by piece: head, length or chunks, server-sent events or lines of JSON.

use serde_json::Value;

/// What is known of an answer so far.
#[derive(Default)]
pub(crate) struct Response {
    raw: Vec<u8>,
    head: Option<Framing>,
    body: Vec<u8>,
    lines_read: usize,
    streams: bool,
    complete: bool,
    /// Tokens of the prompt.
    pub(crate) prompt_tokens: Option<u64>,
    /// Tokens of the answer.
    pub(crate) completion_tokens: Option<u64>,
    /// `timings.predicted_n` of a stream.
    pub(crate) predicted: Option<u64>,
    /// `100 Continue` came.
    pub(crate) continued: bool,
    /// HTTP status.
    pub(crate) status: Option<u16>,
    /// Whether the server keeps the connection open.
    pub(crate) keeps: bool,
    /// When the first content came.
    pub(crate) first: Option<u64>,
    /// Events with content so far.
    pub(crate) contents: usize,
}

#[derive(Clone, Copy)]
enum Framing {
    Length(usize),
    Chunked,
    UntilClose,
}

impl Response {
    /// More bytes, read at `t`.
    pub(crate) fn feed(&mut self, bytes: &[u8], t: u64) {
        self.raw.extend_from_slice(bytes);
        if self.head.is_none() && !self.read_head() {
            return;
        }
        self.read_body();
        if self.streams {
            self.read_lines(t);
        } else if !self.body.is_empty() {
            self.first.get_or_insert(t);
        }
        if self.complete && !self.streams {
            self.count(&serde_json::from_slice(&self.body).unwrap_or_default());
        }
    }

    /// The server closed the connection.
    pub(crate) fn closed(&mut self) {
        self.complete |= matches!(self.head, Some(Framing::UntilClose));
    }

    /// Whether the last byte is here.
    pub(crate) fn is_complete(&self) -> bool {
        self.complete
    }

    /// The body.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Tokens as OpenAI says them, or Ollama.
    fn count(&mut self, said: &Value) {
        let of = |name: &str, native: &str| said["usage"][name].as_u64().or(said[native].as_u64());
        self.prompt_tokens = of("prompt_tokens", "prompt_eval_count").or(self.prompt_tokens);
        self.completion_tokens = of("completion_tokens", "eval_count").or(self.completion_tokens);
    }

    fn read_head(&mut self) -> bool {
        let Some(end) = self.raw.windows(4).position(|w| w == b"\r\n\r\n") else { return false };
        let head = String::from_utf8_lossy(&self.raw[..end]).to_ascii_lowercase();
        self.raw.drain(..end + 4);
        let status = head.split_whitespace().nth(1).and_then(|s| s.parse().ok());
        if status.is_some_and(|status| status < 200) {
            self.continued = true;
            return self.read_head();
        }
        self.status = status;
        let field = |name: &str| {
            let mut lines = head.lines();
            lines.find_map(|l| l.strip_prefix(name)?.strip_prefix(':')).map(|v| v.trim().to_owned())
        };
        let streams = |kind: String| {
            ["text/event-stream", "application/x-ndjson"].iter().any(|s| kind.starts_with(s))
        };
        self.streams = field("content-type").is_some_and(streams);
        self.keeps = field("connection").is_none_or(|v| v != "close");
        self.head = Some(match field("content-length").and_then(|v| v.parse().ok()) {
            Some(length) => Framing::Length(length),
            None if field("transfer-encoding").is_some_and(|v| v.contains("chunked")) => {
                Framing::Chunked
            }
            None => Framing::UntilClose,
        });
        true
    }

    fn read_body(&mut self) {
        match self.head {
            Some(Framing::Length(length)) => {
                self.body.append(&mut self.raw);
                self.complete = self.body.len() >= length;
            }
            Some(Framing::UntilClose) => self.body.append(&mut self.raw),
            Some(Framing::Chunked) => while !self.complete && self.read_chunk() {},
            None => {}
        }
    }

    /// One whole chunk, if it is here.
    fn read_chunk(&mut self) -> bool {
        let Some(line) = self.raw.windows(2).position(|w| w == b"\r\n") else { return false };
        let size = std::str::from_utf8(&self.raw[..line]).ok();
        let size = size.and_then(|s| usize::from_str_radix(s.trim(), 16).ok());
        let size = size.expect("the server frames its chunks");
        let end = line + 2 + size + 2;
        if self.raw.len() < end {
            return false;
        }
        self.body.extend_from_slice(&self.raw[line + 2..end - 2]);
        self.raw.drain(..end);
        self.complete = size == 0;
        true
    }

    /// Every complete line of the stream that was not read yet.
    fn read_lines(&mut self, t: u64) {
        let Some(end) = self.body.iter().rposition(|b| *b == b'\n') else { return };
        let fresh = String::from_utf8_lossy(&self.body[self.lines_read.min(end)..end]).into_owned();
        self.lines_read = end;
        for line in fresh.lines() {
            let line: Value = serde_json::from_str(line.strip_prefix("data:").unwrap_or(line))
                .unwrap_or_default();
            let content = [&line["choices"][0]["delta"]["content"], &line["message"]["content"]];
            if content.iter().any(|text| text.as_str().is_some_and(|text| !text.is_empty())) {
                self.contents += 1;
                self.first.get_or_insert(t);
            }
            self.predicted = line["timings"]["predicted_n"].as_u64().or(self.predicted);
            self.count(&line);
        }
    }
}

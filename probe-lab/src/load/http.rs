//! Answers from a connection, with the instant of every read.

use std::io::{self, Read};

use super::body::{Chunk, Framing};
use super::wire::Wire;
use crate::clock::Monotonic;

/// Reads answers from one connection. Bytes past an answer stay for the next one.
#[derive(Debug)]
pub(super) struct Reader {
    buffer: Vec<u8>,
    /// Bytes of the current answer so far.
    pub(super) bytes: u64,
    /// Right after the last read.
    pub(super) read_at: Monotonic,
}

/// The head of an answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) status: u16,
    pub(super) framing: Framing,
    /// The server announced that it closes.
    pub(super) close: bool,
    pub(super) event_stream: bool,
}

const MAX_HEAD: usize = 64 << 10;

impl Reader {
    pub(super) fn new() -> Self {
        Self { buffer: Vec::new(), bytes: 0, read_at: Monotonic::now() }
    }

    /// Bytes of the current answer that have arrived, read or not.
    pub(super) fn arrived(&self) -> u64 {
        self.bytes + self.buffer.len() as u64
    }

    /// Reads the head of the next answer; interim answers (1xx) are passed over, except that
    /// `100` is returned if `want_continue`.
    pub(super) fn head(&mut self, wire: &mut Wire, want_continue: bool) -> io::Result<Head> {
        self.bytes = 0;
        loop {
            if let Some((head, used)) = parse(&self.buffer)? {
                self.consume(used);
                if head.status >= 200 || (want_continue && head.status == 100) {
                    return Ok(head);
                }
                continue;
            }
            if self.buffer.len() > MAX_HEAD {
                return Err(malformed("the head never ends"));
            }
            if self.fill(wire)? == 0 {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "the server closed before it answered",
                ));
            }
        }
    }

    /// Appends the next piece of the body to `out`; false when it was complete already.
    pub(super) fn body(
        &mut self,
        wire: &mut Wire,
        framing: &mut Framing,
        out: &mut Vec<u8>,
    ) -> io::Result<bool> {
        if framing.done() {
            return Ok(false);
        }
        if self.buffer.is_empty() && self.fill(wire)? == 0 {
            if *framing == Framing::Close {
                *framing = Framing::Length(0);
                return Ok(false);
            }
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the server closed within the answer",
            ));
        }
        let used =
            framing.take(&self.buffer, out).ok_or_else(|| malformed("the chunks are malformed"))?;
        self.consume(used);
        Ok(true)
    }

    fn fill(&mut self, wire: &mut Wire) -> io::Result<usize> {
        let mut part = [0; 16 << 10];
        let n = loop {
            match wire.read(&mut part) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        self.read_at = Monotonic::now();
        self.buffer.extend_from_slice(&part[..n]);
        Ok(n)
    }

    fn consume(&mut self, n: usize) {
        self.buffer.drain(..n);
        self.bytes += n as u64;
    }
}

fn malformed(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

fn parse(buffer: &[u8]) -> io::Result<Option<(Head, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut headers);
    let used = match response.parse(buffer) {
        Ok(httparse::Status::Complete(used)) => used,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(e) => return Err(malformed(&format!("the head is malformed: {e}"))),
    };
    let value = |name: &str| {
        let found = response.headers.iter().find(|h| h.name.eq_ignore_ascii_case(name));
        found.map(|h| String::from_utf8_lossy(h.value).to_ascii_lowercase())
    };
    let status = response.code.unwrap_or(0);
    let chunked = value("transfer-encoding").is_some_and(|v| v.contains("chunked"));
    let framing = if status < 200 || status == 204 || status == 304 {
        Framing::Length(0)
    } else if chunked {
        Framing::Chunked(Chunk::Size(0, false))
    } else {
        match value("content-length") {
            None => Framing::Close,
            Some(n) => Framing::Length(
                n.trim().parse().map_err(|_| malformed("the content length is no number"))?,
            ),
        }
    };
    let connection = value("connection");
    let says = |word| connection.as_deref().is_some_and(|c| c.contains(word));
    let http10 = response.version == Some(0);
    let head = Head {
        status,
        framing,
        close: says("close") || framing == Framing::Close || (http10 && !says("keep-alive")),
        event_stream: value("content-type").is_some_and(|v| v.starts_with("text/event-stream")),
    };
    Ok(Some((head, used)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_say_how_the_body_ends_and_whether_the_connection_lives() {
        let head = |text: &str| parse(text.as_bytes()).unwrap().unwrap().0;
        let h = head("HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n");
        assert_eq!((h.framing, h.close, h.event_stream), (Framing::Length(12), false, false));
        let h = head(
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
             Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n",
        );
        assert_eq!(h.framing, Framing::Chunked(Chunk::Size(0, false)));
        assert!(h.close && h.event_stream);
        let h = head("HTTP/1.0 200 OK\r\n\r\n");
        assert_eq!((h.framing, h.close), (Framing::Close, true));
        assert_eq!(head("HTTP/1.1 204 No Content\r\n\r\n").framing, Framing::Length(0));
        assert_eq!(parse(b"HTTP/1.1 200 OK\r\nCont").unwrap(), None);
        assert!(parse(b"\x00\x01garbage\r\n\r\n").is_err());
        assert!(parse(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n").is_err());
    }
}

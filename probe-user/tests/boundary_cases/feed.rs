//! A server's side of one connection, scripted: what the kernel side would report of it.

use wattprobe::{
    boundary::{Boundary, Facts, Limits, Moment, NotUnderstood, Output, Tracker, What},
    event::{ConnId, Io, IoKind},
};

/// Bytes captured from the beginning and from the end of one call.
pub(crate) const HEAD: usize = 4096;
pub(crate) const TAIL: usize = 1024;
/// Between two calls.
pub(crate) const STEP: u64 = 1_000_000;

/// From the arrival of what is read to the read.
pub(crate) const LAY: u64 = STEP / 4;

/// Feeds one connection's calls to a tracker.
pub(crate) struct Feed {
    pub(crate) tracker: Tracker,
    pub(crate) out: Vec<Output>,
    pub(crate) t: u64,
    pub(crate) rx: u64,
    pub(crate) tx: u64,
    /// Plaintext bytes read and written.
    pub(crate) plain: (u64, u64),
    pub(crate) conn: ConnId,
    pub(crate) tgid: u32,
}

impl Feed {
    /// A connection that was just accepted.
    pub(crate) fn new() -> Self {
        let mut feed = Self::found_open();
        feed.io(IoKind::Open, 0, &[], 0, 0);
        feed
    }

    /// A connection that was open before; 1000 bytes went each way.
    pub(crate) fn found_open() -> Self {
        let tracker = Tracker::new(Limits::default());
        Self {
            tracker,
            out: Vec::new(),
            t: STEP,
            rx: 0,
            tx: 0,
            plain: (0, 0),
            conn: ConnId(7),
            tgid: 100,
        }
    }

    pub(crate) fn event(
        &self,
        kind: IoKind,
        offset: u64,
        bytes: &[u8],
        head: usize,
        tail: usize,
    ) -> Io {
        let mut payload = bytes.to_vec();
        let mut kept = bytes.len();
        if bytes.len() > head + tail {
            payload.drain(head..bytes.len() - tail);
            kept = head;
        }
        let mut clock = [0; 8];
        clock[0] = self.t / 2;
        Io {
            t: self.t,
            conn: self.conn,
            who: 4,
            tgid: self.tgid,
            kind,
            offset,
            len: bytes.len() as u32,
            head: kept,
            payload,
            arrived: (kind == IoKind::Recv).then(|| self.t.saturating_sub(LAY)),
            clock,
        }
    }

    fn io(&mut self, kind: IoKind, offset: u64, bytes: &[u8], head: usize, tail: usize) {
        let io = self.event(kind, offset, bytes, head, tail);
        self.tracker.on_io(&io, &mut self.out);
        self.t += STEP;
    }

    pub(crate) fn recv(&mut self, bytes: impl AsRef<[u8]>) {
        self.recv_captured(bytes.as_ref(), HEAD, TAIL);
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.send_captured(bytes.as_ref(), HEAD, TAIL);
    }

    pub(crate) fn recv_captured(&mut self, bytes: &[u8], head: usize, tail: usize) {
        let at = self.rx;
        self.rx += bytes.len() as u64;
        self.io(IoKind::Recv, at, bytes, head, tail);
    }

    pub(crate) fn send_captured(&mut self, bytes: &[u8], head: usize, tail: usize) {
        let at = self.tx;
        self.tx += bytes.len() as u64;
        self.io(IoKind::Send, at, bytes, head, tail);
    }

    /// The TLS session of the connection is known.
    pub(crate) fn open_plain(&mut self) {
        self.io(IoKind::PlainOpen, 0, &[], 0, 0);
    }

    /// The server's TLS library deciphered these bytes.
    pub(crate) fn decipher(&mut self, bytes: impl AsRef<[u8]>) {
        let at = self.plain.0;
        self.plain.0 += bytes.as_ref().len() as u64;
        self.io(IoKind::PlainRecv, at, bytes.as_ref(), HEAD, TAIL);
    }

    /// It enciphered these.
    pub(crate) fn encipher(&mut self, bytes: impl AsRef<[u8]>) {
        let at = self.plain.1;
        self.plain.1 += bytes.as_ref().len() as u64;
        self.io(IoKind::PlainSend, at, bytes.as_ref(), HEAD, TAIL);
    }

    /// A read whose record is lost.
    pub(crate) fn lose_recv(&mut self, bytes: impl AsRef<[u8]>) {
        self.rx += bytes.as_ref().len() as u64;
        self.t += STEP;
    }

    /// A write whose record is lost.
    pub(crate) fn lose_send(&mut self, bytes: impl AsRef<[u8]>) {
        self.tx += bytes.as_ref().len() as u64;
        self.t += STEP;
    }

    pub(crate) fn eof(&mut self) {
        self.io(IoKind::Recv, self.rx, &[], 0, 0);
    }

    pub(crate) fn error(&mut self, errno: i32) {
        self.io(IoKind::Error(errno), 0, &[], 0, 0);
    }

    pub(crate) fn shutdown(&mut self) {
        self.end(IoKind::Shutdown);
    }

    pub(crate) fn close(&mut self) {
        self.end(IoKind::Close);
    }

    fn end(&mut self, kind: IoKind) {
        let io = Io { len: self.tx as u32, ..self.event(kind, self.rx, &[], 0, 0) };
        self.tracker.on_io(&io, &mut self.out);
        self.t += STEP;
    }

    pub(crate) fn facts(&self) -> Vec<Facts> {
        let facts = |o: &Output| match o {
            Output::Finished(facts) => Some((**facts).clone()),
            _ => None,
        };
        self.out.iter().filter_map(facts).collect()
    }

    /// The only finished request.
    pub(crate) fn only(&self) -> Facts {
        let facts = self.facts();
        assert_eq!(facts.len(), 1, "{facts:#?}");
        facts[0].clone()
    }

    pub(crate) fn boundaries(&self) -> Vec<Boundary> {
        let boundary = |o: &Output| match o {
            Output::Boundary(boundary) => Some(*boundary),
            _ => None,
        };
        self.out.iter().filter_map(boundary).collect()
    }

    /// Names of the boundaries, with the request's number and the step of the call.
    pub(crate) fn told(&self) -> Vec<String> {
        let tell = |b: &Boundary| format!("{} {} @{}", b.request.0, b.what.as_str(), b.at.t / STEP);
        self.boundaries().iter().map(tell).collect()
    }

    pub(crate) fn count(&self, what: What) -> usize {
        self.boundaries().iter().filter(|b| b.what == what).count()
    }

    pub(crate) fn not_understood(&self) -> Vec<NotUnderstood> {
        let kind = |o: &Output| match o {
            Output::NotUnderstood { kind, .. } => Some(*kind),
            _ => None,
        };
        self.out.iter().filter_map(kind).collect()
    }
}

/// The step of the call a moment is of.
pub(crate) fn step(moment: Option<Moment>) -> Option<u64> {
    moment.map(|m| m.t / STEP)
}

/// Facts without what depends on how the bytes were cut into calls.
pub(crate) fn timeless(mut facts: Facts) -> Facts {
    let zero = Moment { t: 0, clock: [0; 8] };
    facts.start = zero;
    facts.end = zero;
    facts.gaps = None;
    facts.arrived = None;
    for moment in [&mut facts.body, &mut facts.head, &mut facts.first] {
        *moment = moment.map(|_| zero);
    }
    facts
}

pub(crate) fn post(path: &str, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: localhost:8080\r\nX-Request-Id: req-1\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

pub(crate) fn chunk(data: &str) -> String {
    format!("{:x}\r\n{data}\r\n", data.len())
}

/// A chat chunk as llama-server writes it.
pub(crate) fn delta(text: &str) -> String {
    format!(
        "data: {{\"choices\":[{{\"finish_reason\":null,\"index\":0,\"delta\":{{\"content\":\"{text}\"}}}}],\
         \"created\":1754900000,\"id\":\"chatcmpl-1\",\"model\":\"smollm2\",\
         \"system_fingerprint\":\"b1\",\"object\":\"chat.completion.chunk\"}}\n\n"
    )
}

pub(crate) const ROLE: &str = "data: {\"choices\":[{\"finish_reason\":null,\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":null}}],\"model\":\"smollm2\"}\n\n";

pub(crate) const LAST: &str = "data: {\"choices\":[{\"finish_reason\":\"stop\",\"index\":0,\"delta\":{}}],\"model\":\"smollm2\"}\n\n\
data: {\"choices\":[],\"model\":\"smollm2\",\"usage\":{\"completion_tokens\":16,\"prompt_tokens\":31,\"total_tokens\":47},\
\"timings\":{\"cache_n\":30,\"prompt_n\":1,\"prompt_ms\":12.5,\"predicted_n\":16,\"predicted_ms\":208.25}}\n\n";

pub(crate) const STREAM_HEAD: &str = "HTTP/1.1 200 OK\r\nServer: llama.cpp\r\nContent-Type: text/event-stream\r\n\
Keep-Alive: timeout=5, max=100\r\nTransfer-Encoding: chunked\r\n\r\n";

pub(crate) fn plain(status: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

pub(crate) const CHAT_ANSWER: &str = "{\"choices\":[{\"message\":{\"role\":\"assistant\",\"content\":\"I say \\\"usage\\\":{\\\"prompt_tokens\\\":999}\"}}],\
\"model\":\"smollm2\",\"usage\":{\"completion_tokens\":5,\"prompt_tokens\":20,\"total_tokens\":25},\
\"timings\":{\"cache_n\":0,\"prompt_n\":20,\"prompt_ms\":40.0,\"predicted_n\":5,\"predicted_ms\":50.0}}";

pub(crate) const CHAT: &str = "{\"messages\":[{\"role\":\"user\",\"content\":\"say \\\"model\\\":\\\"x\\\",\\\"stream\\\":false\"}],\"model\":\"gpt\",\"stream\":true}";

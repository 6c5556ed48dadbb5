//! What the tracker makes of the same bytes.

use wattprobe::{
    boundary::{Facts, Flag, Limits, NotUnderstood, Output, Tracker, What},
    event::{ConnId, Io, IoKind},
    record::End,
};

use crate::by_hyper::Seen;

/// A connection that was accepted.
struct Server {
    tracker: Tracker,
    out: Vec<Output>,
    t: u64,
    read: u64,
    written: u64,
}

impl Server {
    fn new() -> Self {
        let tracker = Tracker::new(Limits::default());
        let mut server = Self { tracker, out: Vec::new(), t: 0, read: 0, written: 0 };
        server.io(IoKind::Open, &[]);
        server
    }

    fn io(&mut self, kind: IoKind, bytes: &[u8]) {
        let count = if kind == IoKind::Send { &mut self.written } else { &mut self.read };
        let offset = *count;
        *count += bytes.len() as u64;
        self.t += 1;
        let (t, payload) = (self.t, bytes.to_vec());
        let (conn, len, head) = (ConnId(1), bytes.len() as u32, bytes.len());
        let (arrived, clock) = (None, [0; 8]);
        let io = Io { t, conn, who: 4, tgid: 1, kind, offset, len, head, payload, arrived, clock };
        self.tracker.on_io(&io, &mut self.out);
    }

    fn count(&self, what: What) -> usize {
        let is = |output: &&Output| matches!(output, Output::Boundary(b) if b.what == what);
        self.out.iter().filter(is).count()
    }

    fn facts(&self) -> Vec<&Facts> {
        let mut facts = Vec::new();
        for output in &self.out {
            if let Output::Finished(finished) = output {
                facts.push(&**finished);
            }
        }
        facts
    }

    fn refused(&self) -> bool {
        let malformed = [Flag::MalformedHead, Flag::MalformedChunk];
        // A compressed body is not read, but its end is found.
        let gives_up = |output: &Output| matches!(output, Output::NotUnderstood { kind, .. } if *kind != NotUnderstood::Compressed);
        self.facts().iter().any(|facts| malformed.iter().any(|flag| facts.flags.contains(*flag)))
            || self.out.iter().any(gives_up)
    }
}

/// The requests in bytes that come in these parts.
pub(crate) fn requests<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Seen {
    let (mut server, mut seen, mut at) = (Server::new(), Seen::default(), 0);
    for part in parts {
        at += part.len();
        if !part.is_empty() {
            server.io(IoKind::Recv, part);
        }
        seen.ends.resize(server.count(What::Body), at);
    }
    server.io(IoKind::Close, &[]);
    let head =
        |facts: &&Facts| Some(format!("{} {}", facts.method.as_deref()?, facts.path.as_deref()?));
    seen.heads = server.facts().iter().filter_map(head).collect();
    seen.refused = server.refused();
    seen
}

/// The responses in bytes that come in these parts, to requests of these methods, each of which is read when
/// the answer before it has ended by `ends`.
pub(crate) fn responses<'a>(
    methods: &[&str],
    ends: &[usize],
    parts: impl IntoIterator<Item = &'a [u8]>,
) -> Seen {
    let (mut server, mut seen, mut at) = (Server::new(), Seen::default(), 0);
    let mut methods = methods.iter().enumerate().peekable();
    for part in parts {
        // A call may hold the end of one response and the beginning of the next.
        while let Some((_, method)) = methods.next_if(|(i, _)| *i == 0 || ends[*i - 1] <= at) {
            let request = format!("{method} / HTTP/1.1\r\nHost: x\r\n\r\n");
            server.io(IoKind::Recv, request.as_bytes());
        }
        at += part.len();
        if !part.is_empty() {
            server.io(IoKind::Send, part);
        }
        seen.ends.resize(server.count(What::End), at);
    }
    server.io(IoKind::Close, &[]);
    seen.ends.resize(server.count(What::End), at + 1);
    let status = |facts: &&Facts| facts.status.map(|status| status.to_string());
    seen.heads = server.facts().iter().filter_map(status).collect();
    seen.refused = server.refused() || server.facts().iter().any(|f| f.outcome != End::Complete);
    seen
}

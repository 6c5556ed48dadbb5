//! The socket calls of a real server, as recorded. The fuzz targets' seeds are made from them, too.

use std::collections::BTreeMap;

use wattprobe::event::{ConnId, Io, IoKind};

const LLAMA_SERVER: &str = include_str!("traces/llama_server.txt");

/// Every call in order; `peeks`: also those that only looked at what is there to read, told as reads of 0 bytes.
pub(crate) fn llama_server(peeks: bool) -> Vec<Io> {
    let mut counts = BTreeMap::<_, [u64; 2]>::new();
    let mut calls = Vec::new();
    for line in LLAMA_SERVER.lines().filter(|line| !line.starts_with('#')) {
        let mut fields = line.splitn(4, ' ');
        let mut next = || fields.next().unwrap_or_default();
        let (t, conn, kind, payload) =
            (next().parse::<u64>(), next().parse(), next(), unescape(next()));
        let kind = match kind {
            "open" => IoKind::Open,
            "recv" => IoKind::Recv,
            "peek" if peeks => IoKind::Recv,
            "send" => IoKind::Send,
            "shutdown" => IoKind::Shutdown,
            "close" => IoKind::Close,
            "peek" | "failed-shutdown" => continue,
            other => panic!("{other}"),
        };
        let (t, conn) = (t.expect(line), conn.expect(line));
        let [received, sent] = counts.entry(conn).or_default();
        let n = payload.len() as u32;
        let (offset, len) = match kind {
            IoKind::Send => (*sent, n),
            IoKind::Shutdown | IoKind::Close => (*received, *sent as u32),
            _ => (*received, n),
        };
        *if kind == IoKind::Send { sent } else { received } += u64::from(n);
        let (conn, head, clock) = (ConnId(conn), payload.len(), [t; 8]);
        calls.push(Io {
            t: t * 1000,
            conn,
            who: 4,
            tgid: 1,
            kind,
            offset,
            len,
            head,
            payload,
            arrived: None,
            clock,
        });
    }
    calls
}

/// Bytes as strace writes them; the recording holds no others.
fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(c) = rest.next() {
        bytes.push(match (c, if c == b'\\' { rest.next() } else { None }) {
            (_, Some(b'r')) => b'\r',
            (_, Some(b'n')) => b'\n',
            (_, Some(c)) => c,
            (c, None) => c,
        });
    }
    bytes
}

//! What following a token of a stream costs in memory once the stream runs: nothing. An allocator that counts cannot be had
//! without `unsafe` and a `static`.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

use wattprobe::{
    boundary::{Limits, Tracker},
    event::{ConnId, Io, IoKind},
};

/// The system's allocator, which counts what this thread asks for.
struct Counting;

thread_local! {
    static ASKED: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: everything is the system allocator's.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ASKED.set(ASKED.get() + 1);
        // SAFETY: as asked of us.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as asked of us.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const REQUEST: &str =
    "POST /v1/chat/completions HTTP/1.1\r\nContent-Length: 15\r\n\r\n{\"stream\":true}";
const HEAD: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
const EVENT: &str =
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\" word\"}}],\"model\":\"m\"}\n\n";
/// Streams at once, and tokens of each.
const STREAMS: u64 = 8;
const TOKENS: u64 = 500;

#[test]
fn a_token_of_a_running_stream_asks_for_no_memory() {
    let (mut tracker, mut out) = (Tracker::new(Limits::default()), Vec::with_capacity(64));
    let mut sent = 0;
    let mut io = |conn: u64, kind: IoKind, offset: u64, bytes: &str| Io {
        t: {
            sent += 1_000_000;
            sent
        },
        conn: ConnId(conn),
        who: 4,
        tgid: 1,
        kind,
        offset,
        len: bytes.len() as u32,
        head: bytes.len(),
        payload: bytes.as_bytes().to_vec(),
        arrived: None,
        clock: [0; 8],
    };
    for conn in 0..STREAMS {
        tracker.on_io(&io(conn, IoKind::Open, 0, ""), &mut out);
        tracker.on_io(&io(conn, IoKind::Recv, 0, REQUEST), &mut out);
        tracker.on_io(&io(conn, IoKind::Send, 0, HEAD), &mut out);
    }
    let chunk = format!("{:x}\r\n{EVENT}\r\n", EVENT.len());
    let (mut asked, mut told) = (0, 0);
    for token in 0..TOKENS {
        for conn in 0..STREAMS {
            let offset = HEAD.len() as u64 + token * chunk.len() as u64;
            let io = io(conn, IoKind::Send, offset, &chunk);
            out.clear();
            let before = ASKED.get();
            tracker.on_io(&io, &mut out);
            // The first two make room for what follows.
            asked += if token < 2 { 0 } else { ASKED.get() - before };
            told += out.len() as u64;
        }
    }
    assert_eq!(told, STREAMS * TOKENS, "every one is told of");
    assert_eq!(asked, 0, "of {told} tokens");
}

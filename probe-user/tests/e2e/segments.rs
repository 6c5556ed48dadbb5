//! Answers that leave in as many segments as one call can have: node writes four for every chunk, and all chunks of a moment,
//! or of a client that was slow to read, at once.
//!
//! The server is this test.

use std::io::{IoSlice, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use rustix::net::{SendAncillaryBuffer, SendFlags, sendmsg};
use wattprobe::record::{End, TokenSource};

use crate::harness::alone;
use crate::harness::probe::Probe;

/// Segments of an answer; Linux takes 1024.
const SEGMENTS: [usize; 4] = [60, 70, 300, 1024];

/// What every request asks.
const BODY: &str = r#"{"model":"m"}"#;

/// A stream of many events, cut into so many segments.
fn stream(segments: usize) -> Vec<Vec<u8>> {
    let event = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"one\"}}]}\n\n";
    let usage =
        "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":4321}}\n\n";
    let body = [&event.repeat(segments), usage, "data: [DONE]\n\n"].concat();
    let whole = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
        body.len()
    );
    let whole = whole.as_bytes();
    // The first ones hold what is left when all are equally long.
    let (each, more) = (whole.len() / segments, whole.len() % segments);
    let ends = (1..=segments).map(|i| i * each + i.min(more));
    let begins = (0..segments).map(|i| i * each + i.min(more));
    begins.zip(ends).map(|(begin, end)| whole[begin..end].to_vec()).collect()
}

/// Answers two requests for each of [`SEGMENTS`]: with `writev`, and with `sendmsg`.
fn serve(listener: &TcpListener) {
    let (mut socket, _) = listener.accept().expect("a client");
    for segments in SEGMENTS {
        let parts = stream(segments);
        let slices: Vec<_> = parts.iter().map(|part| IoSlice::new(part)).collect();
        let all = parts.iter().map(Vec::len).sum::<usize>();
        read_to(&mut socket, BODY.as_bytes());
        assert_eq!(socket.write_vectored(&slices).expect("it takes all"), all);
        read_to(&mut socket, BODY.as_bytes());
        let mut nothing = SendAncillaryBuffer::default();
        let sent = sendmsg(&socket, &slices, &mut nothing, SendFlags::empty());
        assert_eq!(sent.expect("it takes all"), all);
    }
}

/// Reads until what came ends so.
fn read_to(socket: &mut TcpStream, end: &[u8]) {
    let mut read = Vec::new();
    while !read.ends_with(end) {
        let mut some = [0; 65536];
        let n = socket.read(&mut some).expect("the other end is there");
        assert!(n > 0, "the other end left");
        read.extend_from_slice(&some[..n]);
    }
}

/// Asks for an answer and reads it to its end.
fn ask(socket: &mut TcpStream) {
    let head = "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 13\r\n\r\n";
    socket.write_all([head, BODY].concat().as_bytes()).expect("it reads");
    read_to(socket, b"\r\n0\r\n\r\n");
}

#[test]
#[ignore = "end to end: run by cargo xtask test"]
fn an_answer_is_seen_to_its_end_in_however_many_segments_it_leaves() {
    let _alone = alone();
    let dir = tempfile::tempdir().expect("a temporary directory");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    let probe = Probe::on_port(dir.path(), &address.port().to_string(), &[]);
    thread::scope(|scope| {
        scope.spawn(|| serve(&listener));
        let mut socket = TcpStream::connect(address).expect("it listens");
        SEGMENTS.iter().for_each(|_| [(); 2].iter().for_each(|()| ask(&mut socket)));
    });
    let outcome = probe.finish();
    assert_eq!(outcome.records.len(), 2 * SEGMENTS.len());
    for record in &outcome.records {
        assert_eq!((record.end, record.status), (End::Complete, Some(200)));
        let tokens = (record.prompt_tokens, record.completion_tokens, record.token_source);
        assert_eq!(tokens, (Some(7), Some(4321), TokenSource::Usage), "{record:?}");
    }
}

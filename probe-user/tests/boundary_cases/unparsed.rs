//! What is not parsed: said and counted once each, with what is measured all the same, and never taken for something else.

use wattprobe::{
    boundary::{Flag, NotUnderstood},
    record::{End, Kind, TokenSource},
};

use crate::feed::*;

/// A body that is compressed, though it looks like JSON: brotli may begin with any byte.
const LIAR: &str =
    r#"{"model":"no","stream":true,"usage":{"prompt_tokens":1,"completion_tokens":2}}"#;

fn coded(line: &str, body: &str) -> String {
    plain("200 OK", body).replace("Content-Length", &format!("{line}\r\nContent-Length"))
}

#[test]
fn a_compressed_answer_has_its_bytes_and_times_and_no_tokens_and_the_next_is_read() {
    for line in ["Content-Encoding: gzip", "content-encoding: br", "Content-Encoding: zstd"] {
        let mut feed = Feed::new();
        feed.recv(post("/v1/chat/completions", CHAT));
        feed.send(coded(line, LIAR));
        feed.recv(post("/v1/chat/completions", CHAT));
        feed.send(plain("200 OK", CHAT_ANSWER));
        let facts = feed.facts();
        assert_eq!((facts[0].outcome, facts[0].kind()), (End::Complete, Kind::Inference));
        assert_eq!((facts[0].prompt_tokens, facts[0].token_source), (None, TokenSource::None));
        assert_eq!((facts[0].model.as_deref(), facts[0].first.is_some()), (Some("gpt"), true));
        assert!(facts[0].flags.contains(Flag::CompressedBody));
        assert_eq!(facts[1].completion_tokens, Some(5));
        assert_eq!(feed.not_understood(), [NotUnderstood::Compressed], "{line}");
        assert_eq!(feed.tracker.stats().not_understood.iter().sum::<u64>(), 1);
    }
}

#[test]
fn a_compressed_stream_is_passed_over_to_its_last_chunk() {
    for line in ["Content-Encoding: br", "Transfer-Encoding: gzip, chunked"] {
        let head = STREAM_HEAD.replace("\r\n\r\n", &format!("\r\n{line}\r\n\r\n"));
        let mut feed = Feed::new();
        feed.recv(post("/v1/chat/completions", CHAT));
        feed.send(head);
        feed.send(chunk(&delta("a")));
        feed.send(chunk(LAST));
        feed.send("0\r\n\r\n");
        let facts = feed.only();
        assert_eq!(
            (facts.outcome, facts.completion_tokens, facts.gaps),
            (End::Complete, None, None)
        );
        assert_eq!((facts.content_events, step(facts.first)), (None, Some(4)));
        assert_eq!(feed.not_understood(), [NotUnderstood::Compressed], "{line}");
    }
}

#[test]
fn of_a_compressed_request_neither_model_nor_stream_is_read_and_its_answer_is() {
    let request =
        post("/v1/chat/completions", LIAR).replace("Host", "Content-Encoding: br\r\nHost");
    for at in [request.len(), request.len() - 20, 30] {
        let mut feed = Feed::new();
        feed.recv(&request[..at]);
        if at < request.len() {
            feed.recv(&request[at..]);
        }
        feed.send(plain("200 OK", CHAT_ANSWER));
        let facts = feed.only();
        assert_eq!((facts.stream, facts.model.as_deref()), (None, Some("smollm2")));
        assert_eq!(facts.completion_tokens, Some(5));
        assert!(facts.flags.contains(Flag::CompressedRequest));
        assert_eq!(feed.not_understood(), [NotUnderstood::Compressed]);
    }
}

#[test]
fn an_answer_without_a_body_is_not_compressed() {
    let mut feed = Feed::new();
    feed.recv("HEAD /health HTTP/1.1\r\nHost: x\r\n\r\n");
    feed.send("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 15\r\n\r\n");
    feed.recv("GET /health HTTP/1.1\r\nAccept-Encoding: gzip\r\n\r\n");
    feed.send("HTTP/1.1 304 Not Modified\r\nContent-Encoding: gzip\r\n\r\n");
    feed.recv("GET /health HTTP/1.1\r\n\r\n");
    feed.send(coded("Content-Encoding: identity", "{}"));
    assert!(feed.facts().iter().all(|facts| facts.flags.is_empty()));
    assert_eq!((feed.facts().len(), feed.not_understood()), (3, vec![]));
}

#[test]
fn an_upgrade_to_http2_is_one_request_and_then_not_parsed() {
    let ask = "GET / HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n";
    let mut feed = Feed::new();
    feed.recv(ask);
    feed.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n");
    feed.recv("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    feed.recv("GET /inside HTTP/1.1\r\n\r\n");
    feed.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    feed.close();
    let facts = feed.only();
    assert_eq!((facts.status, facts.outcome), (Some(101), End::Complete));
    assert!(facts.flags.contains(Flag::Upgraded));
    assert_eq!(feed.not_understood(), [NotUnderstood::Http2]);
    // A server that does not want to upgrade goes on as if it had not been asked.
    let mut feed = Feed::new();
    feed.recv(ask);
    feed.send(plain("200 OK", "{}"));
    assert_eq!((feed.only().status, feed.not_understood()), (Some(200), vec![]));
}

#[test]
fn http2_is_known_by_its_preface_wherever_that_is_cut() {
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00";
    for at in 1..preface.len() {
        let mut feed = Feed::new();
        feed.recv(&preface[..at]);
        feed.recv(&preface[at..]);
        feed.send(b"\x00\x00\x00\x04\x00\x00\x00\x00\x00");
        feed.close();
        assert_eq!((feed.not_understood(), feed.facts().len()), (vec![NotUnderstood::Http2], 0));
    }
}

#[test]
fn a_connection_found_open_that_speaks_frames_is_set_aside_and_one_that_speaks_http_is_read() {
    let frame = b"\x00\x00\x04\x01\x04\x00\x00\x00\x07abcd";
    let mut feed = Feed::found_open();
    for _ in 0..6 {
        feed.recv(frame);
        feed.send(frame);
    }
    assert_eq!((feed.not_understood(), feed.facts().len()), (vec![NotUnderstood::Http2], 0));
    assert_eq!(feed.tracker.in_flight(), 0);
    // A body of which the beginning was not seen, then requests.
    let mut feed = Feed::found_open();
    for _ in 0..3 {
        feed.recv(frame);
        feed.send("HTTP/1.1 100 Continue\r\n\r\n");
    }
    for _ in 0..2 {
        feed.recv(post("/v1/chat/completions", CHAT));
        feed.send(plain("200 OK", CHAT_ANSWER));
    }
    assert_eq!((feed.not_understood(), feed.facts().len()), (vec![], 2));
}

//! However the bytes are cut into calls, the requests are the same.

use proptest::prelude::*;
use wattprobe::{
    boundary::{Facts, What},
    record::End,
};

use crate::feed::*;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Side {
    Read,
    Write,
}

pub(crate) type Script = Vec<(Side, String)>;

fn streamed() -> Script {
    let answer = [
        chunk(ROLE),
        chunk(&delta("a \\\"usage\\\":{\\\"prompt_tokens\\\":7} \\\\")),
        chunk(": ping\n\n"),
    ]
    .concat()
        + &chunk(&delta("b"))
        + &chunk(LAST)
        + &chunk("data: [DONE]\n\n")
        + "0\r\n\r\n";
    vec![
        (Side::Read, post("/v1/chat/completions?q=1", CHAT)),
        (Side::Write, STREAM_HEAD.to_owned() + &answer),
    ]
}

fn answered() -> Script {
    vec![
        (Side::Read, post("/v1/chat/completions", &CHAT.replace("true", "false"))),
        (Side::Write, plain("200 OK", CHAT_ANSWER)),
    ]
}

fn chunked_both_ways() -> Script {
    let head = "POST /v1/completions HTTP/1.1\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n";
    let body = chunk("{\"prompt\":\"p\",\"mod") + &chunk("el\":\"m\"}") + "0\r\nTrailer: x\r\n\r\n";
    let answer = "HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"
        .to_owned()
        + &chunk("{\"response\":\"a\"}\n{\"response\":\"\"}\n{\"resp")
        + &chunk("onse\":\"b\",\"done\":true,\"eval_count\":9}\n")
        + "0\r\n\r\n";
    vec![
        (Side::Read, head.to_owned()),
        (Side::Write, "HTTP/1.1 100 Continue\r\n\r\n".to_owned()),
        (Side::Read, body),
        (Side::Write, answer),
    ]
}

fn pipelined() -> Script {
    vec![
        (
            Side::Read,
            post("/a", "{\"model\":\"one\"}")
                + "GET /b HTTP/1.1\r\n\r\n\r\n"
                + &post("/c", "{\"model\":\"3\"}"),
        ),
        (
            Side::Write,
            plain("200 OK", "{\"a\":1}")
                + "HTTP/1.1 204 No Content\r\n\r\n"
                + &plain("500 Oops", "{}"),
        ),
    ]
}

fn health() -> Script {
    vec![
        (Side::Read, "HEAD /health HTTP/1.1\r\nHost: x\r\n\r\n".to_owned()),
        (Side::Write, "HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n".to_owned()),
        (Side::Read, "GET /health HTTP/1.1\nHost: x\n\n".to_owned()),
        (Side::Write, plain("503 Loading", "{\"error\":{\"message\":\"Loading\"}}")),
    ]
}

fn until_close() -> Script {
    vec![
        (Side::Read, "GET /v1/x HTTP/1.0\r\n\r\n".to_owned()),
        (
            Side::Write,
            "HTTP/1.0 200 OK\r\nContent-Type: text/event-stream\r\n\r\n".to_owned()
                + &delta("x")
                + LAST,
        ),
    ]
}

fn scripts() -> Vec<Script> {
    let each = [streamed(), answered(), chunked_both_ways(), pipelined(), health(), until_close()];
    let all = [streamed(), answered(), health(), chunked_both_ways(), pipelined(), until_close()]
        .concat();
    each.into_iter().chain([all]).collect()
}

/// What must not depend on the cuts: the facts, and the boundaries other than `chunk` in their order.
fn play<'a>(calls: impl Iterator<Item = (Side, &'a [u8])>) -> (Vec<Facts>, Vec<(u64, What)>) {
    let mut feed = Feed::new();
    for (side, bytes) in calls {
        match side {
            Side::Read => feed.recv(bytes),
            Side::Write => feed.send(bytes),
        }
    }
    feed.close();
    assert_eq!((feed.tracker.in_flight(), feed.tracker.connections()), (0, 0));
    let told = feed.boundaries().into_iter().filter(|b| b.what != What::Chunk);
    (
        feed.facts().into_iter().map(timeless).collect(),
        told.map(|b| (b.request.0, b.what)).collect(),
    )
}

fn whole(script: &Script) -> (Vec<Facts>, Vec<(u64, What)>) {
    play(script.iter().map(|(side, bytes)| (*side, bytes.as_bytes())))
}

#[test]
fn every_message_cut_at_every_byte_is_the_same_requests() {
    for script in scripts() {
        let expected = whole(&script);
        assert!(expected.0.iter().all(|f| f.outcome == End::Complete), "{:#?}", expected.0);
        for (message, (_, bytes)) in script.iter().enumerate() {
            for cut in 1..bytes.len() {
                let calls = script.iter().enumerate().flat_map(|(i, (side, bytes))| {
                    let at = if i == message { cut } else { bytes.len() };
                    let (a, b) = bytes.as_bytes().split_at(at);
                    [(*side, a), (*side, b)].into_iter().filter(|(_, part)| !part.is_empty())
                });
                let got = play(calls);
                assert_eq!(got.0, expected.0, "message {message} cut at {cut}");
                assert_eq!(
                    sorted(got.1),
                    sorted(expected.1.clone()),
                    "message {message} cut at {cut}"
                );
            }
        }
    }
}

/// A pipelined request's `start` may come before or after the `end` of the one before it.
fn sorted(mut told: Vec<(u64, What)>) -> Vec<(u64, What)> {
    told.sort_by_key(|(request, _)| *request);
    told
}

#[test]
fn byte_by_byte_is_the_same_requests() {
    for script in scripts() {
        let calls =
            script.iter().flat_map(|(side, bytes)| bytes.as_bytes().chunks(1).map(|b| (*side, b)));
        let (facts, told) = play(calls);
        let expected = whole(&script);
        assert_eq!((facts, sorted(told)), (expected.0, sorted(expected.1)));
    }
}

fn sizes() -> impl Strategy<Value = Vec<usize>> {
    proptest::collection::vec(1_usize..400, 1..200)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_cuts_are_the_same_requests(sizes in sizes()) {
        for script in scripts() {
            let mut sizes = sizes.iter().copied().cycle();
            let mut calls = Vec::new();
            for (side, bytes) in &script {
                let mut rest = bytes.as_bytes();
                while !rest.is_empty() {
                    let n = sizes.next().unwrap_or(1).min(rest.len());
                    calls.push((*side, &rest[..n]));
                    rest = &rest[n..];
                }
            }
            let (facts, told) = play(calls.into_iter());
            let expected = whole(&script);
            prop_assert_eq!(facts, expected.0);
            prop_assert_eq!(sorted(told), sorted(expected.1));
        }
    }

    /// Where the capture hides bytes, every request is still seen once, to its end, with its bytes counted.
    #[test]
    fn any_capture_gap_keeps_the_framing(
        lengths in proptest::collection::vec((0_usize..9000, 1_usize..60, 0_usize..3), 1..12),
        head in 300_usize..600,
        tail in 7_usize..400,
    ) {
        let mut feed = Feed::new();
        let mut bytes = Vec::new();
        for (prompt, events, how) in &lengths {
            let body = format!("{{\"prompt\":\"{}\",\"model\":\"m\",\"stream\":true}}", "p".repeat(*prompt));
            let request = post("/v1/completions", &body);
            let answer = match how {
                0 => plain("200 OK", &format!("{{\"text\":\"{}\"}}", "t".repeat(events * 100))),
                _ => STREAM_HEAD.to_owned() + &chunk(&delta("text")).repeat(*events) + "0\r\n\r\n",
            };
            feed.recv_captured(request.as_bytes(), head, tail);
            if *how == 2 {
                for write in answer.as_bytes().chunks(1777) {
                    feed.send_captured(write, head, tail);
                }
            } else {
                feed.send_captured(answer.as_bytes(), head, tail);
            }
            bytes.push((request.len() as u64, answer.len() as u64));
        }
        feed.close();
        let facts = feed.facts();
        let counted: Vec<_> = facts.iter().map(|f| (f.bytes_in, f.bytes_out)).collect();
        prop_assert_eq!(counted, bytes);
        for facts in &facts {
            prop_assert_eq!((facts.outcome, facts.status), (End::Complete, Some(200)));
            prop_assert_eq!(facts.path.as_deref(), Some("/v1/completions"));
        }
    }
}

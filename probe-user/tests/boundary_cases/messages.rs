//! HTTP/1's own rules, whatever server speaks it: which responses have a body, where messages end, what
//! an interim or early answer is.

use wattprobe::{
    boundary::Flag,
    record::{End, TokenSource},
};

use crate::feed::*;

#[test]
fn health_checks_and_errors_are_requests_without_tokens() {
    let mut feed = Feed::new();
    feed.recv("GET /health HTTP/1.1\r\nHost: x\r\n\r\n");
    feed.send(plain("200 OK", "{\"status\":\"ok\"}"));
    feed.recv("HEAD /health HTTP/1.1\r\nHost: x\r\n\r\n");
    feed.send("HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n");
    feed.recv("OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n");
    feed.send("HTTP/1.1 204 No Content\r\n\r\n");
    feed.recv("GET /v1/models HTTP/1.1\r\nIf-None-Match: a\r\n\r\n");
    feed.send("HTTP/1.1 304 Not Modified\r\nContent-Length: 900\r\n\r\n");
    feed.recv(post("/v1/chat/completions", "{oops"));
    feed.send(plain("400 Bad Request", "{\"error\":{\"code\":400,\"message\":\"parse error\"}}"));
    let facts = feed.facts();
    let statuses: Vec<_> = facts.iter().map(|f| f.status.unwrap()).collect();
    assert_eq!(statuses, [200, 200, 204, 304, 400]);
    for facts in &facts {
        assert_eq!((facts.outcome, facts.token_source), (End::Complete, TokenSource::None));
        assert_eq!((facts.prompt_tokens, facts.completion_tokens), (None, None));
    }
    assert_eq!((facts[0].stream, facts[4].stream), (None, None));
    assert_eq!((facts[1].first, facts[1].method.as_deref()), (None, Some("HEAD")));
    assert_eq!(facts[2].path.as_deref(), Some("*"));
}

#[test]
fn a_continue_is_not_the_response() {
    let request = post("/v1/completions", CHAT).replace("Host:", "Expect: 100-continue\r\nHost:");
    let head = request.find("\r\n\r\n").unwrap() + 4;
    let mut feed = Feed::new(); // 1
    feed.recv(&request[..head]); // 2
    feed.send("HTTP/1.1 100 Continue\r\n\r\n"); // 3
    feed.recv(&request[head..]); // 4
    feed.send("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"); // 5
    feed.send(plain("200 OK", CHAT_ANSWER)); // 6
    assert_eq!(feed.told(), ["1 start @2", "1 body @4", "1 head @6", "1 first @6", "1 end @6"]);
    assert_eq!(feed.only().bytes_out, feed.tx);
}

#[test]
fn a_refusal_instead_of_continue_leaves_the_connection_readable() {
    let request = post("/v1/completions", CHAT).replace("Host:", "Expect: 100-continue\r\nHost:");
    let head = request.find("\r\n\r\n").unwrap() + 4;
    let mut feed = Feed::new();
    feed.recv(&request[..head]);
    feed.send(plain("417 Expectation Failed", "{}"));
    feed.recv("GET /next HTTP/1.1\r\n\r\n"); // the body was never sent
    feed.send(plain("200 OK", "{}"));
    let facts = feed.facts();
    assert_eq!((facts[0].status, facts[1].path.as_deref()), (Some(417), Some("/next")));
    assert!(facts[0].flags.contains(Flag::EarlyResponse));
    assert_eq!(facts[1].outcome, End::Complete);
}

#[test]
fn an_answer_before_the_body_is_read_ends_the_request_and_the_body_is_passed_over() {
    let request = post("/v1/completions", &"x".repeat(3000));
    let mut feed = Feed::new(); // 1
    feed.recv(&request[..1000]); // 2
    feed.send(plain("413 Too Large", "{}")); // 3
    feed.recv(&request[1000..]); // 4
    feed.recv("GET /next HTTP/1.1\r\n\r\n"); // 5
    feed.send(plain("200 OK", "{}")); // 6
    assert_eq!(
        feed.told(),
        [
            "1 start @2",
            "1 body @2",
            "1 head @3",
            "1 first @3",
            "1 end @3",
            "2 start @5",
            "2 body @5",
            "2 head @6",
            "2 first @6",
            "2 end @6",
        ]
    );
}

#[test]
fn a_pipelined_request_is_queued_neither_lost_nor_merged() {
    let mut feed = Feed::new(); // 1
    feed.recv(
        post("/a", "{\"model\":\"one\"}")
            + &post("/b", "{\"model\":\"two\"}")
            + "GET /c HTTP/1.1\r\n",
    ); // 2
    feed.recv("\r\n"); // 3
    feed.send(plain("200 OK", "{\"a\":1}") + &plain("201 Created", "{\"a\":2}")); // 4
    feed.send(plain("202 Accepted", "{}")); // 5
    assert_eq!(
        feed.told(),
        [
            "1 start @2",
            "1 body @2",
            "2 start @2",
            "2 body @2",
            "3 start @2",
            "3 body @3",
            "1 head @4",
            "1 first @4",
            "1 end @4",
            "2 head @4",
            "2 first @4",
            "2 end @4",
            "3 head @5",
            "3 first @5",
            "3 end @5",
        ]
    );
    let facts = feed.facts();
    let seen: Vec<_> = facts.iter().map(|f| (f.model.as_deref(), f.status)).collect();
    assert_eq!(seen, [(Some("one"), Some(200)), (Some("two"), Some(201)), (None, Some(202))]);
    assert!(facts[1].flags.contains(Flag::Pipelined) && !facts[0].flags.contains(Flag::Pipelined));
}

#[test]
fn a_pipelined_request_that_the_server_drops_is_aborted_at_the_close() {
    let mut feed = Feed::new();
    feed.recv(post("/a", "{}") + &post("/b", "{}"));
    feed.send(plain("200 OK", "{}"));
    feed.close();
    let ends: Vec<_> = feed.facts().iter().map(|f| f.outcome).collect();
    assert_eq!(ends, [End::Complete, End::Aborted]);
}

#[test]
fn a_body_without_a_length_ends_with_the_server_s_close_at_its_last_byte() {
    for shutdown in [false, true] {
        let mut feed = Feed::new(); // 1
        feed.recv("GET /x HTTP/1.0\r\n\r\n"); // 2
        feed.send("HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\n"); // 3
        feed.send("hello"); // 4
        feed.send("world"); // 5
        if shutdown {
            feed.shutdown(); // 6
        }
        feed.close();
        assert_eq!(
            feed.told(),
            ["1 start @2", "1 body @2", "1 head @3", "1 first @4", "1 chunk @5", "1 end @5"]
        );
    }
}

#[test]
fn a_chunked_request_is_read_to_its_terminator() {
    let mut feed = Feed::new();
    feed.recv("POST /v1/completions HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n");
    feed.recv(chunk("{\"prompt\":\"p\",\"mod"));
    feed.recv(chunk("el\":\"m\",\"stream\":true}"));
    feed.recv("0\r\n");
    feed.recv("\r\n");
    feed.send(plain("200 OK", "{}"));
    assert_eq!(feed.told()[..2], ["1 start @2", "1 body @6"]);
    let facts = feed.only();
    assert_eq!((facts.model.as_deref(), facts.stream), (Some("m"), Some(true)));
}

#[test]
fn a_body_that_comes_byte_by_byte_is_the_same_request() {
    let request = post("/v1/chat/completions", CHAT);
    let mut feed = Feed::new();
    for byte in request.as_bytes().chunks(1) {
        feed.recv(byte);
    }
    feed.send(plain("200 OK", CHAT_ANSWER));
    let facts = feed.only();
    assert_eq!(
        (step(Some(facts.start)), step(facts.body)),
        (Some(2), Some(request.len() as u64 + 1))
    );
    assert_eq!((facts.model.as_deref(), facts.stream), (Some("gpt"), Some(true)));
}

#[test]
fn a_compressed_body_has_no_tokens_and_says_so() {
    let mut feed = Feed::new();
    feed.recv(post("/v1/chat/completions", CHAT));
    feed.send("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\n\x1f\x08\x00");
    let facts = feed.only();
    assert!(facts.flags.contains(Flag::CompressedBody));
    assert_eq!((facts.token_source, facts.outcome), (TokenSource::None, End::Complete));
}

#[test]
fn an_unanswered_408_to_an_idle_client_is_no_request() {
    let mut feed = Feed::new();
    feed.recv("GET / HTTP/1.1\r\n\r\n");
    feed.send(plain("200 OK", "{}"));
    feed.send("HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n");
    feed.close();
    assert_eq!(feed.only().status, Some(200));
    assert_eq!(feed.tracker.stats().orphan_writes, 0);
}

#[test]
fn what_was_in_flight_when_the_probe_attached_is_counted_once_and_the_next_is_seen() {
    let in_the_middle = chunk("data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n");
    for first in [plain("200 OK", "{}"), in_the_middle] {
        let mut feed = Feed::found_open();
        (feed.rx, feed.tx) = (1000, 1000);
        feed.send(&first);
        feed.send("0\r\n\r\n");
        feed.recv("GET /health HTTP/1.1\r\n\r\n");
        feed.send(plain("200 OK", "{}"));
        assert_eq!(feed.only().path.as_deref(), Some("/health"));
        assert_eq!(feed.tracker.stats().orphan_writes, 1, "{first:?}");
    }
}

#[test]
fn what_no_server_of_http_1_writes_is_no_response() {
    let mut feed = Feed::found_open();
    (feed.rx, feed.tx) = (1000, 1000);
    feed.send(b"\x00\x00\x04\x01\x05\x00\x00\x00\x07....");
    assert_eq!(feed.tracker.stats().orphan_writes, 0);
}

#[test]
fn an_empty_success_is_an_answer_where_no_model_was_asked() {
    let mut feed = Feed::new();
    feed.recv(post("/api/copy", r#"{"model":"m","source":"a"}"#));
    feed.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let facts = feed.only();
    assert_eq!((facts.outcome, facts.end.t), (End::Complete, 3 * STEP));
}

#[test]
fn the_identity_coding_is_none() {
    let mut feed = Feed::new();
    for _ in 0..2 {
        feed.recv("GET / HTTP/1.1\r\n\r\n");
        feed.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\nContent-Length: 2\r\n\r\n{}");
    }
    assert!(feed.facts().iter().all(|facts| facts.outcome == End::Complete));
    assert_eq!(feed.facts().len(), 2);
}

#[test]
fn a_name_is_the_same_however_it_is_escaped() {
    for body in
        [r#"{"model":"modèle-é🙂/\"b\""}"#, r#"{"model":"mod\u00e8le-\u00E9\ud83d\ude42\/\"b\""}"#]
    {
        let mut feed = Feed::new();
        feed.recv(post("/v1/chat/completions", body));
        feed.send(plain("200 OK", CHAT_ANSWER));
        assert_eq!(feed.only().model.as_deref(), Some(r#"modèle-é🙂/"b""#), "{body}");
    }
}

//! How requests end when they do not end well.

use wattprobe::{
    boundary::{Flag, What},
    event::{ConnId, Io, IoKind},
    record::{End, TokenSource},
};

use crate::feed::*;

const EPIPE: i32 = 32;
const ECONNRESET: i32 = 104;
const EAGAIN: i32 = 11;

fn streaming() -> Feed {
    let mut feed = Feed::new(); // 1
    feed.recv(post("/v1/chat/completions", CHAT)); // 2
    feed.send(STREAM_HEAD); // 3
    feed.send(chunk(&delta("a"))); // 4
    feed.send(chunk(&delta("b"))); // 5
    feed
}

#[test]
fn a_client_that_leaves_mid_stream_aborts_it_at_the_close() {
    let mut feed = streaming();
    feed.eof(); // 6
    feed.close(); // 7
    assert_eq!(feed.told().last().map(String::as_str), Some("1 abort @7"));
    let facts = feed.only();
    assert_eq!((facts.outcome, facts.status), (End::Aborted, Some(200)));
    assert_eq!((facts.completion_tokens, facts.token_source), (Some(2), TokenSource::Chunks));
    assert!(facts.flags.is_empty());
}

#[test]
fn a_reset_by_the_client_is_an_abort_with_a_flag() {
    for errno in [EPIPE, ECONNRESET] {
        let mut feed = streaming();
        feed.error(errno);
        feed.close();
        let facts = feed.only();
        assert_eq!(facts.outcome, End::Aborted);
        assert!(facts.flags.contains(Flag::ConnectionReset));
    }
}

#[test]
fn a_read_that_would_block_is_no_failure() {
    let mut feed = streaming();
    feed.error(EAGAIN);
    feed.send("0\r\n\r\n");
    assert_eq!(feed.only().outcome, End::Complete);
    assert!(feed.only().flags.is_empty());
}

#[test]
fn a_head_without_a_body_on_a_dead_socket_is_no_success() {
    for errno in [None, Some(ECONNRESET)] {
        let mut feed = Feed::new(); // 1
        feed.recv(post("/v1/chat/completions", "{\"model\":\"m\"}")); // 2
        match errno {
            None => feed.eof(), // 3
            Some(errno) => feed.error(errno),
        }
        feed.send("HTTP/1.1 200 OK\r\nServer: llama.cpp\r\nContent-Length: 0\r\n\r\n"); // 4
        assert_eq!(feed.facts().len(), 0);
        feed.close(); // 5
        let facts = feed.only();
        assert_eq!((facts.outcome, facts.status), (End::Aborted, Some(200)));
        assert_eq!(step(Some(facts.end)), Some(5));
    }
}

#[test]
fn an_empty_success_where_content_was_due_is_judged_by_what_comes_next() {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    let answered = |path: &str| {
        let mut feed = Feed::new(); // 1
        feed.recv(post(path, "{\"prompt\":\"p\"}")); // 2
        feed.send(head); // 3
        feed
    };
    // The server's own look at the socket peeks and is not seen: only the close tells.
    let mut gone = answered("/completion");
    gone.eof();
    gone.close();
    assert_eq!((gone.only().outcome, gone.only().status), (End::Aborted, Some(200)));
    // It goes on: it was an answer, and ended when it was written.
    let mut went_on = answered("/completion");
    went_on.recv("GET /health HTTP/1.1\r\n\r\n"); // 4
    assert_eq!((went_on.only().outcome, step(Some(went_on.only().end))), (End::Complete, Some(3)));
    let mut stopped = answered("/completion");
    stopped.tracker.interrupt(99 * STEP, |_| [0; 8], &mut stopped.out);
    assert_eq!((stopped.only().outcome, step(Some(stopped.only().end))), (End::Complete, Some(3)));
    // No content was due.
    let other = answered("/admin/reset");
    assert_eq!((other.only().outcome, step(Some(other.only().end))), (End::Complete, Some(3)));
}

#[test]
fn a_client_that_only_stops_sending_still_gets_its_answer() {
    let mut feed = Feed::new();
    feed.recv(post("/v1/chat/completions", "{\"model\":\"m\"}"));
    feed.eof();
    feed.send(plain("200 OK", CHAT_ANSWER));
    feed.close();
    assert_eq!(feed.only().outcome, End::Complete);
}

#[test]
fn of_a_head_that_never_came_to_its_end_the_lines_that_did_are_read() {
    let mut feed = Feed::new();
    feed.recv("GET /a?b HTTP/1.1\r\nX-Request-Id: i\r\nCoo");
    feed.eof();
    feed.close();
    let facts = feed.only();
    let line = (facts.method.as_deref(), facts.path.as_deref(), facts.external_id.as_deref());
    assert_eq!((line, facts.outcome), ((Some("GET"), Some("/a"), Some("i")), End::Aborted));
    let mut feed = Feed::new();
    feed.recv("GET /a");
    feed.eof();
    feed.close();
    assert_eq!(feed.only().path, None, "more of it may have followed");
}

#[test]
fn a_request_that_was_never_sent_whole_is_aborted_whatever_the_server_answers() {
    let begun = "POST /v1/chat/completions HTTP/1.1\r\nContent-Length: 10\r\n\r\nabc";
    let refused = plain("400 Bad Request", "{}");
    for errno in [None, Some(ECONNRESET)] {
        let mut feed = Feed::new();
        feed.recv(begun);
        match errno {
            None => feed.eof(),
            Some(errno) => feed.error(errno),
        }
        feed.send(&refused);
        feed.close();
        let facts = feed.only();
        assert_eq!((facts.outcome, facts.status), (End::Aborted, Some(400)));
        assert!(facts.flags.contains(Flag::EarlyResponse));
    }
    // One that the server did not want to read to its end was answered.
    let mut early = Feed::new();
    early.recv(begun);
    early.send(&refused);
    early.eof();
    early.close();
    assert_eq!((early.only().outcome, early.only().status), (End::Complete, Some(400)));
}

#[test]
fn a_body_until_the_close_is_complete_only_if_the_client_stayed() {
    let respond =
        "HTTP/1.0 200 OK\r\nContent-Type: text/event-stream\r\n\r\n".to_owned() + &delta("x");
    for (done, eof, outcome) in [
        (false, false, End::Complete),
        (false, true, End::Aborted),
        (true, true, End::Complete), // it said [DONE] before the client left
    ] {
        let mut feed = Feed::new();
        feed.recv(post("/v1/chat/completions", CHAT));
        feed.send(&respond);
        if done {
            feed.send("data: [DONE]\n\n");
        }
        if eof {
            feed.eof();
        }
        feed.close();
        assert_eq!(feed.only().outcome, outcome, "done {done} eof {eof}");
    }
}

#[test]
fn a_server_that_closes_early_aborts_the_request() {
    let mut feed = Feed::new();
    feed.recv(post("/v1/chat/completions", CHAT));
    feed.close();
    let facts = feed.only();
    assert_eq!((facts.outcome, facts.status, facts.head), (End::Aborted, None, None));
    let mut feed = Feed::new();
    feed.recv("POST /x HTTP/1.1\r\nContent-Length: 10\r\n\r\nabc");
    feed.eof();
    feed.close();
    assert_eq!((feed.only().outcome, feed.only().body), (End::Aborted, None));
}

#[test]
fn a_connection_without_a_request_leaves_no_record() {
    let mut feed = Feed::new();
    feed.eof();
    feed.close();
    let mut partial = Feed::new();
    partial.recv("POS");
    partial.close();
    for feed in [feed, partial] {
        assert_eq!((feed.out.len(), feed.tracker.connections()), (0, 0));
    }
}

#[test]
fn a_killed_server_resets_its_requests_and_no_other_s() {
    let mut feed = streaming();
    let mut other = feed.event(IoKind::Open, 0, &[], 0, 0);
    (other.conn, other.tgid) = (ConnId(8), 101);
    let mut request = feed.event(IoKind::Recv, 0, b"GET / HTTP/1.1\r\n\r\n", 100, 0);
    (request.conn, request.tgid) = (ConnId(8), 101);
    feed.tracker.on_io(&other, &mut feed.out);
    feed.tracker.on_io(&request, &mut feed.out);
    feed.tracker.process_exit(100, 77 * STEP, &[40 * STEP; 8], &mut feed.out);
    let facts = feed.only();
    assert_eq!((facts.outcome, facts.tgid), (End::Reset, 100));
    assert_eq!((facts.end.t, facts.end.clock), (77 * STEP, [40 * STEP; 8]));
    assert_eq!((feed.tracker.in_flight(), feed.tracker.connections()), (1, 1));
}

#[test]
fn clocks_of_an_end_that_nothing_tells_are_no_earlier_than_those_of_the_last_event() {
    let mut feed = streaming();
    let last = feed.boundaries().last().map(|boundary| boundary.at.clock).unwrap();
    // The last tick was before it.
    feed.tracker.process_exit(100, 77 * STEP, &[1; 8], &mut feed.out);
    assert!(last[0] > 1);
    assert_eq!(feed.only().end.clock, [last[0], 1, 1, 1, 1, 1, 1, 1]);
}

#[test]
fn stopping_the_probe_interrupts_what_is_open() {
    let mut feed = streaming();
    feed.tracker.interrupt(50 * STEP, |who| [30 * STEP + u64::from(who); 8], &mut feed.out);
    let facts = feed.only();
    let end = (facts.outcome, facts.end.t, facts.end.clock[0]);
    assert_eq!(end, (End::Interrupted, 50 * STEP, 30 * STEP + 4));
    assert_eq!((facts.completion_tokens, feed.tracker.in_flight()), (Some(2), 0));
    feed.send(chunk(&delta("c"))); // what follows belongs to nobody
    assert_eq!((feed.facts().len(), feed.count(What::Chunk)), (1, 1));
}

#[test]
fn what_does_not_move_for_longer_than_the_horizon_times_out() {
    let mut feed = streaming(); // its last event is at step 5
    feed.tracker.expire(15 * STEP, 10 * STEP, |_| [0; 8], &mut feed.out);
    assert_eq!(feed.facts().len(), 0);
    feed.tracker.expire(15 * STEP + 1, 10 * STEP, |_| [3; 8], &mut feed.out);
    let facts = feed.only();
    assert_eq!((facts.outcome, facts.end.t), (End::Timeout, 15 * STEP + 1));
    assert_eq!(feed.tracker.connections(), 0);
    // Should it go on after all, the next request is found again.
    feed.send("0\r\n\r\n");
    feed.recv("GET /again HTTP/1.1\r\n\r\n");
    feed.send(plain("200 OK", "{}"));
    assert_eq!(feed.facts()[1].path.as_deref(), Some("/again"));
    assert_eq!(feed.facts()[1].outcome, End::Complete);
}

#[test]
fn an_id_that_opens_again_closes_what_was_open() {
    let mut feed = streaming();
    let open: Io = feed.event(IoKind::Open, 0, &[], 0, 0);
    feed.tracker.on_io(&open, &mut feed.out);
    assert_eq!(feed.only().outcome, End::Aborted);
    (feed.rx, feed.tx) = (0, 0);
    feed.recv("GET / HTTP/1.1\r\n\r\n");
    feed.send(plain("200 OK", "{}"));
    assert_eq!(feed.facts()[1].outcome, End::Complete);
    assert_eq!(feed.tracker.stats().losses, 0);
}

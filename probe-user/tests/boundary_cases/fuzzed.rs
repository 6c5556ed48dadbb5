//! What the fuzz targets found.

use wattprobe::{boundary::Flag, record::End};

use crate::feed::*;

const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
const UNTIL_CLOSE: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";

#[test]
fn the_answer_to_a_head_that_was_lost_does_not_swallow_the_next_one() {
    for head in [CHUNKED, UNTIL_CLOSE, "HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n"] {
        let mut feed = Feed::new(); // 1
        feed.lose_recv("HEAD /a HTTP/1.1\r\n\r\n"); // 2
        feed.send(head); // 3
        feed.recv("GET /b HTTP/1.1\r\n\r\n"); // 4
        feed.send(plain("201 Created", "{}")); // 5
        let facts = feed.facts();
        assert_eq!((facts.len(), facts[0].status, facts[0].outcome), (2, Some(200), End::Complete));
        assert!(facts[0].flags.contains(Flag::RequestNotSeen), "{head}");
        let second = (facts[1].path.as_deref(), facts[1].status, facts[1].outcome);
        assert_eq!(second, (Some("/b"), Some(201), End::Complete), "{head}");
        assert_eq!(step(Some(facts[1].end)), Some(5));
    }
}

#[test]
fn a_head_of_which_the_end_was_lost_is_known_for_one_when_the_next_answer_comes() {
    let mut feed = Feed::new();
    feed.recv("HEAD /a HTTP/1.1\r\nA: ");
    feed.lose_recv("b\r\n\r\n");
    feed.send(UNTIL_CLOSE);
    feed.recv("GET /b HTTP/1.1\r\n\r\n");
    feed.send(plain("201 Created", "{}"));
    let facts = feed.facts();
    let seen: Vec<_> = facts.iter().map(|f| (f.path.as_deref(), f.status, f.outcome)).collect();
    assert_eq!(
        seen,
        [(Some("/a"), Some(200), End::Complete), (Some("/b"), Some(201), End::Complete)]
    );
}

#[test]
fn behind_two_requests_that_were_lost_the_third_is_answered_by_its_own() {
    let mut feed = Feed::new();
    feed.lose_recv("HEAD /a HTTP/1.1\r\n\r\n");
    feed.send(UNTIL_CLOSE);
    feed.lose_recv("GET /b HTTP/1.1\r\n\r\n");
    feed.send(plain("200 OK", "{}"));
    feed.recv("GET /c HTTP/1.1\r\n\r\n");
    feed.send(plain("201 Created", "{}"));
    let facts = feed.facts();
    let last = facts.last().map(|f| (f.path.as_deref(), f.status, f.outcome));
    assert_eq!(last, Some((Some("/c"), Some(201), End::Complete)));
}

#[test]
fn a_request_whose_answer_was_lost_does_not_end_before_it_began() {
    let mut feed = Feed::new(); // 1
    feed.recv("GET /a HTTP/1.1\r\n\r\n"); // 2
    feed.send(CHUNKED); // 3
    feed.recv("GET /b HTTP/1.1\r\n\r\n"); // 4
    feed.lose_send("0\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n"); // 5
    feed.recv("GET /c HTTP/1.1\r\n\r\n"); // 6
    feed.send(plain("200 OK", "{}")); // 7
    let ends: Vec<_> = feed.facts().iter().map(|f| step(Some(f.end))).collect();
    assert_eq!(ends, [Some(3), Some(4), Some(7)]);
}

#[test]
fn content_that_was_lost_is_told_where_the_answer_is_said_to_end() {
    let mut feed = Feed::new(); // 1
    feed.recv("GET /a HTTP/1.1\r\n\r\n"); // 2
    feed.send(CHUNKED); // 3
    feed.send(chunk("hello")); // 4
    feed.lose_send(chunk("world") + "0\r\n\r\n"); // 5
    feed.recv("GET /b HTTP/1.1\r\n\r\n"); // 6
    feed.send(plain("200 OK", "{}")); // 7
    let first: Vec<_> = feed.told().into_iter().filter(|told| told.starts_with('1')).collect();
    assert_eq!(
        first,
        ["1 start @2", "1 body @2", "1 head @3", "1 first @4", "1 chunk @4", "1 end @4"]
    );
}

#[test]
fn content_behind_a_head_that_was_lost_says_that_the_request_was_at_work() {
    let request = post("/v1/completions", CHAT);
    let (begin, rest) = request.split_at(request.len() - 9);
    let mut feed = Feed::new(); // 1
    feed.recv(begin); // 2
    feed.lose_send(CHUNKED); // 3
    feed.send(chunk("hello")); // 4
    feed.recv(rest); // 5
    assert_eq!(feed.told(), ["1 start @2", "1 body @2", "1 first @4"]);
}

/// Path, status and outcome of each request that was told.
fn told(feed: &Feed) -> Vec<(Option<String>, Option<u16>, End)> {
    feed.facts().into_iter().map(|f| (f.path, f.status, f.outcome)).collect()
}

fn complete(path: Option<&str>, status: u16) -> (Option<String>, Option<u16>, End) {
    (path.map(str::to_owned), Some(status), End::Complete)
}

/// A chunked request of which the end and all of the answer are lost.
fn lose_an_end_and_its_answer() -> Feed {
    let mut feed = Feed::new();
    feed.recv("POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"); // 2
    feed.lose_recv(chunk("{}")); // 3
    feed.recv(&chunk("lost")[4..]); // 4
    feed.lose_recv("0\r\n\r\n"); // 5
    feed.lose_send(plain("200 OK", "{}")); // 6
    feed
}

#[test]
fn a_request_line_in_two_reads_is_found_where_a_body_may_go_on() {
    let mut feed = lose_an_end_and_its_answer();
    feed.recv("POST /v1/chat/completion"); // 7
    feed.recv("s HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}"); // 8
    feed.send(plain("201 Created", "{}")); // 9
    let next = complete(Some("/v1/chat/completions"), 201);
    assert_eq!(told(&feed), [(Some("/a".to_owned()), None, End::Complete), next]);
    let facts = &feed.facts()[1];
    assert_eq!((step(Some(facts.start)), step(facts.body)), (Some(7), Some(8)));
    assert_eq!((facts.bytes_in, step(Some(facts.end))), (24 + 35, Some(9)));
    assert!(facts.flags.iter().all(|f| f == Flag::Pipelined), "{facts:#?}");
}

#[test]
fn what_only_begins_like_a_request_line_stays_in_the_body() {
    for rest in ["s are what I ask for\r\n", "s HTTP/1.2\r\n", "\u{3a9}"] {
        let mut feed = lose_an_end_and_its_answer();
        let seen = feed.rx - 5;
        feed.recv("POST /v1/chat/completion");
        feed.recv(rest);
        feed.recv("0\r\n\r\n");
        feed.close();
        let facts = feed.only();
        assert_eq!(facts.path.as_deref(), Some("/a"));
        assert_eq!(facts.bytes_in, seen + 5 + 24 + rest.len() as u64 + 5, "{rest}");
    }
}

#[test]
fn half_a_head_that_answers_an_unseen_request_is_not_the_next_one_s() {
    for end in [3, 12, 14, 40] {
        let mut feed = Feed::new();
        let answer = plain("503 Busy", "{}");
        feed.lose_recv("GET /a HTTP/1.1\r\n\r\n");
        feed.send(&answer[..end]);
        feed.lose_send(&answer[end..]);
        feed.recv("GET /b HTTP/1.1\r\n\r\n");
        feed.send(plain("200 OK", "{}"));
        assert_eq!(told(&feed), [(None, None, End::Complete), complete(Some("/b"), 200)]);
        let [first, second] = &feed.facts()[..] else { unreachable!() };
        assert_eq!(first.bytes_out, answer.len() as u64);
        assert!(first.flags.contains(Flag::RequestNotSeen), "{first:#?}");
        assert_eq!(second.bytes_out, plain("200 OK", "{}").len() as u64);
        assert!(second.flags.iter().all(|f| f == Flag::Pipelined), "{second:#?}");
    }
}

#[test]
fn an_answer_to_an_unseen_head_between_two_requests_ends_before_the_next_one() {
    for framing in [CHUNKED, "HTTP/1.1 200 OK\r\nContent-Length: 324\r\n\r\n"] {
        let mut feed = Feed::new();
        feed.recv(post("/a", "{}"));
        feed.lose_send(plain("201 Created", "{}"));
        feed.lose_recv("HEAD /b HTTP/1.1\r\n\r\n");
        feed.send(framing);
        feed.recv("GET /c HTTP/1.1\r\n\r\n");
        feed.send(plain("404 Not Found", "{}"));
        assert_eq!(told(&feed), [complete(Some("/a"), 200), complete(Some("/c"), 404)]);
        // Whose answer it was cannot be known; that records were lost can.
        assert!(feed.facts()[0].flags.contains(Flag::LostRecords), "{framing}");
    }
}

#[test]
fn the_answers_to_two_unseen_requests_are_two() {
    let mut feed = Feed::new();
    feed.lose_recv("HEAD /a HTTP/1.1\r\n\r\n");
    feed.send("HTTP/1.1 200 OK\r\nContent-Length: 68\r\n\r\n");
    feed.lose_recv("GET /b HTTP/1.1\r\n\r\n");
    feed.send("HTTP/1.1 204 No Content\r\n\r\n");
    feed.recv("GET /c HTTP/1.1\r\n\r\n");
    feed.send(plain("404 Not Found", "{}"));
    assert_eq!(told(&feed), [complete(None, 200), complete(None, 204), complete(Some("/c"), 404)]);
}

#[test]
fn a_connection_that_lost_records_is_not_set_aside_for_being_out_of_step() {
    let mut feed = Feed::new();
    feed.lose_recv("HEAD /a HTTP/1.1\r\n\r\n");
    feed.send("HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n");
    feed.recv("GET /b HTTP/1.1\r\n\r\n");
    let answer = plain("200 OK", &"x".repeat(60));
    feed.lose_send(&answer[..40]);
    feed.send(&answer[40..]);
    feed.recv("GET /c HTTP/1.1\r\n\r\n");
    feed.send(plain("404 Not Found", "{}"));
    assert_eq!(feed.not_understood(), []);
    assert_eq!(told(&feed).last(), Some(&complete(Some("/c"), 404)));
    let marked = |path| {
        let facts = feed.facts().into_iter().find(|f| f.path.as_deref() == Some(path));
        facts.is_some_and(|f| f.flags.contains(Flag::LostRecords))
    };
    assert_eq!((marked("/b"), marked("/c")), (true, false));
}

#[test]
fn an_interim_answer_that_was_lost_marks_its_request() {
    let mut feed = Feed::new();
    feed.recv("POST /a HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
    feed.lose_send("HTTP/1.1 100 Continue\r\n\r\n");
    feed.recv("{}");
    feed.send(plain("200 OK", "{}"));
    let facts = feed.only();
    assert_eq!((facts.status, facts.bytes_out), (Some(200), feed.tx));
    assert!(facts.flags.contains(Flag::LostRecords));
}

#[test]
fn half_an_answer_that_was_lost_is_not_more_of_one_to_an_unseen_head() {
    let mut feed = Feed::new();
    feed.lose_recv("HEAD /a HTTP/1.1\r\n\r\n");
    feed.send(UNTIL_CLOSE);
    feed.recv("GET /b HTTP/1.1\r\n\r\n");
    let answer = plain("200 OK", "{}");
    feed.lose_send(&answer[..30]);
    feed.send(&answer[30..]);
    feed.lose_recv("GET /c HTTP/1.1\r\n\r\n");
    feed.send(plain("500 Oops", "{}"));
    feed.recv("GET /d HTTP/1.1\r\n\r\n");
    feed.send(plain("404 Not Found", "{}"));
    let lost = (Some("/b".to_owned()), None, End::Complete);
    let (first, last) = (complete(None, 200), complete(Some("/d"), 404));
    assert_eq!(told(&feed), [first, lost, complete(None, 500), last]);
    assert!(feed.facts()[1].flags.contains(Flag::LostRecords));
}

#[test]
fn an_answer_that_lost_its_beginning_where_the_place_was_not_known_is_its_request_s() {
    let answer = plain("200 OK", &"x".repeat(60));
    let mut feed = Feed::new(); // 1
    feed.lose_recv("GET /a HTTP/1.1\r\n\r\n"); // 2
    // The end of its head is not captured.
    feed.send_captured(answer.as_bytes(), 20, 4); // 3
    feed.recv("GET /b HTTP/1.1\r\n\r\n"); // 4
    feed.lose_send(&answer[..40]); // 5
    feed.send(&answer[40..]); // 6
    feed.lose_recv("GET /c HTTP/1.1\r\n\r\n"); // 7
    feed.send(plain("404 Not Found", "{}")); // 8
    let lost = (Some("/b".to_owned()), None, End::Complete);
    assert_eq!(told(&feed), [lost, complete(None, 404)]);
    let facts = &feed.facts()[0];
    assert!(facts.flags.contains(Flag::LostRecords));
    assert_eq!((facts.bytes_out, step(Some(facts.end))), (answer.len() as u64, Some(6)));
}

#[test]
fn what_was_lost_of_an_answer_to_an_unseen_request_does_not_mark_the_next_one() {
    let answer = plain("200 OK", &"x".repeat(60));
    let mut feed = Feed::new();
    feed.lose_recv("GET /a HTTP/1.1\r\n\r\n");
    feed.send_captured(&answer.as_bytes()[..50], 20, 4);
    feed.lose_send(&answer[50..]);
    feed.recv("GET /b HTTP/1.1\r\n\r\n");
    feed.send(plain("201 Created", "{}"));
    assert_eq!(told(&feed), [complete(Some("/b"), 201)]);
    assert!(feed.only().flags.is_empty());
}

#[test]
fn bytes_lost_right_before_the_close_behind_a_head_without_a_body_follow_an_answer() {
    let mut feed = Feed::new(); // 1
    feed.recv(post("/v1/chat/completions", CHAT)); // 2
    feed.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"); // 3
    feed.lose_send(plain("408 Request Timeout", "{}")); // 4
    feed.close(); // 5
    assert_eq!(told(&feed), [complete(Some("/v1/chat/completions"), 200)]);
    assert_eq!(step(Some(feed.only().end)), Some(3));
}

#[test]
fn an_answer_lost_right_before_the_close_marks_its_request_though_the_one_before_lost_its_end_too()
{
    let mut feed = Feed::new(); // 1
    feed.recv("GET /a HTTP/1.1\r\n\r\n"); // 2
    feed.send([CHUNKED, &chunk("hello")].concat()); // 3
    feed.lose_send("0\r\n\r\n"); // 4
    feed.recv("GET /b HTTP/1.1\r\n\r\n"); // 5
    feed.lose_send("HTTP/1.1 204 No Content\r\n\r\n"); // 6
    feed.close(); // 7
    let second = (Some("/b".to_owned()), None, End::Complete);
    assert_eq!(told(&feed), [complete(Some("/a"), 200), second]);
    assert!(feed.facts().iter().all(|f| f.flags.contains(Flag::LostRecords)));
    assert_eq!(feed.facts().iter().map(|f| f.bytes_out).sum::<u64>(), feed.tx);
}

#[test]
fn a_body_that_a_torn_head_promised_and_that_outlived_the_answer_hides_other_requests() {
    let mut feed = Feed::new();
    // The ends of both heads are not captured.
    feed.recv_captured(post("/a", "{}").as_bytes(), 60, 4);
    feed.send_captured(plain("200 OK", "{}").as_bytes(), 20, 4);
    // The head of another request, whose beginning was lost, goes on with the one that is torn.
    let second = post("/b", "{\"n\":1}");
    let head = second.len() - "{\"n\":1}".len();
    feed.lose_recv(&second[..30]);
    feed.recv(&second[30..head]);
    feed.send("HTTP/1.1 100 Continue\r\n\r\n");
    feed.recv(&second[head..]);
    feed.lose_send(plain("200 OK", "{}"));
    feed.recv("GET /c HTTP/1.1\r\n\r\n");
    let answer = plain("201 Created", "{}");
    feed.send(&answer);
    assert_eq!(told(&feed).last(), Some(&complete(Some("/c"), 201)));
    let facts = feed.facts().pop().expect("it was told");
    assert_eq!(facts.bytes_out, answer.len() as u64);
    assert!(facts.flags.is_empty(), "{facts:#?}");
}

#[test]
fn what_a_torn_head_promised_beyond_its_answer_does_not_swallow_the_next_request() {
    let mut feed = Feed::new();
    // The end of the head is not captured, and of the next one the beginning is lost: together they read as one.
    let first =
        format!("POST /a HTTP/1.1\r\nContent-Length: 9000\r\nX: y\r\n\r\n{}", "x".repeat(9000));
    feed.recv_captured(first.as_bytes(), 42, 4);
    feed.send(&plain("200 OK", "{\"n\":1}")[..40]);
    feed.lose_send(&plain("200 OK", "{\"n\":1}")[40..]);
    feed.lose_recv("GET /b HTTP/1.1\r\nHost: x\r\n");
    feed.recv("Cookie: y\r\n\r\n");
    feed.send(plain("200 OK", "{}"));
    feed.recv("GET /c HTTP/1.1\r\n\r\n");
    feed.send(plain("201 Created", "{}"));
    assert_eq!(told(&feed).last(), Some(&complete(Some("/c"), 201)));
    assert!(feed.facts().pop().expect("it was told").flags.is_empty());
}

#[test]
fn a_body_lost_to_its_end_after_another_request_was_answered_leaves_no_doubt_whose_answer_was_lost()
{
    let mut feed = Feed::new();
    let first =
        format!("POST /a HTTP/1.1\r\nX: y\r\nContent-Length: 9000\r\n\r\n{}", "x".repeat(9000));
    feed.recv_captured(first.as_bytes(), 20, 4);
    feed.send(&plain("200 OK", "{\"n\":1}")[..40]);
    feed.lose_send(&plain("200 OK", "{\"n\":1}")[40..]);
    // What is seen of it reads as the end of the first one's head.
    feed.lose_recv("POST /b HTTP/1.1\r\nHost: x\r\n");
    feed.recv("Expect: 100-continue\r\nContent-Length: 20\r\n\r\n");
    feed.send("HTTP/1.1 100 Continue\r\n\r\n");
    feed.lose_recv("y".repeat(20));
    feed.lose_send(plain("200 OK", "{}"));
    feed.recv("GET /c HTTP/1.1\r\n\r\n");
    let answer = plain("201 Created", "{}");
    feed.send(&answer);
    let last = feed.facts().pop().expect("it was told");
    assert_eq!(told(&feed).last(), Some(&complete(Some("/c"), 201)));
    assert_eq!((last.bytes_out, last.flags.is_empty()), (answer.len() as u64, true), "{last:?}");
}

#[test]
fn a_length_that_a_torn_head_promised_does_not_hide_a_request_line() {
    let mut feed = Feed::new();
    feed.recv("POST /a HTTP/1.1\r\nContent-Length: 5000\r\nX: ");
    feed.lose_recv(format!("y\r\n\r\n{}", "z".repeat(5000)));
    feed.lose_send(plain("200 OK", "{}"));
    // What is seen of it reads as the end of the first one's head.
    feed.lose_recv("HEAD /b HTTP/1.");
    feed.recv("1\r\nHost: x\r\n\r\n");
    feed.send("HTTP/1.1 200 OK\r\nContent-Length: 484\r\n\r\n");
    feed.recv("GET /c HTTP/1.1\r\n\r\n");
    feed.send(plain("201 Created", "{}"));
    assert_eq!(told(&feed).last(), Some(&complete(Some("/c"), 201)));
}

/// Of a `HEAD` whose head was torn the answer looks as if only the close would end it; behind it the answers of two more requests
/// were lost, `/c` the last of them.
fn answers_lost_within_one_that_only_a_close_would_end() -> Feed {
    let mut feed = Feed::new();
    feed.recv("HEAD /a HTTP/1.1\r\nHost: x\r\n");
    feed.lose_recv("\r\n");
    feed.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n");
    // What is seen of it reads as the end of the first one's head.
    feed.lose_recv("POST /b HTTP/1.1\r\nHost: ");
    feed.recv("x\r\nContent-Length: 2\r\n\r\n");
    feed.recv("h");
    feed.lose_recv("i");
    let answer = plain("200 OK", "{\"a\":\"b\"}");
    feed.lose_send(&answer[..24]);
    feed.send(&answer[24..]);
    feed.recv("GET /c HTTP/1.1\r\n\r\n");
    feed.lose_send(plain("200 OK", "{}"));
    feed
}

#[test]
fn answers_that_were_lost_within_one_that_only_a_close_would_end_are_over() {
    let mut feed = answers_lost_within_one_that_only_a_close_would_end();
    feed.recv("GET /d HTTP/1.1\r\n\r\n");
    feed.send(plain("201 Created", "{}"));
    assert_eq!(told(&feed).last(), Some(&complete(Some("/d"), 201)));
}

#[test]
fn they_mark_their_requests_where_the_close_follows() {
    let mut feed = answers_lost_within_one_that_only_a_close_would_end();
    feed.close();
    let last = feed.facts().pop().expect("it was told");
    assert_eq!((last.path.as_deref(), last.outcome), (Some("/c"), End::Complete));
    assert!(last.flags.contains(Flag::LostRecords));
}

#[test]
fn a_length_without_a_body_does_not_swallow_the_answer_to_the_next_request() {
    let mut feed = Feed::new();
    feed.recv("HEAD /a HTTP/1.1\r\nHost: x\r\n");
    feed.lose_recv("\r\n");
    feed.send("HTTP/1.1 200 OK\r\nContent-Length: 388\r\n\r\n");
    // What is seen of it reads as the end of the first one's head.
    feed.lose_recv("POST /b HTTP/1.1\r\nHost: ");
    feed.recv("x\r\nContent-Length: 2\r\n\r\n");
    feed.recv("h");
    feed.lose_recv("i");
    let answer = plain("200 OK", "{\"a\":\"b\"}");
    feed.lose_send(&answer[..24]);
    feed.send(&answer[24..]);
    feed.recv("GET /c HTTP/1.1\r\n\r\n");
    feed.send(plain("201 Created", "{}"));
    let last = feed.facts().pop().expect("it was told");
    assert_eq!(told(&feed).last(), Some(&complete(Some("/c"), 201)));
    assert!(!last.flags.contains(Flag::LostRecords), "{last:?}");
}

#[test]
fn a_length_without_a_body_does_not_hide_that_answers_were_lost() {
    let mut feed = Feed::new();
    feed.recv("HEAD /a HTTP/1.1\r\nHost: x\r\n");
    feed.lose_recv("\r\n");
    let lost = plain("200 OK", "{}");
    let length = lost.len() + 9;
    feed.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n"));
    feed.recv("POST /b HTTP/1.1\r\nContent-Length: 2\r\n\r\n");
    feed.lose_recv("hi");
    feed.lose_send(&lost);
    feed.recv("GET /c HTTP/1.1\r\n\r\n");
    feed.lose_send(&STREAM_HEAD[..9]);
    feed.send(&STREAM_HEAD[9..]);
    feed.send("0\r\n\r\n");
    feed.close();
    let last = feed.facts().pop().expect("it was told");
    assert_eq!((last.path.as_deref(), last.outcome), (Some("/c"), End::Complete));
    assert!(last.flags.contains(Flag::LostRecords), "{last:?}");
}

#[test]
fn what_is_lost_behind_an_answer_of_which_only_the_middle_was_seen_is_not_of_the_next_request() {
    for lost in [true, false] {
        let mut feed = Feed::new();
        feed.recv("GET /a HTTP/1.1\r\n\r\n");
        feed.send(plain("200 OK", "{}"));
        // It answers a request that was not seen.
        feed.lose_send(&STREAM_HEAD[..30]);
        feed.send(&STREAM_HEAD[30..]);
        feed.send("some of it");
        if lost {
            feed.lose_send("the rest");
        }
        feed.recv("GET /b HTTP/1.1\r\n\r\n");
        let answer = plain("201 Created", "{}");
        feed.send(&answer);
        let last = feed.facts().pop().expect("it was told");
        assert_eq!(told(&feed).last(), Some(&complete(Some("/b"), 201)), "{lost}");
        assert_eq!(last.bytes_out, answer.len() as u64, "{lost}");
        assert!(last.flags.iter().next().is_none(), "{lost}: {last:?}");
    }
}

//! Heads longer than what is captured of one read: what is left of them counts, and the request is at
//! work from the read on that may have been its last, not from its response on.

use wattprobe::boundary::{Facts, Flag, Flags, What};
use wattprobe::record::End;

use crate::feed::*;

const ASKS: &str = "{\"messages\":[\"hello\"],\"model\":\"m\",\"stream\":true}";

fn cookie(n: usize) -> String {
    format!("Cookie: {}\r\n", "c".repeat(n))
}

/// Plays `reads` (2, 3 …), a response a few calls later, and a second request, which must be intact.
/// Returns the first request's facts and the step of its body, and where its response was written.
fn play<T: AsRef<[u8]>>(reads: &[T]) -> (Facts, u64, u64) {
    let mut feed = Feed::new(); // 1
    for read in reads {
        feed.recv(read);
    }
    let given: Vec<_> = feed.boundaries().into_iter().filter(|b| b.what == What::Body).collect();
    feed.t += 5 * STEP;
    let answered = feed.t / STEP;
    feed.send(plain("200 OK", CHAT_ANSWER));
    feed.recv(post("/next", "{\"model\":\"n\"}"));
    feed.send(plain("404 Not Found", "{}"));
    let facts = feed.facts();
    assert_eq!(facts.len(), 2, "{facts:#?}");
    let next = &facts[1];
    assert_eq!(
        (next.path.as_deref(), next.status, next.flags),
        (Some("/next"), Some(404), Flags::default())
    );
    assert_eq!((next.model.as_deref(), next.external_id.as_deref()), (Some("n"), Some("req-1")));
    let first = facts[0].clone();
    assert_eq!((first.status, first.bytes_in), (Some(200), feed.rx - next.bytes_in));
    assert_eq!(feed.count(What::Body), 2);
    // It was told before the response: told with it, it would come too late to be charged.
    assert_eq!(given.len(), 1);
    assert_eq!(Some(given[0].at), first.body);
    assert!(!first.flags.contains(Flag::EarlyResponse) && first.flags.contains(Flag::GapInFraming));
    (first, given[0].at.t / STEP, answered)
}

fn line(facts: &Facts) -> (Option<&str>, Option<&str>, Option<&str>) {
    (facts.method.as_deref(), facts.path.as_deref(), facts.external_id.as_deref())
}

#[test]
fn a_long_cookie_without_a_body_is_at_work_from_its_read_on() {
    let head = format!(
        "GET /v1/models?k HTTP/1.1\r\nX-Request-Id: early\r\n{}Accept: */*\r\n\r\n",
        cookie(6000)
    );
    let (facts, body, answered) = play(&[head]);
    assert_eq!((body, answered), (2, 8));
    assert_eq!(line(&facts), (Some("GET"), Some("/v1/models"), Some("early")));
}

#[test]
fn a_length_before_or_behind_the_gap_delimits_the_body() {
    let n = ASKS.len();
    let before = format!(
        "POST /a HTTP/1.1\r\nContent-Length: {n}\r\nX-Request-Id: id\r\n{}A: b\r\n\r\n",
        cookie(6000)
    );
    let behind = format!(
        "POST /a HTTP/1.1\r\n{}Content-Length: {n}\r\nX-Request-Id: id\r\n\r\n",
        cookie(6000)
    );
    for head in [before, behind] {
        let (facts, body, _) = play(&[head.clone() + ASKS]);
        assert_eq!(body, 2);
        assert_eq!(line(&facts), (Some("POST"), Some("/a"), Some("id")));
        assert_eq!((facts.model.as_deref(), facts.stream), (Some("m"), Some(true)));
        // The body comes by itself: it is waited for.
        let (facts, body, _) = play(&[&head[..], &ASKS[..20], &ASKS[20..]]);
        assert_eq!((body, facts.model.as_deref(), facts.stream), (4, Some("m"), Some(true)));
    }
}

#[test]
fn a_chunked_body_behind_a_torn_head_ends_at_its_terminator() {
    let chunks = chunk(ASKS) + "0\r\n\r\n";
    for head in [
        format!("POST /a HTTP/1.1\r\n{}Transfer-Encoding: chunked\r\n\r\n", cookie(6000)),
        format!("POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n{}\r\n", cookie(6000)),
    ] {
        let (facts, body, _) = play(&[&head[..], &chunks[..30], &chunks[30..]]);
        assert_eq!((body, facts.model.as_deref()), (4, Some("m")));
    }
}

#[test]
fn a_head_that_ends_in_the_gap_ends_where_its_length_first_allows() {
    let body = format!("{{\"prompt\":\"{}\",\"model\":\"m\",\"stream\":true}}", "p ".repeat(5000));
    let request =
        format!("POST /a HTTP/1.1\r\nContent-Length: {}\r\n{}\r\n{body}", body.len(), cookie(5000));
    let (facts, at, _) = play(&[&request]);
    assert_eq!((at, facts.model.as_deref(), facts.stream), (2, Some("m"), Some(true)));
    // 9000 bytes cannot be all of it.
    let (facts, at, _) = play(&[&request[..9000], &request[9000..]]);
    assert_eq!((at, facts.model.as_deref(), facts.stream), (3, Some("m"), Some(true)));
}

#[test]
fn a_length_that_is_hidden_leaves_the_read_itself() {
    let request = format!(
        "POST /a HTTP/1.1\r\n{}Content-Length: {}\r\n{}\r\n{ASKS}",
        cookie(4500),
        ASKS.len(),
        cookie(3000)
    );
    let (facts, body, _) = play(&[request]);
    assert_eq!((body, facts.model.as_deref()), (2, Some("m")));
}

#[test]
fn a_url_longer_than_the_capture_keeps_its_beginning() {
    let tail = "HTTP/1.1\r\nHost: x\r\nX-Request-Id: late\r\n\r\n";
    let (facts, body, _) = play(&[format!("GET /{} {tail}", "p".repeat(9000))]);
    assert_eq!(body, 2);
    let path = facts.path.clone().unwrap_or_default();
    assert_eq!((path.len(), &path[..4]), (256, "/ppp"));
    assert!(facts.flags.contains(Flag::PathTruncated));
    assert_eq!(facts.external_id.as_deref(), Some("late"));

    let (facts, body, _) = play(&[format!("GET /short?q={} {tail}", "q".repeat(9000))]);
    assert_eq!((body, line(&facts)), (2, (Some("GET"), Some("/short"), Some("late"))));
    assert!(!facts.flags.contains(Flag::PathTruncated));
}

#[test]
fn a_head_of_30_kilobytes_is_read_around_its_gaps() {
    let many: String = (0..30).map(|i| format!("X-{i}: {}\r\n", "v".repeat(1000))).collect();
    let request = format!(
        "POST /a HTTP/1.1\r\nX-Request-Id: id\r\n{many}Content-Length: {}\r\n\r\n{ASKS}",
        ASKS.len()
    );
    let (facts, body, _) = play(&[&request]);
    assert_eq!((body, line(&facts)), (2, (Some("POST"), Some("/a"), Some("id"))));
    assert_eq!((facts.model.as_deref(), facts.stream), (Some("m"), Some(true)));
    // In reads of 8 KiB nothing said, at the first gap, that more would come.
    let reads: Vec<_> = request.as_bytes().chunks(8192).collect();
    let (facts, body, _) = play(&reads);
    assert_eq!((body, line(&facts)), (2, (Some("POST"), Some("/a"), Some("id"))));
    assert_eq!((facts.model.as_deref(), facts.stream), (Some("m"), Some(true)));
}

#[test]
fn an_early_response_counts_from_the_last_read_before_it() {
    let head = "POST /up HTTP/1.1\r\nContent-Length: 100000000\r\n\r\n{\"p\":\"";
    let mut feed = Feed::new(); // 1
    feed.recv(head); // 2
    feed.recv(vec![b'x'; 100_000]); // 3
    feed.t += 4 * STEP;
    feed.send(plain("413 Too Large", "{}")); // 8
    let facts = feed.only();
    assert_eq!((step(facts.body), step(facts.head)), (Some(3), Some(8)));
    assert_eq!(facts.body.map(|m| m.clock[0]), Some(3 * STEP / 2));
    assert!(facts.flags.contains(Flag::EarlyResponse));
    assert!(!facts.flags.contains(Flag::GapInFraming));
}

#[test]
fn a_chunked_body_whose_end_never_shows_counts_from_its_last_read() {
    let body = chunk(&"x".repeat(500)).repeat(30);
    let mut feed = Feed::new(); // 1
    feed.recv(format!("POST /c HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{body}")); // 2
    feed.recv(body + "0\r\nTrailer: x\r\n\r\n"); // 3
    feed.send(plain("200 OK", "{}")); // 4
    let facts = feed.only();
    assert_eq!((step(facts.body), step(facts.head)), (Some(3), Some(4)));
    assert!(facts.flags.contains(Flag::GapInFraming));
    assert!(!facts.flags.contains(Flag::EarlyResponse));
}

/// An answer with a head of more than so many bytes, written in these calls; then the client leaves.
fn answered(cookie: usize, lines: &str, writes: impl Fn(&str) -> Vec<String>) -> Facts {
    let mut feed = Feed::new(); // 1
    feed.recv(post("/v1/chat/completions", CHAT)); // 2
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{lines}Set-Cookie: {}\r\nServer: x\r\n\r\n",
        "c".repeat(cookie)
    );
    let writes = writes(&head);
    writes.iter().for_each(|write| feed.send(write)); // 3 …
    let (last, sent) = (1 + writes.len() as u64 + 1, feed.tx);
    feed.t += 5 * STEP;
    feed.eof();
    feed.close();
    let facts = feed.only();
    assert_eq!((facts.status, facts.outcome, facts.bytes_out), (Some(200), End::Complete, sent));
    assert_eq!(step(Some(facts.end)), Some(last), "with its last write: {facts:?}");
    facts
}

#[test]
fn an_answer_whose_long_head_ends_in_what_was_captured_is_as_any_other() {
    let length = format!("Content-Length: {}\r\n", CHAT_ANSWER.len());
    for cookie in [5000, 9000, 20_000] {
        let facts = answered(cookie, &length, |head| vec![format!("{head}{CHAT_ANSWER}")]);
        assert_eq!((facts.completion_tokens, facts.flags.is_empty()), (Some(5), true));
        let facts = answered(cookie, &length, |head| vec![head.into(), CHAT_ANSWER.into()]);
        assert_eq!((facts.completion_tokens, facts.flags.is_empty()), (Some(5), true));
        let chunked = "Transfer-Encoding: chunked\r\n";
        let facts = answered(cookie, chunked, |head| {
            vec![head.into(), chunk(CHAT_ANSWER), "0\r\n\r\n".into()]
        });
        assert_eq!((facts.completion_tokens, facts.flags.is_empty()), (Some(5), true));
    }
}

#[test]
fn an_answer_whose_long_head_ends_in_what_was_not_captured_is_over_when_its_length_may_be_there() {
    let answer = format!("{{\"text\":\"{}\",{}", "x".repeat(6000), &CHAT_ANSWER[1..]);
    let length = format!("Content-Length: {}\r\n", answer.len());
    let facts = answered(5000, &length, |head| vec![format!("{head}{answer}")]);
    assert_eq!(facts.completion_tokens, Some(5));
    assert!(facts.flags.contains(Flag::GapInFraming));
    let (begin, rest) = answer.split_at(5000);
    let facts = answered(5000, &length, |head| vec![format!("{head}{begin}"), rest.into()]);
    assert_eq!(facts.completion_tokens, Some(5));
}

#[test]
fn empty_lines_of_events_behind_a_gap_are_no_end_of_a_head() {
    let events = chunk(ROLE) + &chunk(&delta("a")) + &chunk(LAST) + "0\r\n\r\n";
    let chunked = "Transfer-Encoding: chunked\r\n";
    let head = format!("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n{chunked}");
    let mut feed = Feed::new();
    feed.recv(post("/v1/chat/completions", CHAT));
    feed.send(format!("{head}Set-Cookie: {}\r\n\r\n{events}", "c".repeat(5000)));
    feed.recv(post("/next", "{}"));
    feed.send(plain("200 OK", "{}"));
    let facts = feed.facts();
    assert_eq!((facts.len(), facts[0].completion_tokens), (2, Some(16)));
    assert!(!facts[0].flags.contains(Flag::MalformedChunk), "{:?}", facts[0]);
    assert!(facts[1].flags.is_empty(), "{:?}", facts[1]);
}

#[test]
fn an_answer_in_which_no_counts_were_found_says_that_some_may_have_been_hidden() {
    let hidden = format!(
        "{{\"a\":\"{0}\",{1},\"b\":\"{0}\"}}",
        "x".repeat(6000),
        "\"usage\":{\"completion_tokens\":5}"
    );
    for (path, flagged) in [("/v1/chat/completions", true), ("/weather", false)] {
        let mut feed = Feed::new();
        feed.recv(post(path, "{}"));
        feed.send(plain("200 OK", &hidden));
        let facts = feed.only();
        assert_eq!((facts.completion_tokens, facts.outcome), (None, End::Complete));
        assert_eq!(facts.flags.contains(Flag::GapInContent), flagged, "{facts:?}");
    }
}

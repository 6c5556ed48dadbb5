//! After a loss the tracker is compared with the kernel's own list of connections.

use std::collections::HashMap;

use wattprobe::{
    boundary::{Census, Flag, Moved},
    event::ConnId,
    record::End,
};

use crate::feed::*;

/// The kernel's list, read within one step: what this feed's connection moved, or nothing.
fn census(feed: &mut Feed, alive: bool) {
    let moved = Moved { received: feed.rx, sent: feed.tx };
    let known: HashMap<ConnId, Moved> = alive.then_some((feed.conn, moved)).into_iter().collect();
    let census = Census { begin: feed.t, end: feed.t + STEP / 2, known };
    feed.tracker.reconcile(&census, |_| [feed.t / 2; 8], &mut feed.out);
    feed.t += STEP;
}

/// Asked for a stream, and some of it.
fn streaming() -> Feed {
    let mut feed = Feed::new();
    feed.recv(post("/v1/chat/completions", CHAT));
    feed.send(STREAM_HEAD);
    feed.send(chunk(&delta("a")));
    feed
}

/// Nothing comes for so many milliseconds.
fn quiet(feed: &mut Feed, ms: u64) {
    feed.t += ms * 1_000_000;
    feed.tracker.expire(feed.t, u64::MAX, |_| [feed.t / 2; 8], &mut feed.out);
}

#[test]
fn a_request_whose_end_and_close_were_lost_is_over() {
    let mut feed = streaming();
    feed.lose_send("0\r\n\r\n");
    census(&mut feed, false);
    let facts = feed.only();
    assert_eq!((facts.outcome, facts.completion_tokens), (End::Interrupted, Some(1)));
    assert!(facts.flags.contains(Flag::LostRecords));
    assert_eq!((feed.tracker.in_flight(), feed.tracker.connections()), (0, 0));
}

#[test]
fn a_request_of_which_nothing_was_lost_goes_on_however_quiet_it_is() {
    let mut feed = Feed::new();
    feed.recv(post("/v1/chat/completions", CHAT));
    census(&mut feed, true);
    quiet(&mut feed, 60_000);
    assert_eq!((feed.facts().len(), feed.tracker.in_flight()), (0, 1));
    feed.send(plain("200 OK", CHAT_ANSWER));
    assert!(feed.only().flags.is_empty());
}

#[test]
fn a_length_tells_that_an_answer_whose_rest_was_lost_is_over() {
    let mut feed = Feed::new();
    feed.recv("GET / HTTP/1.1\r\n\r\n");
    let answer = plain("200 OK", CHAT_ANSWER);
    feed.send(&answer[..answer.len() - 9]);
    feed.lose_send(&answer[answer.len() - 9..]);
    census(&mut feed, true);
    let facts = feed.only();
    assert_eq!((facts.outcome, facts.bytes_out), (End::Complete, feed.tx));
    assert!(facts.flags.contains(Flag::LostRecords));
    feed.recv("GET /next HTTP/1.1\r\n\r\n");
    feed.send(plain("200 OK", "{}"));
    let next = feed.facts().pop().unwrap();
    assert_eq!((next.path.as_deref(), next.flags.is_empty()), (Some("/next"), true));
}

#[test]
fn a_stream_whose_last_bytes_were_lost_is_over_once_it_is_quiet_and_the_next_request_is_seen() {
    let mut feed = streaming();
    feed.lose_send("0\r\n\r\n");
    census(&mut feed, true);
    quiet(&mut feed, 900);
    assert_eq!(feed.tracker.in_flight(), 1, "it may go on");
    quiet(&mut feed, 200);
    let facts = feed.only();
    assert_eq!(facts.outcome, End::Interrupted);
    assert!(facts.flags.contains(Flag::LostRecords));
    feed.recv("GET /next HTTP/1.1\r\n\r\n");
    feed.send(plain("200 OK", "{}"));
    let next = feed.facts().pop().unwrap();
    assert_eq!((next.path.as_deref(), next.outcome), (Some("/next"), End::Complete));
}

#[test]
fn a_stream_that_goes_on_behind_what_was_lost_comes_to_its_own_end() {
    let mut feed = streaming();
    feed.lose_send(chunk(&delta("b")));
    census(&mut feed, true);
    quiet(&mut feed, 900);
    feed.send(chunk(&delta("c")));
    quiet(&mut feed, 5_000);
    assert_eq!(feed.tracker.in_flight(), 1);
    feed.send("0\r\n\r\n");
    let facts = feed.only();
    assert_eq!((facts.outcome, facts.bytes_out), (End::Complete, feed.tx));
    assert!(facts.flags.contains(Flag::LostRecords));
}

#[test]
fn what_was_opened_or_moved_since_the_list_was_begun_is_not_judged_by_it() {
    let mut feed = Feed::new();
    let begin = feed.t - STEP / 2;
    feed.recv("GET / HTTP/1.1\r\n\r\n");
    let census = Census { begin, end: feed.t, known: HashMap::new() };
    feed.tracker.reconcile(&census, |_| [0; 8], &mut feed.out);
    feed.send(plain("200 OK", "{}"));
    assert_eq!(feed.only().outcome, End::Complete);
}

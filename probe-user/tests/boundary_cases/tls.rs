//! Connections that speak TLS: read through the server's library where it is hooked, by sizes and times where not.

use wattprobe::{
    boundary::{Facts, Flag, NotUnderstood},
    record::End,
};

use crate::feed::*;

const HANDSHAKE: u8 = 22;
const CIPHERS: u8 = 20;
const DATA: u8 = 23;
/// Lengths of a client's `Finished`, of an alert and of a session ticket in TLS 1.3.
const FINISHED: usize = 53;
const ALERT: usize = 19;
const TICKET: usize = 234;

/// A record of a type, with a body of so many bytes.
fn record(kind: u8, len: usize) -> Vec<u8> {
    let size = u16::try_from(len).expect("a record is short").to_be_bytes();
    [&[kind, 3, 3, size[0], size[1]], &vec![0xa5; len][..]].concat()
}

/// A connection on which hands are shaken by TLS 1.3; `hooked`: the session is known.
fn shaken(hooked: bool) -> Feed {
    let mut feed = Feed::new();
    feed.recv(record(HANDSHAKE, 512));
    if hooked {
        feed.open_plain();
    }
    let server = [record(HANDSHAKE, 122), record(CIPHERS, 1), record(DATA, 900), record(DATA, 53)];
    feed.send(server.concat());
    feed.recv([record(CIPHERS, 1), record(DATA, FINISHED)].concat());
    feed.send([record(DATA, TICKET), record(DATA, TICKET)].concat());
    feed
}

fn opaque(facts: &Facts) -> bool {
    let names: Vec<_> = facts.flags.iter().map(Flag::as_str).collect();
    names == ["tls", "tls_opaque"] && facts.path.is_none() && facts.completion_tokens.is_none()
}

#[test]
fn plaintext_is_read_as_a_plain_connection_is() {
    let mut feed = shaken(true);
    let before = feed.t / STEP;
    feed.recv(record(DATA, 300));
    feed.decipher(post("/v1/chat/completions", CHAT));
    feed.encipher(STREAM_HEAD);
    feed.send(record(DATA, 200));
    for text in [ROLE, &delta("a"), &delta("b"), LAST] {
        feed.encipher(chunk(text));
        feed.send(record(DATA, 250));
    }
    feed.encipher("0\r\n\r\n");
    feed.send(record(DATA, 22));
    feed.close();
    let facts = feed.only();
    assert_eq!(facts.path.as_deref(), Some("/v1/chat/completions"));
    assert_eq!((facts.prompt_tokens, facts.completion_tokens), (Some(31), Some(16)));
    assert_eq!((facts.status, facts.outcome), (Some(200), End::Complete));
    assert_eq!(facts.flags.iter().collect::<Vec<_>>(), [Flag::Tls]);
    assert_eq!(facts.start.t / STEP, before + 1, "when it was deciphered");
    assert_eq!(facts.arrived, Some(before * STEP - LAY), "with what was deciphered");
    assert_eq!(step(facts.first), Some(before + 6));
    assert_eq!(facts.bytes_in, post("/v1/chat/completions", CHAT).len() as u64, "of plaintext");
    assert_eq!(feed.not_understood(), []);
}

#[test]
fn kept_connections_and_both_sides_closing_are_as_without_tls() {
    let mut feed = shaken(true);
    for i in 0..3 {
        feed.recv(record(DATA, 200));
        feed.decipher(post("/completion", "{}"));
        feed.encipher(plain("200 OK", &format!("{{\"tokens_predicted\":{i},\"content\":\"x\"}}")));
        feed.send(record(DATA, 200));
    }
    feed.recv(record(DATA, 200));
    feed.decipher(post("/completion", "{}"));
    feed.recv(record(DATA, ALERT));
    feed.eof();
    feed.close();
    let facts = feed.facts();
    let ends: Vec<_> = facts.iter().map(|f| (f.outcome, f.completion_tokens)).collect();
    let complete = |n| (End::Complete, Some(n));
    assert_eq!(ends, [complete(0), complete(1), complete(2), (End::Aborted, None)]);
    assert_eq!((feed.tracker.in_flight(), feed.tracker.connections()), (0, 0));
}

#[test]
fn when_a_request_came_is_known_unless_it_was_read_behind_other_records() {
    for hooked in [true, false] {
        let mut feed = shaken(hooked);
        let ask = |feed: &mut Feed| {
            if hooked {
                feed.decipher("GET /health HTTP/1.1\r\n\r\n");
                feed.encipher(plain("200 OK", "{}"));
            }
            feed.send(record(DATA, 200));
        };
        let arrived = Some(feed.t - LAY);
        let request = record(DATA, 200);
        // The library reads the header, then the rest.
        feed.recv(&request[..5]);
        feed.recv(&request[5..]);
        ask(&mut feed);
        feed.recv([record(CIPHERS, 1), record(DATA, 200)].concat());
        ask(&mut feed);
        let again = Some(feed.t - LAY);
        feed.recv(request.repeat(2));
        ask(&mut feed);
        feed.close();
        let told: Vec<_> = feed.facts().iter().map(|facts| facts.arrived).collect();
        assert_eq!(told, [arrived, None, again], "{hooked}");
    }
}

#[test]
fn what_was_deciphered_of_a_read_whose_record_is_lost_did_not_come_with_the_one_before() {
    let mut feed = shaken(true);
    for lost in [false, true] {
        let request = record(DATA, 200);
        if lost {
            feed.lose_recv(request);
        } else {
            feed.recv(request);
        }
        feed.decipher("GET /health HTTP/1.1\r\n\r\n");
        feed.encipher(plain("200 OK", "{}"));
        feed.send(record(DATA, 200));
    }
    let told: Vec<_> = feed.facts().iter().map(|facts| facts.arrived.is_some()).collect();
    assert_eq!(told, [true, false]);
}

#[test]
fn http_2_inside_of_tls_is_named() {
    let mut feed = shaken(true);
    feed.recv(record(DATA, 100));
    feed.decipher("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    feed.close();
    assert_eq!((feed.not_understood(), feed.facts().len()), (vec![NotUnderstood::Http2], 0));
}

#[test]
fn a_hooked_connection_found_open_is_read_from_its_next_request_on() {
    let mut feed = Feed::found_open();
    feed.recv(record(DATA, 300));
    feed.open_plain();
    feed.decipher(post("/completion", "{}"));
    feed.encipher(plain("200 OK", "{\"tokens_predicted\":4,\"content\":\"x\"}"));
    feed.send(record(DATA, 200));
    feed.close();
    let facts = feed.only();
    assert_eq!((facts.completion_tokens, facts.outcome), (Some(4), End::Complete));
}

#[test]
fn plaintext_says_that_the_session_is_known_where_the_record_that_said_so_was_lost() {
    let mut feed = shaken(false);
    for n in 0..2 {
        feed.recv(record(DATA, 300));
        feed.decipher(post("/completion", "{}"));
        feed.encipher(plain("200 OK", &format!("{{\"tokens_predicted\":{n},\"content\":\"x\"}}")));
        feed.send(record(DATA, 200));
    }
    feed.close();
    let facts = feed.facts();
    assert_eq!(facts.len(), 2, "{:?}", feed.told());
    assert!(opaque(&facts[0]), "its first request was under way by then: {:?}", facts[0]);
    assert_eq!(
        (facts[1].path.as_deref(), facts[1].completion_tokens),
        (Some("/completion"), Some(1))
    );
}

#[test]
fn without_plaintext_requests_are_told_apart_by_their_sizes_and_times() {
    let mut feed = shaken(false);
    assert!(feed.facts().is_empty() && feed.boundaries().is_empty(), "a handshake is no request");
    for _ in 0..2 {
        feed.recv(record(DATA, 300));
        feed.recv(record(DATA, 1000));
        feed.send(record(DATA, 200));
        feed.send(record(DATA, 40));
    }
    feed.recv(record(DATA, ALERT));
    feed.eof();
    feed.close();
    let facts = feed.facts();
    assert_eq!(facts.len(), 2, "{:?}", feed.told());
    assert!(facts.iter().all(opaque), "{facts:?}");
    for (i, facts) in (0..).zip(&facts) {
        assert_eq!((facts.outcome, facts.bytes_in, facts.bytes_out), (End::Complete, 1300, 240));
        // Open and handshake take five steps, then each has two reads and two writes.
        let first = 6 + 4 * i;
        assert_eq!((facts.start.t / STEP, facts.end.t / STEP), (first, first + 3));
        assert_eq!((step(facts.body), facts.head, facts.first), (Some(first), None, None));
    }
    assert_eq!(feed.not_understood(), [NotUnderstood::Tls], "told once a connection");
}

#[test]
fn tls_1_2_tells_data_from_handshake_by_its_types() {
    let mut feed = Feed::new();
    feed.recv(record(HANDSHAKE, 200));
    feed.send([record(HANDSHAKE, 90), record(HANDSHAKE, 900)].concat());
    feed.recv([record(HANDSHAKE, 70), record(CIPHERS, 1), record(HANDSHAKE, 40)].concat());
    feed.send([record(CIPHERS, 1), record(HANDSHAKE, 40)].concat());
    feed.recv(record(DATA, 60));
    feed.send(record(DATA, 300));
    feed.close();
    let facts = feed.only();
    assert!(opaque(&facts));
    assert_eq!((facts.bytes_in, facts.bytes_out), (60, 300));
}

#[test]
fn a_request_glued_to_the_handshake_is_not_answered_by_tickets() {
    let mut feed = Feed::new();
    feed.recv(record(HANDSHAKE, 512));
    feed.send([record(HANDSHAKE, 122), record(DATA, 900)].concat());
    feed.recv([record(DATA, FINISHED), record(DATA, 400)].concat());
    feed.send(record(DATA, TICKET));
    // The rest of a long prompt: were the tickets its answer, it would be another request.
    feed.recv(record(DATA, 8000));
    feed.send(record(DATA, 77));
    feed.close();
    let facts = feed.only();
    assert_eq!((facts.bytes_in, facts.bytes_out), (8400, TICKET as u64 + 77));
}

#[test]
fn a_client_that_shows_a_certificate_is_still_shaking_hands() {
    let mut feed = Feed::new();
    feed.recv(record(HANDSHAKE, 512));
    feed.send([record(HANDSHAKE, 122), record(DATA, 900)].concat());
    feed.recv([record(DATA, 1200), record(DATA, 100), record(DATA, FINISHED)].concat());
    feed.send(record(DATA, TICKET));
    assert!(feed.boundaries().is_empty());
    feed.recv(record(DATA, 400));
    feed.send(record(DATA, 77));
    feed.close();
    assert_eq!(feed.only().bytes_in, 400);
}

#[test]
fn to_be_asked_to_go_on_is_no_answer() {
    let mut feed = shaken(false);
    feed.recv(record(DATA, 300));
    feed.send(record(DATA, 42));
    feed.recv(record(DATA, 9000));
    feed.send(record(DATA, 200));
    feed.close();
    assert_eq!(feed.only().bytes_in, 9300);
}

#[test]
fn an_answer_is_over_after_two_seconds_of_quiet_but_a_long_prompt_is_waited_for() {
    let clocks = |_| [0; 8];
    let mut feed = shaken(false);
    feed.recv(record(DATA, 300));
    let (horizon, mut out) = (u64::MAX, Vec::new());
    feed.tracker.expire(feed.t + 60_000_000_000, horizon, clocks, &mut out);
    assert_eq!((out.len(), feed.tracker.in_flight()), (0, 1));
    feed.send(record(DATA, 200));
    let written = feed.t - STEP;
    feed.tracker.expire(written + 2_000_000_000, horizon, clocks, &mut feed.out);
    assert_eq!(feed.tracker.in_flight(), 1);
    feed.tracker.expire(written + 2_000_000_001, horizon, clocks, &mut feed.out);
    let facts = feed.only();
    assert_eq!((facts.end.t, facts.outcome), (written, End::Complete));
    feed.close();
    assert_eq!(feed.facts().len(), 1);
}

#[test]
fn an_unanswered_one_is_aborted_and_a_failed_one_reset() {
    let mut feed = shaken(false);
    let arrived = Some(feed.t - LAY);
    feed.recv(record(DATA, 300));
    feed.eof();
    feed.close();
    assert_eq!((feed.only().outcome, feed.only().arrived), (End::Aborted, arrived));
    let mut feed = shaken(false);
    feed.recv(record(DATA, 300));
    feed.send(record(DATA, 300));
    feed.error(libc::ECONNRESET);
    feed.close();
    let facts = feed.only();
    assert_eq!(facts.outcome, End::Aborted);
    assert!(facts.flags.contains(Flag::ConnectionReset));
}

#[test]
fn where_records_cannot_be_followed_bursts_tell_requests_apart() {
    let mut feed = shaken(false);
    for _ in 0..3 {
        // The second record's header lies in what is not captured.
        feed.recv_captured(&[record(DATA, 3000), record(DATA, 4000)].concat(), 100, 10);
        feed.send_captured(&[record(DATA, 3000), record(DATA, 4000)].concat(), 100, 10);
    }
    feed.close();
    assert_eq!(feed.facts().len(), 3);
}

#[test]
fn plaintext_that_cannot_be_the_connection_s_is_not_read() {
    // A server that speaks first is a client of somebody else.
    let mut feed = shaken(true);
    feed.recv(record(DATA, 300));
    feed.encipher(post("/v1/chat/completions", CHAT));
    feed.recv(record(DATA, 300));
    feed.send(record(DATA, 300));
    feed.decipher(plain("200 OK", CHAT_ANSWER));
    feed.close();
    let facts = feed.only();
    assert!(opaque(&facts), "{facts:?}");
    // More plaintext than bytes.
    let mut feed = shaken(true);
    feed.recv(record(DATA, 20));
    feed.decipher(post("/v1/chat/completions", &"x".repeat(2000)));
    feed.recv(record(DATA, 30));
    feed.close();
    assert!(feed.facts().iter().all(opaque), "{:?}", feed.facts());
}

#[test]
fn a_session_that_is_known_late_is_read_from_its_next_request_on() {
    let mut feed = shaken(false);
    feed.recv(record(DATA, 300));
    feed.open_plain();
    feed.decipher(post("/one", "{}"));
    feed.encipher(plain("200 OK", "{}"));
    feed.send(record(DATA, 200));
    feed.recv(record(DATA, 300));
    feed.decipher(post("/two", "{}"));
    feed.encipher(plain("200 OK", "{}"));
    feed.send(record(DATA, 200));
    feed.close();
    let paths: Vec<_> = feed.facts().into_iter().map(|f| f.path).collect();
    assert_eq!(paths, [None, Some("/two".to_owned())]);
}

#[test]
fn a_first_byte_by_itself_does_not_hide_tls() {
    let mut feed = Feed::new();
    let hello = record(HANDSHAKE, 512);
    feed.recv(&hello[..1]);
    feed.recv(&hello[1..]);
    feed.open_plain();
    feed.decipher(post("/completion", "{}"));
    feed.encipher(plain("200 OK", "{\"tokens_predicted\":4,\"content\":\"x\"}"));
    feed.close();
    assert_eq!(feed.only().completion_tokens, Some(4));
}

#[test]
fn records_are_the_same_whether_their_headers_come_by_themselves_or_not() {
    // As OpenSSL reads.
    let read = |feed: &mut Feed, record: &[u8]| {
        feed.recv(&record[..5]);
        feed.recv(&record[5..]);
    };
    let mut feed = Feed::new();
    read(&mut feed, &record(HANDSHAKE, 512));
    feed.send([record(HANDSHAKE, 122), record(CIPHERS, 1), record(DATA, 600)].concat());
    read(&mut feed, &record(CIPHERS, 1));
    read(&mut feed, &record(DATA, FINISHED));
    feed.send(record(DATA, TICKET));
    feed.send(record(DATA, TICKET));
    read(&mut feed, &record(DATA, 300));
    feed.send(record(DATA, 200));
    read(&mut feed, &record(DATA, ALERT));
    feed.eof();
    feed.close();
    let facts = feed.only();
    assert_eq!((facts.outcome, facts.bytes_in, facts.bytes_out), (End::Complete, 300, 200));
}

#[test]
fn without_plaintext_bytes_are_counted_as_they_come_and_lost_ones_mark_the_request() {
    let mut feed = shaken(false);
    feed.recv(&record(DATA, 300)[..100]);
    feed.lose_recv(vec![0xa5; 150]);
    feed.recv(vec![0xa5; 55]);
    feed.send(&record(DATA, 200)[..50]);
    feed.close();
    let facts = feed.only();
    assert_eq!(
        (facts.bytes_in, facts.bytes_out),
        (95 + 55, 45),
        "what its header says is not there"
    );
    assert!(facts.flags.contains(Flag::LostRecords));
}

#[test]
fn a_lost_record_of_bytes_or_of_plaintext_costs_its_own_request_only() {
    let exchange = |feed: &mut Feed, path| {
        feed.recv(record(DATA, 2000));
        feed.decipher(post(path, &"x".repeat(1500)));
        feed.encipher(plain("200 OK", "{}"));
        feed.send(record(DATA, 200));
    };
    let paths = |feed: &Feed| -> Vec<_> { feed.facts().into_iter().map(|f| f.path).collect() };
    let path = |path: &str| Some(path.to_owned());
    // More plaintext than bytes, until the next bytes show that there were more.
    let mut feed = shaken(true);
    feed.lose_recv(record(DATA, 2000));
    feed.decipher(post("/one", &"x".repeat(1500)));
    feed.encipher(plain("200 OK", "{}"));
    feed.send(record(DATA, 200));
    exchange(&mut feed, "/two");
    feed.close();
    assert_eq!(paths(&feed), [path("/two")]);
    assert_eq!(feed.facts()[0].flags.iter().collect::<Vec<_>>(), [Flag::Tls]);
    // An answer to what was not seen.
    let mut feed = shaken(true);
    feed.recv(record(DATA, 2000));
    feed.plain.0 += post("/one", &"x".repeat(1500)).len() as u64;
    feed.encipher(&plain("200 OK", "{}")[..40]);
    feed.encipher(&plain("200 OK", "{}")[40..]);
    feed.send(record(DATA, 200));
    exchange(&mut feed, "/two");
    feed.close();
    assert_eq!(paths(&feed), [None, path("/two")]);
    assert!(feed.facts()[0].flags.contains(Flag::RequestNotSeen));
}

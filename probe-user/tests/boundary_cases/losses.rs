//! Capture gaps and lost records: flagged where they hide something, and over with the request.

use proptest::prelude::*;
use wattprobe::{
    boundary::{Facts, Flag, Flags},
    record::{End, TokenSource},
};

use crate::feed::*;

#[test]
fn the_end_of_a_long_request_still_says_model_and_stream() {
    let body = format!(
        "{{\"messages\":[{{\"content\":\"{}\"}}],\"model\":\"late\",\"stream\":true}}",
        "\\\"model\\\":\\\"no\\\",".repeat(10_000)
    );
    let mut feed = Feed::new();
    feed.recv(post("/v1/chat/completions", &body));
    feed.send(plain("200 OK", "{}"));
    let facts = feed.only();
    assert_eq!((facts.model.as_deref(), facts.stream), (Some("late"), Some(true)));
    assert!(facts.flags.is_empty());
}

#[test]
fn the_end_of_a_long_answer_still_gives_its_counts() {
    let answer = format!(
        "{{\"choices\":[{{\"message\":{{\"content\":\"{}\"}}}}],\"usage\":{{\"completion_tokens\":4000,\
         \"prompt_tokens\":11}},\"timings\":{{\"prompt_n\":11,\"predicted_n\":4000}}}}",
        "word \\\"usage\\\":{} ".repeat(3000)
    );
    let mut feed = Feed::new();
    feed.recv(post("/v1/chat/completions", "{\"model\":\"m\"}"));
    feed.send(plain("200 OK", &answer));
    let facts = feed.only();
    assert_eq!((facts.prompt_tokens, facts.completion_tokens), (Some(11), Some(4000)));
    assert_eq!((facts.token_source, facts.outcome), (TokenSource::Usage, End::Complete));
    assert!(facts.flags.is_empty());
}

#[test]
fn a_write_of_many_events_is_found_back_from_at_the_terminator() {
    let events = chunk(&delta("x")).repeat(60) + &chunk(LAST) + "0\r\n\r\n";
    let mut feed = Feed::new();
    feed.recv(post("/v1/chat/completions", CHAT)); // 2
    feed.send(STREAM_HEAD); // 3
    feed.send(events); // 4: most of it is not captured
    feed.recv("GET /health HTTP/1.1\r\n\r\n"); // 5
    feed.send(plain("200 OK", "{}"));
    let facts = feed.facts();
    assert_eq!((facts[0].outcome, step(Some(facts[0].end))), (End::Complete, Some(4)));
    assert_eq!(facts[0].completion_tokens, Some(16));
    assert!(
        facts[0].flags.contains(Flag::GapInFraming) && facts[0].flags.contains(Flag::GapInContent)
    );
    assert!(!facts[0].flags.contains(Flag::LostRecords));
    assert_eq!((facts[1].status, facts[1].flags), (Some(200), Flags::default()));
}

#[test]
fn a_lost_token_of_a_stream_costs_one_event_and_nothing_else() {
    let mut feed = Feed::new(); // 1
    feed.recv(post("/v1/chat/completions", CHAT)); // 2
    feed.send(STREAM_HEAD); // 3
    feed.send(chunk(&delta("a"))); // 4
    feed.lose_send(chunk(&delta("b"))); // 5
    feed.send(chunk(&delta("c"))); // 6
    feed.send(chunk(LAST)); // 7
    feed.send("0\r\n\r\n"); // 8
    assert_eq!(
        feed.told(),
        ["1 start @2", "1 body @2", "1 head @3", "1 first @4", "1 chunk @6", "1 end @8"]
    );
    let facts = feed.only();
    assert_eq!((facts.completion_tokens, facts.token_source), (Some(16), TokenSource::Usage));
    assert_eq!((facts.content_events, facts.bytes_out), (Some(2), feed.tx));
    assert!(facts.flags.contains(Flag::LostRecords) && facts.flags.contains(Flag::GapInContent));
    assert_eq!(feed.tracker.stats().losses, 1);
}

#[test]
fn a_stream_whose_end_was_lost_ends_where_it_was_last_seen() {
    for chunked in [true, false] {
        let mut feed = Feed::new(); // 1
        feed.recv(post("/v1/chat/completions", CHAT)); // 2
        if chunked {
            feed.send(STREAM_HEAD); // 3
            feed.send(chunk(&delta("a"))); // 4
            feed.lose_send(chunk(LAST) + "0\r\n\r\n"); // 5
        } else {
            let answer = plain("200 OK", CHAT_ANSWER);
            let (a, b) = answer.split_at(answer.len() - 100);
            feed.send(&a[..80]); // 3
            feed.send(&a[80..]); // 4
            feed.lose_send(b); // 5
        }
        feed.recv("GET /next HTTP/1.1\r\n\r\n"); // 6
        feed.send(plain("404 Not Found", "{}")); // 7
        let facts = feed.facts();
        assert_eq!((facts[0].outcome, step(Some(facts[0].end))), (End::Complete, Some(4)));
        assert!(facts[0].flags.contains(Flag::LostRecords));
        assert_eq!((facts[1].status, facts[1].path.as_deref()), (Some(404), Some("/next")));
        assert_eq!(step(Some(facts[1].start)), Some(6));
        assert!(!facts[1].flags.contains(Flag::LostRecords));
    }
}

#[test]
fn a_response_that_was_lost_whole_leaves_the_next_one_its_own() {
    let mut feed = Feed::new();
    feed.recv("GET /a HTTP/1.1\r\n\r\n");
    feed.lose_send(plain("200 OK", "{}"));
    feed.recv("GET /b HTTP/1.1\r\n\r\n");
    feed.send(plain("500 Oops", "{}"));
    let facts = feed.facts();
    assert_eq!((facts[0].status, facts[0].outcome), (None, End::Complete));
    assert!(facts[0].flags.contains(Flag::LostRecords));
    assert_eq!((facts[1].status, facts[1].path.as_deref()), (Some(500), Some("/b")));
    assert!(!facts[1].flags.contains(Flag::LostRecords));
}

#[test]
fn a_request_that_was_lost_is_known_by_its_response() {
    let mut feed = Feed::new();
    feed.lose_recv(post("/a", "{}"));
    feed.send(plain("200 OK", CHAT_ANSWER));
    feed.recv("GET /b HTTP/1.1\r\n\r\n");
    feed.send(plain("404 Not Found", "{}"));
    let facts = feed.facts();
    assert_eq!((facts[0].path.as_deref(), facts[0].status), (None, Some(200)));
    assert_eq!((facts[0].completion_tokens, facts[0].model.as_deref()), (Some(5), Some("smollm2")));
    assert!(facts[0].flags.contains(Flag::RequestNotSeen));
    assert_eq!((facts[1].path.as_deref(), facts[1].status), (Some("/b"), Some(404)));
    assert!(facts[1].flags.is_empty());
}

#[test]
fn lost_request_bytes_are_counted_by_length_and_found_back_from_without_one() {
    for chunked in [false, true] {
        let body = "{\"prompt\":\"".to_owned() + &"p".repeat(500) + "\",\"model\":\"m\"}";
        let request = if chunked {
            "POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned()
                + &chunk(&body[..50])
                + &chunk(&body[50..])
                + "0\r\n\r\n"
        } else {
            post("/a", &body)
        };
        let mut feed = Feed::new();
        let from = if chunked { 80 } else { 200 }; // in the first of two chunks; in the body
        feed.recv(&request[..from]);
        feed.lose_recv(&request[from..400]);
        feed.recv(&request[400..]);
        feed.send(plain("200 OK", "{}"));
        feed.recv("GET /b HTTP/1.1\r\n\r\n");
        feed.send(plain("404 Not Found", "{}"));
        let facts = feed.facts();
        assert_eq!(step(facts[0].body), Some(4), "chunked {chunked}");
        assert!(facts[0].flags.contains(Flag::LostRecords));
        assert_eq!(facts[0].flags.contains(Flag::GapInFraming), chunked);
        assert_eq!((facts[1].path.as_deref(), facts[1].status), (Some("/b"), Some(404)));
        assert!(facts[1].flags.is_empty());
    }
}

#[test]
fn a_head_with_a_gap_keeps_its_beginning_and_the_next_request_is_intact() {
    let request = format!(
        "POST /long?x HTTP/1.1\r\nCookie: {}\r\nContent-Length: 51\r\n\r\n",
        "c".repeat(9000)
    ) + "{\"messages\":[\"xxxxxxxx\"],\"model\":\"m\",\"stream\":true}";
    let mut feed = Feed::new(); // 1
    feed.recv(request); // 2
    feed.send(plain("200 OK", "{}")); // 3
    feed.recv("GET /b HTTP/1.1\r\n\r\n"); // 4
    feed.send(plain("404 Not Found", "{}"));
    assert_eq!(feed.told()[..3], ["1 start @2", "1 body @2", "1 head @3"]);
    let facts = feed.facts();
    assert_eq!(
        (facts[0].path.as_deref(), facts[0].method.as_deref()),
        (Some("/long"), Some("POST"))
    );
    assert_eq!((facts[0].model.as_deref(), facts[0].stream), (Some("m"), Some(true)));
    assert!(facts[0].flags.contains(Flag::GapInFraming));
    assert_eq!((facts[1].path.as_deref(), facts[1].flags), (Some("/b"), Flags::default()));
}

#[test]
fn a_connection_found_open_begins_with_its_next_request() {
    let mut feed = Feed::found_open();
    (feed.rx, feed.tx) = (1234, 5678);
    feed.send(chunk(&delta("x"))); // the end of an answer to a request before the probe
    feed.recv("f a body\",\"stream\":true}");
    feed.send("0\r\n\r\n");
    feed.recv(post("/v1/chat/completions", "{\"model\":\"m\"}"));
    feed.send(plain("200 OK", CHAT_ANSWER));
    feed.recv("P");
    feed.recv("OST /x HTTP/1.1\r\n\r\n");
    feed.send(plain("200 OK", "{}"));
    let facts = feed.facts();
    assert_eq!((facts.len(), facts[0].completion_tokens), (2, Some(5)));
    assert_eq!((facts[0].flags, facts[1].path.as_deref()), (Flags::default(), Some("/x")));
    assert_eq!(feed.tracker.stats().losses, 0);
}

/// One keep-alive connection: `kinds` of exchanges, each message cut into records.
fn exchanges(kinds: &[u8], cut: usize) -> Vec<Vec<(bool, Vec<u8>)>> {
    let one = |(i, kind): (usize, &u8)| {
        let path = format!("/r/{i}");
        let body =
            format!("{{\"prompt\":\"{}\",\"model\":\"m{i}\",\"stream\":true}}", "p".repeat(300));
        let request = match kind % 3 {
            0 => format!(
                "GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\n\r\n"
            ),
            1 => post(&path, &body),
            _ => {
                format!("POST {path} HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
                    + &chunk(&body[..150])
                    + &chunk(&body[150..])
                    + "0\r\n\r\n"
            }
        };
        let stream = || {
            STREAM_HEAD.to_owned() + &chunk(&delta("text")).repeat(3) + &chunk(LAST) + "0\r\n\r\n"
        };
        let answer = match kind / 3 {
            0 => plain("200 OK", CHAT_ANSWER),
            _ => stream(),
        };
        let records = |read: bool, bytes: &str| {
            // The shortest first record still shows a request line or a status line.
            let mut records: Vec<_> =
                bytes.as_bytes().chunks(cut).map(|r| (read, r.to_vec())).collect();
            if records.len() > 1 && records.last().is_some_and(|(_, r)| r.len() < 20) {
                let last = records.pop().map(|(_, last)| last).unwrap_or_default();
                let n = records.len();
                records[n - 1].1.extend(last);
            }
            records
        };
        [records(true, &request), records(false, &answer)].concat()
    };
    kinds.iter().enumerate().map(one).collect()
}

fn play(
    exchanges: &[Vec<(bool, Vec<u8>)>],
    lost: impl Fn(usize) -> bool,
) -> (Vec<Facts>, Vec<bool>) {
    let mut feed = Feed::new();
    let (mut record, mut intact) = (0, Vec::new());
    for exchange in exchanges {
        let mut all = true;
        for (read, bytes) in exchange {
            match (lost(record), read) {
                (true, true) => feed.lose_recv(bytes),
                (true, false) => feed.lose_send(bytes),
                (false, true) => feed.recv(bytes),
                (false, false) => feed.send(bytes),
            }
            all &= !lost(record);
            record += 1;
        }
        intact.push(all);
    }
    feed.close();
    assert_eq!(feed.tracker.in_flight(), 0);
    (feed.facts(), intact)
}

/// What an exchange that lost nothing must say whatever its neighbours lost.
fn own(facts: Facts) -> Facts {
    let mut facts = timeless(facts);
    facts.request = wattprobe::boundary::RequestId(0);
    let mut flags = Flags::default();
    // Behind an unseen end it looks as if it had been sent early.
    facts.flags.iter().filter(|f| *f != Flag::Pipelined).for_each(|f| flags.insert(f));
    facts.flags = flags;
    facts
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn lost_records_never_corrupt_an_exchange_that_lost_none(
        kinds in proptest::collection::vec(0_u8..6, 1..8),
        cut in 60_usize..700,
        lost in proptest::collection::btree_set(0_usize..40, 0..8),
    ) {
        let exchanges = exchanges(&kinds, cut);
        let (clean, _) = play(&exchanges, |_| false);
        prop_assert_eq!(clean.len(), kinds.len());
        let (facts, intact) = play(&exchanges, |i| lost.contains(&i));
        for (i, clean) in clean.into_iter().enumerate().filter(|(i, _)| intact[*i]) {
            let seen: Vec<_> = facts.iter().filter(|f| f.path == clean.path).cloned().map(own).collect();
            prop_assert_eq!(seen, vec![own(clean)], "exchange {}", i);
        }
        prop_assert!(facts.len() <= kinds.len());
    }
}

#[test]
fn what_was_lost_right_before_the_close_shows_in_its_counts() {
    for (answer, lost_from) in
        [(plain("200 OK", CHAT_ANSWER), 0), (plain("200 OK", CHAT_ANSWER), 80)]
    {
        for shuts in [false, true] {
            let mut feed = Feed::new(); // 1
            feed.recv(post("/v1/chat/completions", CHAT)); // 2
            if lost_from > 0 {
                feed.send(&answer[..lost_from]); // 3
            }
            feed.lose_send(&answer[lost_from..]);
            if shuts {
                feed.shutdown();
            } else {
                feed.close();
            }
            let facts = feed.only();
            assert!(facts.flags.contains(Flag::LostRecords));
            assert_eq!((facts.outcome, facts.bytes_out), (End::Complete, answer.len() as u64));
        }
    }
}

#[test]
fn a_client_that_left_before_an_answer_that_was_lost_aborted_it() {
    let mut feed = Feed::new();
    feed.recv(post("/v1/chat/completions", CHAT));
    feed.error(libc::ECONNRESET);
    feed.lose_send(plain("200 OK", "{}"));
    feed.close();
    let facts = feed.only();
    assert_eq!(facts.outcome, End::Aborted);
    assert!(facts.flags.contains(Flag::LostRecords) && facts.flags.contains(Flag::ConnectionReset));
}

#[test]
fn a_close_of_which_every_call_was_seen_marks_nothing() {
    let mut feed = Feed::new();
    feed.recv(post("/v1/chat/completions", CHAT));
    feed.send(STREAM_HEAD);
    feed.close();
    let facts = feed.only();
    assert_eq!((facts.outcome, facts.flags), (End::Aborted, Flags::default()));
    assert_eq!(feed.tracker.stats().losses, 0);
}

#[test]
fn a_request_whose_end_never_comes_is_marked_if_records_were_lost_in_its_time() {
    for (lost_until, marked) in [(None, false), (Some(0), false), (Some(u64::MAX), true)] {
        let mut feed = Feed::new();
        feed.recv(post("/v1/chat/completions", CHAT));
        if let Some(until) = lost_until {
            feed.tracker.lost(until);
        }
        feed.tracker.interrupt(50 * STEP, |_| [0; 8], &mut feed.out);
        let facts = feed.only();
        assert_eq!(facts.outcome, End::Interrupted);
        assert_eq!(facts.flags.contains(Flag::LostRecords), marked);
    }
}

#[test]
fn on_a_connection_found_open_too_what_was_lost_before_the_close_marks_the_request() {
    let mut feed = Feed::found_open();
    feed.tracker.found_open(feed.conn, 4, feed.tgid, 0, &mut feed.out);
    feed.recv(post("/v1/chat/completions", CHAT));
    feed.lose_send(plain("200 OK", "{}"));
    feed.close();
    let facts = feed.only();
    assert!(facts.flags.contains(Flag::LostRecords), "{facts:?}");
}

#[test]
fn pipelined_answers_that_were_lost_together_before_the_close_were_given() {
    let mut feed = Feed::new();
    feed.recv("GET /a HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\n\r\n");
    feed.lose_send(plain("200 OK", "{}"));
    feed.lose_send(plain("200 OK", "{}"));
    feed.close();
    let facts = feed.facts();
    let told = facts.iter().map(|f| (f.outcome, f.flags.contains(Flag::LostRecords)));
    assert_eq!(told.collect::<Vec<_>>(), [(End::Complete, true); 2]);
    assert!(facts.iter().all(|f| Some(f.end) == f.body), "where the last thing was seen");
}

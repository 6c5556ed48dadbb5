//! Bytes that are not HTTP, or lie: nothing panics, nothing is misparsed, memory stays bounded.

use proptest::prelude::*;
use wattprobe::{
    boundary::{Flag, Limits, NotUnderstood, Output, Tracker, What},
    event::{ConnId, Io, IoKind},
    record::End,
};

use crate::feed::*;

#[test]
fn what_is_not_http_is_set_aside_by_kind_and_counted_once() {
    for (bytes, kind) in [
        (&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], NotUnderstood::Http2),
        (b"\x00\x01\x02\x03GET / HTTP/1.1\r\n\r\n", NotUnderstood::Garbage),
        (b"*1\r\n$4\r\nPING\r\n", NotUnderstood::Garbage),
        (b"get / http/1.1\r\n\r\n", NotUnderstood::Garbage),
    ] {
        let mut feed = Feed::new();
        for cut in 1..bytes.len().min(3) {
            feed.recv(&bytes[cut - 1..cut]);
        }
        feed.recv(&bytes[bytes.len().min(3) - 1..]);
        feed.recv("GET /x HTTP/1.1\r\n\r\n");
        feed.send(plain("400 Bad Request", "{}"));
        feed.close();
        assert_eq!(feed.not_understood(), [kind], "{bytes:?}");
        assert_eq!((feed.facts().len(), feed.boundaries().len()), (0, 0));
        assert_eq!(feed.tracker.stats().not_understood.iter().sum::<u64>(), 1);
    }
}

#[test]
fn a_websocket_upgrade_is_a_request_and_what_follows_is_not_parsed() {
    let mut feed = Feed::new();
    feed.recv("GET /ws HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n");
    feed.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n\x01\x05hello");
    feed.recv("GET /frame HTTP/1.1\r\n\r\n");
    feed.send("HTTP/1.1 200 OK\r\n\r\n");
    feed.close();
    let facts = feed.only();
    assert_eq!((facts.status, facts.outcome), (Some(101), End::Complete));
    assert!(facts.flags.contains(Flag::Upgraded));
    assert_eq!(feed.not_understood(), [NotUnderstood::WebSocket]);
}

#[test]
fn a_tunnel_is_not_parsed() {
    let mut feed = Feed::new();
    feed.recv("CONNECT example.org:443 HTTP/1.1\r\nHost: example.org\r\n\r\n");
    feed.send("HTTP/1.1 200 Connection established\r\n\r\n");
    feed.recv(b"\x16\x03\x01");
    assert_eq!(
        (feed.only().status, feed.not_understood()),
        (Some(200), vec![NotUnderstood::Tunnel])
    );
}

#[test]
fn garbage_behind_a_request_does_not_cost_the_request_its_answer() {
    let mut feed = Feed::new();
    feed.recv(b"GET /a HTTP/1.1\r\n\r\n\xff\xfe\xfd");
    assert_eq!(feed.not_understood(), [NotUnderstood::Garbage]);
    feed.recv("GET /b HTTP/1.1\r\n\r\n");
    feed.send(plain("200 OK", "{}"));
    feed.send(plain("400 Bad Request", "{}"));
    feed.close();
    assert_eq!((feed.only().status, feed.only().outcome), (Some(200), End::Complete));
}

#[test]
fn a_malformed_head_is_a_request_that_is_answered_with_400() {
    for head in [
        "GET /a\r\n\r\n",
        "POST /a HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        "GET /a HTTP/1.1\r\n: \0\r\n\r\n",
    ] {
        let mut feed = Feed::new();
        feed.recv(head);
        feed.send(plain("400 Bad Request", "{}"));
        feed.recv("GET /b HTTP/1.1\r\n\r\n");
        feed.send(plain("200 OK", "{}"));
        let facts = feed.facts();
        assert_eq!((facts[0].status, facts[0].outcome), (Some(400), End::Complete));
        assert!(facts[0].flags.contains(Flag::MalformedHead), "{head}");
        assert_eq!((facts[1].path.as_deref(), facts[1].status), (Some("/b"), Some(200)));
    }
}

#[test]
fn a_response_that_is_not_http_sets_the_connection_aside() {
    let mut feed = Feed::new();
    feed.recv("GET /a HTTP/1.1\r\n\r\n");
    feed.send("220 smtp ready\r\n");
    assert_eq!(
        (feed.only().outcome, feed.not_understood()),
        (End::Aborted, vec![NotUnderstood::Garbage])
    );
}

#[test]
fn an_endless_head_is_cut_off_and_costs_no_more_than_its_bound() {
    let mut feed = Feed::new();
    feed.recv("GET /endless?q HTTP/1.1\r\nX: ");
    for _ in 0..1000 {
        feed.recv([b'x'; 4000]);
        assert!(feed.tracker.retained_bytes() < 20 * 1024);
    }
    feed.send(plain("431 Too Large", "{}"));
    let facts = feed.only();
    assert_eq!((facts.path.as_deref(), facts.status), (Some("/endless"), Some(431)));
    assert!(facts.flags.contains(Flag::HeadTooLong));
}

#[test]
fn a_deep_pipeline_is_refused_and_its_requests_are_still_answered() {
    let mut feed = Feed::new();
    feed.recv("GET /a HTTP/1.1\r\n\r\n".repeat(100));
    assert_eq!(
        (feed.not_understood(), feed.tracker.in_flight()),
        (vec![NotUnderstood::Pipeline], 32)
    );
    feed.send(plain("200 OK", "{}").repeat(32));
    assert_eq!(feed.tracker.in_flight(), 0);
    assert!(feed.facts().iter().all(|f| f.flags.contains(Flag::PipelineTooDeep)));
}

#[test]
fn a_body_of_100_megabytes_costs_a_few_kilobytes() {
    let mut feed = Feed::new();
    feed.recv(format!(
        "POST /upload HTTP/1.1\r\nContent-Length: {}\r\n\r\n{{\"p\":\"",
        100_000_006
    ));
    let megabyte = vec![b'x'; 1_000_000];
    for _ in 0..100 {
        feed.recv(&megabyte);
        assert!(feed.tracker.retained_bytes() < 8 * 1024, "{}", feed.tracker.retained_bytes());
    }
    feed.send(plain("200 OK", "{}"));
    assert_eq!(feed.only().bytes_in, feed.rx);
    assert!(feed.only().body.is_some());
}

fn on(
    tracker: &mut Tracker,
    out: &mut Vec<Output>,
    conn: u64,
    kind: IoKind,
    offset: u64,
    bytes: &[u8],
) {
    let mut feed = Feed::found_open();
    (feed.conn, feed.t) = (ConnId(conn), conn);
    tracker.on_io(&feed.event(kind, offset, bytes, HEAD, TAIL), out);
}

#[test]
fn five_thousand_connections_cost_about_a_hundred_bytes_each_while_idle() {
    let (mut tracker, mut out) = (Tracker::new(Limits::default()), Vec::new());
    for conn in 0..5000 {
        on(&mut tracker, &mut out, conn, IoKind::Open, 0, &[]);
    }
    let request = post("/v1/chat/completions", CHAT);
    assert!(tracker.retained_bytes() / 5000 <= 128, "{}", tracker.retained_bytes() / 5000);
    for conn in 0..5000 {
        on(&mut tracker, &mut out, conn, IoKind::Recv, 0, request.as_bytes());
    }
    assert_eq!(tracker.in_flight(), 5000);
    assert!(tracker.retained_bytes() / 5000 <= 4096, "{}", tracker.retained_bytes() / 5000);
    for conn in 0..5000 {
        on(&mut tracker, &mut out, conn, IoKind::Send, 0, plain("200 OK", "{}").as_bytes());
    }
    assert!(tracker.retained_bytes() / 5000 <= 128);
    for conn in 0..5000 {
        on(&mut tracker, &mut out, conn, IoKind::Close, 0, &[]);
    }
    assert_eq!(
        (tracker.connections(), tracker.in_flight(), tracker.stats().finished),
        (0, 0, 5000)
    );
}

#[test]
fn beyond_the_limit_the_longest_idle_connections_go_first_and_are_counted() {
    let (mut tracker, mut out) = (Tracker::new(Limits { connections: 80 }), Vec::new());
    on(&mut tracker, &mut out, 0, IoKind::Open, 0, &[]);
    on(&mut tracker, &mut out, 0, IoKind::Recv, 0, b"GET /open HTTP/1.1\r\n\r\n");
    for conn in 1..1000 {
        on(&mut tracker, &mut out, conn, IoKind::Open, 0, &[]);
        assert!(tracker.connections() <= 80);
    }
    assert_eq!(
        (tracker.in_flight(), tracker.stats().evicted),
        (1, 1000 - tracker.connections() as u64)
    );
    for conn in 1000..1200 {
        on(&mut tracker, &mut out, conn, IoKind::Open, 0, &[]);
        on(&mut tracker, &mut out, conn, IoKind::Recv, 0, b"GET / HTTP/1.1\r\n\r\n");
    }
    let evicted = out.iter().find_map(|o| match o {
        Output::Finished(facts) => Some(facts),
        _ => None,
    });
    let evicted = evicted.unwrap();
    assert_eq!((evicted.path.as_deref(), evicted.outcome), (Some("/open"), End::Interrupted));
    assert!(evicted.flags.contains(Flag::Evicted) && evicted.end.clock[0] > 0);
}

fn hostile_bytes() -> impl Strategy<Value = Vec<u8>> {
    let fragments: Vec<&'static [u8]> = vec![
        b"GET / HTTP/1.1\r\n",
        b"POST /v1 HTTP/1.1\r\n",
        b"Content-Length: 20\r\n",
        b"\r\n",
        b"\n",
        b"\r",
        b"Transfer-Encoding: chunked\r\n",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 101 X\r\n",
        b"HTTP/1.1 100 C\r\n\r\n",
        b"Content-Type: text/event-stream\r\n",
        b"Content-Type: application/json\r\n",
        b"data: {\"content\":\"x\"}\n\n",
        b"0\r\n\r\n",
        b"5\r\nhello\r\n",
        b"ffffffffffffffff\r\n",
        b"{\"model\":\"m\",\"stream\":",
        b"\"usage\":{\"prompt_tokens\":1",
        b"}}",
        b"[[[[",
        b"\\",
        b"\"",
        b"\x16\x03\x01",
        b"PRI * HTTP/2.0\r\n\r\n",
        b"Expect: 100-continue\r\n",
        b"HEAD /",
    ];
    let fragment = proptest::sample::select(fragments).prop_map(<[u8]>::to_vec);
    let noise = proptest::collection::vec(any::<u8>(), 0..40);
    proptest::collection::vec(prop_oneof![4 => fragment, 1 => noise], 0..12)
        .prop_map(|parts| parts.concat())
}

fn hostile_io() -> impl Strategy<Value = Io> {
    let kind = prop_oneof![
        8 => Just(IoKind::Recv),
        8 => Just(IoKind::Send),
        1 => Just(IoKind::Open),
        1 => Just(IoKind::Close),
        1 => Just(IoKind::Shutdown),
        1 => any::<i32>().prop_map(IoKind::Error),
        1 => Just(IoKind::Error(104)),
    ];
    let offset = prop_oneof![6 => Just(None), 1 => any::<u64>().prop_map(Some), 1 => (0_u64..5000).prop_map(Some)];
    let len = prop_oneof![6 => Just(None), 1 => any::<u32>().prop_map(Some), 1 => (0_u32..3000).prop_map(Some)];
    (kind, 0_u64..4, offset, len, any::<u16>(), hostile_bytes()).prop_map(
        |(kind, conn, offset, len, head, payload)| Io {
            t: 0,
            conn: ConnId(conn),
            who: conn as u32 * 9,
            tgid: conn as u32,
            kind,
            // `None` is filled in with the true count, see below.
            offset: offset.unwrap_or(u64::MAX),
            len: len.unwrap_or(payload.len() as u32),
            head: if head & 1 == 0 { payload.len() } else { usize::from(head) % 64 },
            payload,
            arrived: (head & 2 == 0).then_some(offset.unwrap_or(0)),
            clock: [0; 8],
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn hostile_events_never_panic_and_every_request_ends_once(events in proptest::collection::vec(hostile_io(), 0..60)) {
        let mut tracker = Tracker::new(Limits { connections: 3 });
        let mut out = Vec::new();
        let mut counts = [[0_u64; 2]; 4];
        for (i, mut io) in events.into_iter().enumerate() {
            io.t = i as u64;
            if matches!(io.kind, IoKind::Recv | IoKind::Send) {
                let count = &mut counts[io.conn.0 as usize][usize::from(io.kind == IoKind::Send)];
                if io.offset == u64::MAX {
                    io.offset = *count;
                }
                *count = count.saturating_add(u64::from(io.len));
            } else if io.kind == IoKind::Open {
                counts[io.conn.0 as usize] = [0; 2];
            }
            tracker.on_io(&io, &mut out);
            prop_assert!(tracker.retained_bytes() < 4 * 64 * 1024);
        }
        tracker.interrupt(1000, |_| [0; 8], &mut out);
        prop_assert_eq!(tracker.in_flight(), 0);
        let (mut open, mut ended) = (std::collections::BTreeSet::new(), 0);
        for output in &out {
            match output {
                Output::Boundary(b) if b.what == What::Start => prop_assert!(open.insert(b.request)),
                Output::Boundary(b) => prop_assert!(open.contains(&b.request), "{:?}", b),
                Output::Finished(facts) => {
                    prop_assert!(open.remove(&facts.request));
                    ended += 1;
                }
                Output::NotUnderstood { .. } => {}
            }
        }
        prop_assert_eq!((open.len(), ended), (0, tracker.stats().finished));
    }
}

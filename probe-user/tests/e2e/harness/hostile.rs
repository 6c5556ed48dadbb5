//! Bytes no client should send: nothing panics, the books close, later requests are still seen.

use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use super::ask::Ask;
use super::client::{Address, once};
use super::probe::Probe;
use super::response::Response;
use super::server::Recipe;
use super::{alone, books};

/// Sends garbage, a body of 100 MB and 5,000 connections, then asks like anyone else.
pub(crate) fn survives(recipe: &Recipe) {
    let _alone = alone();
    let dir = tempfile::tempdir().expect("a temporary directory");
    let server = recipe.start(dir.path(), "127.0.0.1", 0);
    let mut probe = Probe::on_port(dir.path(), &server.address.port(), &[]);

    garbage(&server.address);
    let mut ids = ask(&server.address, "after-garbage");
    huge_body(&server.address);
    ids.extend(ask(&server.address, "after-huge"));
    many_connections(&server.address);
    ids.extend(ask(&server.address, "after-many"));

    assert!(!probe.process.has_ended(), "wattprobe said: {}", probe.process.stderr());
    let outcome = probe.finish();
    books::close(&outcome);
    let records = books::by_id(&outcome);
    for id in &ids {
        assert!(records.contains_key(id.as_str()), "{id} was not seen");
    }
    for record in &outcome.records {
        let path = record.path.as_deref().unwrap_or_default();
        assert!(path.len() <= 256 && !path.contains('?'), "{} bytes of path", path.len());
    }
}

fn ask(server: &Address, name: &str) -> Vec<String> {
    let ids: Vec<_> = (0..3).map(|i| format!("{name}-{i}")).collect();
    for id in &ids {
        let seen = once(server, &Ask::plain(id.as_str(), 4)).expect("the server still answers");
        assert_eq!(seen.status, Some(200), "{id}");
    }
    ids
}

/// Pieces that look like HTTP for a while, and pieces that never do.
fn garbage(server: &Address) {
    let long_line = [b"GET /".as_slice(), &[b'a'; 100_000], b" HTTP/1.1\r\n\r\n"].concat();
    let many_fields = [b"GET / HTTP/1.1\r\n".as_slice(), &b"A: b\r\n".repeat(20_000)].concat();
    let noise: Vec<u8> =
        (0..70_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let pieces: [&[u8]; 12] = [
        b"",
        b"\r\n\r\n\r\n",
        b"\0\0\0\0\0\0\0\0",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: -1\r\n\r\nx",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
        &long_line,
        &many_fields,
        &noise,
    ];
    for piece in pieces {
        let mut connection = server.connect().expect("the server listens");
        // It may hang up in the middle: that is its right.
        let _ = connection.send_raw(piece);
        connection.hang_up();
    }
}

/// 100 MB that are no JSON.
fn huge_body(server: &Address) {
    const SIZE: usize = 100 << 20;
    let mut connection = server.connect().expect("the server listens");
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: test\r\nx-request-id: huge\r\n\
         Content-Type: application/json\r\nContent-Length: {SIZE}\r\n\r\n"
    );
    let piece = vec![b'x'; 1 << 20];
    let sent = connection
        .send_raw(head.as_bytes())
        .and_then(|()| (0..SIZE >> 20).try_for_each(|_| connection.send_raw(&piece)));
    // A server may refuse it by its length and hang up before it is all sent.
    let answer = sent.ok().and_then(|()| connection.drain(Response::default()).status);
    println!("100 MB: answered {answer:?}");
    assert!(answer.is_none_or(|status| status >= 400), "100 MB of x are no request: {answer:?}");
}

/// 5,000 connections open at the same time, then closed at once.
fn many_connections(server: &Address) {
    const THREADS: usize = 10;
    const EACH: usize = 500;
    let all_open = Barrier::new(THREADS);
    let opened: usize = thread::scope(|scope| {
        let started: Vec<_> = (0..THREADS)
            .map(|_| {
                scope.spawn(|| {
                    let open: Vec<_> = (0..EACH).filter_map(|_| server.connect().ok()).collect();
                    all_open.wait();
                    open.len()
                })
            })
            .collect();
        started.into_iter().map(|one| one.join().expect("no client panics")).sum()
    });
    assert_eq!(opened, THREADS * EACH, "connections opened");
    thread::sleep(Duration::from_millis(500));
}

//! What one streamed token costs the probe. Run by hand, in release:
//! `cargo test --release -p wattprobe --test boundary_cases -- --ignored --nocapture speed`.

use std::time::Instant;

use wattprobe::event::IoKind;

use crate::feed::*;

#[test]
#[ignore = "a measurement, meaningful in release builds only"]
#[expect(clippy::disallowed_methods, reason = "it measures how long the code under test takes")]
fn a_streamed_token_costs_less_than_a_microsecond() {
    let mut feed = Feed::new();
    feed.recv(post("/v1/chat/completions", CHAT));
    feed.send(STREAM_HEAD);
    let event = chunk(&delta("token"));
    let mut io = feed.event(IoKind::Send, feed.tx, event.as_bytes(), HEAD, TAIL);
    let mut best = u128::MAX;
    for _ in 0..50 {
        let begin = Instant::now();
        for _ in 0..10_000 {
            feed.tracker.on_io(&io, &mut feed.out);
            io.offset += event.len() as u64;
            feed.out.clear();
        }
        best = best.min(begin.elapsed().as_nanos() / 10_000);
    }
    println!("{best} ns for an event of {} bytes", event.len());
    assert!(best < 1000);
}

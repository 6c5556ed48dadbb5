//! More than the ring holds. This process is the server and the client.

use std::net::{SocketAddr, TcpListener};
use std::thread;
use std::time::Duration;

use probe_lab::flood::{Ask, Each, Load, Serving, drive, serve};
use rustix::process::Signal;
use wattprobe::record::{End, RequestRecord};

use crate::harness::probe::Probe;
use crate::harness::{alone, books};

/// Connections while the probe is stopped.
const BUSY: usize = 8;
const LOST: &str = "lost_records";

fn server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let serving = Serving { events: 1, every: Duration::from_millis(1) };
    thread::spawn(move || serve(&listener, serving));
    address
}

fn flood(address: SocketAddr, connections: usize, each: Each) -> u64 {
    let load = Load { connections, each, ask: Ask::Plain };
    drive(address, &load).expect("every request is answered").requests
}

#[test]
#[ignore = "end to end: run by cargo xtask test"]
fn what_the_ring_cannot_hold_is_counted_and_marks_the_requests_it_touched() {
    let _alone = alone();
    let dir = tempfile::tempdir().expect("a directory");
    let address = server();
    let probe = Probe::on_port(dir.path(), &address.port().to_string(), &[]);
    let before = flood(address, 4, Each::Requests(25));
    let during = thread::spawn(move || flood(address, BUSY, Each::For(Duration::from_secs(4))));
    thread::sleep(Duration::from_millis(500));
    probe.process.signal(Signal::STOP);
    thread::sleep(Duration::from_secs(2));
    probe.process.signal(Signal::CONT);
    let during = during.join().expect("the flood ends");
    thread::sleep(Duration::from_millis(500));
    let after = flood(address, 4, Each::Requests(25));
    let outcome = probe.finish();
    books::close(&outcome);

    let (lost, seen) = (outcome.summary.events.lost, outcome.records.len() as u64);
    let touched = outcome.records.iter().filter(|record| flagged(record)).count();
    println!("{during} requests, {lost} records lost, {seen} requests seen, {touched} touched");
    // Two calls of the server are a request.
    assert!(lost > 1_000, "{lost} records were lost");
    assert!(seen + lost / 2 + BUSY as u64 >= before + during + after, "{seen} seen");
    assert!(seen < before + during + after, "what nobody saw is not made up: {seen} seen");
    // At both ends of a hole as many as there are connections; while the probe catches up there are more holes.
    assert!(
        touched > 0 && touched as u64 * 20 <= seen,
        "{touched} of {seen} requests were touched"
    );
    for record in outcome.records.iter().filter(|record| !flagged(record)) {
        assert!(intact(record), "{record:?}");
    }
    let mut records: Vec<&RequestRecord> = outcome.records.iter().collect();
    records.sort_by(|a, b| a.start.cmp(&b.start));
    let ends = records.iter().take(100).chain(records.iter().rev().take(100));
    assert!(ends.into_iter().all(|record| intact(record)), "before and after nothing is lost");
}

fn flagged(record: &RequestRecord) -> bool {
    record.flags.iter().any(|flag| flag == LOST)
}

fn intact(record: &RequestRecord) -> bool {
    record.end == End::Complete && record.completion_tokens == Some(2) && !flagged(record)
}

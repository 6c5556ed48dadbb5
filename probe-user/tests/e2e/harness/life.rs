//! Servers and probes that come and go.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use wattprobe::record::{End, TokenSource};

use super::ask::Ask;
use super::client::once;
use super::probe::Probe;
use super::server::Recipe;
use super::{agree, alone, books, clock, truth};

/// Without `usage` the server's own count is in its `timings`.
pub(crate) fn counts_by_timings(recipe: &Recipe) {
    let _alone = alone();
    let dir = tempfile::tempdir().expect("a temporary directory");
    let server = recipe.start(dir.path(), "127.0.0.1", 0);
    let probe = Probe::on_port(dir.path(), &server.address.port(), &[]);
    let seen = once(&server.address, &Ask::bare_stream("bare", 9)).expect("an answer");
    let outcome = probe.finish();
    let records = books::by_id(&outcome);
    let record = records.get("bare").expect("it was seen");
    assert!(seen.predicted.is_some() && seen.completion_tokens.is_none(), "{seen:?}");
    assert_eq!(record.completion_tokens, seen.predicted);
    assert_eq!(record.token_source, TokenSource::Timings);
}

/// A connection that was open before the probe came.
pub(crate) fn sees_connections_open_before(recipe: &Recipe) {
    let _alone = alone();
    let dir = tempfile::tempdir().expect("a temporary directory");
    let server = recipe.start(dir.path(), "127.0.0.1", 0);
    let mut old = server.address.connect().expect("the server listens");
    let before = old.ask(&Ask::plain("before", 4)).expect("an answer");
    assert!(before.keeps, "the server keeps the connection: {before:?}");
    let probe = Probe::on_port(dir.path(), &server.address.port(), &[]);
    let seen = [old.ask(&Ask::plain("seeded", 8)).expect("an answer on the old connection")];
    let outcome = probe.finish();
    agree::check(&outcome, &seen);
    books::close(&outcome);
}

/// The server is killed in the middle of an answer and started again on the same port.
pub(crate) fn follows_a_restart(recipe: &Recipe) {
    let _alone = alone();
    let dir = tempfile::tempdir().expect("a temporary directory");
    let server = recipe.start(dir.path(), "127.0.0.1", 0);
    let address = server.address.clone();
    let mut probe = Probe::on_port(dir.path(), &address.port(), &[]);
    once(&address, &Ask::plain("before", 4)).expect("an answer");

    let mut cut = address.connect().expect("the server listens");
    let (begun, _) = cut.begin(&Ask::stream("cut", 400), 3).expect("a beginning");
    assert!(!begun.complete, "it is killed in the middle");
    server.process.signal(Signal::KILL);
    drop(server);

    let again = recipe.start(dir.path(), "127.0.0.1", address.number());
    // The probe looks for a new owner of the port from time to time.
    thread::sleep(Duration::from_secs(3));
    once(&again.address, &Ask::plain("after", 4)).expect("an answer");
    assert!(!probe.process.has_ended(), "wattprobe said: {}", probe.process.stderr());

    let outcome = probe.finish();
    let records = books::by_id(&outcome);
    let end = |id| records.get(id).map(|record| record.end);
    assert_eq!(end("before"), Some(End::Complete));
    assert_eq!(end("cut"), Some(End::Reset));
    assert_eq!(end("after"), Some(End::Complete), "the new server was attached: {records:?}");
    books::close(&outcome);
}

/// The run ends while clients go on: what was under way is interrupted, and nothing is told that nobody asked.
pub(crate) fn ends_under_load(recipe: &Recipe) {
    const CLIENTS: usize = 16;
    const ENOUGH: usize = 150;
    let _alone = alone();
    let dir = tempfile::tempdir().expect("a temporary directory");
    let server = recipe.start(dir.path(), "127.0.0.1", 0);
    let probe = Probe::on_port(dir.path(), &server.address.port(), &[]);
    let (going, latest) = (AtomicBool::new(true), clock::now() + 60_000_000_000);
    let answered = AtomicUsize::new(0);
    let client = |number: usize| {
        for i in (0..).take_while(|_| going.load(Ordering::Relaxed) && clock::now() < latest) {
            let id = format!("under-{number}-{i}");
            let ask = if i % 8 == 0 { Ask::plain(id, 2) } else { Ask::health(id) };
            once(&server.address, &ask).expect("an answer");
            answered.fetch_add(1, Ordering::Relaxed);
        }
    };
    let outcome = thread::scope(|scope| {
        (0..CLIENTS).for_each(|number| drop(scope.spawn(move || client(number))));
        clock::wait_until(Duration::from_secs(30), || answered.load(Ordering::Relaxed) >= ENOUGH);
        let outcome = probe.finish();
        going.store(false, Ordering::Relaxed);
        outcome
    });
    books::close(&outcome);
    let by_id = books::by_id(&outcome);
    assert!(by_id.len() >= ENOUGH, "{} requests are no load", by_id.len());
    let known = by_id.keys().filter(|id| id.starts_with("under-")).count();
    assert_eq!(known, outcome.records.len(), "each was asked, and is told once");
    for record in &outcome.records {
        assert!(matches!(record.end, End::Complete | End::Interrupted), "{record:?}");
        assert!(!record.flags.contains(&"request_not_seen".to_owned()), "{record:?}");
    }
    let interrupted = outcome.records.iter().filter(|record| record.end == End::Interrupted);
    assert!(interrupted.count() <= CLIENTS, "{:?}", outcome.summary.targets);
}

/// However the probe ends, no kernel program of it stays loaded.
pub(crate) fn leaves_nothing_behind(dir: &Path, port: &str, signal: Signal) {
    let before = truth::programs();
    let mut probe = Probe::on_port(dir, port, &[]);
    let added = || truth::programs().into_iter().filter(|id| !before.contains(id)).count();
    assert!(added() >= 3, "the probe loaded its programs");
    probe.process.signal(signal);
    assert!(probe.process.end(Duration::from_secs(10)).is_some(), "{signal:?} ends it");
    // The kernel frees programs after a grace period.
    clock::wait_until(Duration::from_secs(10), || added() == 0);
    assert_eq!(added(), 0, "programs left loaded after {signal:?}");
}

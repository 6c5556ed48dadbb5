//! Servers that speak TLS, asked through a tunnel by a client that does not.

use std::collections::BTreeSet;
use std::time::Duration;

use wattprobe::record::End;

use super::ask::{Ask, Dialect};
use super::client::once;
use super::probe::{Outcome, Probe};
use super::server::{Recipe, tunnel};
use super::{agree, alone, books, clock, load};

/// The mixed load against a server whose TLS library is hooked.
pub(crate) fn sees_every_request(recipe: &Recipe) {
    let _alone = alone();
    let dir = tempfile::tempdir().expect("a temporary directory");
    let server = recipe.start(dir.path(), "127.0.0.1", 0);
    let door = tunnel(dir.path(), &server.address, &[]);
    let probe = Probe::on_port(dir.path(), &server.address.port(), &[]);
    let seen = load::answered(&door.address, Dialect::OpenAi, 0);
    let outcome = probe.finish();
    agree::check(&outcome, &seen);
    let tls = |flags: &[String]| flags.contains(&"tls".to_owned());
    assert!(outcome.records.iter().all(|r| tls(&r.flags)), "{:?}", flags(&outcome));
    assert!(!flags(&outcome).contains("tls_opaque"));
    books::close(&outcome);
    books::nothing_lost(&outcome);
}

/// Requests to a server whose TLS library cannot be hooked, one after another: each is seen once, by size and time.
pub(crate) fn sees_sizes_and_times(recipe: &Recipe, tunnelled: &[&str]) {
    let _alone = alone();
    let dir = tempfile::tempdir().expect("a temporary directory");
    let server = recipe.start(dir.path(), "127.0.0.1", 0);
    let door = tunnel(dir.path(), &server.address, tunnelled);
    let probe = Probe::on_port(dir.path(), &server.address.port(), &[]);
    let mut kept = door.address.connect().expect("the server listens");
    let mut seen: Vec<_> = (0..10)
        .map(|i| kept.ask(&Ask::plain(format!("keep-{i}"), 8)).expect("an answer"))
        .collect();
    drop(kept);
    let streams = (0..10).map(|i| Ask::stream(format!("stream-{i}"), 8));
    seen.extend(streams.map(|ask| once(&door.address, &ask).expect("an answer")));
    let said = "sizes and times only";
    clock::wait_until(Duration::from_secs(10), || probe.process.stderr().contains(said));
    assert!(probe.process.stderr().contains(said), "wattprobe said: {}", probe.process.stderr());
    let outcome = probe.finish();
    // Where an answer ended is known when the client speaks again, or not.
    let known = ["late-boundary", "tls", "tls_opaque"].map(str::to_owned).into();
    assert!(flags(&outcome).is_subset(&known), "{:?}", flags(&outcome));
    assert_eq!(outcome.records.len(), seen.len(), "each once");
    agree::in_time(&outcome.records, &seen);
    for record in &outcome.records {
        assert!(record.flags.contains(&"tls_opaque".to_owned()), "{record:?}");
        assert_eq!((record.end, record.status), (End::Complete, None), "{record:?}");
        assert_eq!((&record.path, record.completion_tokens), (&None, None), "{record:?}");
        assert!(record.joules.is_some_and(|j| j > 0.0), "{record:?}");
    }
    books::close(&outcome);
    books::nothing_lost(&outcome);
}

fn flags(outcome: &Outcome) -> BTreeSet<String> {
    outcome.records.iter().flat_map(|record| record.flags.clone()).collect()
}

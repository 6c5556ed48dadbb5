//! Two servers, as in Ollama: a proxy that clients talk to, and behind it a runner that listens on a port of
//! its own. One request is one record, and what the runner spent is in it.

use crate::harness::ask::{Ask, Dialect};
use crate::harness::client::once;
use crate::harness::matrix;
use crate::harness::probe::Probe;
use crate::harness::server::{Recipe, Transport};
use crate::harness::{agree, alone, books};

fn the_runner_is_counted(transport: Transport, dialect: Dialect) {
    let spent = matrix::speaks(&Recipe::proxy(), transport, dialect);
    assert!(spent.others_s > spent.first_s, "the runner computes");
}

#[test]
#[ignore = "end to end: run by cargo xtask test"]
fn every_request_of_a_mixed_load_is_seen_once_and_agrees_with_the_client() {
    the_runner_is_counted(Transport::Four, Dialect::OpenAi);
}

#[test]
#[ignore = "end to end: run by cargo xtask test"]
fn the_same_over_ipv6() {
    the_runner_is_counted(Transport::Six, Dialect::OpenAi);
}

#[test]
#[ignore = "end to end: run by cargo xtask test"]
fn the_same_over_a_unix_socket() {
    the_runner_is_counted(Transport::Unix, Dialect::OpenAi);
}

#[test]
#[ignore = "end to end: run by cargo xtask test"]
fn the_same_in_ollamas_dialect() {
    the_runner_is_counted(Transport::Four, Dialect::Ollama);
}

#[test]
#[ignore = "end to end: run by cargo xtask test"]
fn of_a_proxy_named_by_its_process_only_its_own_port_is_watched() {
    let _alone = alone();
    let dir = tempfile::tempdir().expect("a temporary directory");
    let server = Recipe::proxy().start(dir.path(), "127.0.0.1", 0);
    let probe = Probe::attach(dir.path(), &["--pid", &server.process.id().to_string()]);
    let asks = ["a", "b", "c", "d", "e"].map(|id| Ask::stream(id, 8));
    let seen: Vec<_> =
        asks.iter().map(|ask| once(&server.address, ask).expect("an answer")).collect();
    let outcome = probe.finish();
    agree::check(&outcome, &seen);
    books::close(&outcome);
}

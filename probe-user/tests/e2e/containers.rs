//! A server in namespaces of its own, found by every way there is to name it.

use std::net::TcpListener;
use std::path::Path;
use std::thread;
use std::time::Duration;

use wattprobe::record::End;

use crate::harness::ask::Ask;
use crate::harness::client::{Address, once};
use crate::harness::container::Container;
use crate::harness::probe::{Outcome, Probe, wattprobe};
use crate::harness::{alone, books, clock};

const A: &str = "3f4e8d1c9b7a6f5e4d3c2b1a09f8e7d6c5b4a3928170f6e5d4c3b2a190817263";
const B: &str = "3f4e8d0000000000000000000000000000000000000000000000000000000b0b";
const LABEL: &str = "3f4e8d1c9b7a";

/// A port on which nobody listens out here.
fn free() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("it is bound").port().to_string()
}

fn start(dir: &Path, id: &str, port: &str) -> Option<Container> {
    Container::start(dir, id, &["--host", "127.0.0.1", "--port", port])
}

/// Requests of three kinds from within, the last on a connection that is open already.
fn ask(container: &Container, port: &str, run: &str) {
    let address = Address::parse(&format!("127.0.0.1:{port}"));
    let id = |kind| format!("{kind}-{run}");
    container.inside(|| {
        once(&address, &Ask::health(id("health"))).expect("an answer");
        let mut kept = address.connect().expect("it listens");
        kept.ask(&Ask::plain(id("plain"), 8)).expect("an answer");
        kept.ask(&Ask::stream(id("stream"), 8)).expect("an answer");
    });
}

#[track_caller]
fn seen_once(outcome: &Outcome, runs: &[(&str, u32)]) {
    let records = books::by_id(outcome);
    assert_eq!(records.len(), 3 * runs.len(), "{:?}", records.keys());
    assert_eq!(outcome.records.len(), records.len(), "none is seen twice");
    for (run, pid) in runs {
        for kind in ["health", "plain", "stream"] {
            let record = records[format!("{kind}-{run}").as_str()];
            assert_eq!((record.end, record.pid), (End::Complete, *pid), "the host's number, not 1");
        }
    }
    books::close(outcome);
}

fn found_by(target: impl FnOnce(&Container, &str) -> [String; 2], label: &str) {
    let _alone = alone();
    let (dir, port) = (tempfile::tempdir().expect("a directory"), free());
    let Some(container) = start(dir.path(), A, &port) else { return };
    let target = target(&container, &port);
    let probe = Probe::attach(dir.path(), &[&target[0], &target[1]]);
    ask(&container, &port, "a");
    let outcome = probe.finish();
    assert_eq!(outcome.target().0, label);
    seen_once(&outcome, &[("a", container.pid)]);
}

#[test]
#[ignore = "end to end: run by cargo xtask test"]
fn a_container_s_server_is_found_by_its_number_on_the_host() {
    found_by(|container, _| ["--pid".into(), container.pid.to_string()], LABEL);
}

#[test]
#[ignore = "end to end: run by cargo xtask test"]
fn a_container_s_server_is_found_by_its_port_through_its_network() {
    found_by(|_, port| ["--port".into(), port.into()], LABEL);
}

#[test]
#[ignore = "end to end: run by cargo xtask test"]
fn a_container_s_server_is_found_by_its_control_group() {
    found_by(|container, _| ["--cgroup".into(), container.group()], LABEL);
}

#[test]
#[ignore = "end to end: run by cargo xtask test"]
fn a_container_s_server_is_found_by_the_first_digits_of_its_id() {
    found_by(|_, _| ["--container".into(), A[..6].into()], LABEL);
}

#[test]
#[ignore = "end to end: run by cargo xtask test"]
fn a_unix_socket_of_a_container_is_found_by_its_path_inside() {
    let _alone = alone();
    let dir = tempfile::tempdir().expect("a directory");
    let socket = dir.path().join("covered/chat.sock").to_string_lossy().into_owned();
    let Some(container) = Container::start(dir.path(), A, &["--unix", &socket]) else { return };
    assert!(!container.covered().join("chat.sock").exists(), "out here it is not");
    let probe = Probe::on_port(dir.path(), &socket, &[]);
    let address = Address::Unix(container.seen_outside().join("chat.sock"));
    once(&address, &Ask::stream("seen", 8)).expect("an answer");
    let outcome = probe.finish();
    assert_eq!(outcome.target().0, LABEL);
    assert_eq!(books::by_id(&outcome)["seen"].pid, container.pid);
    books::close(&outcome);
}

/// The container ends and begins anew, with the same id, while another listens on the same port.
#[test]
#[ignore = "end to end: run by cargo xtask test"]
fn a_container_that_restarts_is_attached_again_and_another_is_not_mistaken_for_it() {
    for by in ["--container", "--port"] {
        let _alone = alone();
        let (dir, port) = (tempfile::tempdir().expect("a directory"), free());
        let Some(before) = start(dir.path(), A, &port) else { return };
        let target = if by == "--port" { port.as_str() } else { &A[..6] };
        let probe = Probe::attach(dir.path(), &[by, target]);
        let pid = before.pid;
        ask(&before, &port, "before");
        let other = start(dir.path(), B, &port).expect("the second as the first");
        ask(&other, &port, "other");
        let again = || probe.process.stderr().contains("attached again");
        drop(before);
        thread::sleep(Duration::from_secs(1));
        assert!(!again(), "{by}: {}", probe.process.stderr());
        ask(&other, &port, "another");
        let after = start(dir.path(), A, &port).expect("the third as the first");
        clock::wait_until(Duration::from_secs(10), again);
        assert!(again(), "{by}: {}", probe.process.stderr());
        ask(&after, &port, "after");
        let outcome = probe.finish();
        seen_once(&outcome, &[("before", pid), ("after", after.pid)]);
    }
}

#[test]
#[ignore = "end to end: run by cargo xtask test"]
fn two_containers_on_one_port_or_under_the_same_digits_are_refused_with_the_remedy() {
    let _alone = alone();
    let (dir, port) = (tempfile::tempdir().expect("a directory"), free());
    let Some(_first) = start(dir.path(), A, &port) else { return };
    let _second = start(dir.path(), B, &port).expect("the second as the first");
    for (target, says) in [
        (["--port", &port], [LABEL, &B[..12], "--container"]),
        (["--container", "3f4e"], [A, B, "give more digits"]),
        (["--container", "beef"], ["container \"beef\"", "docker ps", "first 4 digits"]),
    ] {
        let output = wattprobe(&["attach", "--for", "1s"]).args(target).output();
        let output = output.expect("the binary starts");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        let errors = said.lines().filter(|line| line.contains("error: ")).count();
        assert_eq!(errors, 1, "{said}");
        for part in says {
            assert!(said.contains(part), "{part:?} is in: {said}");
        }
    }
}

//! The probe without a server: refusals with one line and a status, and nothing left behind.
//!
//! This process listens itself, which makes it a target like any other.

use std::fs;
use std::net::TcpListener;
use std::process::{Command, Output};
use std::thread;
use std::time::Duration;

use probe_lab::fakeroot::FakeRoot;
use rustix::process::Signal;

use crate::harness::probe::{Probe, wattprobe};
use crate::harness::{alone, life};

/// Exit statuses of the contract.
const FAILED: i32 = 1;
const USAGE: i32 = 2;
const PRIVILEGE: i32 = 4;

fn listener() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("it is bound").port().to_string();
    (listener, port)
}

/// It ended with this status and said one line that holds each of `words`.
#[track_caller]
fn refused(output: &Output, status: i32, words: &[&str]) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{said}");
    assert_eq!(said.trim().lines().count(), 1, "one line: {said:?}");
    for word in words {
        assert!(said.to_lowercase().contains(word), "{word:?} is in: {said}");
    }
}

const SECOND: &str = "another wattprobe";

fn attach(arguments: &[&str]) -> Output {
    run(wattprobe(&["attach", "--for", "2s"]).args(arguments))
}

/// What it says; while a probe of somebody else is attached to this machine, waits for its end.
fn run(command: &mut Command) -> Output {
    let mut said = || command.output().expect("the binary starts");
    for _ in 0..30 {
        let output = said();
        if !String::from_utf8_lossy(&output.stderr).contains(SECOND) {
            return output;
        }
        thread::sleep(Duration::from_secs(1));
    }
    said()
}

#[test]
#[ignore = "end to end: run by cargo xtask test"]
fn a_second_instance_is_refused() {
    let _alone = alone();
    let (_listener, port) = listener();
    let dir = tempfile::tempdir().expect("a temporary directory");
    let first = Probe::on_port(dir.path(), &port, &[]);
    let second = wattprobe(&["attach", "--for", "2s", "--port", &port]).output();
    refused(&second.expect("the binary starts"), FAILED, &[SECOND]);
    first.finish();
}

#[test]
#[ignore = "end to end: run by cargo xtask test"]
fn a_port_where_nobody_listens_is_refused() {
    let _alone = alone();
    let (listener, port) = listener();
    drop(listener);
    refused(&attach(&["--port", &port]), FAILED, &["nothing listens", &port]);
}

#[test]
#[ignore = "end to end: run by cargo xtask test"]
fn a_process_that_does_not_exist_is_refused() {
    let _alone = alone();
    refused(&attach(&["--pid", "4194303"]), FAILED, &["there is no process 4194303"]);
}

#[test]
#[ignore = "end to end: run by cargo xtask test"]
fn two_ports_of_one_process_are_refused_as_two_targets() {
    let _alone = alone();
    let ((_first, first), (_second, second)) = (listener(), listener());
    let output = attach(&["--port", &first, "--port", &second]);
    refused(&output, USAGE, &["belongs to the targets", &first, &second, "name one of them"]);
}

#[test]
#[ignore = "end to end: run by cargo xtask test"]
fn an_unknown_source_is_refused() {
    let _alone = alone();
    let (_listener, port) = listener();
    let output = attach(&["--port", &port, "--source", "perf:nosuchpmu/energy/"]);
    refused(&output, PRIVILEGE, &["nosuchpmu"]);
    let output = attach(&["--port", &port, "--source", "sunlight"]);
    assert_eq!(output.status.code(), Some(USAGE), "{output:?}");
}

#[test]
#[ignore = "end to end: run by cargo xtask test"]
fn a_counter_in_sysfs_that_cannot_be_read_is_refused() {
    let _alone = alone();
    let (_listener, port) = listener();
    let dir = tempfile::tempdir().expect("a temporary directory");
    let root = FakeRoot::new(dir.path());
    root.cpus(&[0]).expect("a fake machine");
    root.zone("intel-rapl:0", "package-0", 5).expect("a fake zone");
    // Root may read any file; nobody can read a directory as one.
    let energy = root.path("sys/class/powercap/intel-rapl:0/energy_uj");
    fs::remove_file(&energy).and_then(|()| fs::create_dir(&energy)).expect("a broken counter");
    let output = run(wattprobe(&["attach", "--for", "2s", "--port", &port])
        .args(["--source", "rapl-powercap", "--sysfs-root"])
        .arg(root.sysfs()));
    refused(&output, FAILED, &["energy_uj"]);
}

fn leaves_nothing_behind_after(signal: Signal) {
    let _alone = alone();
    let (_listener, port) = listener();
    let dir = tempfile::tempdir().expect("a temporary directory");
    life::leaves_nothing_behind(dir.path(), &port, signal);
}

#[test]
#[ignore = "end to end: run by cargo xtask test"]
fn a_killed_probe_leaves_no_program_in_the_kernel() {
    leaves_nothing_behind_after(Signal::KILL);
}

#[test]
#[ignore = "end to end: run by cargo xtask test"]
fn an_interrupted_probe_leaves_no_program_in_the_kernel() {
    leaves_nothing_behind_after(Signal::TERM);
}

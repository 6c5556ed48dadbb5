//! The probe without a server: refusals with one line and a status, and nothing left behind.
//!
//! This process listens itself, which makes it a target like any other.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

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

/// It ended with one of these statuses and said one line that holds each of `words`.
fn refused(output: &Output, statuses: &[i32], words: &[&str]) {
    let said = String::from_utf8_lossy(&output.stderr);
    let status = output.status.code();
    assert!(status.is_some_and(|s| statuses.contains(&s)), "status {status:?}: {said}");
    assert_eq!(said.trim().lines().count(), 1, "one line: {said:?}");
    for word in words {
        assert!(said.to_lowercase().contains(word), "{word:?} is in: {said}");
    }
}

fn attach(arguments: &[&str]) -> Output {
    wattprobe(&["attach", "--for", "2s"]).args(arguments).output().expect("the binary starts")
}

#[test]
#[ignore = "end to end: run by cargo xtask test"]
fn a_second_instance_is_refused() {
    let _alone = alone();
    let (_listener, port) = listener();
    let dir = tempfile::tempdir().expect("a temporary directory");
    let first = Probe::on_port(dir.path(), &port, &[]);
    refused(&attach(&["--port", &port]), &[FAILED, PRIVILEGE], &[]);
    first.finish();
}

#[test]
#[ignore = "end to end: run by cargo xtask test"]
fn a_port_where_nobody_listens_is_refused() {
    let _alone = alone();
    let (listener, port) = listener();
    drop(listener);
    refused(&attach(&["--port", &port]), &[FAILED, USAGE], &[&port]);
}

#[test]
#[ignore = "end to end: run by cargo xtask test"]
fn a_process_that_does_not_exist_is_refused() {
    let _alone = alone();
    refused(&attach(&["--pid", "4194303"]), &[FAILED, USAGE], &["4194303"]);
}

#[test]
#[ignore = "end to end: run by cargo xtask test"]
fn an_unknown_source_is_refused() {
    let _alone = alone();
    let (_listener, port) = listener();
    let output = attach(&["--port", &port, "--source", "perf:nosuchpmu/energy/"]);
    refused(&output, &[PRIVILEGE], &["nosuchpmu"]);
    let output = attach(&["--port", &port, "--source", "sunlight"]);
    assert_eq!(output.status.code(), Some(USAGE), "{output:?}");
}

#[test]
#[ignore = "end to end: run by cargo xtask test"]
fn a_counter_in_sysfs_that_cannot_be_read_is_refused() {
    let _alone = alone();
    let (_listener, port) = listener();
    let dir = tempfile::tempdir().expect("a temporary directory");
    let zone = dir.path().join("class/powercap/intel-rapl:0");
    // Root may read any file; nobody can read a directory as one.
    fs::create_dir_all(zone.join("energy_uj")).expect("a fake zone");
    fs::write(zone.join("name"), "package-0\n").expect("a fake zone");
    fs::write(zone.join("max_energy_range_uj"), "262143328850\n").expect("a fake zone");
    let sysfs = dir.path().to_str().expect("a temporary path is text");
    let output = wattprobe(&["--sysfs-root", sysfs, "attach", "--for", "2s", "--port", &port])
        .args(["--source", "rapl-powercap"])
        .output()
        .expect("the binary starts");
    refused(&output, &[FAILED, USAGE, PRIVILEGE], &[]);
}

#[test]
#[ignore = "end to end: run by cargo xtask test"]
fn without_privilege_it_says_how_to_get_it() {
    let _alone = alone();
    let (_listener, port) = listener();
    // The build folder may be closed to others.
    let dir = tempfile::tempdir().expect("a temporary directory");
    let open = |path: &Path| {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("it is ours");
    };
    let copy = dir.path().join("wattprobe");
    fs::copy(env!("CARGO_BIN_EXE_wattprobe"), &copy).expect("a copy");
    open(dir.path());
    open(&copy);
    let output = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(&copy)
        .args(["attach", "--for", "2s", "--port", &port])
        .output()
        .expect("setpriv is part of util-linux");
    refused(&output, &[PRIVILEGE], &["cap_bpf"]);
}

#[test]
#[ignore = "end to end: run by cargo xtask test"]
fn a_killed_probe_leaves_no_program_in_the_kernel() {
    let _alone = alone();
    let (_listener, port) = listener();
    let dir = tempfile::tempdir().expect("a temporary directory");
    life::leaves_nothing_behind(dir.path(), &port, Signal::KILL);
}

#[test]
#[ignore = "end to end: run by cargo xtask test"]
fn an_interrupted_probe_leaves_no_program_in_the_kernel() {
    let _alone = alone();
    let (_listener, port) = listener();
    let dir = tempfile::tempdir().expect("a temporary directory");
    life::leaves_nothing_behind(dir.path(), &port, Signal::TERM);
}

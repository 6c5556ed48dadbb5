//! Servers that begin to listen anew while a process of theirs lives on.

use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::harness::ask::Ask;
use crate::harness::client::{Address, once};
use crate::harness::parts::script;
use crate::harness::probe::Probe;
use crate::harness::process::Running;
use crate::harness::{alone, books};

fn server(dir: &Path, mode: &str) -> (Running, Address) {
    let mut command = Command::new("python3");
    command.arg(script("reborn_server.py")).arg(mode);
    let mut process = Running::start(&mut command, dir, mode);
    let said = process.line("listening on ", Duration::from_secs(30));
    // A worker says so a moment before it listens.
    thread::sleep(Duration::from_millis(500));
    (process, Address::parse(&said))
}

/// The second request comes after the server has begun anew; all must be in the records.
fn sees_both(dir: &Path, address: &Address, target: &[&str], anew: impl FnOnce()) {
    let probe = Probe::attach(dir, target);
    once(address, &Ask::health("before")).expect("an answer");
    anew();
    thread::sleep(Duration::from_secs(1));
    once(address, &Ask::health("after")).expect("an answer");
    let outcome = probe.finish();
    let records = books::by_id(&outcome);
    assert_eq!(records.keys().copied().collect::<Vec<_>>(), ["after", "before"]);
    books::close(&outcome);
}

#[test]
#[ignore = "end to end: run by cargo xtask test"]
fn a_socket_that_the_same_process_opens_anew_is_watched() {
    let _alone = alone();
    let dir = tempfile::tempdir().expect("a directory");
    let (process, address) = server(dir.path(), "relisten");
    sees_both(dir.path(), &address, &["--port", &address.port()], || process.signal(Signal::USR1));
}

#[test]
#[ignore = "end to end: run by cargo xtask test"]
fn a_worker_that_its_supervisor_starts_anew_is_watched() {
    let _alone = alone();
    let dir = tempfile::tempdir().expect("a directory");
    let (process, address) = server(dir.path(), "supervise");
    let worker = || {
        let said = process.stdout();
        let last = said.lines().filter_map(|line| line.strip_prefix("worker ")).next_back();
        last.and_then(|pid| pid.trim().parse().ok()).and_then(Pid::from_raw).expect("a worker")
    };
    let supervisor = process.id().to_string();
    sees_both(dir.path(), &address, &["--pid", &supervisor], || {
        kill_process(worker(), Signal::KILL).expect("the worker lives");
    });
    kill_process(worker(), Signal::KILL).expect("the second worker lives");
}

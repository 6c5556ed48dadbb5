//! What a running probe may still do, as the kernel says it of every one of its threads.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::harness::ask::Ask;
use crate::harness::client::{Address, once};
use crate::harness::parts::lab_binary;
use crate::harness::probe::{Probe, wattprobe};
use crate::harness::process::Running;
use crate::harness::server::Recipe;
use crate::harness::{alone, books};

const SYS_PTRACE: u64 = 1 << 19;
const DAC_READ_SEARCH: u64 = 1 << 2;
const PERFMON: u64 = 1 << 38;
const BPF: u64 = 1 << 39;

/// One thread's lines of `/proc/PID/task/TID/status`.
struct Thread {
    sets: BTreeMap<String, u64>,
    no_new_privs: bool,
}

/// Every thread of a process, by name.
fn threads(pid: u32) -> BTreeMap<String, Thread> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("the probe runs");
    let one = |task: fs::DirEntry| {
        let status = fs::read_to_string(task.path().join("status")).expect("a thread's status");
        let field = |line: &str| {
            let (name, value) = line.split_once(':')?;
            Some((name.to_owned(), value.trim().to_owned()))
        };
        let fields: BTreeMap<String, String> = status.lines().filter_map(field).collect();
        let set = |name: &str| u64::from_str_radix(&fields[name], 16).expect("a set");
        let names = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"];
        let sets = names.iter().map(|name| ((*name).to_owned(), set(name))).collect();
        let no_new_privs = fields["NoNewPrivs"] == "1";
        (fields["Name"].clone(), Thread { sets, no_new_privs })
    };
    tasks.map(|task| one(task.expect("an entry"))).collect()
}

/// The thread that runs the engine holds exactly these, every other nothing.
#[track_caller]
fn holds(pid: u32, main: u64) {
    let threads = threads(pid);
    assert!(threads.contains_key("metrics") && threads.contains_key("signals"), "both are started");
    for (name, thread) in &threads {
        let expected = if name == "wattprobe" { main } else { 0 };
        for set in ["CapEff", "CapPrm"] {
            assert_eq!(thread.sets[set], expected, "{set} of the thread {name:?}");
        }
        assert_eq!((thread.sets["CapInh"], thread.sets["CapAmb"]), (0, 0), "{name}");
        assert!(thread.no_new_privs, "{name}");
    }
}

const METRICS: [&str; 2] = ["--metrics", "127.0.0.1:0"];

#[test]
#[ignore = "end to end: run by cargo xtask test"]
fn a_probe_of_root_keeps_two_capabilities_and_the_sight_of_its_target() {
    let _alone = alone();
    let dir = tempfile::tempdir().expect("a temporary directory");
    let server = Recipe::lab().start(dir.path(), "127.0.0.1", 0);
    let probe = Probe::on_port(dir.path(), &server.address.port(), &METRICS);
    // A server of root holds more than the probe does now: seeing it takes CAP_SYS_PTRACE.
    holds(probe.process.id(), BPF | PERFMON | SYS_PTRACE);
    for thread in threads(probe.process.id()).values() {
        let left = thread.sets["CapBnd"] & !(BPF | PERFMON | SYS_PTRACE);
        assert_eq!(left, 0, "nothing can give it back");
    }
    once(&server.address, &Ask::stream("seen", 8)).expect("an answer");
    let outcome = probe.finish();
    assert!(books::by_id(&outcome).contains_key("seen"));
    books::close(&outcome);
}

#[test]
#[ignore = "end to end: run by cargo xtask test"]
fn a_server_of_another_user_stays_in_sight() {
    let _alone = alone();
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (_server, address) = server_of_nobody(dir.path());
    let probe = Probe::on_port(dir.path(), &address.port(), &METRICS);
    holds(probe.process.id(), BPF | PERFMON | SYS_PTRACE | DAC_READ_SEARCH);
    once(&address, &Ask::health("seen")).expect("an answer");
    let outcome = probe.finish();
    assert!(books::by_id(&outcome).contains_key("seen"));
}

#[test]
#[ignore = "end to end: run by cargo xtask test"]
fn three_capabilities_are_enough_for_a_user_and_his_own_server_and_two_are_left() {
    let _alone = alone();
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (_server, address) = server_of_nobody(dir.path());
    // CAP_DAC_READ_SEARCH opens tracefs, which is root's alone.
    let caps = "-all,+bpf,+perfmon,+dac_read_search";
    let binary = wattprobe(&[]).get_program().to_owned();
    let mut command = as_nobody(dir.path(), Path::new(&binary), caps);
    command.args(["attach", "--port", &address.port()]).args(METRICS);
    let probe = Probe::run(&mut command, dir.path());
    holds(probe.process.id(), BPF | PERFMON);
    once(&address, &Ask::health("seen")).expect("an answer");
    let outcome = probe.finish();
    assert!(books::by_id(&outcome).contains_key("seen"));
}

#[test]
#[ignore = "end to end: run by cargo xtask test"]
fn outputs_in_a_directory_of_another_user_are_complete() {
    let _alone = alone();
    let dir = tempfile::tempdir().expect("a temporary directory");
    let theirs = dir.path().join("theirs");
    fs::create_dir(&theirs).expect("our own directory");
    chown(&theirs, Some(65534), Some(65534)).expect("root may");
    fs::set_permissions(&theirs, fs::Permissions::from_mode(0o755)).expect("root may");
    let server = Recipe::lab().start(dir.path(), "127.0.0.1", 0);
    let slices = theirs.join("slices.jsonl").to_string_lossy().into_owned();
    let more = [&METRICS[..], &["--slices", &slices]].concat();
    let probe = Probe::on_port(&theirs, &server.address.port(), &more);
    // No CAP_DAC_OVERRIDE: root is anybody there, and may read.
    holds(probe.process.id(), BPF | PERFMON | SYS_PTRACE);
    once(&server.address, &Ask::stream("seen", 8)).expect("an answer");
    // It asserts the exit status 0 and that there is a summary.
    let outcome = probe.finish();
    books::close(&outcome);
    assert!(books::by_id(&outcome).contains_key("seen"));
    assert!(!outcome.slices.is_empty());
    let outputs =
        ["requests.jsonl", "slices.jsonl", "summary.json", "wattprobe.err", "wattprobe.out"];
    let names =
        fs::read_dir(&theirs).expect("it is there").map(|file| file.expect("an entry").file_name());
    let mut names: Vec<_> = names.collect();
    names.sort();
    assert_eq!(names, outputs, "nothing is left beside them");
}

/// A program of ours run by nobody; the build's own folder may be closed to others.
fn as_nobody(dir: &Path, program: &Path, caps: &str) -> Command {
    fs::set_permissions(dir, fs::Permissions::from_mode(0o777)).expect("our own directory");
    let copy = dir.join(program.file_name().expect("a program has a name"));
    fs::copy(program, &copy).expect("our own directory");
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
    command.args(["--inh-caps", caps, "--ambient-caps", caps]).arg(copy);
    command
}

/// A server of the user nobody.
fn server_of_nobody(dir: &Path) -> (Running, Address) {
    let mut command = as_nobody(dir, &lab_binary("lab-server"), "-all");
    command.args(["--host", "127.0.0.1", "--port", "0"]);
    let mut process = Running::start(&mut command, dir, "server");
    let said = process.line("listening on ", Duration::from_secs(60));
    (process, Address::parse(&said))
}

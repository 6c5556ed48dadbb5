//! The probe as a user runs it: `wattprobe attach`, its records and its summary.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use wattprobe::record::RequestRecord;
use wattprobe::snapshot::{Snapshot, TargetBook};

use super::clock;
use super::process::Running;

/// A running probe that said `attached:`.
pub(crate) struct Probe {
    /// Its process.
    pub(crate) process: Running,
    dir: PathBuf,
}

/// What it wrote.
pub(crate) struct Outcome {
    /// Request records.
    pub(crate) records: Vec<RequestRecord>,
    /// The books.
    pub(crate) summary: Snapshot,
    /// The slice stream, if it was asked for.
    pub(crate) slices: Vec<Slice>,
}

/// One line of the slice stream.
#[derive(Clone, Copy, Debug, serde::Deserialize)]
pub(crate) struct Slice {
    /// `CLOCK_MONOTONIC` ns.
    pub(crate) begin_ns: u64,
    /// `CLOCK_MONOTONIC` ns.
    pub(crate) end_ns: u64,
    /// CPU.
    pub(crate) cpu: u32,
    /// What it cost.
    pub(crate) joules: Option<f64>,
}

/// The binary under test with these arguments.
pub(crate) fn wattprobe(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wattprobe"));
    command.args(arguments);
    command
}

impl Probe {
    /// Attaches; `arguments` name the target and the options.
    pub(crate) fn attach(dir: &Path, arguments: &[&str]) -> Self {
        let mut command = wattprobe(&["attach"]);
        command.args(arguments);
        Self::run(&mut command, dir)
    }

    /// Attaches with a command line that lacks nothing but the outputs. `WATTPROBE_BOUNDARY` names the boundary rung.
    pub(crate) fn run(command: &mut Command, dir: &Path) -> Self {
        if let Ok(rung) = std::env::var("WATTPROBE_BOUNDARY") {
            command.args(["--boundary", &rung]);
        }
        command.arg("--requests").arg(dir.join("requests.jsonl"));
        command.arg("--summary").arg(dir.join("summary.json"));
        Self { process: Self::start(command, dir), dir: dir.to_path_buf() }
    }

    /// Starts it; while a probe of somebody else is attached to this machine, waits for its end.
    fn start(command: &mut Command, dir: &Path) -> Running {
        const TRIES: usize = 30;
        for _ in 0..TRIES {
            let mut process = Running::start(command, dir, "wattprobe");
            let patience = Duration::from_secs(30);
            let said = |process: &Running, words: &str| process.stderr().contains(words);
            clock::wait_until(patience, || process.has_ended() || said(&process, "attached:"));
            if !said(&process, "another wattprobe") {
                assert!(said(&process, "attached:"), "it said: {}", process.stderr());
                return process;
            }
            thread::sleep(Duration::from_secs(1));
        }
        panic!("another probe stays attached to this machine: these tests need it to themselves")
    }

    /// Attaches to whoever listens on a port (or a socket file).
    pub(crate) fn on_port(dir: &Path, port: &str, more: &[&str]) -> Self {
        let mut arguments = vec!["--port", port];
        arguments.extend(more);
        Self::attach(dir, &arguments)
    }

    /// Ends it as Ctrl-C does and reads what it wrote.
    pub(crate) fn finish(mut self) -> Outcome {
        self.process.signal(Signal::INT);
        let status = self.process.end(Duration::from_secs(30)).expect("Ctrl-C ends the probe");
        let said = self.process.stderr();
        assert_eq!(status.code(), Some(0), "wattprobe said: {said}");
        assert!(!said.contains("panicked"), "wattprobe said: {said}");
        let summary = self.dir.join("summary.json");
        let summary = fs::read_to_string(&summary).expect("a summary was written");
        Outcome {
            records: lines(&self.dir.join("requests.jsonl")),
            summary: serde_json::from_str(&summary).expect("the summary is a snapshot"),
            slices: lines(&self.dir.join("slices.jsonl")),
        }
    }
}

impl Outcome {
    /// The books of the only target.
    pub(crate) fn target(&self) -> (&str, &TargetBook) {
        let mut targets = self.summary.targets.iter();
        match (targets.next(), targets.next()) {
            (Some((name, book)), None) => (name, book),
            _ => panic!("one target was asked for: {:?}", self.summary.targets),
        }
    }
}

/// Every line of a file of JSON lines; none where the file is absent.
fn lines<T: serde::de::DeserializeOwned>(file: &Path) -> Vec<T> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let parse = |line| {
        serde_json::from_str::<Value>(line)
            .and_then(serde_json::from_value)
            .unwrap_or_else(|e| panic!("{}: {e}: {line}", file.display()))
    };
    text.lines().map(parse).collect()
}

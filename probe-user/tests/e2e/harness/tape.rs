//! A real run with a tape: the tape is whole and says the same as the run.

use std::fs;
use std::process::Output;

use serde_json::Value;

use super::alone;
use super::load;
use super::probe::{Probe, wattprobe};
use super::server::Recipe;

fn done(output: &Output) {
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
}

/// The mixed load with `--tape`.
pub(crate) fn says_what_the_run_said(recipe: &Recipe) {
    let _alone = alone();
    let dir = tempfile::tempdir().expect("a temporary directory");
    let server = recipe.start(dir.path(), "127.0.0.1", 0);
    let path = dir.path().join("tape");
    let tape = path.to_str().expect("text");
    let probe = Probe::on_port(dir.path(), &server.address.port(), &["--tape", tape]);
    load::mixed(&server.address);
    let outcome = probe.finish();
    assert!(outcome.records.len() >= 10, "{} records", outcome.records.len());

    let run = |line: &[&str]| wattprobe(line).output().expect("the binary starts");
    done(&run(&["tape", "verify", "--require-end", tape]));
    let energy = dir.path().join("energy.json");
    let replay = run(&["tape", "replay", "--summary", energy.to_str().expect("text"), tape]);
    done(&replay);
    let requests = fs::read(dir.path().join("requests.jsonl")).expect("records");
    assert!(replay.stdout == requests, "the records of the replay are others");

    let read = |name: &str| -> Value {
        let text = fs::read(dir.path().join(name)).expect("it was written");
        serde_json::from_slice(&text).expect("an object")
    };
    let (energy, mut summary) = (read("energy.json"), read("summary.json"));
    // What the kernel itself booked is not on the tape.
    for domain in summary["domains"].as_object_mut().expect("domains").values_mut() {
        domain["kernel_books"] = Value::Null;
    }
    for part in ["domains", "targets", "requests", "policies"] {
        assert_eq!(energy[part], summary[part], "{part}");
    }
}

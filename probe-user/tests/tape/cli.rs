//! `wattprobe tape`: statuses, and what it says of a tape that was changed.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use wattprobe::engine::entry::{End, Entry};
use wattprobe::engine::recorder::Recorder;
use wattprobe::tape::{Limits, Writer};

use crate::made;

fn tape(arguments: &[&str], dir: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wattprobe"));
    command.arg("tape").arg(arguments[0]).arg(dir).args(&arguments[1..]);
    command.output().expect("the binary runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("text")
}

/// Six seconds, with an end or without.
fn written(dir: &Path, end: bool) {
    let limits = Limits { frame_bytes: 4096, segment_bytes: 16 << 10 };
    let mut recorder = Recorder::begin(Writer::create(dir, limits).expect("a tape"), made::host());
    for n in 1..6_000 {
        made::millisecond(n, |entry| recorder.record(&entry));
    }
    if end {
        recorder.record(&Entry::End(End { t: 6_000_000_000, seen: 1, lost: vec![0] }));
        recorder.finish();
    } else {
        recorder.keep(u64::MAX);
    }
    assert!(recorder.failure().is_none());
}

#[test]
fn a_whole_tape_is_verified_told_replayed_and_exported() {
    let dir = tempfile::tempdir().expect("a directory");
    written(dir.path(), true);
    let output = tape(&["verify", "--require-end"], dir.path());
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stdout).starts_with("whole: "), "{}", text(&output.stdout));
    let info = tape(&["info", "--json"], dir.path());
    let info: serde_json::Value = serde_json::from_slice(&info.stdout).expect("an object");
    assert_eq!(
        (&info["ending"], &info["tape"]["entries"]["ticks"]),
        (&"ended".into(), &5_999.into())
    );
    assert!(
        text(&tape(&["info"], dir.path()).stdout).contains("domain      dram-0 from rapl-perf")
    );
    let summary = dir.path().join("energy.json");
    let summary = summary.to_str().expect("text");
    let lines = text(&tape(&["replay", "--summary", summary], dir.path()).stdout);
    assert_eq!(lines.lines().count(), 56);
    let energy: serde_json::Value =
        serde_json::from_slice(&fs::read(summary).expect("a file")).expect("an object");
    assert_eq!(energy["requests"]["complete"], 56);
    let file = dir.path().join("records.jsonl");
    let output = tape(&["export", "--output", file.to_str().expect("text")], dir.path());
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(fs::read_to_string(file).expect("a file"), lines);
    // Other policies, other records of the same requests.
    let others = text(&tape(&["replay", "--share", "tokens"], dir.path()).stdout);
    assert_eq!(others.lines().count(), 56);
    assert!(others.contains("\"share\":\"tokens\"") && others != lines);
}

#[test]
fn a_changed_tape_is_status_3_and_the_place_is_named() {
    let dir = tempfile::tempdir().expect("a directory");
    written(dir.path(), true);
    for number in 1..=3 {
        let path = dir.path().join(format!("{number:06}.tape"));
        let whole = fs::read(&path).expect("a segment");
        for at in (60..whole.len()).step_by(whole.len() / 12) {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x10;
            fs::write(&path, bytes).expect("a segment");
            let output = tape(&["verify"], dir.path());
            let said = text(&output.stderr);
            assert_eq!(output.status.code(), Some(3), "{said}");
            assert!(said.contains(&format!("segment {number}, frame ")), "{said}");
        }
        fs::write(&path, whole).expect("a segment");
    }
    assert_eq!(tape(&["verify"], dir.path()).status.code(), Some(0));
}

#[test]
fn a_tape_without_an_end_says_so_and_fails_only_where_an_end_is_required() {
    let dir = tempfile::tempdir().expect("a directory");
    written(dir.path(), false);
    let output = tape(&["verify"], dir.path());
    assert_eq!(output.status.code(), Some(0));
    assert!(text(&output.stdout).starts_with("no end: whole up to segment "));
    let output = tape(&["verify", "--require-end"], dir.path());
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    let empty = tempfile::tempdir().expect("a directory");
    let output = tape(&["verify"], empty.path());
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("holds no tape"));
}

//! A writer that is killed leaves a tape that is whole up to its last frame, and has published nothing that it does not show.
//!
//! The writer is this test binary once more, told by its environment.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use wattprobe::replay::{Others, replay};
use wattprobe::tape::{Ending, Limits, Writer};

use crate::made;

/// Where the killed one writes.
const PLACE: &str = "WATTPROBE_TEST_TAPE";
const KILLS: u64 = 200;

fn write_for_ever(dir: &Path) {
    let limits = Limits { frame_bytes: 2048, segment_bytes: 16 << 10 };
    let mut run = made::Run::begin(Writer::create(dir, limits).expect("a tape"));
    let mut records = File::create(dir.join("requests.jsonl")).expect("a file");
    run.go(u64::MAX, |record| {
        let line = serde_json::to_string(record).expect("an object") + "\n";
        records.write_all(line.as_bytes()).expect("a disk");
    });
}

/// Starts one and waits until it writes.
fn writer(place: &Path) -> Child {
    let me = std::env::current_exe().expect("this test");
    let mut child = Command::new(me)
        .args(["--exact", "kill::whoever_is_killed_while_writing_leaves_whole_frames"])
        .env(PLACE, place)
        .stdout(Stdio::null())
        .spawn()
        .expect("this test runs");
    while !place.join("requests.jsonl").exists() {
        let ended = child.try_wait().expect("it is ours");
        assert!(ended.is_none(), "it ended before it wrote anything: {ended:?}");
        thread::sleep(Duration::from_millis(1));
    }
    child
}

#[test]
fn whoever_is_killed_while_writing_leaves_whole_frames() {
    if let Some(dir) = std::env::var_os(PLACE) {
        write_for_ever(Path::new(&dir));
        return;
    }
    let (mut unfinished, mut records, mut segments) = (0, 0, 0);
    for kill in 0..KILLS {
        let dir = tempfile::tempdir().expect("a directory");
        let place = dir.path().join("tape");
        let mut child = writer(&place);
        thread::sleep(Duration::from_micros(kill.wrapping_mul(7_919) % 120_000));
        child.kill().expect("it is ours");
        child.wait().expect("it is ours");
        let mut lines = String::new();
        let replayed = replay(&place, Others::default(), |record| {
            lines += &(serde_json::to_string(record).expect("an object") + "\n");
            Ok(())
        });
        let walked = replayed.expect("it is whole").walked;
        let Ending::Open { unfinished_bytes } = walked.ending else { panic!("it has an end") };
        unfinished += u64::from(unfinished_bytes > 0);
        segments = segments.max(walked.counts.segments);
        let published = fs::read_to_string(place.join("requests.jsonl")).expect("a file");
        let whole = published.rfind('\n').map_or("", |end| &published[..=end]);
        assert!(lines.starts_with(whole), "it has published what its tape does not show");
        records += whole.lines().count();
    }
    println!("{KILLS} kills: {unfinished} within a frame; {records} records published");
    assert!(
        segments > 1 && records > 200,
        "{segments} segments, {records} records: they had no time"
    );
}

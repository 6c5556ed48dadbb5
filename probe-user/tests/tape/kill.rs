//! A writer that is killed leaves a tape that is whole up to its last frame.
//!
//! The writer is this test binary once more, told by its environment.

use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use wattprobe::engine::recorder::Recorder;
use wattprobe::replay::{Others, replay};
use wattprobe::tape::{Ending, Limits, Writer};

use crate::made;

/// Where the killed one writes.
const PLACE: &str = "WATTPROBE_TEST_TAPE";
/// How many are killed; 200 in the full form.
const KILLS: &str = "WATTPROBE_TEST_KILLS";

fn write_for_ever(dir: &Path) {
    let limits = Limits { frame_bytes: 2048, segment_bytes: 64 << 10 };
    let mut recorder = Recorder::begin(Writer::create(dir, limits).expect("a tape"), made::host());
    for n in 1..100_000_000 {
        made::millisecond(n, |entry| recorder.record(&entry));
    }
}

#[test]
fn whoever_is_killed_while_writing_leaves_whole_frames() {
    if let Some(dir) = std::env::var_os(PLACE) {
        write_for_ever(Path::new(&dir));
        return;
    }
    let kills = std::env::var(KILLS).ok().and_then(|n| n.parse().ok()).unwrap_or(10_u64);
    let me = std::env::current_exe().expect("this test");
    let mut most = 0;
    for kill in 0..kills {
        let dir = tempfile::tempdir().expect("a directory");
        let place = dir.path().join("tape");
        let mut child = Command::new(&me)
            .args(["--exact", "kill::whoever_is_killed_while_writing_leaves_whole_frames"])
            .env(PLACE, &place)
            .stdout(std::process::Stdio::null())
            .spawn()
            .expect("this test runs");
        while !place.join("000001.tape").exists() {
            thread::sleep(Duration::from_millis(1));
        }
        thread::sleep(Duration::from_micros(kill.wrapping_mul(7_919) % 40_000));
        child.kill().expect("it is ours");
        child.wait().expect("it is ours");
        let replayed = replay(&place, Others::default(), |_| Ok(())).expect("it is whole");
        assert!(matches!(replayed.walked.ending, Ending::Open { .. }));
        most = most.max(replayed.walked.counts.frames);
    }
    assert!(most > 20, "{most} frames: they were killed before they wrote anything");
}

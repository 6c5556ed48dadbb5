//! A real run with a tape: the tape is whole and says the same as the run, no byte of it can change unnoticed, and a probe that
//! is killed leaves what it had published.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use wattprobe::replay::{ReplayError, info};
use wattprobe::tape::TapeError;

use super::ask::Ask;
use super::client::{Address, once};
use super::load;
use super::probe::{Probe, wattprobe};
use super::server::Recipe;
use super::{alone, long};

/// Bytes that are changed, one at a time.
const FLIPS: u64 = 1_000;
/// Of those, by `verify` itself; the others by its first part, which checks the chain.
const BY_COMMAND: u64 = 20;

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Its standard output; it must have ended with that status.
fn ends(line: &[&str], status: i32) -> Output {
    let output = wattprobe(line).output().expect("the binary starts");
    assert_eq!(output.status.code(), Some(status), "{line:?}: {}", text(&output.stderr));
    output
}

/// The mixed load with `--tape`.
pub(crate) fn says_what_the_run_said(recipe: &Recipe) {
    let _alone = alone();
    let dir = tempfile::tempdir().expect("a temporary directory");
    let server = recipe.start(dir.path(), "127.0.0.1", 0);
    let path = dir.path().join("tape");
    let tape = path.to_str().expect("text");
    let probe = Probe::on_port(dir.path(), &server.address.port(), &["--tape", tape]);
    load::mixed(&server.address, 0);
    let outcome = probe.finish();
    assert!(outcome.records.len() >= load::STRETCH, "{} records", outcome.records.len());

    let read = |name: &str| fs::read(dir.path().join(name)).expect("it was written");
    let whole = text(&ends(&["tape", "verify", "--require-end", tape], 0).stdout);
    assert!(whole.starts_with("whole: "), "{whole}");
    let place = dir.path().join("replayed.json");
    let summary = place.to_str().expect("text");
    let replayed = ends(&["tape", "replay", "--summary", summary, tape], 0);
    assert!(replayed.stdout == read("requests.jsonl"), "the records of the replay are others");
    assert!(read("replayed.json") == read("summary.json"), "the summary of the replay is another");
    let info: Value = serde_json::from_slice(&ends(&["tape", "info", "--json", tape], 0).stdout)
        .expect("an object");
    let hash = blake3::hash(&read("requests.jsonl")).to_hex().to_string();
    assert_eq!(info["tape"]["published"]["records"], hash.as_str());
    // The same facts under the policies that are not the run's: other numbers, the same joules of the target in all.
    let other = ["--share", "tokens", "--idle", "even"];
    let line = ["tape", "replay", "--summary", summary, tape];
    ends(&[&line[..], &other[..]].concat(), 0);
    let replayed: Value = serde_json::from_slice(&read("replayed.json")).expect("an object");
    assert_eq!(replayed["policies"]["share"], "tokens");
    for (name, domain) in &outcome.summary.domains {
        assert_eq!(replayed["domains"][name]["measured_nj"], domain.measured_nj, "{name}");
    }
    finds_every_flip(&path);
}

/// Changes bytes at random places of all files, one at a time; each is found, and the frame that it is in is named.
fn finds_every_flip(tape: &Path) {
    let mut files: Vec<PathBuf> =
        fs::read_dir(tape).expect("a tape").map(|file| file.expect("a file").path()).collect();
    // Segments, then the note.
    files.sort();
    let whole: Vec<Vec<u8>> = files.iter().map(|file| fs::read(file).expect("a file")).collect();
    let total: usize = whole.iter().map(Vec::len).sum();
    let segments = files.len() - 1;
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    for flip in 0..FLIPS {
        random =
            random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let (mut at, mut file) = ((random >> 32) as usize % total, 0);
        while at >= whole[file].len() {
            (at, file) = (at - whole[file].len(), file + 1);
        }
        let mut bytes = whole[file].clone();
        bytes[at] ^= 1 << (random >> 16 & 7);
        fs::write(&files[file], &bytes).expect("a file");
        let (segment, frame) = if file == segments {
            (segments, frames(&whole[segments - 1]).len())
        } else {
            (file + 1, frame_at(&whole[file], at))
        };
        if flip < BY_COMMAND {
            let said = ends(&["tape", "verify", tape.to_str().expect("text")], 3).stderr;
            let place = format!("segment {segment}, frame {frame}: ");
            assert!(text(&said).contains(&place), "byte {at}: {}", text(&said));
        } else {
            match info(tape) {
                Err(ReplayError::Tape(TapeError::Damaged { segment: s, frame: f, .. })) => {
                    assert_eq!((s as usize, f as usize), (segment, frame), "byte {at}");
                }
                Err(other) => panic!("byte {at} of {}: {other}", files[file].display()),
                Ok(_) => panic!("byte {at} of {} was not found", files[file].display()),
            }
        }
        fs::write(&files[file], &whole[file]).expect("a file");
    }
    ends(&["tape", "verify", tape.to_str().expect("text")], 0);
}

/// The first byte after each frame of a segment.
fn frames(segment: &[u8]) -> Vec<usize> {
    let (mut at, mut ends) = (48, Vec::new());
    while at < segment.len() {
        let length = segment[at + 1..at + 5].try_into().expect("four bytes");
        at += 13 + u32::from_le_bytes(length) as usize + 32;
        ends.push(at);
    }
    ends
}

/// Which frame a byte is in, from 1; 0 is the header.
fn frame_at(segment: &[u8], at: usize) -> usize {
    if at < 48 { 0 } else { 1 + frames(segment).iter().filter(|end| **end <= at).count() }
}

/// Kills the probe in the middle of its work, again and again: 200 times with `cargo xtask test --long`.
pub(crate) fn survives_kills(recipe: &Recipe) {
    let _alone = alone();
    let kills = if long() { 200 } else { 8 };
    let dir = tempfile::tempdir().expect("a temporary directory");
    let server = recipe.start(dir.path(), "127.0.0.1", 0);
    let over = AtomicBool::new(false);
    let published = thread::scope(|scope| {
        let client = scope.spawn(|| ask_until(&over, &server.address));
        let published =
            (0..kills).map(|kill| killed(dir.path(), &server.address.port(), kill)).sum::<usize>();
        over.store(true, Ordering::Relaxed);
        assert!(client.join().expect("no client panics") > 0);
        published
    });
    println!("{kills} kills: {published} records published");
    assert!(published > 0, "no record was published before a kill");
}

/// One request after another; how many.
fn ask_until(over: &AtomicBool, server: &Address) -> usize {
    let mut answered = 0;
    while !over.load(Ordering::Relaxed) {
        once(server, &Ask::stream(format!("kill-{answered}"), 4)).expect("an answer");
        answered += 1;
    }
    answered
}

/// What a killed probe leaves; how many records it had published.
fn killed(dir: &Path, port: &str, kill: u64) -> usize {
    let path = dir.join(format!("tape-{kill}"));
    let tape = path.to_str().expect("text");
    let mut probe = Probe::on_port(dir, port, &["--tape", tape]);
    thread::sleep(Duration::from_micros(kill.wrapping_mul(7_919_317) % 700_000));
    probe.process.signal(Signal::KILL);
    probe.process.end(Duration::from_secs(10)).expect("nobody survives that");

    let verified = text(&ends(&["tape", "verify", tape], 0).stdout);
    assert!(verified.starts_with("no end: whole up to segment 1, frame "), "{verified}");
    ends(&["tape", "verify", "--require-end", tape], 3);
    let replayed = text(&ends(&["tape", "replay", tape], 0).stdout);
    let lines = fs::read_to_string(dir.join("requests.jsonl")).expect("records");
    let whole = lines.rfind('\n').map_or("", |end| &lines[..=end]);
    assert!(replayed.starts_with(whole), "it had published what its tape does not show");
    whole.lines().count()
}

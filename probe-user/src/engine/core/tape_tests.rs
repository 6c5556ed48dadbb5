//! A run with a tape, and what its tape says: the same records and books, to the byte.

use std::{fs, path::Path};

use super::{
    tests::{MS, core_with, io, records, tick},
    *,
};
use crate::{
    engine::books,
    event::Io,
    export::example,
    replay::{Others, ReplayError, replay},
    tape::{Ending, Limits, TapeError, Writer},
};

const SMALL: Limits = Limits { frame_bytes: 512, segment_bytes: 2048 };

/// What no byte of a tape may show.
const MARK: &str = "zebra-tulip-4711";

/// Twenty requests in four seconds; lines of their records and the energy.
fn run(dir: &Path, end: bool) -> (String, books::Energy) {
    let mut core = core_with(Some(Writer::create(dir, SMALL).unwrap()));
    let (mut effects, mut number) = (Vec::new(), 0);
    let body = format!("{{\"prompt\":\"{MARK}\"}}");
    let head = format!("POST /v1/x?{MARK} HTTP/1.1\r\nContent-Length: {}\r\n\r\n", body.len());
    for ms in 1..4_000 {
        if ms % 10 == 0 {
            number += 1;
            core.push(tick(number, ms * MS + ms * 7, ms * MS / 3));
        }
        // Each on a connection of its own.
        let at = |kind, bytes: &[u8]| match io(ms * MS, ms * MS / 3, kind, bytes) {
            Event::Io(io) => Event::Io(Io { conn: ConnId(ms / 200), ..io }),
            other => other,
        };
        match ms % 200 {
            50 => core.push(at(IoKind::Open, b"")),
            60 => core.push(at(IoKind::Recv, (head.clone() + &body).as_bytes())),
            133 => {
                let length = MARK.len();
                let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{MARK}");
                core.push(at(IoKind::Send, answer.as_bytes()));
            }
            _ => {}
        }
        core.advance(&mut effects);
    }
    if end {
        core.finish(&mut effects);
    }
    let (recorder, energy) = (core.recorder.as_mut().unwrap(), books::energy(&core.accounts));
    let mut lines = String::new();
    for record in records(&effects) {
        recorder.publish(record);
        lines += &serde_json::to_string(record).unwrap();
        lines.push('\n');
    }
    if end {
        recorder.finish(&energy.clone().within(example::snapshot(4.0))).unwrap();
    } else {
        recorder.keep(u64::MAX);
    }
    assert!(recorder.failure().is_none());
    (lines, energy)
}

fn replayed(dir: &Path) -> Result<(String, crate::replay::Replayed), ReplayError> {
    let mut lines = String::new();
    let replayed = replay(dir, Others::default(), |record| {
        lines += &serde_json::to_string(record).unwrap();
        lines.push('\n');
        Ok(())
    })?;
    Ok((lines, replayed))
}

#[test]
fn a_replay_prints_the_same_bytes_and_the_same_books() {
    let dir = tempfile::tempdir().unwrap();
    let (lines, energy) = run(dir.path(), true);
    assert_eq!(lines.lines().count(), 20, "{lines}");
    let (again, told) = replayed(dir.path()).unwrap();
    assert_eq!(again, lines);
    assert_eq!(told.energy, Some(energy));
    assert!(matches!(told.walked.ending, Ending::Ended(_)));
    assert!(told.walked.counts.segments > 1, "{:?}", told.walked);
    assert_eq!((told.info.entries.ticks, told.info.entries.requests), (399, 20));
}

#[test]
fn a_tape_without_an_end_gives_the_records_up_to_there() {
    let dir = tempfile::tempdir().unwrap();
    let (lines, energy) = run(dir.path(), false);
    let (again, told) = replayed(dir.path()).unwrap();
    assert!(lines.lines().count() >= 19);
    assert_eq!((again, told.energy), (lines, Some(energy)));
    assert!(matches!(told.walked.ending, Ending::Open { unfinished_bytes: 0 }));
}

/// The first byte after each frame of a segment.
fn frames(whole: &[u8]) -> Vec<usize> {
    let (mut at, mut ends) = (48, Vec::new());
    while at < whole.len() {
        let length = whole[at + 1..at + 5].try_into().unwrap();
        at += 13 + u32::from_le_bytes(length) as usize + 32;
        ends.push(at);
    }
    ends
}

/// Which frame a byte is in, from 1; 0 is the header.
fn frame_at(whole: &[u8], at: usize) -> u64 {
    let before = frames(whole).iter().filter(|end| **end <= at).count() as u64;
    if at < 48 { 0 } else { before + 1 }
}

#[test]
fn each_of_a_thousand_flipped_bytes_is_found_and_its_place_named() {
    let dir = tempfile::tempdir().unwrap();
    run(dir.path(), true);
    // The segments, then the note.
    let mut files: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|f| f.unwrap().path()).collect();
    files.sort();
    let last = files.len() - 1;
    assert_eq!(files[last].file_name().unwrap(), "end");
    let total: usize = files.iter().map(|f| fs::metadata(f).unwrap().len() as usize).sum();
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..1_000 {
        random =
            random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let (mut at, mut number) = ((random >> 33) as usize % total, 0);
        let mut bytes = fs::read(&files[number]).unwrap();
        while at >= bytes.len() {
            at -= bytes.len();
            number += 1;
            bytes = fs::read(&files[number]).unwrap();
        }
        let whole = bytes.clone();
        bytes[at] ^= 1 << ((random >> 20) % 8);
        fs::write(&files[number], &bytes).unwrap();
        match replayed(dir.path()) {
            Err(ReplayError::Tape(TapeError::Damaged { segment, frame, .. })) => {
                let place = match number {
                    // The note is held against the end record.
                    note if note == last => {
                        (last, frames(&fs::read(&files[last - 1]).unwrap()).len() as u64)
                    }
                    number => (number + 1, frame_at(&whole, at)),
                };
                assert_eq!((segment as usize, frame), place, "byte {at} of {number}");
            }
            Err(other) => panic!("byte {at} of {number}: {other}"),
            Ok(_) => panic!("byte {at} of {number} was not found"),
        }
        fs::write(&files[number], whole).unwrap();
    }
    assert!(replayed(dir.path()).is_ok());
}

#[test]
fn no_byte_of_a_prompt_or_an_answer_is_on_the_tape() {
    let dir = tempfile::tempdir().unwrap();
    run(dir.path(), true);
    let mut reader = crate::tape::Reader::open(dir.path()).unwrap();
    let mut bytes = Vec::new();
    while let Some(frame) = reader.next_frame().unwrap() {
        bytes.extend_from_slice(frame.bytes());
    }
    let shows = |text: &str| bytes.windows(text.len()).any(|part| part == text.as_bytes());
    assert!(shows("/v1/x"), "the path is there, so the search works");
    assert!(!shows(MARK) && !shows(&MARK[..8]));
}

#[test]
fn a_full_disk_ends_the_tape_and_not_the_run() {
    let dir = tempfile::tempdir().unwrap();
    let mut core = core_with(Some(Writer::create(dir.path(), SMALL).unwrap()));
    // The next segment's place is taken.
    fs::write(dir.path().join("000002.tape"), b"").unwrap();
    let mut effects = Vec::new();
    for number in 1..=4_000 {
        let odd = number * number * 7919 % MS;
        core.push(tick(number, number * 10 * MS + odd, number * MS + odd));
        core.advance(&mut effects);
    }
    core.finish(&mut effects);
    let recorder = core.recorder.as_mut().unwrap();
    assert!(matches!(recorder.failure(), Some(TapeError::Io { .. })));
    assert!(recorder.failure().is_none(), "said once");
    assert!(core.accounts.ledger.books(probe_ledger::DomainId(0)).unwrap().windows > 300);
}

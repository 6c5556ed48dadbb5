//! Tapes whose chain holds and whose entries are not those of a run: whoever can write a tape can write these.

use std::path::Path;

use wattprobe::boundary::{Boundary, What};
use wattprobe::engine::entry::{End, Entry};
use wattprobe::engine::recorder::Recorder;
use wattprobe::replay::{Others, ReplayError, replay};
use wattprobe::snapshot::Snapshot;
use wattprobe::tape::{Damage, TapeError, Writer};

use crate::made;

const END: Entry = Entry::End(End { t: 1_000_000_000 });

/// A second of a run, as entries.
fn second() -> Vec<Entry> {
    let mut entries = Vec::new();
    (1..1_000).for_each(|n| made::millisecond(n, |entry| entries.push(entry)));
    entries
}

/// What an honest run of it publishes.
fn honest() -> Snapshot {
    let dir = tempfile::tempdir().expect("a directory");
    let mut run = made::Run::begin(Writer::create(dir.path(), <_>::default()).expect("a tape"));
    run.go(1_000, |_| {});
    run.end(1_000, |_| {})
}

fn forge(dir: &Path, entries: &[Entry], summary: &Snapshot) {
    let writer = Writer::create(dir, <_>::default()).expect("a tape");
    let mut recorder = Recorder::begin(writer, made::host()).expect("it is written");
    entries.iter().for_each(|entry| recorder.record(entry));
    assert!(recorder.finish(summary).is_some());
}

/// What is said of a tape with these entries after its host.
fn found(entries: &[Entry], summary: &Snapshot) -> Option<Damage> {
    let dir = tempfile::tempdir().expect("a directory");
    forge(dir.path(), entries, summary);
    match replay(dir.path(), Others::default(), |_| Ok(())) {
        Ok(_) => None,
        Err(ReplayError::Tape(TapeError::Damaged { segment: 1, frame: 2.., damage })) => {
            Some(damage)
        }
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn a_summary_that_is_a_nanojoule_off_and_records_that_are_others_are_found() {
    let summary = honest();
    let entries = || second().into_iter().chain([END]).collect::<Vec<_>>();
    let mut off = summary.clone();
    off.domains.get_mut("package-0").expect("a domain").measured_nj += 1;
    assert_eq!(found(&entries(), &off), Some(Damage::Published));
    let mut off = summary.clone();
    off.targets.get_mut("made").expect("a target").background_nj -= 1;
    assert_eq!(found(&entries(), &off), Some(Damage::Published));
    // The forger's recorder was told of no record, and there were some.
    assert_eq!(found(&entries(), &summary), Some(Damage::Published));
    // Under other policies the numbers are others, and only the chain and the books are judged.
    let dir = tempfile::tempdir().expect("a directory");
    forge(dir.path(), &entries(), &off);
    let others = Others { share: Some(probe_ledger::Share::Tokens), ..Others::default() };
    assert!(replay(dir.path(), others, |_| Ok(())).is_ok());
}

#[test]
fn entries_out_of_their_place_are_found() {
    let summary = honest();
    let tick = || second().swap_remove(0);
    assert_eq!(found(&[tick()], &summary), Some(Damage::Content), "without an end");
    assert_eq!(found(&[tick(), END, tick()], &summary), Some(Damage::Content), "after the end");
    assert_eq!(found(&[END, END], &summary), Some(Damage::Content), "two ends");
    let host = Entry::Host(Box::new(made::host()));
    assert_eq!(found(&[tick(), host, END], &summary), Some(Damage::Content), "two hosts");
}

#[test]
fn more_open_requests_than_any_server_has_are_refused() {
    let body = second().into_iter().find_map(|entry| match entry {
        Entry::Boundary(boundary) if boundary.what == What::Body => Some(boundary),
        _ => None,
    });
    let body = body.expect("a second has requests");
    let open = |n: u64| {
        let mut request = body.request;
        request.0 = n;
        Entry::Boundary(Boundary { request, ..body })
    };
    let many: Vec<_> = (0..17_000).map(open).collect();
    assert_eq!(found(&many, &honest()), Some(Damage::Content));
}

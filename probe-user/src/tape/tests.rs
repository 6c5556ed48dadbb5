//! A tape is written, then changed in every way that it must notice.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use super::*;
use crate::replay::{self, ReplayError};

const SMALL: Limits = Limits { frame_bytes: 256, segment_bytes: 1024 };

fn item(n: u64) -> (u64, String) {
    (n, format!("{:x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
}

fn written(dir: &Path, items: u64) -> Counts {
    let mut writer = Writer::create(dir, SMALL).unwrap();
    for n in 0..items {
        append(&mut writer, item(n)).unwrap();
    }
    writer.finish().unwrap().0
}

fn append(writer: &mut Writer, item: (u64, String)) -> Result<(), TapeError> {
    writer.append(|out| minicbor::encode(item, out).map_err(|error| error.to_string()))
}

fn read(dir: &Path) -> Result<(Vec<(u64, String)>, Ending), TapeError> {
    let (mut items, mut reader) = (Vec::new(), Reader::open(dir)?);
    while let Some(frame) = reader.next_frame()? {
        let mut bytes = minicbor::Decoder::new(frame.bytes());
        while bytes.position() < bytes.input().len() {
            items.push(bytes.decode().unwrap());
        }
    }
    Ok((items, reader.ending().unwrap()))
}

fn segment(dir: &Path, number: u32) -> std::path::PathBuf {
    segments::path(dir, number)
}

fn damage(result: Result<(Vec<(u64, String)>, Ending), TapeError>) -> (u32, u64, Damage) {
    match result {
        Err(TapeError::Damaged { segment, frame, damage }) => (segment, frame, damage),
        other => panic!("expected damage, got {other:?}"),
    }
}

#[test]
fn what_is_written_is_read_over_several_segments_in_private_files() {
    let dir = tempfile::tempdir().unwrap();
    let tape = dir.path().join("tape");
    let counts = written(&tape, 500);
    assert!(counts.segments > 5 && counts.frames > 20, "{counts:?}");
    let (items, ending) = read(&tape).unwrap();
    assert_eq!(items, (0..500).map(item).collect::<Vec<_>>());
    assert_eq!(ending, Ending::Ended(counts));
    assert_eq!(fs::metadata(&tape).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(fs::metadata(segment(&tape, 2)).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(matches!(Writer::create(&tape, SMALL), Err(TapeError::Taken(_))));
    assert!(matches!(read(dir.path()), Err(TapeError::None(_))));
}

#[test]
fn a_flip_of_any_byte_is_damage_in_its_own_segment() {
    let dir = tempfile::tempdir().unwrap();
    let counts = written(dir.path(), 100);
    for number in 1..=u32::try_from(counts.segments).unwrap() {
        let path = segment(dir.path(), number);
        let bytes = fs::read(&path).unwrap();
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << (at % 8);
            fs::write(&path, &changed).unwrap();
            let (found, frame, _) = damage(read(dir.path()));
            assert_eq!((found, frame == 0), (number, at < format::HEADER), "byte {at}");
        }
        fs::write(&path, &bytes).unwrap();
    }
    assert!(read(dir.path()).is_ok());
}

#[test]
fn a_tape_cut_at_any_byte_of_its_last_segment_is_damaged_by_its_note_and_without_it_open_up_to_its_last_whole_frame()
 {
    let dir = tempfile::tempdir().unwrap();
    let counts = written(dir.path(), 100);
    let last = u32::try_from(counts.segments).unwrap();
    let (path, note) = (segment(dir.path(), last), segments::note(dir.path()));
    let (bytes, said) = (fs::read(&path).unwrap(), fs::read(&note).unwrap());
    let mut before = 0;
    for length in 0..bytes.len() {
        fs::write(&path, &bytes[..length]).unwrap();
        fs::write(&note, &said).unwrap();
        let (number, _, kind) = damage(read(dir.path()));
        assert_eq!((number, kind), (last, Damage::Short), "{length}");
        fs::remove_file(&note).unwrap();
        let (items, ending) = read(dir.path()).unwrap();
        assert!(matches!(ending, Ending::Open { .. }), "{length}");
        assert!(items.len() >= before, "{length}");
        before = items.len();
        assert_eq!(items, (0..before as u64).map(item).collect::<Vec<_>>());
    }
    assert_eq!(before, 100);
}

#[test]
fn a_note_that_says_anything_else_is_damage_and_one_that_is_missing_is_none() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path(), 100);
    let note = segments::note(dir.path());
    let said = fs::read(&note).unwrap();
    for other in [b"".to_vec(), [&said[..], b"\n"].concat(), said[1..].to_vec()] {
        fs::write(&note, other).unwrap();
        assert_eq!(damage(read(dir.path())).2, Damage::Note);
    }
    // Killed just before it.
    fs::remove_file(&note).unwrap();
    assert!(matches!(read(dir.path()), Ok((_, Ending::Ended(_)))));
    fs::create_dir(&note).unwrap();
    assert!(matches!(read(dir.path()), Err(TapeError::Io { .. })));
}

#[test]
fn a_writer_that_is_dropped_before_its_first_frame_leaves_nothing_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let tape = dir.path().join("tape");
    drop(Writer::create(&tape, SMALL).unwrap());
    assert!(!tape.exists());
    drop(Writer::create(&tape.join("below/it"), SMALL).unwrap());
    assert!(!tape.exists(), "nor of what lies above it");
    fs::create_dir(&tape).unwrap();
    drop(Writer::create(&tape, SMALL).unwrap());
    assert_eq!(fs::read_dir(&tape).unwrap().count(), 0, "the directory was there before");
    // What another tape left would be in the way at the end.
    fs::write(segments::note(&tape), "old").unwrap();
    assert!(matches!(Writer::create(&tape, SMALL), Err(TapeError::Taken(_))));
}

#[test]
fn a_directory_in_which_a_running_probe_could_not_go_on_is_refused_at_the_beginning() {
    let dir = tempfile::tempdir().unwrap();
    if chown(dir.path(), Some(65_534), Some(65_534)).is_err() {
        eprintln!("not run: needs root");
        return;
    }
    let refused = Writer::create(dir.path(), SMALL).unwrap_err();
    assert!(matches!(refused, TapeError::Foreign(_)), "{refused}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_version_that_is_not_known_and_counts_that_are_not_true_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = segment(dir.path(), 1);
    let mut header = format::header(1, &[0; format::HASH]);
    header[8] = 2;
    fs::write(&path, header).unwrap();
    assert_eq!(damage(read(dir.path())), (1, 0, Damage::Version(2)));
    let header = format::header(1, &[0; format::HASH]);
    let link = format::first_link(&header);
    for (counts, seen) in [([0_u64, 0, 1], None), ([1, 0, 1], Some(Damage::Counts))] {
        let end: Vec<u8> = counts.iter().flat_map(|count| count.to_le_bytes()).collect();
        let head = format::head(format::Kind::End, 24, 24, &link);
        let hash = format::link(&link, &head, &end);
        let bytes = [&header[..], &head, &end, &hash].concat();
        fs::write(&path, &bytes).unwrap();
        match seen {
            None => assert!(read(dir.path()).is_ok()),
            Some(kind) => assert_eq!(damage(read(dir.path())), (1, 1, kind)),
        }
        if seen.is_none() {
            fs::write(&path, [&bytes[..], b"x"].concat()).unwrap();
            assert_eq!(damage(read(dir.path())), (1, 2, Damage::Added));
        }
    }
}

#[test]
fn segments_that_are_missing_swapped_cut_or_added_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let last = u32::try_from(written(dir.path(), 500).segments).unwrap();
    let at = |number| segment(dir.path(), number);
    let away = dir.path().join("away");
    fs::rename(at(3), &away).unwrap();
    assert_eq!(damage(read(dir.path())), (3, 0, Damage::Missing));
    fs::rename(at(4), at(3)).unwrap();
    fs::rename(&away, at(4)).unwrap();
    assert_eq!(damage(read(dir.path())), (3, 0, Damage::Order));
    fs::rename(at(4), &away).unwrap();
    fs::rename(at(3), at(4)).unwrap();
    fs::rename(&away, at(3)).unwrap();
    let whole = fs::read(at(3)).unwrap();
    fs::write(at(3), &whole[..whole.len() - 1]).unwrap();
    assert_eq!(damage(read(dir.path())).2, Damage::Cut);
    fs::write(at(3), &whole).unwrap();
    fs::write(at(last + 1), &whole).unwrap();
    let (number, _, kind) = damage(read(dir.path()));
    assert_eq!((number, kind), (last, Damage::Added));
}

#[test]
fn frames_that_are_swapped_or_taken_out_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer =
        Writer::create(dir.path(), Limits { segment_bytes: u64::MAX, ..SMALL }).unwrap();
    let mut ends = vec![format::HEADER];
    for n in 0..3 {
        append(&mut writer, item(n)).unwrap();
        writer.flush().unwrap();
        ends.push(usize::try_from(fs::metadata(segment(dir.path(), 1)).unwrap().len()).unwrap());
    }
    drop(writer);
    let path = segment(dir.path(), 1);
    let bytes = fs::read(&path).unwrap();
    let frame = |n: usize| &bytes[ends[n]..ends[n + 1]];
    let header = &bytes[..format::HEADER];
    fs::write(&path, [header, frame(0), frame(2)].concat()).unwrap();
    assert_eq!(damage(read(dir.path())), (1, 2, Damage::Head));
    fs::write(&path, [header, frame(1), frame(0), frame(2)].concat()).unwrap();
    assert_eq!(damage(read(dir.path())), (1, 1, Damage::Head));
    fs::write(&path, [header, frame(0), frame(1), frame(1)].concat()).unwrap();
    assert_eq!(damage(read(dir.path())), (1, 3, Damage::Head));
}

#[test]
fn a_forged_frame_that_unpacks_to_more_or_less_than_it_says_or_to_no_entry_is_refused() {
    let zeros = vec![0xff; 4096];
    let packed = lz4_flex::block::compress(&zeros);
    for plain in [16, 4095, 4097, 4096] {
        let dir = tempfile::tempdir().unwrap();
        let header = format::header(1, &[0; format::HASH]);
        let link = format::first_link(&header);
        let head =
            format::head(format::Kind::Items, u32::try_from(packed.len()).unwrap(), plain, &link);
        let hash = format::link(&link, &head, &packed);
        fs::write(segment(dir.path(), 1), [&header[..], &head, &packed, &hash].concat()).unwrap();
        match replay::info(dir.path()) {
            Err(ReplayError::Tape(error)) => {
                assert_eq!(damage(Err(error)), (1, 1, Damage::Content), "{plain}");
            }
            other => panic!("{plain}: {other:?}"),
        }
    }
}

#[test]
fn a_full_disk_ends_the_tape_with_its_last_whole_frame() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::create(&dir.path().join("tape"), SMALL).unwrap();
    append(&mut writer, item(0)).unwrap();
    writer.flush().unwrap();
    // Every write to this device says that there is no space left.
    writer.file = Some(fs::File::options().write(true).open("/dev/full").unwrap());
    append(&mut writer, item(1)).unwrap();
    assert!(matches!(writer.flush(), Err(TapeError::Io { .. })));
    assert!(matches!(append(&mut writer, item(2)), Err(TapeError::Broken)));
    let (items, ending) = read(&dir.path().join("tape")).unwrap();
    assert_eq!((items, ending), (vec![item(0)], Ending::Open { unfinished_bytes: 0 }));
}

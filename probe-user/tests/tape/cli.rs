//! `wattprobe tape`: statuses, and what it says of a tape that was changed.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::RowAccessor;
use wattprobe::record::RequestRecord;
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

/// Six seconds, with an end or without; its record lines and its summary, as the run would have written them.
fn written(dir: &Path, end: bool) -> (String, String) {
    let limits = Limits { frame_bytes: 4096, segment_bytes: 16 << 10 };
    let mut run = made::Run::begin(Writer::create(dir, limits).expect("a tape"));
    let (mut lines, mut summary) = (String::new(), String::new());
    let mut publish = |record: &RequestRecord| {
        lines += &serde_json::to_string(record).expect("an object");
        lines.push('\n');
    };
    run.go(6_000, &mut publish);
    if end {
        let snapshot = run.end(6_000, &mut publish);
        summary = serde_json::to_string_pretty(&snapshot).expect("an object") + "\n";
    }
    (lines, summary)
}

#[test]
fn a_whole_tape_is_verified_told_replayed_and_exported() {
    let dir = tempfile::tempdir().expect("a directory");
    let (records, published) = written(dir.path(), true);
    let output = tape(&["verify", "--require-end"], dir.path());
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let whole = text(&output.stdout);
    assert!(whole.starts_with("whole: "), "{whole}");
    let info = tape(&["info", "--json"], dir.path());
    let info: serde_json::Value = serde_json::from_slice(&info.stdout).expect("an object");
    // What notes of the hash elsewhere can be held against.
    assert_eq!(info["hash"].as_str().map(str::len), Some(64));
    assert!(whole.contains(info["hash"].as_str().expect("text")), "{whole}");
    assert_eq!(
        (&info["ending"], &info["tape"]["entries"]["ticks"]),
        (&"ended".into(), &5_999.into())
    );
    assert!(
        text(&tape(&["info"], dir.path()).stdout).contains("domain      dram-0 from rapl-perf")
    );
    let place = tempfile::tempdir().expect("a directory");
    let summary = place.path().join("summary.json");
    let summary = summary.to_str().expect("text");
    let lines = text(&tape(&["replay", "--summary", summary], dir.path()).stdout);
    assert_eq!((lines.lines().count(), &lines), (56, &records));
    assert_eq!(fs::read_to_string(summary).expect("a file"), published);
    let file = place.path().join("records.jsonl");
    let output = tape(&["export", "--output", file.to_str().expect("text")], dir.path());
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(fs::read_to_string(&file).expect("a file"), lines);
    // What is there is not overwritten, unless it is asked for; what fails leaves nothing.
    let again = tape(&["export", "--output", file.to_str().expect("text")], dir.path());
    assert_eq!(again.status.code(), Some(2));
    assert!(text(&again.stderr).contains("--force"), "{}", text(&again.stderr));
    // Other policies, other records of the same requests.
    let others = text(&tape(&["replay", "--share", "tokens"], dir.path()).stdout);
    assert_eq!(others.lines().count(), 56);
    assert!(others.contains("\"share\":\"tokens\"") && others != lines);
    let exported = ["export", "--share", "tokens", "--force", "--output"];
    let output = tape(&[&exported[..], &[file.to_str().expect("text")]].concat(), dir.path());
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(fs::read_to_string(&file).expect("a file"), others);
    // Cycles were not counted: it is said that it went by time. Its cores have one thread each, so nothing is missing for smt.
    let cycles = ["replay", "--weight", "cycles", "--summary", summary];
    let cycles = text(&tape(&cycles, dir.path()).stdout);
    assert_eq!(cycles.matches("\"weight\":\"cycles\"").count(), 56);
    assert_eq!(cycles.matches("\"weight-unknown\"").count(), 56);
    assert!(fs::read_to_string(summary).expect("a file").contains("\"weight-unknown\""));
    let smt = text(&tape(&["replay", "--weight", "smt"], dir.path()).stdout);
    assert!(!smt.contains("weight-unknown") && !others.contains("weight-unknown"));
    // A device or a link is not replaced, whatever is asked for.
    let special = tape(&["export", "--force", "--output", "/dev/null"], dir.path());
    assert_eq!(special.status.code(), Some(2));
    assert!(fs::metadata("/dev/null").is_ok_and(|meta| !meta.is_file()));
}

#[test]
fn idle_energy_is_given_to_requests_afterwards_and_the_books_say_how_much() {
    let dir = tempfile::tempdir().expect("a directory");
    written(dir.path(), true);
    let summary = dir.path().join("energy.json");
    let summary = summary.to_str().expect("text");
    for (policy, gives) in [("none", false), ("even", true), ("proportional", true)] {
        let replayed = tape(&["replay", "--idle", policy, "--summary", summary], dir.path());
        assert_eq!(replayed.status.code(), Some(0), "{}", text(&replayed.stderr));
        let lines = text(&replayed.stdout);
        let records = lines.lines().map(|line| serde_json::from_str(line).expect("an object"));
        let records: Vec<serde_json::Value> = records.collect();
        assert!(records.iter().all(|record| record["idle"] == policy));
        assert!(records.iter().all(|record| record["idle_j"].is_number() == gives), "{policy}");
        let sum: f64 = records.iter().filter_map(|record| record["idle_j"].as_f64()).sum();
        let energy: serde_json::Value =
            serde_json::from_slice(&fs::read(summary).expect("a file")).expect("an object");
        let book = &energy["domains"]["package-0"];
        let given = book["idle_given_nj"].as_u64().expect("a count");
        let idle = book["idle_nj"].as_u64().expect("a count");
        // Six seconds at 5 W, residents nearly always.
        assert!((29_000_000_000..=30_000_000_000).contains(&idle), "{idle}");
        assert!(given <= idle && (given > idle / 2) == gives, "{policy}: {given} of {idle}");
        // Four were resident in the last 400 ms, 2 J of idle energy, and were never finished.
        let without = given as f64 - sum * 1e9;
        assert!((-56.0..=2e9).contains(&without), "{policy}: {sum} J, {given} nJ");
    }
}

#[test]
fn a_parquet_file_has_the_rows_of_the_records_and_is_complete_or_not_there() {
    let (dir, out) =
        (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    written(dir.path(), true);
    let file = out.path().join("records.parquet");
    let name = file.to_str().expect("text");
    let export =
        || tape(&["export", "--format", "parquet", "--force", "--output", name], dir.path());
    for _ in 0..2 {
        let output = export();
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    }
    let lines = text(&tape(&["replay"], dir.path()).stdout);
    let records = lines.lines().map(|line| serde_json::from_str(line).expect("an object"));
    let records: Vec<serde_json::Value> = records.collect();
    let whole = fs::read(&file).expect("a file");
    let rows = SerializedFileReader::new(fs::File::open(&file).expect("a file")).expect("parquet");
    let rows = rows.get_row_iter(None).expect("rows").map(|row| row.expect("a row"));
    let mut counted = 0;
    for (row, record) in rows.zip(&records) {
        let at = |name: &str| row.get_column_iter().position(|(n, _)| n == name).expect("a column");
        let (number, joules) = (row.get_ulong(at("request")), row.get_double(at("joules")));
        assert_eq!(Some(number.expect("a count")), record["request"].as_u64());
        assert_eq!(joules.ok(), record["joules"].as_f64());
        counted += 1;
    }
    assert_eq!(counted, 56);
    // A damaged tape: the file that was there stays as it was, and nothing else is left.
    let segment = dir.path().join("000002.tape");
    let mut bytes = fs::read(&segment).expect("a segment");
    bytes[100] ^= 1;
    fs::write(&segment, bytes).expect("a segment");
    assert_eq!(export().status.code(), Some(3));
    assert_eq!(fs::read(&file).expect("a file"), whole);
    assert_eq!(fs::read_dir(out.path()).expect("a directory").count(), 1);
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

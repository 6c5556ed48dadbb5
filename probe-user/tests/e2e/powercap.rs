//! A counter that user space reads from a file, of known power: it counts from the line `attached:` to
//! the end of the run, and the slice stream lays all of it out.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::harness::ask::Ask;
use crate::harness::client::once;
use crate::harness::probe::Probe;
use crate::harness::server::Recipe;
use crate::harness::{alone, books, clock};

const WATTS: f64 = 50.0;

/// This machine's sysfs, but for one powercap zone.
fn sysfs(root: &Path) -> File {
    for real in ["kernel", "bus", "devices"] {
        symlink(Path::new("/sys").join(real), root.join(real)).expect("a link");
    }
    let zone = root.join("class/powercap/intel-rapl:0");
    fs::create_dir_all(&zone).expect("a fake zone");
    fs::write(zone.join("name"), "package-0\n").expect("a fake zone");
    fs::write(zone.join("max_energy_range_uj"), "262143328850\n").expect("a fake zone");
    fs::write(zone.join("energy_uj"), count(0)).expect("a fake zone");
    File::options().write(true).open(zone.join("energy_uj")).expect("it is there")
}

/// Of one length, so that it can be overwritten in place.
fn count(microjoules: u64) -> String {
    format!("{microjoules:012}\n")
}

/// Moves the counter once a millisecond until told to stop.
fn power(counter: &File, stop: &AtomicBool) {
    let begin = clock::now();
    while !stop.load(Ordering::Relaxed) {
        let seconds = (clock::now() - begin) as f64 / 1e9;
        let text = count((seconds * WATTS * 1e6) as u64);
        counter.write_all_at(text.as_bytes(), 0).expect("it is ours");
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
#[ignore = "end to end: run by cargo xtask test"]
fn a_counter_in_a_file_is_complete_from_the_first_request_to_the_last_slice() {
    let _alone = alone();
    let dir = tempfile::tempdir().expect("a temporary directory");
    let root = tempfile::tempdir().expect("a temporary directory");
    let counter = sysfs(root.path());
    let server = Recipe::lab().start(dir.path(), "127.0.0.1", 0);
    let slices = dir.path().join("slices.jsonl");
    let (slices, sysfs) = (slices.to_string_lossy(), root.path().to_string_lossy());
    let options = ["--source", "rapl-powercap", "--slices", &slices, "--sysfs-root", &sysfs];
    let stop = AtomicBool::new(false);
    let (outcome, began, ended) = thread::scope(|scope| {
        scope.spawn(|| power(&counter, &stop));
        let probe = Probe::on_port(dir.path(), &server.address.port(), &options);
        let began = clock::now();
        once(&server.address, &Ask::health("first")).expect("an answer");
        once(&server.address, &Ask::stream("stream", 256)).expect("an answer");
        let ended = clock::now();
        let outcome = probe.finish();
        stop.store(true, Ordering::Relaxed);
        (outcome, began, ended)
    });

    books::close(&outcome);
    let records = books::by_id(&outcome);
    for id in ["first", "stream"] {
        assert!(records[id].joules.is_some(), "{id} came after the line: {:?}", records[id]);
    }
    let book = &outcome.summary.domains["package-0"];
    let (measured, least) = (book.measured_nj as f64 / 1e9, WATTS * (ended - began) as f64 / 1e9);
    println!("measured {measured:.3} J, {least:.3} J between the first request and the last");
    assert!(measured >= least && measured < least + WATTS * 1.5, "{measured} J, {least} J");
    let charged = book.consumers[outcome.target().0].active_nj as f64 / 1e9;
    let streamed: f64 = outcome.slices.iter().filter_map(|slice| slice.joules).sum();
    println!("the target was charged {charged:.6} J, its slices hold {streamed:.6} J");
    // The clocks at a reading of the file are interpolated between two ticks, the slices are not.
    assert!((streamed - charged).abs() <= charged * 1e-2, "{streamed} J in slices, {charged} J");
}

//! A power sensor of known power in a file: integrated, it gives the known energy.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use wattprobe::record::Quality;

use crate::harness::ask::Ask;
use crate::harness::client::once;
use crate::harness::probe::Probe;
use crate::harness::server::Recipe;
use crate::harness::{alone, books, clock};

const LEAST_WATTS: f64 = 40.0;
const MOST_WATTS: f64 = 60.0;

/// This machine's sysfs, but for one chip: Grace's socket.
fn sysfs(root: &Path) -> File {
    for real in ["kernel", "bus", "devices"] {
        symlink(Path::new("/sys").join(real), root.join(real)).expect("a link");
    }
    let chip = root.join("class/hwmon/hwmon0");
    fs::create_dir_all(&chip).expect("a fake chip");
    for (file, says) in [
        ("name", "power_meter\n"),
        ("power1_oem_info", "Grace Power Socket 0\n"),
        ("power1_average_interval", "50\n"),
        ("power1_average", "40000000\n"),
    ] {
        fs::write(chip.join(file), says).expect("a fake chip");
    }
    File::options().write(true).open(chip.join("power1_average")).expect("it is there")
}

/// Between 40 W and 60 W, changing all the time.
fn power(sensor: &File, stop: &AtomicBool) {
    for step in 0_u32.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let watts = 40 + step % 21;
        sensor.write_all_at(format!("{watts}000000\n").as_bytes(), 0).expect("it is ours");
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
#[ignore = "end to end: run by cargo xtask test"]
fn a_power_sensor_in_a_file_is_integrated_from_the_first_request_to_the_last() {
    let _alone = alone();
    let dir = tempfile::tempdir().expect("a temporary directory");
    let root = tempfile::tempdir().expect("a temporary directory");
    let sensor = sysfs(root.path());
    let server = Recipe::lab().start(dir.path(), "127.0.0.1", 0);
    let sysfs = root.path().to_string_lossy();
    let options = ["--source", "hwmon", "--sysfs-root", &sysfs];
    let stop = AtomicBool::new(false);
    let (outcome, before, began, ended, after) = thread::scope(|scope| {
        scope.spawn(|| power(&sensor, &stop));
        let before = clock::now();
        let probe = Probe::on_port(dir.path(), &server.address.port(), &options);
        let began = clock::now();
        once(&server.address, &Ask::stream("stream", 256)).expect("an answer");
        let ended = clock::now();
        let outcome = probe.finish();
        let after = clock::now();
        stop.store(true, Ordering::Relaxed);
        (outcome, before, began, ended, after)
    });

    books::close(&outcome);
    let record = &books::by_id(&outcome)["stream"];
    assert!(record.joules.is_some(), "{record:?}");
    assert_eq!(record.quality, Quality::Integrated, "{record:?}");
    let book = &outcome.summary.domains["package-0"];
    let measured = book.measured_nj as f64 / 1e9;
    let seconds = |from: u64, to: u64| (to - from) as f64 / 1e9;
    let least = LEAST_WATTS * seconds(began, ended);
    let most = MOST_WATTS * seconds(before, after);
    println!("measured {measured:.3} J, between {least:.3} J and {most:.3} J");
    assert!(measured >= least && measured <= most, "{measured} J, {least} J to {most} J");
}

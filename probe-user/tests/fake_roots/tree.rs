//! A fake machine whose counters move, and the ways to break it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use probe_lab::fakeroot::FakeRoot;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use wattprobe::roots::Roots;

/// Where a zone's files are.
const CLASS: &str = "sys/class/powercap";
/// RAPL's PMU.
pub(crate) const PMU: &str = "sys/bus/event_source/devices/power";

/// A machine in a temporary directory.
pub(crate) struct Tree {
    pub root: FakeRoot,
    dir: tempfile::TempDir,
    moving: Vec<Moving>,
}

/// A zone whose counter moves.
struct Moving {
    place: String,
    watts: u64,
    /// Shown at the beginning, microjoules.
    start: u64,
    max: u64,
}

/// True watts of each kind of domain.
pub(crate) fn watts(name: &str) -> u64 {
    match name.split('-').next().unwrap_or(name) {
        "package" => 50,
        "dram" => 5,
        "core" => 30,
        "psys" => 100,
        _ => 1,
    }
}

impl Tree {
    /// All that `doctor` wants of the kernel, CPUs by package, no counter.
    pub(crate) fn new(packages: &[u32]) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let mut tree = Self { root: FakeRoot::new(dir.path()), dir, moving: vec![] };
        tree.root.cpus(packages).expect("files");
        tree.root.cpuinfo("GenuineIntel", 6, 158, 10).expect("a file");
        tree.write("proc/sys/kernel/osrelease", b"6.1.0-test\n");
        tree.write("proc/sys/kernel/perf_event_paranoid", b"2\n");
        tree.write("proc/sys/kernel/bpf_stats_enabled", b"0\n");
        tree.write("proc/self/status", b"Name:\tx\nCapEff:\t000001ffffffffff\n");
        tree.write("sys/kernel/btf/vmlinux", &0xeb9f_u16.to_ne_bytes());
        tree.write("sys/kernel/tracing/events/syscalls/enable", b"0");
        tree
    }

    pub(crate) fn roots(&self) -> Roots {
        Roots { sysfs: self.root.sysfs(), procfs: self.root.procfs(), nvml: None }
    }

    pub(crate) fn write(&mut self, path: &str, content: &[u8]) {
        self.root.write(path, content).expect("a file");
    }

    /// A zone that counts its kind's watts from 1 J on.
    pub(crate) fn zone(&mut self, place: &str, name: &str) {
        self.zone_of(place, name, 1_000_000, 262_143_328_850);
    }

    pub(crate) fn zone_of(&mut self, place: &str, name: &str, start: u64, max: u64) {
        self.root.zone(place, name, start).expect("files");
        self.write(&format!("{CLASS}/{place}/max_energy_range_uj"), format!("{max}\n").as_bytes());
        let (place, watts) = (place.to_owned(), watts(name));
        self.moving.push(Moving { place, watts, start, max });
    }

    pub(crate) fn pmu(&mut self, events: &[&str], mask: &str) {
        self.root.power_pmu(events, mask).expect("files");
    }

    /// What is at a zone's file from now on; the zone no longer moves.
    pub(crate) fn say(&mut self, place: &str, content: &[u8]) {
        self.stop(place);
        self.write(&format!("{CLASS}/{place}/energy_uj"), content);
    }

    /// The zone's counter no longer moves.
    pub(crate) fn stop(&mut self, place: &str) {
        self.moving.retain(|zone| zone.place != place);
    }

    fn away(&mut self, path: &str) -> PathBuf {
        let path = self.root.path(path);
        if fs::remove_file(&path).is_err() {
            let _ = fs::remove_dir_all(&path);
        }
        if let Some(above) = path.parent() {
            fs::create_dir_all(above).expect("a directory");
        }
        path
    }

    /// Nothing is at this path any more.
    pub(crate) fn remove(&mut self, path: &str) {
        self.away(path);
    }

    /// What root may not read either.
    pub(crate) fn directory(&mut self, path: &str) {
        let path = self.away(path);
        fs::create_dir(path).expect("a directory");
    }

    /// A FIFO that nobody writes to.
    pub(crate) fn fifo(&mut self, path: &str) {
        let path = self.away(path);
        mknodat(CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o644), 0).expect("a FIFO");
    }

    /// A link to itself.
    pub(crate) fn circle(&mut self, path: &str) {
        let path = self.away(path);
        symlink(&path, &path).expect("a link");
    }

    /// A link to nothing.
    pub(crate) fn dangling(&mut self, path: &str) {
        let path = self.away(path);
        symlink(self.dir.path().join("nowhere"), path).expect("a link");
    }

    /// Moves every counter that still moves to where it is after so many milliseconds.
    pub(crate) fn advance(&mut self, ms: u64) {
        for zone in &self.moving {
            let count =
                u128::from(zone.start + zone.watts * ms * 1_000) % (u128::from(zone.max) + 1);
            let path = format!("{CLASS}/{}/energy_uj", zone.place);
            self.root.write(path, format!("{count}\n")).expect("a file");
        }
    }
}

/// A zone's file.
pub(crate) fn file(place: &str, name: &str) -> String {
    format!("{CLASS}/{place}/{name}")
}

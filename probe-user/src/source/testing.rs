//! A fake machine in a temporary directory, for the tests of this module: [`FakeRoot`] with unwraps.

use probe_lab::fakeroot::FakeRoot;

use crate::roots::Roots;
use crate::topology::Topology;

/// The machine; removed on drop. Paths are beneath sysfs, or begin with `proc/`.
pub(crate) struct Tree {
    root: FakeRoot,
    _dir: tempfile::TempDir,
}

impl Tree {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { root: FakeRoot::new(dir.path()), _dir: dir }
    }

    pub(crate) fn roots(&self) -> Roots {
        Roots { sysfs: self.root.sysfs(), procfs: self.root.procfs(), nvml: None }
    }

    pub(crate) fn topology(&self) -> Topology {
        Topology::read(&self.roots()).unwrap()
    }

    fn place(path: &str) -> String {
        if path.starts_with("proc/") { path.to_owned() } else { format!("sys/{path}") }
    }

    pub(crate) fn write(&self, path: &str, content: &str) {
        self.write_bytes(path, content.as_bytes());
    }

    pub(crate) fn write_bytes(&self, path: &str, content: &[u8]) {
        self.root.write(Self::place(path), content).unwrap();
    }

    pub(crate) fn remove(&self, path: &str) {
        std::fs::remove_file(self.root.path(Self::place(path))).unwrap();
    }

    /// A FIFO that nobody writes to, in place of a file.
    pub(crate) fn fifo(&self, path: &str) {
        use rustix::fs::{CWD, FileType, Mode, mknodat};
        let path = self.root.path(Self::place(path));
        if path.exists() {
            std::fs::remove_file(&path).unwrap();
        }
        mknodat(CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    }

    pub(crate) fn cpus(self, packages: &[u32]) -> Self {
        self.root.cpus(packages).unwrap();
        self
    }

    pub(crate) fn power_pmu(self, events: &[&str], cpumask: &str) -> Self {
        self.root.power_pmu(events, cpumask).unwrap();
        self
    }

    pub(crate) fn power_core_pmu(self, cpumask: &str) -> Self {
        self.root.power_core_pmu(cpumask).unwrap();
        self
    }

    pub(crate) fn siblings(self, cores: &[&str]) -> Self {
        self.root.siblings(cores).unwrap();
        self
    }

    pub(crate) fn msr_pmu(self) -> Self {
        self.root.msr_pmu().unwrap();
        self
    }

    pub(crate) fn zone(self, place: &str, name: &str, energy_uj: u64) -> Self {
        self.root.zone(place, name, energy_uj).unwrap();
        self
    }

    pub(crate) fn hwmon(
        self,
        number: u32,
        name: &str,
        device: &str,
        files: &[(&str, &str)],
    ) -> Self {
        self.root.hwmon(number, name, device, files).unwrap();
        self
    }

    pub(crate) fn supply(self, name: &str, kind: &str, files: &[(&str, &str)]) -> Self {
        self.root.power_supply(name, kind, files).unwrap();
        self
    }

    pub(crate) fn drm_client(&self, pid: u32, fd: u32, fdinfo: &str) {
        self.root.drm_client(pid, fd, fdinfo).unwrap();
    }

    pub(crate) fn cpuinfo(self, vendor: &str, family: u32, model: u32, stepping: u32) -> Self {
        self.root.cpuinfo(vendor, family, model, stepping).unwrap();
        self
    }
}

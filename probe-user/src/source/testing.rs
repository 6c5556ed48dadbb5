//! A fake machine in a temporary directory, for the tests of this module.

use std::path::Path;

use crate::roots::Roots;
use crate::topology::Topology;

/// The machine; removed on drop. Its PMU types are numbers no kernel hands out.
pub(crate) struct Tree(tempfile::TempDir);

impl Tree {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn roots(&self) -> Roots {
        Roots { sysfs: self.0.path().into(), procfs: self.0.path().join("proc") }
    }

    pub(crate) fn topology(&self) -> Topology {
        Topology::read(&self.roots()).unwrap()
    }

    pub(crate) fn write(&self, path: &str, content: &str) {
        self.write_bytes(path, content.as_bytes());
    }

    pub(crate) fn write_bytes(&self, path: &str, content: &[u8]) {
        let path = self.0.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap_or(Path::new("/"))).unwrap();
        std::fs::write(path, content).unwrap();
    }

    pub(crate) fn remove(&self, path: &str) {
        std::fs::remove_file(self.0.path().join(path)).unwrap();
    }

    /// One CPU for each entry, which is its package.
    pub(crate) fn cpus(self, packages: &[u32]) -> Self {
        self.write("devices/system/cpu/online", &format!("0-{}\n", packages.len() - 1));
        for (cpu, package) in packages.iter().enumerate() {
            let file = format!("devices/system/cpu/cpu{cpu}/topology/physical_package_id");
            self.write(&file, &format!("{package}\n"));
        }
        self
    }

    /// RAPL's PMU with these events.
    pub(crate) fn power_pmu(self, events: &[&str], cpumask: &str) -> Self {
        let dir = "bus/event_source/devices/power";
        self.write(&format!("{dir}/type"), "990002\n");
        self.write(&format!("{dir}/cpumask"), cpumask);
        self.write(&format!("{dir}/format/event"), "config:0-7\n");
        for (i, event) in events.iter().enumerate() {
            self.write(&format!("{dir}/events/{event}"), &format!("event=0x{:02x}\n", i + 2));
            let scale = "2.3283064365386962890625e-10\n";
            self.write(&format!("{dir}/events/{event}.scale"), scale);
            self.write(&format!("{dir}/events/{event}.unit"), "Joules\n");
        }
        self
    }

    /// The PMU of free-running MSRs, which counts per CPU and has no scale.
    pub(crate) fn msr_pmu(self) -> Self {
        let dir = "bus/event_source/devices/msr";
        self.write(&format!("{dir}/type"), "990001\n");
        self.write(&format!("{dir}/format/event"), "config:0-63\n");
        self.write(&format!("{dir}/events/tsc"), "event=0x00\n");
        self.write(&format!("{dir}/events/aperf"), "event=0x01\n");
        self
    }

    /// A powercap zone with this counter.
    pub(crate) fn zone(self, place: &str, name: &str, energy_uj: u64) -> Self {
        let dir = format!("class/powercap/{place}");
        self.write(&format!("{dir}/name"), &format!("{name}\n"));
        self.write(&format!("{dir}/energy_uj"), &format!("{energy_uj}\n"));
        self.write(&format!("{dir}/max_energy_range_uj"), "262143328850\n");
        self
    }

    /// `/proc/cpuinfo` of one CPU.
    pub(crate) fn cpuinfo(self, vendor: &str, family: u32, model: u32, stepping: u32) -> Self {
        self.write(
            "proc/cpuinfo",
            &format!(
                "processor\t: 0\nvendor_id\t: {vendor}\ncpu family\t: {family}\nmodel\t\t: {model}\n\
                 model name\t: Test CPU\nstepping\t: {stepping}\n\n"
            ),
        );
        self
    }
}

//! Small `/sys` and `/proc` trees in a directory.
//!
//! A test that wants a laptop whose counter file holds garbage builds one here and points
//! `--sysfs-root` and `--procfs-root` at it. The shape is the kernel's own: zones and PMUs live under
//! `devices/` and their classes and buses hold symbolic links, so that code which walks links or lists
//! directories meets what it meets on a machine. Breaking a file is writing another content over it.
//!
//! ```
//! use probe_lab::fakeroot::FakeRoot;
//! # let dir = std::env::temp_dir().join(format!("fakeroot-doc-{}", std::process::id()));
//! let root = FakeRoot::new(&dir);
//! root.cpus(&[0, 0, 1, 1])?;
//! root.zone("intel-rapl:0", "package-0", 5)?;
//! root.power_pmu(&["energy-pkg", "energy-ram"], "0,2")?;
//! root.write("sys/class/powercap/intel-rapl:0/energy_uj", "garbage")?;
//! # std::fs::remove_dir_all(&dir)?;
//! # Ok::<(), std::io::Error>(())
//! ```

use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};

/// A tree on disk: `sys/` and `proc/` beneath the directory it was given. Every method writes at once,
/// and fails when the directory cannot be written.
#[derive(Clone, Debug)]
pub struct FakeRoot {
    dir: PathBuf,
}

/// What Intel's package counters wrap at: 2^32 - 1 units of 61.035 µJ.
const INTEL_MAX_UJ: u64 = 262_143_328_850;

/// The scale of every energy event of the kernel's `power` PMU: 2^-32 J.
const POWER_SCALE: &str = "2.3283064365386962890625e-10";

// PMU types that no kernel hands out: to open an event of a fake PMU is an error on every machine.
const MSR_TYPE: &str = "990001";
const POWER_TYPE: &str = "990002";
const POWER_CORE_TYPE: &str = "990003";

impl FakeRoot {
    /// A machine without CPUs, sensors or PMUs, to be built in `dir`.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// What `--sysfs-root` takes.
    #[must_use]
    pub fn sysfs(&self) -> PathBuf {
        self.dir.join("sys")
    }

    /// What `--procfs-root` takes.
    #[must_use]
    pub fn procfs(&self) -> PathBuf {
        self.dir.join("proc")
    }

    /// Where `path`, such as `sys/kernel/btf/vmlinux`, is.
    #[must_use]
    pub fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        self.dir.join(path)
    }

    /// Writes the file at `path`, such as `proc/cpuinfo`, and the directories above it.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, path: impl AsRef<Path>, content: impl AsRef<[u8]>) -> io::Result<()> {
        let path = self.path(path);
        if let Some(above) = path.parent() {
            std::fs::create_dir_all(above)?;
        }
        std::fs::write(path, content)
    }

    /// One online CPU for each entry, which is its package.
    ///
    /// # Errors
    /// When the files cannot be written.
    pub fn cpus(&self, packages: &[u32]) -> io::Result<()> {
        let online = match packages.len() {
            0 => String::new(),
            1 => "0".to_owned(),
            n => format!("0-{}", n - 1),
        };
        self.write("sys/devices/system/cpu/online", format!("{online}\n"))?;
        for (cpu, package) in packages.iter().enumerate() {
            let file = format!("sys/devices/system/cpu/cpu{cpu}/topology/physical_package_id");
            self.write(file, format!("{package}\n"))?;
        }
        Ok(())
    }

    /// `/proc/cpuinfo` of one CPU.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn cpuinfo(&self, vendor: &str, family: u32, model: u32, stepping: u32) -> io::Result<()> {
        let text = format!(
            "processor\t: 0\nvendor_id\t: {vendor}\ncpu family\t: {family}\nmodel\t\t: {model}\n\
             model name\t: Test CPU\nstepping\t: {stepping}\n\n"
        );
        self.write("proc/cpuinfo", text)
    }

    /// A powercap zone (Documentation/power/powercap/powercap.rst) at its place, such as
    /// `intel-rapl:0:1`, with its name and what its counter says, in microjoules or not.
    ///
    /// # Errors
    /// When the files cannot be written.
    pub fn zone(&self, place: &str, name: &str, energy_uj: impl Display) -> io::Result<()> {
        let control = place.split(':').next().unwrap_or(place);
        let mut dir = format!("devices/virtual/powercap/{control}");
        self.write(format!("sys/{dir}/enabled"), "1\n")?;
        self.link(&format!("class/powercap/{control}"), &dir)?;
        // A zone's directory is inside that of the zone around it.
        for (colon, _) in place.match_indices(':').skip(1) {
            dir = format!("{dir}/{}", &place[..colon]);
        }
        dir = format!("{dir}/{place}");
        self.write(format!("sys/{dir}/name"), format!("{name}\n"))?;
        self.write(format!("sys/{dir}/energy_uj"), format!("{energy_uj}\n"))?;
        self.write(format!("sys/{dir}/max_energy_range_uj"), format!("{INTEL_MAX_UJ}\n"))?;
        self.link(&format!("class/powercap/{place}"), &dir)
    }

    /// A chip of the hwmon class (Documentation/hwmon/sysfs-interface.rst) with its files and what they say. A
    /// `device` such as `0000:03:00.0` is on PCI, any other (`ACPI000D:00`) on a bus that has no matter.
    ///
    /// # Errors
    /// When the files cannot be written.
    pub fn hwmon(
        &self,
        number: u32,
        name: &str,
        device: &str,
        files: &[(&str, &str)],
    ) -> io::Result<()> {
        let bus = if device.matches(':').count() == 2 { "pci0000:00" } else { "platform" };
        let device = format!("devices/{bus}/{device}");
        let dir = format!("{device}/hwmon/hwmon{number}");
        self.write(format!("sys/{dir}/name"), format!("{name}\n"))?;
        for (file, content) in files {
            self.write(format!("sys/{dir}/{file}"), format!("{content}\n"))?;
        }
        self.link(&format!("{dir}/device"), &device)?;
        self.link(&format!("class/hwmon/hwmon{number}"), &dir)
    }

    /// A power supply (Documentation/ABI/testing/sysfs-class-power) with its files, such as `status`.
    ///
    /// # Errors
    /// When the files cannot be written.
    pub fn power_supply(&self, name: &str, kind: &str, files: &[(&str, &str)]) -> io::Result<()> {
        let dir = format!("devices/virtual/power_supply/{name}");
        self.write(format!("sys/{dir}/type"), format!("{kind}\n"))?;
        for (file, content) in files {
            self.write(format!("sys/{dir}/{file}"), format!("{content}\n"))?;
        }
        self.link(&format!("class/power_supply/{name}"), &dir)
    }

    /// A process that has a graphics card open: descriptor `fd` of `pid`, and what its `fdinfo` says
    /// (Documentation/gpu/drm-usage-stats.rst).
    ///
    /// # Errors
    /// When the files cannot be written.
    pub fn drm_client(&self, pid: u32, fd: u32, fdinfo: &str) -> io::Result<()> {
        self.write(format!("proc/{pid}/fdinfo/{fd}"), fdinfo)?;
        let dir = self.path(format!("proc/{pid}/fd"));
        std::fs::create_dir_all(&dir)?;
        match std::os::unix::fs::symlink("/dev/dri/renderD128", dir.join(fd.to_string())) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            made => made,
        }
    }

    /// RAPL's PMU with some of its events: `energy-cores`, `energy-pkg`, `energy-ram`, `energy-gpu`,
    /// `energy-psys`; `cpumask` lists the CPUs that read it.
    ///
    /// # Errors
    /// When an event is none of these, or the files cannot be written.
    pub fn power_pmu(&self, events: &[&str], cpumask: &str) -> io::Result<()> {
        self.pmu("power", POWER_TYPE, "config:0-7")?;
        self.write("sys/devices/power/cpumask", format!("{cpumask}\n"))?;
        for event in events {
            let code = match *event {
                "energy-cores" => 1,
                "energy-pkg" => 2,
                "energy-ram" => 3,
                "energy-gpu" => 4,
                "energy-psys" => 5,
                _ => return Err(io::Error::other(format!("RAPL has no event `{event}`"))),
            };
            let file = format!("sys/devices/power/events/{event}");
            self.write(&file, format!("event=0x{code:02x}\n"))?;
            self.write(format!("{file}.scale"), format!("{POWER_SCALE}\n"))?;
            self.write(format!("{file}.unit"), "Joules\n")?;
        }
        Ok(())
    }

    /// The PMU of AMD's energy counters of single cores; `cpumask` lists the first CPU of each core.
    ///
    /// # Errors
    /// When the files cannot be written.
    pub fn power_core_pmu(&self, cpumask: &str) -> io::Result<()> {
        self.pmu("power_core", POWER_CORE_TYPE, "config:0-7")?;
        self.write("sys/devices/power_core/cpumask", format!("{cpumask}\n"))?;
        let file = "sys/devices/power_core/events/energy-core";
        self.write(file, "event=0x01\n")?;
        self.write(format!("{file}.scale"), format!("{POWER_SCALE}\n"))?;
        self.write(format!("{file}.unit"), "Joules\n")
    }

    /// The CPUs of each core, as lists such as `0,4`, whose first one tells them.
    ///
    /// # Errors
    /// When the files cannot be written.
    pub fn siblings(&self, cores: &[&str]) -> io::Result<()> {
        for list in cores {
            let first = list.split([',', '-']).next().unwrap_or_default();
            let file = format!("sys/devices/system/cpu/cpu{first}/topology/thread_siblings_list");
            self.write(file, format!("{list}\n"))?;
        }
        Ok(())
    }

    /// The PMU of free-running MSRs, which counts per CPU: no mask, no scale.
    ///
    /// # Errors
    /// When the files cannot be written.
    pub fn msr_pmu(&self) -> io::Result<()> {
        self.pmu("msr", MSR_TYPE, "config:0-63")?;
        self.write("sys/devices/msr/events/tsc", "event=0x00\n")?;
        self.write("sys/devices/msr/events/aperf", "event=0x01\n")
    }

    /// A PMU without events (Documentation/ABI/testing/sysfs-bus-event_source-devices-*).
    fn pmu(&self, name: &str, number: &str, event_bits: &str) -> io::Result<()> {
        self.write(format!("sys/devices/{name}/type"), format!("{number}\n"))?;
        self.write(format!("sys/devices/{name}/format/event"), format!("{event_bits}\n"))?;
        self.link(&format!("bus/event_source/devices/{name}"), &format!("devices/{name}"))
    }

    /// A symbolic link at `link` (beneath `sys/`) to the directory `target` (beneath `sys/`), as
    /// relative as the kernel makes them; one that is there already stays.
    fn link(&self, link: &str, target: &str) -> io::Result<()> {
        let path = self.sysfs().join(link);
        if let Some(above) = path.parent() {
            std::fs::create_dir_all(above)?;
        }
        let up = "../".repeat(link.matches('/').count());
        match std::os::unix::fs::symlink(format!("{up}{target}"), path) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            made => made,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(root: &FakeRoot, path: &str) -> String {
        let path = root.path(path);
        std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    }

    #[test]
    fn cpus_are_online_and_name_their_packages() {
        let dir = tempfile::tempdir().unwrap();
        let root = FakeRoot::new(dir.path());
        root.cpus(&[0, 0, 1, 1]).unwrap();
        assert_eq!(read(&root, "sys/devices/system/cpu/online"), "0-3\n");
        let package = "sys/devices/system/cpu/cpu2/topology/physical_package_id";
        assert_eq!(read(&root, package), "1\n");
        root.cpus(&[0]).unwrap();
        assert_eq!(read(&root, "sys/devices/system/cpu/online"), "0\n");
    }

    #[test]
    fn zones_nest_and_every_zone_is_linked_from_the_class() {
        let dir = tempfile::tempdir().unwrap();
        let root = FakeRoot::new(dir.path());
        for (place, name) in [
            ("intel-rapl:0", "package-0"),
            ("intel-rapl:0:0", "core"),
            ("intel-rapl:0:0:1", "inner"),
            ("intel-rapl-mmio:0", "package-0"),
        ] {
            root.zone(place, name, 7).unwrap();
            assert_eq!(
                read(&root, &format!("sys/class/powercap/{place}/name")),
                format!("{name}\n")
            );
        }
        // Four zones and two control types.
        let class = std::fs::read_dir(root.sysfs().join("class/powercap")).unwrap();
        assert_eq!(class.count(), 6);
        let nested = "sys/class/powercap/intel-rapl/intel-rapl:0/intel-rapl:0:0/intel-rapl:0:0:1";
        assert_eq!(read(&root, &format!("{nested}/energy_uj")), "7\n");
        assert_eq!(read(&root, &format!("{nested}/max_energy_range_uj")), "262143328850\n");
        root.write("sys/class/powercap/intel-rapl:0/energy_uj", "?").unwrap();
        let device = "sys/devices/virtual/powercap/intel-rapl/intel-rapl:0/energy_uj";
        assert_eq!(read(&root, device), "?");
    }

    #[test]
    fn a_pmu_has_its_type_mask_formats_and_events() {
        let dir = tempfile::tempdir().unwrap();
        let root = FakeRoot::new(dir.path());
        root.power_pmu(&["energy-pkg", "energy-psys"], "0,4").unwrap();
        root.msr_pmu().unwrap();
        let file = |path: &str| read(&root, &format!("sys/bus/event_source/devices/{path}"));
        assert_eq!((file("power/type"), file("msr/type")), ("990002\n".into(), "990001\n".into()));
        assert_eq!(file("power/cpumask"), "0,4\n");
        assert_eq!(file("power/events/energy-psys"), "event=0x05\n");
        assert_eq!(file("power/events/energy-pkg.scale").trim().parse::<f64>(), Ok(2f64.powi(-32)));
        assert_eq!(file("power/events/energy-pkg.unit"), "Joules\n");
        assert_eq!(file("msr/format/event"), "config:0-63\n");
        assert!(root.power_pmu(&["energy-sun"], "0").is_err());
    }
}

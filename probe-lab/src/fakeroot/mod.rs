//! Small `/sys` and `/proc` trees in a directory.
//!
//! A test that wants a two-socket Xeon with RAPL, or a laptop whose counter file holds garbage,
//! builds one here and points `--sysfs-root` and `--procfs-root` at it. The shape is the kernel's
//! own: zones and PMUs live under `devices/` and their classes and buses hold symbolic links, so
//! that code which walks links or lists directories meets what it meets on a machine.
//!
//! ```
//! use probe_lab::fakeroot::{Broken, Cpu, FakeRoot, Pmu, Zone};
//! # let dir = std::env::temp_dir().join(format!("fakeroot-doc-{}", std::process::id()));
//! let root = FakeRoot::new(&dir)
//!     .package(4)
//!     .cpuinfo(Cpu::INTEL_ICELAKE_SERVER)
//!     .powercap(Zone::package(0).child("core").child("dram"))
//!     .pmu(Pmu::power(&["energy-pkg", "energy-ram"], "0"))
//!     .build()?;
//! root.break_file(root.sys("class/powercap/intel-rapl:0/energy_uj"), Broken::Garbage)?;
//! # std::fs::remove_dir_all(&dir)?;
//! # Ok::<(), std::io::Error>(())
//! ```

mod broken;
mod cpu;
mod pmu;
mod powercap;

use std::io;
use std::path::{Path, PathBuf};

pub use broken::Broken;
pub use cpu::Cpu;
pub use pmu::Pmu;
pub use powercap::Zone;

/// A tree under construction: nothing is written before [`FakeRoot::build`].
#[derive(Clone, Debug)]
pub struct FakeRoot {
    dir: PathBuf,
    packages: Vec<Package>,
    cpu: Cpu,
    zones: Vec<Zone>,
    pmus: Vec<Pmu>,
    extra: Vec<(PathBuf, String)>,
}

#[derive(Clone, Copy, Debug)]
struct Package {
    cores: usize,
    threads_per_core: usize,
}

/// A tree on disk: `sys/` and `proc/` beneath the directory it was given.
#[derive(Clone, Debug)]
pub struct Built {
    dir: PathBuf,
}

impl FakeRoot {
    /// A machine without CPUs, sensors or PMUs, to be built in `dir`.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            packages: Vec::new(),
            cpu: Cpu::AMD_ZEN4_SERVER,
            zones: Vec::new(),
            pmus: Vec::new(),
            extra: Vec::new(),
        }
    }

    /// Adds a package of `cpus` cores without hyperthreads. CPUs are numbered package by package.
    #[must_use]
    pub fn package(self, cpus: usize) -> Self {
        self.package_smt(cpus, 1)
    }

    /// Adds a package of `cores`, each with `threads_per_core` neighbouring CPU numbers.
    #[must_use]
    pub fn package_smt(mut self, cores: usize, threads_per_core: usize) -> Self {
        self.packages.push(Package { cores, threads_per_core: threads_per_core.max(1) });
        self
    }

    /// Sets what `/proc/cpuinfo` says every CPU is.
    #[must_use]
    pub fn cpuinfo(mut self, cpu: Cpu) -> Self {
        self.cpu = cpu;
        self
    }

    /// Adds a powercap zone with its children.
    #[must_use]
    pub fn powercap(mut self, zone: Zone) -> Self {
        self.zones.push(zone);
        self
    }

    /// Adds a PMU.
    #[must_use]
    pub fn pmu(mut self, pmu: Pmu) -> Self {
        self.pmus.push(pmu);
        self
    }

    /// Adds any other file, beneath `sys/` or `proc/`.
    #[must_use]
    pub fn file(mut self, path: impl Into<PathBuf>, content: impl Into<String>) -> Self {
        self.extra.push((path.into(), content.into()));
        self
    }

    /// Writes the tree.
    ///
    /// # Errors
    /// When the directory cannot be written.
    pub fn build(self) -> io::Result<Built> {
        let built = Built { dir: self.dir };
        std::fs::create_dir_all(built.sysfs())?;
        std::fs::create_dir_all(built.procfs())?;
        cpu::write(&built, &self.packages, &self.cpu)?;
        powercap::write(&built, &self.zones)?;
        for (number, pmu) in self.pmus.iter().enumerate() {
            pmu.write(&built, number)?;
        }
        for (path, content) in &self.extra {
            built.write(built.dir.join(path), content)?;
        }
        Ok(built)
    }
}

impl Built {
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

    /// A path beneath `sys/`.
    #[must_use]
    pub fn sys(&self, path: impl AsRef<Path>) -> PathBuf {
        self.sysfs().join(path)
    }

    /// A path beneath `proc/`.
    #[must_use]
    pub fn proc(&self, path: impl AsRef<Path>) -> PathBuf {
        self.procfs().join(path)
    }

    /// Writes a file and the directories above it.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, path: impl AsRef<Path>, content: &str) -> io::Result<()> {
        let path = path.as_ref();
        if let Some(above) = path.parent() {
            std::fs::create_dir_all(above)?;
        }
        std::fs::write(path, content)
    }

    /// Sets the microjoules of a powercap zone, such as `intel-rapl:0`.
    ///
    /// # Errors
    /// When there is no such zone.
    pub fn set_energy_uj(&self, zone: &str, microjoules: u64) -> io::Result<()> {
        let path = self.sys("class/powercap").join(zone).join("energy_uj");
        if !path.exists() {
            return Err(io::Error::new(io::ErrorKind::NotFound, format!("no zone `{zone}`")));
        }
        std::fs::write(path, format!("{microjoules}\n"))
    }

    /// Breaks a file in one of the ways that files of the kernel break.
    ///
    /// # Errors
    /// When the file cannot be changed.
    pub fn break_file(&self, path: impl AsRef<Path>, how: Broken) -> io::Result<()> {
        broken::apply(path.as_ref(), how)
    }

    /// A symbolic link at `link` (beneath `sys/`) to the directory `target` (beneath `sys/`), as
    /// relative as the kernel makes them.
    fn link(&self, link: &str, target: &str) -> io::Result<()> {
        let path = self.sys(link);
        if let Some(above) = path.parent() {
            std::fs::create_dir_all(above)?;
        }
        let up = "../".repeat(link.matches('/').count());
        std::os::unix::fs::symlink(format!("{up}{target}"), path)
    }
}

#[cfg(test)]
mod tests;

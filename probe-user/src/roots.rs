//! Where the machine's pseudo file systems and drivers' libraries are: every path of the machine goes through
//! here, so that tests can put a directory in their place.

use std::path::{Path, PathBuf};

use crate::source::nvml;

/// The roots of sysfs and procfs, and the library of a driver that shows nothing there.
#[derive(Clone, Debug)]
pub struct Roots {
    /// Usually `/sys`.
    pub sysfs: PathBuf,
    /// Usually `/proc`.
    pub procfs: PathBuf,
    /// NVIDIA's management library: a path, or a name for the dynamic loader. `None`: this machine has none.
    pub nvml: Option<PathBuf>,
}

impl Roots {
    /// A path beneath sysfs.
    pub fn sys(&self, path: impl AsRef<Path>) -> PathBuf {
        self.sysfs.join(path)
    }

    /// A path beneath procfs.
    pub fn proc(&self, path: impl AsRef<Path>) -> PathBuf {
        self.procfs.join(path)
    }
}

impl Default for Roots {
    fn default() -> Self {
        Self { sysfs: "/sys".into(), procfs: "/proc".into(), nvml: Some(nvml::LIBRARY.into()) }
    }
}

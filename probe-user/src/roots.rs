//! Where the machine's pseudo file systems are: every path of the machine goes through here, so that
//! tests can put a directory in their place.

use std::path::{Path, PathBuf};

/// The roots of sysfs and procfs.
#[derive(Clone, Debug)]
pub struct Roots {
    /// Usually `/sys`.
    pub sysfs: PathBuf,
    /// Usually `/proc`.
    pub procfs: PathBuf,
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
        Self { sysfs: "/sys".into(), procfs: "/proc".into() }
    }
}

//! QEMU, the emulator of the truth machine.

use anyhow::Result;

use super::apt;
use crate::process::which;

/// Installs it where it is missing and the process is root, and what single scenarios need beside it.
pub(crate) fn qemu() -> Result<()> {
    // Whoever misses one of these says so: a module that cannot be built or unpacked, a perf to compare with.
    // One by one: that there is no perf must not keep make away.
    for package in ["make", "xz-utils", "linux-perf"] {
        let _ = apt::install(&[package]);
    }
    if which("qemu-system-x86_64").is_some() {
        return Ok(());
    }
    apt::install(&["qemu-system-x86"])
}

//! QEMU, the emulator of the truth machine.

use anyhow::Result;

use crate::process::which;

/// Installs it where it is missing and the process is root.
pub(crate) fn qemu() -> Result<()> {
    if which("qemu-system-x86_64").is_some() {
        return Ok(());
    }
    super::apt::install(&["qemu-system-x86", "xz-utils", "make", "linux-perf"])
}

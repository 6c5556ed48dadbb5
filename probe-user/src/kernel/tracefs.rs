//! tracefs: where the ids of the system call tracepoints are. Often not mounted on small systems; then
//! it is mounted at its usual place.

use std::path::Path;

use rustix::mount::{MountFlags, mount};

use super::error::KernelError;

const PLACE: &str = "/sys/kernel/tracing";
const OLD_PLACE: &str = "/sys/kernel/debug/tracing";

/// Makes sure that tracefs is mounted.
///
/// # Errors
///
/// When it is not and cannot be.
pub(super) fn ensure() -> Result<(), KernelError> {
    let mounted = |place: &str| Path::new(place).join("events/syscalls").is_dir();
    if mounted(PLACE) || mounted(OLD_PLACE) {
        return Ok(());
    }
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    let result = mount("tracefs", PLACE, "tracefs", flags, None);
    if result.is_ok() && mounted(PLACE) {
        return Ok(());
    }
    Err(KernelError::Feature {
        feature: "system call tracepoints in tracefs",
        remedy: "mount it: mount -t tracefs tracefs /sys/kernel/tracing (kernel with \
                 CONFIG_FTRACE_SYSCALLS=y)",
    })
}

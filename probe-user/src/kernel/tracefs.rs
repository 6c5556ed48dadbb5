//! tracefs: where the ids of the system call tracepoints are. Often not mounted on small systems; then
//! it is mounted at its usual place.

use std::{
    io::{self, ErrorKind},
    path::PathBuf,
};

use rustix::mount::{MountFlags, mount};

use super::error::KernelError;
use crate::roots::Roots;

/// Beneath sysfs: its own place, and the one that debugfs has had for it since before 4.1.
const PLACES: [&str; 2] = ["kernel/tracing", "kernel/debug/tracing"];

/// Where tracefs is mounted with the system call tracepoints; `None` where it is not.
///
/// # Errors
///
/// When that cannot be seen, usually for lack of permission.
pub fn tracefs(roots: &Roots) -> io::Result<Option<PathBuf>> {
    let mut unseen = None;
    for place in PLACES.map(|place| roots.sys(place)) {
        match std::fs::metadata(place.join("events/syscalls")) {
            Ok(_) => return Ok(Some(place)),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => unseen = Some(error),
        }
    }
    unseen.map_or(Ok(None), Err)
}

/// Makes sure that tracefs is mounted, where aya looks for it: beneath `/sys`, whatever the roots.
///
/// # Errors
///
/// When it is not and cannot be, or may not be looked into.
pub(super) fn ensure() -> Result<(), KernelError> {
    let roots = Roots::default();
    let mounted = || match tracefs(&roots) {
        Ok(place) => Ok(place.is_some()),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Err(KernelError::Tracefs),
        Err(source) => Err(KernelError::System { what: "cannot look for tracefs", source }),
    };
    if mounted()? {
        return Ok(());
    }
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    let result = mount("tracefs", roots.sys(PLACES[0]), "tracefs", flags, None);
    if result.is_ok() && mounted()? {
        return Ok(());
    }
    Err(KernelError::Feature {
        feature: "system call tracepoints in tracefs",
        remedy: "mount it: mount -t tracefs tracefs /sys/kernel/tracing (kernel with \
                 CONFIG_FTRACE_SYSCALLS=y)",
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn both_places_are_looked_at_and_a_place_without_system_calls_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let roots = Roots { sysfs: dir.path().into(), ..Roots::default() };
        fs::create_dir_all(roots.sys("kernel/tracing/events")).unwrap();
        assert_eq!(tracefs(&roots).unwrap(), None);
        fs::create_dir_all(roots.sys("kernel/debug/tracing/events/syscalls")).unwrap();
        assert_eq!(tracefs(&roots).unwrap(), Some(roots.sys("kernel/debug/tracing")));
        fs::create_dir_all(roots.sys("kernel/tracing/events/syscalls")).unwrap();
        assert_eq!(tracefs(&roots).unwrap(), Some(roots.sys("kernel/tracing")));
    }

    #[test]
    fn a_place_that_cannot_be_looked_into_is_an_error_and_not_none() {
        let dir = tempfile::tempdir().unwrap();
        let roots = Roots { sysfs: dir.path().into(), ..Roots::default() };
        fs::create_dir_all(roots.sys("kernel")).unwrap();
        // Root may look into every directory, but not through a file.
        fs::write(roots.sys("kernel/tracing"), "").unwrap();
        assert!(tracefs(&roots).is_err());
    }
}

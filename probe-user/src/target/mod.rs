//! Finding the target: who listens, which processes belong to it, which connections it already has.
//!
//! Everything is read from procfs once at the start and again when the process tree changes; between
//! that the kernel programs follow forks and accepts. It must not know eBPF or energy.

mod process;
mod select;
mod selector;
mod socket;

pub use select::{Found, find, listening, visible};
pub use selector::Selector;

use std::path::PathBuf;

/// Why there is no target.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// Nobody listens there.
    #[error("nothing listens on {0}; start the server first, or check the port with `ss -ltnp`")]
    NoListener(String),
    /// Somebody listens, but it cannot be seen who.
    #[error(
        "something listens on {0}, but its process cannot be seen from here; run wattprobe as root in \
         the host's pid namespace, or add CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH"
    )]
    NoOwner(String),
    /// No such process.
    #[error("there is no process {0}; find the server's with `pgrep -a`")]
    NoProcess(u32),
    /// The unit has no processes.
    #[error("no running process belongs to unit {0}; check with `systemctl status {0}`")]
    NoUnit(String),
    /// The cgroup does not exist or is empty.
    #[error("cgroup {} has no processes; check the path beneath /sys/fs/cgroup", .0.display())]
    NoCgroup(PathBuf),
    /// The socket tables cannot be read.
    #[error("cannot read {}: {source}; check that procfs is mounted there, or name it with --procfs-root", path.display())]
    Sockets {
        /// File.
        path: PathBuf,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
    /// procfs cannot be read.
    #[error("cannot read {}: {source}; check that procfs is mounted there, or name it with --procfs-root", path.display())]
    Procfs {
        /// File or directory.
        path: PathBuf,
        /// Cause.
        #[source]
        source: procfs::ProcError,
    },
}

//! Finding the target: who listens, which processes belong to it, which connections it already has.
//!
//! Everything is read from procfs once at the start and again when the process tree changes; between
//! that the kernel programs follow forks and accepts. It must not know eBPF or energy.

mod address;
mod container;
mod io_uring;
mod label;
mod names;
mod namespace;
mod place;
mod process;
mod select;
mod selector;
mod socket;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod tls;
mod tree;

pub use io_uring::holds_ring;
pub use names::{TargetSpec, names};
pub use namespace::counts_as_the_kernel;
pub use place::Place;
pub use process::Socket;
pub use select::{Found, find, listening, visible};
pub use selector::Selector;
pub use tls::{Code, Library, code, functions, recognise};

use std::path::PathBuf;

/// Why there is no target.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// Nobody listens there.
    #[error(
        "nothing listens on {0}; start the server first, or look for its port with `ss -ltnp`, for the path of its socket, as it stands there, with `ss -lxp`"
    )]
    NoListener(String),
    /// Somebody listens, but it cannot be seen who.
    #[error(
        "something listens on {0}, but its process cannot be seen from here; run wattprobe as root in \
         the host's pid namespace, or add CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH"
    )]
    NoOwner(String),
    /// Nobody listens there as far as can be seen, which is not far enough.
    #[error(
        "nothing listens on {address} in the network namespaces that can be seen from here; those of {processes} processes \
         cannot: run wattprobe as root, or add CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH"
    )]
    Hidden {
        /// Where.
        address: String,
        /// Processes whose namespace cannot be seen.
        processes: usize,
    },
    /// Servers in several network namespaces listen there.
    #[error(
        "{} network namespaces have a listener on {address}: {}; name one with --container, --pid or --cgroup",
        names.len(), names.join(", ")
    )]
    SeveralListeners {
        /// Where.
        address: String,
        /// What each is called.
        names: Vec<String>,
    },
    /// Who listens there is no server: it passes connections on to a container.
    #[error(
        "{by} listens on {address}, which only passes connections on to a container; name that with --container ID \
         (docker ps, podman ps)"
    )]
    Forwarded {
        /// Where.
        address: String,
        /// Its process's name.
        by: String,
    },
    /// No such container.
    #[error(
        "no running process belongs to container {0:?}; give its id, or at least the first 4 digits of it (docker ps, podman ps, \
         crictl ps): only LXC's containers are known by name"
    )]
    NoContainer(String),
    /// An id that was shortened too much.
    #[error("several containers begin with {wanted}: {}; give more digits", ids.join(", "))]
    SeveralContainers {
        /// What the user said.
        wanted: String,
        /// Their full ids.
        ids: Vec<String>,
    },
    /// Processes have other numbers here than in the kernel.
    #[error(
        "wattprobe runs in a pid namespace of its own, where processes have other numbers than in the kernel; run it in the \
         host's: docker run --pid=host, hostPID: true in Kubernetes"
    )]
    OwnPids,
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

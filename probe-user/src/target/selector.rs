//! How the user names a target.

use std::{fmt, path::PathBuf};

/// What the user said.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Selector {
    /// Whoever listens on this TCP port, IPv4 or IPv6.
    Port(u16),
    /// Whoever listens on this unix socket; `@name` is an abstract one.
    UnixPath(PathBuf),
    /// This process and its descendants.
    Pid(u32),
    /// The processes of a systemd unit.
    Unit(String),
    /// The processes of a cgroup, and of those beneath it.
    Cgroup(PathBuf),
}

impl Selector {
    /// Whether a server that ended can come back under the same selector: a pid cannot.
    #[must_use]
    pub fn can_return(&self) -> bool {
        !matches!(self, Self::Pid(_))
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port(port) => write!(f, "port {port}"),
            Self::UnixPath(path) => write!(f, "socket {}", path.display()),
            Self::Pid(pid) => write!(f, "pid {pid}"),
            Self::Unit(unit) => write!(f, "unit {unit}"),
            Self::Cgroup(path) => write!(f, "cgroup {}", path.display()),
        }
    }
}

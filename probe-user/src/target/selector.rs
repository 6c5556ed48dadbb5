//! How the user names a target.

use std::{fmt, path::PathBuf};

use super::label;

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
    /// The processes of a container: its id, the first digits of it, or LXC's name.
    Container(String),
}

impl Selector {
    /// A name made from what the user said alone. A process number is never part of it: it would
    /// become a metric label.
    #[must_use]
    pub fn label(&self) -> String {
        match self {
            Self::Port(port) => format!("port-{port}"),
            Self::UnixPath(path) => path
                .file_name()
                .map_or_else(|| path.display().to_string(), |n| n.to_string_lossy().into()),
            Self::Pid(_) => "process".to_owned(),
            Self::Unit(unit) => unit.strip_suffix(".service").unwrap_or(unit).to_owned(),
            Self::Cgroup(path) => label::of_path(&path.to_string_lossy()),
            Self::Container(id) => label::of_container(id),
        }
    }

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
            Self::Container(id) => write!(f, "container {id}"),
        }
    }
}

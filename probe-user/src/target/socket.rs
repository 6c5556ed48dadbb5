//! The socket tables of a network namespace: which inode listens where, which is a connection of it.

use std::{
    collections::BTreeSet,
    fs::File,
    io::BufReader,
    path::{Path, PathBuf},
};

use procfs::{
    FromBufRead, FromBufReadSI,
    net::{TcpNetEntries, TcpState, UnixNetEntries, UnixState},
};

use crate::roots::Roots;

/// Where a socket listens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Address {
    /// A TCP port of either family.
    Port(u16),
    /// A unix socket; those in the abstract namespace begin with `@`.
    Unix(PathBuf),
}

/// The sockets of one network namespace.
#[derive(Default)]
pub(super) struct Sockets {
    /// Listening: address and inode.
    pub(super) listening: Vec<(Address, u64)>,
    /// Connected, seen from the side that accepted: local address and inode.
    pub(super) connected: Vec<(Address, u64)>,
}

impl Sockets {
    /// Reads the tables as a process sees them; `None`: as the probe sees them. What cannot be read is
    /// empty.
    #[must_use]
    pub(super) fn read(roots: &Roots, pid: Option<u32>) -> Self {
        let net = match pid {
            Some(pid) => roots.proc(pid.to_string()).join("net"),
            None => roots.proc("self/net"),
        };
        let mut sockets = Self::default();
        sockets.tcp(&net.join("tcp"));
        sockets.tcp(&net.join("tcp6"));
        sockets.unix(&net.join("unix"));
        sockets
    }

    fn tcp(&mut self, path: &Path) {
        let Ok(file) = File::open(path) else { return };
        let info = procfs::current_system_info();
        let Ok(TcpNetEntries(entries)) = TcpNetEntries::from_buf_read(BufReader::new(file), info)
        else {
            return;
        };
        for entry in entries {
            let address = Address::Port(entry.local_address.port());
            match entry.state {
                TcpState::Listen => self.listening.push((address, entry.inode)),
                TcpState::Established | TcpState::CloseWait => {
                    self.connected.push((address, entry.inode));
                }
                _ => {}
            }
        }
    }

    fn unix(&mut self, path: &Path) {
        let Ok(file) = File::open(path) else { return };
        let Ok(UnixNetEntries(entries)) = UnixNetEntries::from_buf_read(BufReader::new(file))
        else {
            return;
        };
        for entry in entries {
            let Some(path) = entry.path else { continue };
            // A bound datagram socket is unconnected for life, and nobody can connect to it.
            if i32::from(entry.socket_type) == libc::SOCK_DGRAM {
                continue;
            }
            match entry.state {
                UnixState::UNCONNECTED => {
                    self.listening.push((Address::Unix(path), entry.inode));
                }
                UnixState::CONNECTED => self.connected.push((Address::Unix(path), entry.inode)),
                _ => {}
            }
        }
    }

    /// Inodes that listen on an address.
    #[must_use]
    pub(super) fn listeners(&self, address: &Address) -> BTreeSet<u64> {
        let bound = self.as_bound(address);
        self.listening.iter().filter(|(a, _)| *a == bound).map(|(_, inode)| *inode).collect()
    }

    /// An address as whoever listens wrote it: the path of a socket's file may be written in several ways.
    pub(super) fn as_bound(&self, address: &Address) -> Address {
        let real = |path: &Path| path.is_absolute().then(|| path.canonicalize().ok()).flatten();
        let Address::Unix(wanted) = address else { return address.clone() };
        if self.listening.iter().any(|(a, _)| a == address) {
            return address.clone();
        }
        let Ok(wanted) = wanted.canonicalize() else { return address.clone() };
        let is_it =
            |a: &&Address| matches!(a, Address::Unix(path) if real(path).as_ref() == Some(&wanted));
        self.listening.iter().map(|(a, _)| a).find(is_it).unwrap_or(address).clone()
    }
}

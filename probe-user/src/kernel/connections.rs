//! The tables of listening sockets and of watched connections: user space puts in what was there before the programs, and
//! takes out what a process left behind.

use std::collections;

use aya::{
    Ebpf,
    maps::{HashMap, MapData, MapError},
};
use probe_common::{Conn, ConnKey};

use super::{error::KernelError, maps::hash};
use crate::{boundary::Moved, event::ConnId};

/// What the programs know of sockets.
pub(super) struct Connections {
    conns: HashMap<MapData, ConnKey, Conn>,
    listeners: HashMap<MapData, u64, u32>,
}

impl Connections {
    pub(super) fn take(bpf: &mut Ebpf) -> Result<Self, KernelError> {
        Ok(Self { conns: hash(bpf, "CONNS")?, listeners: hash(bpf, "LISTENERS")? })
    }

    pub(super) fn listen(&mut self, inode: u64, who: u32) -> Result<(), KernelError> {
        self.listeners.insert(inode, who, 0).map_err(|e| KernelError::map("LISTENERS", e))
    }

    pub(super) fn unlisten(&mut self, inode: u64) {
        let _ = self.listeners.remove(&inode);
    }

    /// Watches a connection that is already open. False when it is watched already.
    pub(super) fn watch(&mut self, key: ConnKey, conn: Conn) -> Result<bool, KernelError> {
        const NOEXIST: u64 = 1;
        match self.conns.insert(key, conn, NOEXIST) {
            Ok(()) => Ok(true),
            Err(MapError::SyscallError(error))
                if error.io_error.raw_os_error() == Some(libc::EEXIST) =>
            {
                Ok(false)
            }
            Err(error) => Err(KernelError::map("CONNS", error)),
        }
    }

    /// What every watched connection has moved. `None`: so many came and went meanwhile that some may have been missed.
    pub(super) fn moved(&self) -> Option<collections::HashMap<ConnId, Moved>> {
        // A walk begins anew where the entry it stands at is removed.
        const MOST: usize = 4 * 16_384;
        let mut moved = collections::HashMap::new();
        for (n, entry) in self.conns.iter().enumerate() {
            let (_, conn) = entry.ok().filter(|_| n < MOST)?;
            moved.insert(ConnId(conn.id), Moved { received: conn.rx, sent: conn.tx });
        }
        Some(moved)
    }

    /// Forgets the connections of a process that ended without closing them. Their ids.
    pub(super) fn forget_process(&mut self, tgid: u32) -> Vec<u64> {
        let theirs = |entry: &(ConnKey, Conn)| entry.0.tgid() == tgid;
        let gone: Vec<_> = self.conns.iter().filter_map(Result::ok).filter(theirs).collect();
        gone.into_iter()
            .map(|(key, conn)| {
                let _ = self.conns.remove(&key);
                conn.id
            })
            .collect()
    }
}

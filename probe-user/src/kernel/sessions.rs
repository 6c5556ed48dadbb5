//! The tables of TLS sessions: the programs fill them, user space takes out what a process left behind.

use aya::{
    Ebpf,
    maps::{HashMap, MapData},
};
use probe_common::{Session, SessionCallKey, SessionKey};

use super::{error::KernelError, maps::hash};

/// What the programs know of TLS sessions.
pub(super) struct Sessions {
    sessions: HashMap<MapData, SessionKey, Session>,
    of: HashMap<MapData, u64, SessionKey>,
    received: HashMap<MapData, u64, u64>,
    calls: HashMap<MapData, SessionCallKey, [u64; 3]>,
}

impl Sessions {
    pub(super) fn take(bpf: &mut Ebpf) -> Result<Self, KernelError> {
        Ok(Self {
            sessions: hash(bpf, "SESSIONS")?,
            of: hash(bpf, "SESSION_OF")?,
            received: hash(bpf, "RECEIVED")?,
            calls: hash(bpf, "SESSION_CALLS")?,
        })
    }

    /// Forgets a connection that is not seen to be closed.
    pub(super) fn forget_connection(&mut self, conn: u64) {
        let _ = self.of.remove(&conn);
    }

    /// Forgets what a process that ended has left.
    pub(super) fn forget_process(&mut self, tgid: u32) {
        let of = |thread: u64| thread >> 32 == u64::from(tgid);
        let keys = self.sessions.keys().filter_map(Result::ok).filter(|key| key.tgid == tgid);
        for key in keys.collect::<Vec<_>>() {
            let _ = self.sessions.remove(&key);
        }
        let threads = self.received.keys().filter_map(Result::ok).filter(|thread| of(*thread));
        for thread in threads.collect::<Vec<_>>() {
            let _ = self.received.remove(&thread);
        }
        let calls = self.calls.keys().filter_map(Result::ok).filter(|key| of(key.thread));
        for call in calls.collect::<Vec<_>>() {
            let _ = self.calls.remove(&call);
        }
    }
}

//! The watched connections: what is told of them, whichever hooks see it (`socket`, `function`). Who talks to whom is never
//! asked, only when, how much, and what the first and last bytes are.

use aya_ebpf::helpers::{bpf_get_current_pid_tgid, bpf_ktime_get_ns};
use probe_common::{Conn, ConnKey, Kind, Loss};

use crate::{
    arrival, atomic,
    capture::{self, Bytes, Call},
    emit,
    maps::{CONNS, LISTENERS, NEXT_CONN},
    tls,
};

/// `MSG_PEEK`: the bytes stay in the socket and will be read again. `MSG_ERRQUEUE`: no bytes of the stream are read.
pub const UNREAD: u64 = 0x2 | 0x2000;
/// `MSG_TRUNC` on a TCP receive: the bytes are discarded, the buffer is not written.
pub const TRUNC: u64 = 0x20;
/// `SHUT_RD`: the server goes on writing.
pub const SHUT_RD: u64 = 0;

/// A watched connection, and who uses it now.
pub struct Watched {
    pub who: u32,
    pub tgid: u32,
    pub conn: *mut Conn,
}

/// The current process.
#[inline(always)]
pub fn current_tgid() -> u32 {
    (bpf_get_current_pid_tgid() >> 32) as u32
}

/// The connection, if it is watched.
#[inline(always)]
pub fn watched(key: ConnKey, who: u32, tgid: u32) -> Option<Watched> {
    Some(Watched { who, tgid, conn: CONNS.get_ptr_mut(key)? })
}

/// Bytes were moved, or `ret` is the error. What lies where is asked only when there are some: the bytes in the server's
/// memory, and of a receive the kernel's `sock`.
#[inline(always)]
pub fn transfer(
    kind: Kind,
    on: &Watched,
    ret: i64,
    sock: impl FnOnce() -> u64,
    bytes: impl FnOnce() -> Bytes,
) {
    let &Watched { who, tgid, conn } = on;
    // SAFETY: a helper without side effects.
    let t = unsafe { bpf_ktime_get_ns() };
    // SAFETY: the entry goes only when the connection is closed. Two threads may write to one connection, hence atomic.
    unsafe {
        let counter =
            if matches!(kind, Kind::Recv) { &raw mut (*conn).rx } else { &raw mut (*conn).tx };
        if ret < 0 {
            if !again(ret) {
                let (kind, offset, len) = (Kind::Error, *counter, -ret as u32);
                let call = Call { kind, who, t, tgid, offset, len, unread: 0 };
                capture::send(&call, (*conn).id, Bytes::None);
            }
            return;
        }
        let offset = atomic::fetch_add(counter, ret as u64);
        let received = matches!(kind, Kind::Recv) && ret > 0;
        let unread = if received { arrival::unread(sock_of(conn, sock), ret as u32, t) } else { 0 };
        let call = Call { kind, who, t, tgid, offset, len: ret as u32, unread };
        let id = (*conn).id;
        let begin = capture::send(&call, id, if ret == 0 { Bytes::None } else { bytes() });
        if received {
            tls::received(who, id, offset, begin);
        }
    }
}

/// The connection's `sock`, looked up once: it is gone with its entry.
#[inline(always)]
unsafe fn sock_of(conn: *mut Conn, sock: impl FnOnce() -> u64) -> u64 {
    // SAFETY: aligned words of a map value; whoever writes writes the same.
    unsafe {
        if (*conn).sock == 0 {
            (*conn).sock = sock();
        }
        (*conn).sock
    }
}

/// Errors after which the call is simply made again: `EINTR`, `EAGAIN` and the kernel's own restarts.
#[inline(always)]
fn again(ret: i64) -> bool {
    ret == -4 || ret == -11 || (-516..=-512).contains(&ret)
}

/// A connection was accepted by the socket with this inode number: it is watched if that is a target's. `sock`: as [`transfer`]
/// has it.
#[inline(always)]
pub fn opened(listening: u64, key: ConnKey, tgid: u32, sock: impl FnOnce() -> u64) -> Option<()> {
    // SAFETY: user space removes listeners only while it replaces them.
    let who = unsafe { *LISTENERS.get(listening)? };
    let conn = Conn { id: next_id()?, who, tgid, sock: sock(), ..Conn::default() };
    if let Some(stale) = CONNS.get_ptr(key) {
        // Its close was not seen.
        // SAFETY: read in place.
        tls::closed(unsafe { (*stale).id });
    }
    if CONNS.insert(key, conn, 0).is_err() {
        emit::lost(Loss::ConnTable);
        return None;
    }
    arrival::watched(conn.sock);
    tell(Kind::Open, &conn, who, tgid);
    Some(())
}

/// A connection id that no other connection of this probe has; user space's own have the top bit set.
#[inline(always)]
fn next_id() -> Option<u64> {
    let next = NEXT_CONN.get_ptr_mut(0)?;
    // SAFETY: an aligned word of a map value.
    Some(unsafe { atomic::fetch_add(next, 1) } + 1)
}

/// The server closes it.
#[inline(always)]
pub fn closed(key: ConnKey, on: &Watched) {
    // SAFETY: copied before it is removed.
    let copy = unsafe { *on.conn };
    let _ = CONNS.remove(key);
    tls::closed(copy.id);
    arrival::closed(copy.sock);
    tell(Kind::Close, &copy, on.who, on.tgid);
}

/// The server will write no more.
#[inline(always)]
pub fn shut(on: &Watched) {
    // SAFETY: the entry stays until close.
    unsafe { tell(Kind::Shutdown, &*on.conn, on.who, on.tgid) };
}

/// Something without bytes happened now; how many were moved before says whether user space has seen them all.
#[inline(always)]
fn tell(kind: Kind, conn: &Conn, who: u32, tgid: u32) {
    // SAFETY: a helper without side effects.
    let t = unsafe { bpf_ktime_get_ns() };
    let (offset, len) = (conn.rx, conn.tx as u32);
    let call = Call { kind, who, t, tgid, offset, len, unread: 0 };
    capture::send(&call, conn.id, Bytes::None);
}

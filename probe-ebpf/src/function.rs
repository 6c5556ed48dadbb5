//! The kernel's own socket functions: the boundary rung that only sockets pay for, where `socket` costs every system call.
//!
//! Each function is seen as it returns, with its arguments; a socket's release and shutdown are seen as they begin. A
//! function that was entered before it was hooked is not seen to return: of an accept that waited then the kernel still asks
//! its security modules about the new socket (`security_sock_graft`, where it has any for sockets). A connection is known by its socket, not by a
//! descriptor: it may be duplicated, inherited, handed to another process or used through io_uring. By the time a
//! function returns, the iterator over the server's buffers stands behind the bytes that were moved: their
//! beginning is found by walking back. Offsets and enumerators come from the kernel's BTF at load.
//!
//! Unlike a tracepoint's, these programs can lose the CPU in the midst where the kernel is preemptible. A program
//! that is already running on a CPU is not run again there by the kernel, which counts that (`recursion_misses`).
//!
//! Minimum kernel 5.19 (`tcp_recvmsg` with its flags in the fourth place; `bpf_get_func_ret`, 5.17), with ftrace.

use aya_ebpf::{
    macros::{fentry, fexit},
    programs::{FEntryContext, FExitContext},
};
use probe_common::{ConnKey, Kind};

use crate::{
    capture::Bytes,
    conn::{self, SHUT_RD, TRUNC, UNREAD},
    maps::{
        ITER_IOVEC, ITER_UBUF, OFF_ITER, OFF_ITER_DONE, OFF_ITER_IOV, OFF_ITER_TYPE, OFF_ITER_UBUF,
        OFF_SOCK, OFF_SOCKET, OFF_SOCKET_INO,
    },
    process::{self, current_target},
    regs::Regs,
    task::{field, follow, read},
};

macro_rules! returns {
    ($($name:ident($function:literal) => $body:expr;)*) => {
        $(#[fexit(function = $function)]
        pub fn $name(ctx: FExitContext) -> i32 {
            let body: fn(&FExitContext) -> Option<()> = $body;
            let _ = body(&ctx);
            0
        })*
    };
}

macro_rules! begins {
    ($($name:ident($function:literal) => $body:expr;)*) => {
        $(#[fentry(function = $function)]
        pub fn $name(ctx: FEntryContext) -> i32 {
            let body: fn(&FEntryContext) -> Option<()> = $body;
            let _ = body(&ctx);
            0
        })*
    };
}

returns! {
    on_tcp_recv("tcp_recvmsg") => |c| received(c, of_sock(c.arg(0)), true);
    on_tcp_send("tcp_sendmsg") => |c| moved(c, Kind::Send, of_sock(c.arg(0)), 0, c.arg(1));
    on_tcp_page("tcp_sendpage") => |c| moved(c, Kind::Send, of_sock(c.arg(0)), 0, 0);
    on_unix_recv("unix_stream_recvmsg") => |c| received(c, of_socket(c.arg(0)), false);
    on_unix_send("unix_stream_sendmsg") => |c| moved(c, Kind::Send, of_socket(c.arg(0)), 0, c.arg(1));
    on_unix_page("unix_stream_sendpage") => |c| moved(c, Kind::Send, of_socket(c.arg(0)), 0, 0);
    on_inet_listen("inet_listen") => listening;
    on_unix_listen("unix_listen") => listening;
    on_mptcp_listen("mptcp_listen") => listening;
    on_mptcp_accept("mptcp_stream_accept") => accepted;
    on_inet_accept("inet_accept") => accepted;
    on_unix_accept("unix_accept") => accepted;
}

begins! {
    on_graft("security_sock_graft") => grafted;
    on_inet_shut("inet_shutdown") => shutting;
    on_unix_shut("unix_shutdown") => shutting;
    on_inet_close("inet_release") => closing;
    on_unix_close("unix_release") => closing;
}

/// Inode number of a `sock`'s socket; 0 where it has none.
#[inline(always)]
fn of_sock(sock: u64) -> u64 {
    match follow(sock, OFF_SOCKET.load()) {
        0 => 0,
        socket => of_socket(socket),
    }
}

/// Inode number of a `socket`.
#[inline(always)]
fn of_socket(socket: u64) -> u64 {
    follow(socket, OFF_SOCKET_INO.load())
}

/// The `sock` of a `socket`.
#[inline(always)]
fn sock(socket: u64) -> u64 {
    follow(socket, OFF_SOCK.load())
}

/// What the function returned.
#[inline(always)]
fn returned(ctx: &FExitContext) -> Option<i64> {
    ctx.ret::<i32>().ok().map(i64::from)
}

/// A receive: its message is the second argument, the size of its buffer the third, its flags are the fourth. `tcp`: its first
/// is a `sock`, and with `MSG_TRUNC` the bytes do not reach the buffer.
#[inline(always)]
fn received(ctx: &FExitContext, inode: u64, tcp: bool) -> Option<()> {
    let flags = u64::from(ctx.arg::<u32>(3));
    // Who asks for nothing gets nothing, though the client may send more.
    if flags & UNREAD != 0 || ctx.arg::<u64>(2) == 0 {
        return None;
    }
    let message = if tcp && flags & TRUNC != 0 { 0 } else { ctx.arg(1) };
    let sock = if tcp { ctx.arg(0) } else { sock(ctx.arg(0)) };
    moved(ctx, Kind::Recv, inode, sock, message)
}

/// A call of a target that moved bytes from or to where `message` says; 0: nobody knows where. `sock`: as [`conn::transfer`] has it.
#[inline(always)]
fn moved(ctx: &FExitContext, kind: Kind, inode: u64, sock: u64, message: u64) -> Option<()> {
    let tgid = conn::current_tgid();
    let who = current_target(tgid)?;
    let on = conn::watched(ConnKey::socket(inode), who, tgid)?;
    let ret = returned(ctx)?;
    let moved = if message == 0 || ret <= 0 { Bytes::None } else { bytes(message, ret) };
    conn::transfer(kind, &on, ret, || sock, || moved);
    Some(())
}

/// Where the `len` bytes lie that the message's iterator has just gone over.
#[inline(always)]
fn bytes(message: u64, len: i64) -> Bytes {
    let iter = message.wrapping_add(u64::from(OFF_ITER.load() & 0xffff));
    let kind = u32::from(read::<u8>(field(iter as *const u8, OFF_ITER_TYPE.load())));
    let done = follow(iter, OFF_ITER_DONE.load());
    let len = len as u64;
    if kind == ITER_UBUF.load() {
        let buffer = follow(iter, OFF_ITER_UBUF.load());
        return Bytes::Buffer(buffer.wrapping_add(done).wrapping_sub(len));
    }
    if kind != ITER_IOVEC.load() {
        return Bytes::None;
    }
    let segment = follow(iter, OFF_ITER_IOV.load());
    if len <= done {
        let base: u64 = read(segment as *const u8);
        return Bytes::Buffer(base.wrapping_add(done).wrapping_sub(len));
    }
    Bytes::Before(segment, len - done)
}

/// A target listens: user space decides whether its connections are watched.
#[inline(always)]
fn listening(ctx: &FExitContext) -> Option<()> {
    let tgid = conn::current_tgid();
    let who = current_target(tgid)?;
    if returned(ctx)? == 0 {
        process::record(Kind::Listen, who, tgid, 0);
    }
    Some(())
}

/// An accept returned: the second argument is the new socket. Mostly it was seen already when that was grafted. A socket
/// that listens for MPTCP, as Go's do, hands plain TCP on to the functions above; some kernels also accept it through
/// `inet_accept`, and it is seen once.
#[inline(always)]
fn accepted(ctx: &FExitContext) -> Option<()> {
    let tgid = conn::current_tgid();
    current_target(tgid)?;
    if returned(ctx)? != 0 {
        return None;
    }
    let key = ConnKey::socket(of_socket(ctx.arg(1)));
    if conn::watched(key, 0, tgid).is_some() {
        return None;
    }
    conn::opened(of_socket(ctx.arg(0)), key, tgid, || sock(ctx.arg(1)))
}

/// An accept, wherever it waited, gives a connection its new socket, the second argument. Who listens is the descriptor of
/// the system call; through io_uring there is none, and that accept is seen as it returns.
#[inline(always)]
fn grafted(ctx: &FEntryContext) -> Option<()> {
    let tgid = conn::current_tgid();
    current_target(tgid)?;
    let key = ConnKey::socket(of_socket(ctx.arg(1)));
    conn::opened(Regs::current().inode()?, key, tgid, || ctx.arg(0))
}

/// The sending side, or both, of a target's connection is shut down: the second argument says which.
#[inline(always)]
fn shutting(ctx: &FEntryContext) -> Option<()> {
    let tgid = conn::current_tgid();
    let who = current_target(tgid)?;
    let on = conn::watched(ConnKey::socket(of_socket(ctx.arg(0))), who, tgid)?;
    if u64::from(ctx.arg::<u32>(1)) != SHUT_RD {
        conn::shut(&on);
    }
    Some(())
}

/// The last descriptor of a socket is gone. Whoever runs now need not be who used it.
#[inline(always)]
fn closing(ctx: &FEntryContext) -> Option<()> {
    let key = ConnKey::socket(of_socket(ctx.arg(0)));
    let mut on = conn::watched(key, 0, 0)?;
    // SAFETY: the entry is there until it is removed below.
    (on.who, on.tgid) = unsafe { ((*on.conn).who, (*on.conn).tgid) };
    conn::closed(key, &on);
    Some(())
}

//! The socket system calls of the targets: the boundary rung that every kernel has. Each system call of the machine
//! pays a little for it; `function` is the rung for kernels that let their functions be hooked.
//!
//! Reads, writes and accepts are seen as they return, with their arguments from the saved registers: one
//! program a call instead of two, and a call that was already waiting when the probe attached is seen
//! too. `close` and `shutdown` are seen as they are entered, because once a close has returned another
//! thread may own the number. Minimum kernel 5.15 (`bpf_task_pt_regs`).

use aya_ebpf::{
    helpers::bpf_probe_read_user, macros::tracepoint, programs::TracePointContext, EbpfContext,
};
use probe_common::{ConnKey, Kind};

use crate::{
    capture::Bytes,
    conn::{self, Watched, SHUT_RD, TRUNC, UNREAD},
    process::{self, current_target},
    regs::{sock_of, Regs},
};

/// Offsets in the tracepoints' records: return value, first argument, second argument.
const RET: usize = 16;
const ARG0: usize = 16;
const ARG1: usize = 24;
/// `msghdr.msg_iov` and `msg_iovlen` in user memory.
const MSG_IOV: u64 = 16;

macro_rules! hooks {
    ($($name:ident($event:literal) => $body:expr;)*) => {
        $(#[tracepoint(category = "syscalls", name = $event)]
        pub fn $name(ctx: TracePointContext) -> i32 {
            let body: fn(&TracePointContext) -> Option<()> = $body;
            let _ = body(&ctx);
            0
        })*
    };
}

hooks! {
    on_listen("sys_exit_listen") => listening;
    on_accept("sys_exit_accept") => accepted;
    on_accept4("sys_exit_accept4") => accepted;
    on_read("sys_exit_read") => |c| received(c, Some(2), None, |r| Bytes::Buffer(r.arg(1)));
    on_readv("sys_exit_readv") => |c| received(c, None, None, |r| Bytes::Vector(r.arg(1), r.arg(2)));
    on_recvfrom("sys_exit_recvfrom") => |c| received(c, Some(2), Some(3), |r| Bytes::Buffer(r.arg(1)));
    on_recvmsg("sys_exit_recvmsg") => |c| received(c, None, Some(2), |r| message(r.arg(1)));
    on_write("sys_exit_write") => |c| moved(c, Kind::Send, |r| Bytes::Buffer(r.arg(1)));
    on_writev("sys_exit_writev") => |c| moved(c, Kind::Send, |r| Bytes::Vector(r.arg(1), r.arg(2)));
    on_sendto("sys_exit_sendto") => |c| moved(c, Kind::Send, |r| Bytes::Buffer(r.arg(1)));
    on_sendmsg("sys_exit_sendmsg") => |c| moved(c, Kind::Send, |r| message(r.arg(1)));
    on_sendfile("sys_exit_sendfile64") => |c| moved(c, Kind::Send, |_| Bytes::None);
    on_close("sys_enter_close") => closing;
    on_shutdown("sys_enter_shutdown") => shutting;
}

/// A word of the tracepoint's record.
#[inline(always)]
fn word(ctx: &TracePointContext, offset: usize) -> u64 {
    // SAFETY: the verifier checks the offset against the record's size.
    unsafe { core::ptr::read_volatile(ctx.as_ptr().cast::<u8>().add(offset).cast()) }
}

/// The segments of a `msghdr` in user memory.
#[inline(always)]
fn message(at: u64) -> Bytes {
    // SAFETY: the helper checks the user address.
    match unsafe { bpf_probe_read_user((at + MSG_IOV) as *const [u64; 2]) } {
        Ok([iov, count]) => Bytes::Vector(iov, count),
        Err(_) => Bytes::None,
    }
}

/// A call of a target on a watched connection, as it returns.
struct Returning {
    regs: Regs,
    on: Watched,
}

/// The call that returns now, if its connection is watched: asked before anything else is read of it,
/// because most calls of a server are not.
#[inline(always)]
fn returning() -> Option<Returning> {
    let tgid = conn::current_tgid();
    let who = current_target(tgid)?;
    let regs = Regs::current();
    let on = conn::watched(ConnKey::descriptor(tgid, regs.arg(0) as i32), who, tgid)?;
    Some(Returning { regs, on })
}

/// A receive; the arguments that hold the size of its buffer and its flags, where it has them.
#[inline(always)]
fn received(
    ctx: &TracePointContext,
    size: Option<usize>,
    flags: Option<usize>,
    bytes: impl FnOnce(&Regs) -> Bytes,
) -> Option<()> {
    let Returning { regs, on } = returning()?;
    let flags = flags.map_or(0, |flags| regs.arg(flags));
    // Who asks for nothing gets nothing, though the client may send more. Of a vector it is not known how much was asked for.
    if flags & UNREAD != 0 || size.is_some_and(|size| regs.arg(size) == 0) {
        return None;
    }
    let discarded = flags & TRUNC != 0;
    let sock = || sock_of(regs.arg(0) as u32);
    let bytes = || if discarded { Bytes::None } else { bytes(&regs) };
    conn::transfer(Kind::Recv, &on, word(ctx, RET) as i64, sock, bytes);
    Some(())
}

/// A call that moved bytes.
#[inline(always)]
fn moved(ctx: &TracePointContext, kind: Kind, bytes: impl FnOnce(&Regs) -> Bytes) -> Option<()> {
    let Returning { regs, on } = returning()?;
    conn::transfer(kind, &on, word(ctx, RET) as i64, || 0, || bytes(&regs));
    Some(())
}

/// A target listens: user space decides whether its connections are watched.
#[inline(always)]
fn listening(ctx: &TracePointContext) -> Option<()> {
    let tgid = conn::current_tgid();
    let who = current_target(tgid)?;
    if word(ctx, RET) as i64 == 0 {
        process::record(Kind::Listen, who, tgid, 0);
    }
    Some(())
}

/// An accept returned: watch the connection if the listening socket is a target's.
#[inline(always)]
fn accepted(ctx: &TracePointContext) -> Option<()> {
    let tgid = conn::current_tgid();
    current_target(tgid)?;
    let fd = word(ctx, RET) as i64;
    if fd < 0 {
        return None;
    }
    let key = ConnKey::descriptor(tgid, fd as i32);
    conn::opened(Regs::current().inode()?, key, tgid, || sock_of(fd as u32))
}

/// The connection of the call that is entered now, if it is a target's and watched.
#[inline(always)]
fn entering(ctx: &TracePointContext) -> Option<(ConnKey, Watched)> {
    let tgid = conn::current_tgid();
    let key = ConnKey::descriptor(tgid, word(ctx, ARG0) as i32);
    let who = current_target(tgid)?;
    Some((key, conn::watched(key, who, tgid)?))
}

#[inline(always)]
fn closing(ctx: &TracePointContext) -> Option<()> {
    let (key, on) = entering(ctx)?;
    conn::closed(key, &on);
    Some(())
}

#[inline(always)]
fn shutting(ctx: &TracePointContext) -> Option<()> {
    let (_, on) = entering(ctx)?;
    if word(ctx, ARG1) != SHUT_RD {
        conn::shut(&on);
    }
    Some(())
}

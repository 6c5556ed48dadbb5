//! The socket system calls of the targets: who talks to whom is never asked, only when, how much, and
//! what the first and last bytes are.
//!
//! Reads, writes and accepts are seen as they return, with their arguments from the saved registers: one
//! program a call instead of two, and a call that was already waiting when the probe attached is seen
//! too. `close` and `shutdown` are seen as they are entered, because once a close has returned another
//! thread may own the number. Minimum kernel 5.15 (`bpf_task_pt_regs`).

use aya_ebpf::{
    helpers::{
        bpf_get_current_pid_tgid, bpf_get_smp_processor_id, bpf_ktime_get_ns, bpf_probe_read_user,
        generated::{bpf_get_current_task_btf, bpf_task_pt_regs},
    },
    macros::tracepoint,
    programs::TracePointContext,
    EbpfContext,
};
use probe_common::{Conn, ConnKey, Kind, Loss};

use crate::{
    atomic,
    capture::{self, Bytes, Call},
    emit,
    maps::{
        CONNS, LISTENERS, NEXT_CONN, OFF_ARG0, OFF_ARG1, OFF_ARG2, OFF_ARG3, OFF_FD, OFF_FDT,
        OFF_FILES, OFF_INO, OFF_INODE,
    },
    process::{self, target},
    task::{field, read},
};

/// `MSG_PEEK`: the bytes stay in the socket and will be read again.
const PEEK: u64 = 0x2;
/// `MSG_TRUNC` on a TCP receive: the bytes are discarded, the buffer is not written.
const TRUNC: u64 = 0x20;
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
    on_read("sys_exit_read") => |c| moved(c, Kind::Recv, |r| Bytes::Buffer(r.arg(1)));
    on_readv("sys_exit_readv") => |c| moved(c, Kind::Recv, |r| Bytes::Vector(r.arg(1), r.arg(2)));
    on_recvfrom("sys_exit_recvfrom") => |c| received(c, 3, |r| Bytes::Buffer(r.arg(1)));
    on_recvmsg("sys_exit_recvmsg") => |c| received(c, 2, |r| message(r.arg(1)));
    on_write("sys_exit_write") => |c| moved(c, Kind::Send, |r| Bytes::Buffer(r.arg(1)));
    on_writev("sys_exit_writev") => |c| moved(c, Kind::Send, |r| Bytes::Vector(r.arg(1), r.arg(2)));
    on_sendto("sys_exit_sendto") => |c| moved(c, Kind::Send, |r| Bytes::Buffer(r.arg(1)));
    on_sendmsg("sys_exit_sendmsg") => |c| moved(c, Kind::Send, |r| message(r.arg(1)));
    on_sendfile("sys_exit_sendfile64") => |c| moved(c, Kind::Send, |_| Bytes::None);
    on_close("sys_enter_close") => closing;
    on_shutdown("sys_enter_shutdown") => shutting;
}

/// The registers a system call was entered with.
struct Regs(u64);

impl Regs {
    #[inline(always)]
    fn current() -> Self {
        // SAFETY: both helpers return kernel pointers that stay valid while the task runs.
        Self(unsafe { bpf_task_pt_regs(bpf_get_current_task_btf()) } as u64)
    }

    #[inline(always)]
    fn arg(&self, n: usize) -> u64 {
        let offset = match n {
            0 => OFF_ARG0.load(),
            1 => OFF_ARG1.load(),
            2 => OFF_ARG2.load(),
            _ => OFF_ARG3.load(),
        };
        follow(self.0, offset)
    }
}

/// The word in a field of the kernel's structure at `base`.
#[inline(always)]
fn follow(base: u64, offset: u32) -> u64 {
    read(field(base as *const u8, offset))
}

/// A word of the tracepoint's record.
#[inline(always)]
fn word(ctx: &TracePointContext, offset: usize) -> u64 {
    // SAFETY: the verifier checks the offset against the record's size.
    unsafe { core::ptr::read_volatile(ctx.as_ptr().cast::<u8>().add(offset).cast()) }
}

#[inline(always)]
fn current_tgid() -> u32 {
    (bpf_get_current_pid_tgid() >> 32) as u32
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

/// A call of a target on a watched connection.
struct Watched {
    regs: Regs,
    tgid: u32,
    who: u32,
    conn: *mut Conn,
}

/// The call that returns now, if its connection is watched: asked before anything else is read of it,
/// because most calls of a server are not.
#[inline(always)]
fn watched() -> Option<Watched> {
    let tgid = current_tgid();
    let who = target(tgid)?;
    let regs = Regs::current();
    let conn = CONNS.get_ptr_mut(ConnKey { tgid, fd: regs.arg(0) as i32 })?;
    Some(Watched { regs, tgid, who, conn })
}

/// A receive with flags in argument `flags`.
#[inline(always)]
fn received(
    ctx: &TracePointContext,
    flags: usize,
    bytes: impl FnOnce(&Regs) -> Bytes,
) -> Option<()> {
    let on = watched()?;
    let flags = on.regs.arg(flags);
    if flags & PEEK != 0 {
        return None;
    }
    let discarded = flags & TRUNC != 0;
    transfer(ctx, Kind::Recv, &on, |regs| if discarded { Bytes::None } else { bytes(regs) })
}

/// A call that moved bytes.
#[inline(always)]
fn moved(ctx: &TracePointContext, kind: Kind, bytes: impl FnOnce(&Regs) -> Bytes) -> Option<()> {
    transfer(ctx, kind, &watched()?, bytes)
}

/// `bytes` is asked only when there are some.
#[inline(always)]
fn transfer(
    ctx: &TracePointContext,
    kind: Kind,
    on: &Watched,
    bytes: impl FnOnce(&Regs) -> Bytes,
) -> Option<()> {
    let &Watched { ref regs, tgid, who, conn } = on;
    let ret = word(ctx, RET) as i64;
    // SAFETY: a helper without side effects.
    let t = unsafe { bpf_ktime_get_ns() };
    // SAFETY: the entry goes only when this process closes the connection. Two threads may write to one
    // connection, hence atomic.
    unsafe {
        let counter =
            if matches!(kind, Kind::Recv) { &raw mut (*conn).rx } else { &raw mut (*conn).tx };
        if ret < 0 {
            if !again(ret) {
                let call =
                    Call { kind: Kind::Error, who, t, tgid, offset: *counter, len: -ret as u32 };
                capture::send(&call, &*conn, Bytes::None);
            }
            return None;
        }
        let offset = *counter;
        atomic::add(counter, ret as u64);
        let call = Call { kind, who, t, tgid, offset, len: ret as u32 };
        capture::send(&call, &*conn, if ret == 0 { Bytes::None } else { bytes(regs) });
    }
    Some(())
}

/// Errors after which the call is simply made again: `EINTR`, `EAGAIN` and the kernel's own restarts.
#[inline(always)]
fn again(ret: i64) -> bool {
    ret == -4 || ret == -11 || (-516..=-512).contains(&ret)
}

/// A target listens: user space decides whether its connections are watched.
#[inline(always)]
fn listening(ctx: &TracePointContext) -> Option<()> {
    let tgid = current_tgid();
    let who = target(tgid)?;
    if word(ctx, RET) as i64 == 0 {
        process::record(Kind::Listen, who, tgid, 0);
    }
    Some(())
}

/// An accept returned: watch the connection if the listening socket is a target's.
#[inline(always)]
fn accepted(ctx: &TracePointContext) -> Option<()> {
    let tgid = current_tgid();
    target(tgid)?;
    let fd = word(ctx, RET) as i64;
    if fd < 0 {
        return None;
    }
    let listening = Regs::current().arg(0) as u32;
    // SAFETY: user space removes listeners only while it replaces them.
    let who = unsafe { *LISTENERS.get(inode(listening)?)? };
    let key = ConnKey { tgid, fd: fd as i32 };
    let conn = Conn { id: next_conn()?, ..Conn::default() };
    if CONNS.insert(key, conn, 0).is_err() {
        emit::lost(Loss::ConnTable);
        return None;
    }
    // SAFETY: a helper without side effects.
    let t = unsafe { bpf_ktime_get_ns() };
    capture::send(&Call { kind: Kind::Open, who, t, tgid, offset: 0, len: 0 }, &conn, Bytes::None);
    Some(())
}

/// Inode number of a file descriptor of the current process.
#[inline(always)]
fn inode(fd: u32) -> Option<u64> {
    // SAFETY: the helper returns the current task.
    let task = unsafe { bpf_get_current_task_btf() } as u64;
    let table = follow(follow(task, OFF_FILES.load()), OFF_FDT.load());
    let files = follow(table, OFF_FD.load());
    let file: u64 = read((files + u64::from(fd) * 8) as *const u8);
    let number = follow(follow(file, OFF_INODE.load()), OFF_INO.load());
    if number == 0 {
        None
    } else {
        Some(number)
    }
}

/// A connection id that no other connection of this probe has; user space's own have the top bit set.
#[inline(always)]
fn next_conn() -> Option<u64> {
    let next = NEXT_CONN.get_ptr_mut(0)?;
    // SAFETY: this CPU's counter, preemption is off.
    unsafe {
        *next += 1;
        Some((u64::from(bpf_get_smp_processor_id()) << 48) | (*next & 0xffff_ffff_ffff))
    }
}

#[inline(always)]
fn closing(ctx: &TracePointContext) -> Option<()> {
    let key = ConnKey { tgid: current_tgid(), fd: word(ctx, ARG0) as i32 };
    let who = target(key.tgid)?;
    let conn = CONNS.get_ptr_mut(key)?;
    // SAFETY: copied before it is removed.
    let copy = unsafe { *conn };
    let _ = CONNS.remove(key);
    // SAFETY: a helper without side effects.
    let t = unsafe { bpf_ktime_get_ns() };
    let offset = copy.rx + copy.tx;
    capture::send(
        &Call { kind: Kind::Close, who, t, tgid: key.tgid, offset, len: 0 },
        &copy,
        Bytes::None,
    );
    Some(())
}

#[inline(always)]
fn shutting(ctx: &TracePointContext) -> Option<()> {
    let key = ConnKey { tgid: current_tgid(), fd: word(ctx, ARG0) as i32 };
    let who = target(key.tgid)?;
    if word(ctx, ARG1) == 0 {
        return None;
    }
    let conn = CONNS.get_ptr_mut(key)?;
    // SAFETY: the entry stays until close.
    unsafe {
        let t = bpf_ktime_get_ns();
        let call =
            Call { kind: Kind::Shutdown, who, t, tgid: key.tgid, offset: (*conn).tx, len: 0 };
        capture::send(&call, &*conn, Bytes::None);
    }
    Some(())
}

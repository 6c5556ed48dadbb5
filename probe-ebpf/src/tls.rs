//! Plaintext of TLS connections: the functions of OpenSSL and its kin, by uprobes that user space puts into
//! the libraries that targets map.
//!
//! A session is of the connection that the library reads for it, within a call for that session. Where an event loop reads
//! the socket and hands the bytes over at once, it is of the connection whose ciphertext the same thread received last; that
//! is asked once a session, when it first shakes hands or reads. A session that then has no connection has none: it is not guessed.
//!
//! What these programs know of a function they read from the registers that the kernel saved, as the hooks of system calls
//! do. They run with preemption on. Minimum kernel 5.15 (`bpf_get_attach_cookie`).

use aya_ebpf::{
    helpers::{
        bpf_get_current_pid_tgid, bpf_ktime_get_ns, bpf_probe_read_user,
        generated::bpf_get_attach_cookie,
    },
    macros::{uprobe, uretprobe},
    programs::{ProbeContext, RetProbeContext},
    EbpfContext,
};
use probe_common::{Kind, Loss, Session, SessionCallKey, SessionKey, TlsHook};

use crate::{
    atomic,
    capture::{self, Bytes, Call},
    emit,
    maps::{
        SessionCall, CONTROL, OFF_ARG0, OFF_ARG1, OFF_CALL3, OFF_RESULT, RECEIVED, SESSIONS,
        SESSION_CALLS, SESSION_OF,
    },
    process::current_target,
    regs::Regs,
};

/// Types of TLS records (RFC 8446, section 5.1): `change_cipher_spec` to `application_data`.
const RECORD_TYPES: core::ops::RangeInclusive<u8> = 20..=23;
/// First byte of every version of the protocol that is still spoken.
const VERSION: u8 = 3;

#[uprobe]
pub fn tls_call(ctx: ProbeContext) -> u32 {
    let _ = called(&ctx);
    0
}

#[uretprobe]
pub fn tls_return(ctx: RetProbeContext) -> u32 {
    let _ = returned(&ctx);
    0
}

/// A word that the process had in a register when it called, or returned.
#[inline(always)]
fn register(offset: u32) -> u64 {
    Regs::current().word(offset)
}

#[inline(always)]
fn hook(ctx: &impl EbpfContext) -> u64 {
    // SAFETY: the context is the program's own.
    unsafe { bpf_get_attach_cookie(ctx.as_ptr()) }
}

const READ_EX: u64 = TlsHook::ReadEx as u64;
const WRITE_EX: u64 = TlsHook::WriteEx as u64;

/// The kind of a call without its `_ex` form: a library that makes one of the other is told of once.
#[inline(always)]
fn what(hook: u64) -> u64 {
    match hook {
        READ_EX => TlsHook::Read as u64,
        WRITE_EX => TlsHook::Write as u64,
        hook => hook,
    }
}

#[inline(always)]
fn called(ctx: &ProbeContext) -> Option<()> {
    let thread = bpf_get_current_pid_tgid();
    let tgid = (thread >> 32) as u32;
    current_target(tgid)?;
    let hook = hook(ctx);
    let ssl = register(OFF_ARG0.load());
    let key = SessionKey { ssl, tgid, _pad: 0 };
    if hook == TlsHook::Free as u64 {
        let _ = SESSIONS.remove(key);
        return Some(());
    }
    let full = if hook == TlsHook::Connect as u64 {
        SESSIONS.insert(key, Session::default(), 0).is_err()
    } else {
        let ex = hook == READ_EX || hook == WRITE_EX;
        let moved = if ex { register(OFF_CALL3.load()) } else { 0 };
        let call = SessionCall { ssl, buffer: register(OFF_ARG1.load()), moved };
        SESSION_CALLS.insert(SessionCallKey { thread, what: what(hook) }, call, 0).is_err()
    };
    if full {
        emit::lost(Loss::Tls);
    }
    Some(())
}

#[inline(always)]
fn returned(ctx: &RetProbeContext) -> Option<()> {
    let thread = bpf_get_current_pid_tgid();
    let tgid = (thread >> 32) as u32;
    current_target(tgid)?;
    let what = what(hook(ctx));
    let key = SessionCallKey { thread, what };
    // SAFETY: copied before it is removed; this thread alone has it.
    let call = unsafe { *SESSION_CALLS.get(key)? };
    let _ = SESSION_CALLS.remove(key);
    let key = SessionKey { ssl: call.ssl, tgid, _pad: 0 };
    let session = session(key, thread, what != TlsHook::Write as u64)?;
    let len = moved(what, &call)?;
    // SAFETY: the entry goes only when the library frees the session, or the connection is closed.
    let (conn, offset) = unsafe {
        let counter = if what == TlsHook::Read as u64 {
            &raw mut (*session).rx
        } else {
            &raw mut (*session).tx
        };
        ((*session).conn, atomic::fetch_add(counter, u64::from(len)))
    };
    let kind = if what == TlsHook::Read as u64 { Kind::PlainRecv } else { Kind::PlainSend };
    tell_plain(kind as u32, conn, offset, len, call.buffer);
    Some(())
}

/// Plaintext bytes that a call which has returned moved; none where it failed, or is of another kind.
#[inline(always)]
fn moved(what: u64, call: &SessionCall) -> Option<u32> {
    let result = register(OFF_RESULT.load()) as i32;
    if what > TlsHook::Write as u64 || result <= 0 {
        return None;
    }
    if call.moved == 0 {
        return Some(result as u32);
    }
    // SAFETY: the helper checks the user address.
    let len = unsafe { bpf_probe_read_user(call.moved as *const u64) }.ok()?;
    let len = if len > u64::from(u32::MAX >> 1) { u32::MAX >> 1 } else { len as u32 };
    if len == 0 {
        None
    } else {
        Some(len)
    }
}

/// What is known of a session, if it is of a watched connection; `asks`: it is asked which, if it is a new one.
#[inline(always)]
fn session(key: SessionKey, thread: u64, asks: bool) -> Option<*mut Session> {
    if let Some(session) = SESSIONS.get_ptr_mut(key) {
        // SAFETY: the entry goes only when the library frees the session, or the connection is closed.
        return if unsafe { (*session).conn } == 0 { None } else { Some(session) };
    }
    if !asks {
        return None;
    }
    // SAFETY: copied; this thread alone writes it.
    let conn = unsafe { *RECEIVED.get(thread)? };
    let _ = RECEIVED.remove(thread);
    bind(key.ssl, conn);
    SESSIONS.get_ptr_mut(key)
}

/// The current process's session at `ssl` is of this connection from now on, if neither is of another.
///
/// A global function, as `tell_plain` is.
#[no_mangle]
#[inline(never)]
pub extern "C" fn bind(ssl: u64, conn: u64) -> u32 {
    let tgid = (bpf_get_current_pid_tgid() >> 32) as u32;
    let key = SessionKey { ssl, tgid, _pad: 0 };
    let Some(of) = SESSION_OF.get_ptr_mut(conn) else { return 0 };
    // SAFETY: the entry goes only when the connection is closed.
    unsafe {
        if (*of).ssl != 0 || SESSIONS.get(key).is_some() {
            return 0;
        }
        if SESSIONS.insert(key, Session { conn, ..Session::default() }, 0).is_err() {
            emit::lost(Loss::Tls);
            return 0;
        }
        *of = key;
    }
    tell_plain(PLAIN_OPEN, conn, 0, 0, 0);
    0
}

/// Sends what a call of the running thread moved: `len` bytes, which lie at `at`.
///
/// A global function, as `target_clock` is: the verifier walks it once.
#[no_mangle]
#[inline(never)]
pub extern "C" fn tell_plain(kind: u32, conn: u64, offset: u64, len: u32, at: u64) -> u32 {
    let tgid = (bpf_get_current_pid_tgid() >> 32) as u32;
    let Some(who) = current_target(tgid) else { return 0 };
    let kind = match kind {
        PLAIN_OPEN => Kind::PlainOpen,
        PLAIN_RECV => Kind::PlainRecv,
        _ => Kind::PlainSend,
    };
    // SAFETY: a helper without side effects.
    let t = unsafe { bpf_ktime_get_ns() };
    let call = Call { kind, who, t, tgid, offset, len, unread: 0 };
    capture::send(&call, conn, if len == 0 { Bytes::None } else { Bytes::Buffer(at) });
    0
}

const PLAIN_OPEN: u32 = Kind::PlainOpen as u32;
const PLAIN_RECV: u32 = Kind::PlainRecv as u32;

/// A watched connection received bytes that begin so. Those before them: `offset`.
#[inline(always)]
pub fn received(who: u32, conn: u64, offset: u64, begin: [u8; 2]) {
    if offset == 0 {
        if !RECORD_TYPES.contains(&begin[0]) || begin[1] != VERSION {
            return;
        }
        if SESSION_OF.insert(conn, SessionKey::default(), 0).is_err() {
            emit::lost(Loss::Tls);
            return;
        }
    }
    let hooked = CONTROL.get(0).is_some_and(|control| control.tls & (1 << (who & 31)) != 0);
    if !hooked {
        return;
    }
    // SAFETY: read in place; the entry goes only when the connection is closed.
    let unknown = SESSION_OF.get_ptr(conn).is_some_and(|of| unsafe { (*of).ssl == 0 });
    if !unknown {
        return;
    }
    let thread = bpf_get_current_pid_tgid();
    for what in [TlsHook::Handshake as u64, TlsHook::Read as u64] {
        // SAFETY: this thread alone has it.
        if let Some(call) = unsafe { SESSION_CALLS.get(SessionCallKey { thread, what }) } {
            bind(call.ssl, conn);
            return;
        }
    }
    if RECEIVED.insert(thread, conn, 0).is_err() {
        emit::lost(Loss::Tls);
    }
}

/// A watched connection was closed.
#[inline(always)]
pub fn closed(conn: u64) {
    if let Some(of) = SESSION_OF.get_ptr(conn) {
        // SAFETY: copied before it is removed.
        let key = unsafe { *of };
        let _ = SESSION_OF.remove(conn);
        // Where the library freed it before, its address may be another session's by now.
        // SAFETY: read in place.
        if SESSIONS.get_ptr(key).is_some_and(|session| unsafe { (*session).conn == conn }) {
            let _ = SESSIONS.remove(key);
        }
    }
}

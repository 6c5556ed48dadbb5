//! When the bytes came that a server then reads: a request lies unread while the server is busy, and before its connection
//! is accepted.
//!
//! The kernel says of every socket when it has data, also of those that nobody here watches: these pay a lookup and a look at
//! whether they are accepted. Kept is, of watched connections and of those that nobody has accepted yet, when what lies there
//! unread began to come ([`Arrivals`]). Minimum kernel 6.3 (`sk_data_ready`); before that nothing is ever known.

use aya_ebpf::{
    helpers::bpf_ktime_get_ns,
    macros::{btf_tracepoint, raw_tracepoint},
    programs::{BtfTracePointContext, RawTracePointContext},
};
use probe_common::{Arrivals, Queue};

use crate::{
    maps::{
        ARRIVALS, OFF_COPIED, OFF_FAMILY, OFF_PROTOCOL, OFF_QUEUED, OFF_RECEIVED, OFF_SOCKET,
        TELLS_ARRIVALS,
    },
    task::{field, read, Raw, Structure, Typed},
};

const AF_UNIX: u16 = 1;
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
const IPPROTO_TCP: u16 = 6;

/// A kernel's `sock`.
trait Sock: Structure {
    /// A field that only TCP's have, behind what is typed.
    #[inline(always)]
    fn tcp(self, offset: u32) -> u32 {
        read(field(self.address(), offset))
    }

    /// [`Queue::TCP`] or [`Queue::UNIX`]; another family may have a protocol of the same number.
    #[inline(always)]
    fn kind(self) -> Option<u64> {
        match self.word(OFF_FAMILY.load()) {
            AF_UNIX => Some(Queue::UNIX),
            AF_INET | AF_INET6 if self.word::<u16>(OFF_PROTOCOL.load()) == IPPROTO_TCP => {
                Some(Queue::TCP)
            }
            _ => None,
        }
    }

    /// What lies in it, which is of this kind.
    #[inline(always)]
    fn queue(self, kind: u64) -> Queue {
        if kind == Queue::TCP {
            Queue::Tcp(self.tcp(OFF_COPIED.load()))
        } else {
            Queue::Unix(self.word(OFF_QUEUED.load()))
        }
    }

    /// Whether anything lies there unread.
    #[inline(always)]
    fn has_more(self, queue: Queue) -> bool {
        match queue {
            Queue::Tcp(reader) => self.tcp(OFF_RECEIVED.load()) != reader,
            Queue::Unix(len) => len != 0,
        }
    }
}

impl Sock for Typed {}
impl Sock for Raw {}

/// Data was put into the socket that is the first argument.
#[btf_tracepoint(function = "sk_data_ready")]
pub fn on_data(ctx: BtfTracePointContext) -> i32 {
    let _ = came(Typed(ctx.arg(0)));
    0
}

#[raw_tracepoint(tracepoint = "sk_data_ready")]
pub fn on_data_raw(ctx: RawTracePointContext) -> i32 {
    let _ = came(Raw(ctx.arg(0)));
    0
}

#[inline(always)]
fn came(sock: impl Sock) -> Option<()> {
    let key = sock.address() as u64;
    let kept = ARRIVALS.get_ptr_mut(key);
    // SAFETY: an aligned word. The entry may be given to another socket at any time: see `maps`.
    let watched = kept.is_some_and(|kept| unsafe { (*kept).watched != 0 });
    // What is accepted has a `socket`.
    if !watched && sock.word::<u64>(OFF_SOCKET.load()) != 0 {
        return None;
    }
    let queue = sock.queue(sock.kind()?);
    // SAFETY: a helper without side effects.
    let now = || unsafe { bpf_ktime_get_ns() };
    if let Some(kept) = kept {
        // SAFETY: as above.
        unsafe { (*kept).came(queue, now) };
    } else {
        let mut fresh = Arrivals::default();
        fresh.came(queue, now);
        let _ = ARRIVALS.insert(key, fresh, 0);
    }
    Some(())
}

/// A connection is watched from here on.
#[inline(always)]
pub fn watched(sock: u64) {
    let _ = watch(sock);
}

#[inline(always)]
fn watch(sock: u64) -> Option<()> {
    if TELLS_ARRIVALS.load() == 0 {
        return None;
    }
    let raw = Raw(sock as *const u8);
    let queue = raw.queue(raw.kind()?);
    match ARRIVALS.get_ptr_mut(sock) {
        // SAFETY: as above. Where it is set already, that was an earlier socket's.
        Some(kept) if unsafe { (*kept).watched == 0 } => unsafe {
            (*kept).watched = queue.kind();
        },
        _ => {
            let _ = ARRIVALS.insert(sock, Arrivals::watched(queue, raw.has_more(queue)), 0);
        }
    }
    Some(())
}

/// A watched connection is closed.
#[inline(always)]
pub fn closed(sock: u64) {
    let _ = ARRIVALS.remove(sock);
}

/// Microseconds that the `len` bytes which were received from this `sock` until `t` (ns) lay in it, plus 1; 0: not known.
#[inline(always)]
pub fn unread(sock: u64, len: u32, t: u64) -> u32 {
    if TELLS_ARRIVALS.load() == 0 {
        return 0;
    }
    let raw = Raw(sock as *const u8);
    // SAFETY: as above.
    let known = ARRIVALS.get_ptr_mut(sock).filter(|kept| unsafe { (**kept).watched != 0 });
    let Some(kept) = known else {
        watched(sock);
        return 0;
    };
    // SAFETY: as above.
    let queue = raw.queue(unsafe { (*kept).watched });
    // SAFETY: as above.
    let came = unsafe { (*kept).read(len, queue, raw.has_more(queue)) };
    match came {
        Some(came) if came <= t => {
            let us = (t - came) / 1000;
            if us < u64::from(u32::MAX) {
                us as u32 + 1
            } else {
                0
            }
        }
        _ => 0,
    }
}

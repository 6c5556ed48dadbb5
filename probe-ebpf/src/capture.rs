//! Putting a boundary together: the target's clocks, and the beginning and end of the bytes that a
//! system call moved. The copy is bounded; what lies between head and tail is not captured.

use core::ptr::{addr_of, addr_of_mut, read_volatile, write_volatile};

use aya_ebpf::helpers::{
    bpf_probe_read_kernel, bpf_probe_read_user, generated::bpf_probe_read_user as read_user_bytes,
};
use probe_common::{IoRecord, Kind, Loss, HEAD_BYTES, MAX_CPUS, MAX_PACKAGES, TAIL_BYTES, TORN};

use crate::{
    atomic,
    bound::masked,
    clock, emit,
    maps::{IoScratch, Walk, IO_SCRATCH, IO_SLOTS, LAST_IO, NR_CPUS, PACKAGE_OF, SLOTS},
};

/// Segments that a vectored call can have: Linux's `UIO_MAXIOV`.
const SEGMENTS: u64 = 1024;

/// Of them, looked at by one call of a global function: the verifier walks each of a stretch, but one stretch only.
const STRETCH: u64 = 64;

/// `sizeof(struct iovec)`.
const IOVEC: u64 = 16;

/// Where the bytes of a call lie in the server's memory.
#[derive(Clone, Copy)]
pub enum Bytes {
    /// Nowhere, or not worth capturing.
    None,
    /// One buffer.
    Buffer(u64),
    /// An array of `iovec`s and its length.
    Vector(u64, u64),
    /// In `iovec`s that the kernel has copied: the one that the call stopped in, and the bytes in those before it.
    Before(u64, u64),
}

/// What happened on a connection.
pub struct Call {
    pub kind: Kind,
    pub who: u32,
    pub t: u64,
    pub tgid: u32,
    /// Bytes of this direction before the call.
    pub offset: u64,
    /// Bytes moved, or errno; see [`IoRecord::len`].
    pub len: u32,
    /// [`IoRecord::unread`].
    pub unread: u32,
}

/// Sends a boundary on the connection with this id. Says how the bytes begin, as far as they were captured.
#[inline(always)]
pub fn send(call: &Call, conn: u64, bytes: Bytes) -> [u8; 2] {
    let Some((slot, scratch)) = free() else {
        // As many programs lost this CPU in the midst as there is room for.
        emit::lost(Loss::Io);
        return [0; 2];
    };
    // SAFETY: this CPU's scratch, which nobody else has until it is given back.
    unsafe {
        put(slot, scratch, call, conn, bytes);
        let payload = addr_of!((*scratch).payload).cast::<[u8; 2]>();
        let begin = if (*scratch).record.head < 2 { [0; 2] } else { read_volatile(payload) };
        atomic::unlock(addr_of_mut!((*scratch).busy));
        begin
    }
}

/// A scratch that no program which lost this CPU in the midst is using; it is then held.
#[inline(always)]
fn free() -> Option<(u32, *mut IoScratch)> {
    for slot in 0..IO_SLOTS {
        let scratch = IO_SCRATCH.get_ptr_mut(slot)?;
        // SAFETY: an aligned word of this CPU's scratch.
        if unsafe { atomic::try_lock(addr_of_mut!((*scratch).busy)) } {
            return Some((slot, scratch));
        }
    }
    None
}

/// Puts a boundary together and sends it.
#[inline(always)]
unsafe fn put(slot: u32, scratch: *mut IoScratch, call: &Call, conn: u64, bytes: Bytes) {
    // SAFETY: the caller holds the scratch.
    let payload = unsafe {
        let record = &mut (*scratch).record;
        record.kind = call.kind as u32;
        record.who = call.who;
        record.t = call.t;
        record.conn = conn;
        record.offset = call.offset;
        record.tgid = call.tgid;
        record.len = call.len;
        record.unread = call.unread;
        record.head = 0;
        record.tail = 0;
        // It writes to the same scratch; what it returns is of no interest.
        target_clock(call.who, call.t, slot);
        match bytes {
            Bytes::None => 0,
            Bytes::Buffer(at) => buffer(scratch, at, call.len),
            Bytes::Vector(at, count) => vector(scratch, at, count, call.len, slot, user_stretch),
            Bytes::Before(last, left) => match first_segment(scratch, last, left, slot) {
                0 => 0,
                first => {
                    let count = (last - first) / IOVEC + 1;
                    vector(scratch, first, count, call.len, slot, kernel_stretch)
                }
            },
        }
    };
    if payload != 0 {
        if let Some(last) = LAST_IO.get_ptr_mut(0) {
            // SAFETY: an aligned word; a lost race costs nothing.
            unsafe { *last = call.t };
        }
    }
    let size = size_of::<IoRecord>() as u64 + masked::<0x1fff>(u64::from(payload));
    // SAFETY: the scratch is larger than any record with its payload.
    unsafe { emit::event(addr_of!((*scratch).record).cast(), size, Loss::Io) };
}

/// The target's clock by package, exact at `t`, into this CPU's record.
///
/// A global function: the verifier walks it by itself, once, and not again for every way that leads to it or on from
/// it, which on 256 CPUs is more than Linux 6.1 does. Such a function takes and returns numbers only.
#[no_mangle]
#[inline(never)]
pub extern "C" fn target_clock(who: u32, t: u64, slot: u32) -> u32 {
    let Some(scratch) = IO_SCRATCH.get_ptr_mut(slot) else { return 0 };
    // SAFETY: this CPU's scratch, which nobody else has while a boundary is put together.
    let record = unsafe { &mut (*scratch).record };
    record.clock = [0; MAX_PACKAGES];
    for cpu in 0..MAX_CPUS as u32 {
        if cpu >= NR_CPUS.load() {
            break;
        }
        let Some(slot) = SLOTS.get_ptr(cpu) else { break };
        let package = PACKAGE_OF.get(cpu).copied().unwrap_or(0);
        let cell = record.clock.as_mut_ptr().wrapping_add(package as usize & (MAX_PACKAGES - 1));
        let Some(ns) = clock::one(slot, t, who) else {
            emit::lost(Loss::Torn);
            // SAFETY: the index is masked.
            unsafe { *cell = TORN };
            continue;
        };
        // SAFETY: the index is masked.
        unsafe {
            if *cell != TORN {
                *cell = (*cell).wrapping_add(ns);
            }
        }
    }
    0
}

/// The segment that begins `left` bytes before this one; 0: there is none.
#[inline(always)]
unsafe fn first_segment(scratch: *mut IoScratch, segment: u64, left: u64, slot: u32) -> u64 {
    // SAFETY: this CPU's scratch.
    unsafe { write_volatile(addr_of_mut!((*scratch).walk.left), left as u32) };
    for stretch in 0..SEGMENTS / STRETCH {
        match stretch_back(segment.wrapping_sub(stretch * STRETCH * IOVEC), slot) {
            FURTHER => {}
            at => return at,
        }
    }
    0
}

/// Says that a walk back goes on; no segment is there.
const FURTHER: u64 = u64::MAX;

/// Walks back over a stretch of segments that the kernel has copied, all before this one. The one in which the walk ends,
/// 0 if it cannot be read, or [`FURTHER`].
///
/// A global function for the same reason; that the verifier knows nothing of where it ends keeps the walk forwards small.
#[no_mangle]
#[inline(never)]
pub extern "C" fn stretch_back(segment: u64, slot: u32) -> u64 {
    let Some(scratch) = IO_SCRATCH.get_ptr_mut(slot) else { return 0 };
    // SAFETY: this CPU's scratch, which nobody else has while a boundary is put together.
    let left = unsafe { addr_of_mut!((*scratch).walk.left) };
    for i in 1..=STRETCH {
        let at = segment.wrapping_sub(i * IOVEC);
        // SAFETY: the helper checks the address.
        let Ok([_, size]) = (unsafe { bpf_probe_read_kernel(at as *const [u64; 2]) }) else {
            return 0;
        };
        // SAFETY: as above.
        let before = unsafe { read_volatile(left) };
        if size >= u64::from(before) {
            return at;
        }
        // SAFETY: as above.
        unsafe { write_volatile(left, before - size as u32) };
    }
    FURTHER
}

/// Captures from one buffer; says how many payload bytes there are.
#[inline(always)]
unsafe fn buffer(scratch: *mut IoScratch, at: u64, len: u32) -> u32 {
    let head = if len > HEAD_BYTES as u32 { HEAD_BYTES as u32 } else { len };
    let tail = tail_of(len);
    // SAFETY: head and tail are masked to what the scratch holds; the helper checks the user address.
    unsafe {
        let payload = addr_of_mut!((*scratch).payload).cast::<u8>();
        if read_user_bytes(payload.cast(), masked::<0x1fff>(u64::from(head)) as u32, at as *const _)
            != 0
        {
            return 0;
        }
        (*scratch).record.head = head as u16;
        if tail == 0 {
            return head;
        }
        let from = at + u64::from(len - tail);
        let to = payload.add(HEAD_BYTES);
        if read_user_bytes(to.cast(), masked::<0x7ff>(u64::from(tail)) as u32, from as *const _)
            != 0
        {
            return head;
        }
        (*scratch).record.tail = tail as u16;
        head + tail
    }
}

/// Bytes to keep from the end of a call that moved `len` bytes.
#[inline(always)]
fn tail_of(len: u32) -> u32 {
    if len <= HEAD_BYTES as u32 {
        0
    } else if len - HEAD_BYTES as u32 > TAIL_BYTES as u32 {
        TAIL_BYTES as u32
    } else {
        len - HEAD_BYTES as u32
    }
}

/// Captures from a vectored call, stretch by stretch. A segment that cannot be read ends the capture.
#[inline(always)]
unsafe fn vector(
    scratch: *mut IoScratch,
    at: u64,
    count: u64,
    len: u32,
    slot: u32,
    stretch: extern "C" fn(u64, u64, u32, u32) -> u32,
) -> u32 {
    let tail = tail_of(len);
    // SAFETY: this CPU's scratch.
    let walk = unsafe { addr_of_mut!((*scratch).walk) };
    // SAFETY: as above.
    unsafe { write_volatile(walk, Walk { left: 0, pos: 0, head: 0, tail: 0 }) };
    for i in 0..SEGMENTS / STRETCH {
        let done = i * STRETCH;
        if done >= count || stretch(at + done * IOVEC, count - done, len, slot) == 0 {
            break;
        }
    }
    // SAFETY: as above.
    unsafe {
        let Walk { head, tail: mut tailed, .. } = read_volatile(walk);
        // A tail that is not whole, or that does not follow a whole head, would be misplaced: drop it.
        if head < HEAD_BYTES as u32 || tailed != tail {
            tailed = 0;
        }
        (*scratch).record.head = head as u16;
        (*scratch).record.tail = tailed as u16;
        head + tailed
    }
}

/// Captures from a stretch of segments in the server's memory. 0: the capture ends in it.
///
/// A global function, as [`target_clock`].
#[no_mangle]
#[inline(never)]
pub extern "C" fn user_stretch(at: u64, count: u64, len: u32, slot: u32) -> u32 {
    walk::<false>(at, count, len, slot)
}

/// The same of segments that the kernel has copied.
#[no_mangle]
#[inline(never)]
pub extern "C" fn kernel_stretch(at: u64, count: u64, len: u32, slot: u32) -> u32 {
    walk::<true>(at, count, len, slot)
}

/// The walk's state lies in the scratch, not in registers: the verifier then knows nothing of it, sees
/// the same state at the beginning of every round, and checks one round instead of every path through
/// all of them.
#[inline(always)]
fn walk<const COPIED: bool>(at: u64, count: u64, len: u32, slot: u32) -> u32 {
    let Some(scratch) = IO_SCRATCH.get_ptr_mut(slot) else { return 0 };
    let tail = tail_of(len);
    for i in 0..STRETCH {
        // SAFETY: this CPU's scratch, which nobody else has while a boundary is put together.
        if i >= count || unsafe { !segment::<COPIED>(scratch, at, i, len, tail) } {
            return 0;
        }
    }
    1
}

/// Captures from segment `i`. False: that was the last.
#[inline(always)]
unsafe fn segment<const COPIED: bool>(
    scratch: *mut IoScratch,
    at: u64,
    i: u64,
    len: u32,
    tail: u32,
) -> bool {
    let entry = (at + i * IOVEC) as *const [u64; 2];
    // SAFETY: the helpers check the address.
    let read = unsafe {
        if COPIED {
            bpf_probe_read_kernel(entry)
        } else {
            bpf_probe_read_user(entry)
        }
    };
    let Ok([base, size]) = read else { return false };
    // SAFETY: this CPU's scratch; the masks keep every copy inside of it, and the helper checks the user
    // addresses.
    unsafe {
        let walk = addr_of_mut!((*scratch).walk);
        let payload = addr_of_mut!((*scratch).payload).cast::<u8>();
        let pos = read_volatile(addr_of_mut!((*walk).pos));
        let head = read_volatile(addr_of_mut!((*walk).head));
        let tailed = read_volatile(addr_of_mut!((*walk).tail));
        let left = len.saturating_sub(pos);
        let size = if size > u64::from(left) { left } else { size as u32 };
        if head == pos && head < HEAD_BYTES as u32 {
            let room = HEAD_BYTES as u32 - head;
            let take = if size > room { room } else { size };
            let to = payload.add(masked::<0xfff>(u64::from(head)) as usize);
            if read_user_bytes(
                to.cast(),
                masked::<0x1fff>(u64::from(take)) as u32,
                base as *const _,
            ) != 0
            {
                return false;
            }
            write_volatile(addr_of_mut!((*walk).head), head + take);
        }
        let tail_from = len - tail;
        if tail != 0 && pos + size > tail_from {
            let skip = tail_from.saturating_sub(pos);
            let take = size - skip;
            let to = payload.add(HEAD_BYTES + masked::<0x3ff>(u64::from(tailed)) as usize);
            let from = (base + u64::from(skip)) as *const _;
            if read_user_bytes(to.cast(), masked::<0x7ff>(u64::from(take)) as u32, from) != 0 {
                return false;
            }
            write_volatile(addr_of_mut!((*walk).tail), tailed + take);
        }
        write_volatile(addr_of_mut!((*walk).pos), pos + size);
        pos + size < len
    }
}

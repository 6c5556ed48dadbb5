//! Clocks: one slot per CPU, written only there, read anywhere.
//!
//! A reader picks an instant, sums the closed slices and adds the slice in progress, so a clock is exact
//! at that instant. A slot that changed while it was read is read again; one switch that came after the
//! instant is undone with the slot's `prev_who`. After a second one the instant is out of reach.
//!
//! Loads and stores are volatile, so the compiler keeps their order, but there are no barriers: BPF has none
//! that every supported kernel takes. That the processor keeps the order too holds on x86 (stores are seen
//! in order, loads are made in order), and not on arm64, where a reader could take a torn slot for whole.

use core::ptr::{addr_of, addr_of_mut, read_volatile, write_volatile};

use aya_ebpf::helpers::bpf_ktime_get_ns;
use probe_common::{CpuSlot, CONSUMERS};

use crate::atomic;

const RETRIES: usize = 3;
const MASK: usize = CONSUMERS - 1;

/// Sets clocks to 0, word by word: the compiler would call a loop over their bytes, which the verifier walks.
///
/// # Safety
///
/// `clocks` must be writable.
#[inline(always)]
pub unsafe fn zero(clocks: *mut [u64; CONSUMERS]) {
    for k in 0..CONSUMERS {
        // SAFETY: the caller answers for it.
        unsafe { write_volatile(addr_of_mut!((*clocks)[k]), 0) };
    }
}

/// What a reader needs of a slot besides the closed nanoseconds.
pub struct Progress {
    /// Who is charged with (or, after the instant, relieved of) the time.
    pub who: u32,
    /// Nanoseconds to add to `who`; negative when the switch came after the instant.
    pub ns: i64,
}

/// Closes the slice in progress now, opens the next one for `who`, and says who had how much.
///
/// The instant is taken between the two marks of `seq`. Taken before, a reader with a later instant could
/// find the slot as if nothing had happened, and charge the time between to who has left.
#[inline(always)]
pub fn switch(slot: *mut CpuSlot, who: u32, tgid: u32) -> Closed {
    // SAFETY: this CPU's slot, and nothing else on this CPU writes it while interrupts are off. The atomic
    // addition is a barrier: the mark is seen before the clock is read.
    unsafe {
        let seq = (*slot).seq;
        atomic::add(addr_of_mut!((*slot).seq), 1);
        let now = bpf_ktime_get_ns();
        let start = (*slot).start;
        let prev = (*slot).who;
        let prev_tgid = (*slot).tgid;
        let ns = if start != 0 && now > start { now - start } else { 0 };
        let cell = addr_of_mut!((*slot).ns).cast::<u64>().add(prev as usize & MASK);
        write_volatile(cell, read_volatile(cell) + ns);
        write_volatile(addr_of_mut!((*slot).prev_who), prev);
        write_volatile(addr_of_mut!((*slot).prev_start), start);
        write_volatile(addr_of_mut!((*slot).who), who);
        write_volatile(addr_of_mut!((*slot).tgid), tgid);
        write_volatile(addr_of_mut!((*slot).start), now);
        write_volatile(addr_of_mut!((*slot).seq), seq + 2);
        Closed { who: prev, tgid: prev_tgid, begin: start, end: now, ns }
    }
}

/// A slice that has ended.
pub struct Closed {
    pub who: u32,
    pub tgid: u32,
    pub begin: u64,
    pub end: u64,
    pub ns: u64,
}

/// [`Progress::who`] where more than one switch came after the instant. Not an `Option`: what an empty one holds is
/// undefined, and the compiler may carry it around a loop, which the verifier refuses.
const OUT_OF_REACH: u32 = u32::MAX;

#[inline(always)]
fn progress(slot: *const CpuSlot, now: u64) -> Progress {
    // SAFETY: a map value; torn reads are detected by the caller.
    unsafe {
        let start = read_volatile(addr_of!((*slot).start));
        let (who, ns) = if start == 0 {
            (0, 0)
        } else if read_volatile(addr_of!((*slot).prev_start)) > now {
            (OUT_OF_REACH, 0)
        } else if now >= start {
            (read_volatile(addr_of!((*slot).who)), (now - start) as i64)
        } else {
            (read_volatile(addr_of!((*slot).prev_who)), -((start - now) as i64))
        };
        Progress { who, ns }
    }
}

/// Adds every consumer's clock of one CPU, exact at `now`, to `sums`. False: torn on every try.
#[inline(always)]
pub fn add_all(slot: *const CpuSlot, now: u64, sums: *mut [u64; CONSUMERS]) -> bool {
    let mut copy = [0u64; CONSUMERS];
    // SAFETY: `copy` is of that size.
    unsafe { add_all_by(slot, now, sums, &raw mut copy) }
}

/// As [`add_all`], with a buffer of the caller's, for those whose stack is full.
///
/// # Safety
///
/// `copy` must be writable and not `sums`.
#[inline(always)]
pub unsafe fn add_all_by(
    slot: *const CpuSlot,
    now: u64,
    sums: *mut [u64; CONSUMERS],
    copy: *mut [u64; CONSUMERS],
) -> bool {
    for _ in 0..RETRIES {
        // SAFETY: a map value and the caller's buffers; indices are masked.
        unsafe {
            let seq = read_volatile(addr_of!((*slot).seq));
            for k in 0..CONSUMERS {
                (*copy)[k] = read_volatile(addr_of!((*slot).ns[k]));
            }
            let open = progress(slot, now);
            if seq & 1 == 0 && read_volatile(addr_of!((*slot).seq)) == seq {
                if open.who == OUT_OF_REACH {
                    break;
                }
                for k in 0..CONSUMERS {
                    (*sums)[k] = (*sums)[k].wrapping_add((*copy)[k]);
                }
                let cell = sums.cast::<u64>().add(open.who as usize & MASK);
                *cell = (*cell).wrapping_add(open.ns as u64);
                return true;
            }
        }
    }
    false
}

/// One consumer's clock of one CPU, exact at `now`; `None` when torn on every try.
#[inline(always)]
pub fn one(slot: *const CpuSlot, now: u64, who: u32) -> Option<u64> {
    for _ in 0..RETRIES {
        // SAFETY: a map value; the index is masked.
        unsafe {
            let seq = read_volatile(addr_of!((*slot).seq));
            let closed = read_volatile(addr_of!((*slot).ns).cast::<u64>().add(who as usize & MASK));
            let open = progress(slot, now);
            if seq & 1 == 0 && read_volatile(addr_of!((*slot).seq)) == seq {
                if open.who == OUT_OF_REACH {
                    break;
                }
                return Some(if open.who == who {
                    closed.wrapping_add(open.ns as u64)
                } else {
                    closed
                });
            }
        }
    }
    None
}

//! Sending records to user space, and counting those that found no room.

use aya_ebpf::{
    bindings::{BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP},
    helpers::generated::{bpf_ringbuf_output, bpf_ringbuf_query},
};
use probe_common::Loss;

use crate::maps::{EVENTS, LOST};

/// User space polls; it is only woken when so many bytes wait, and again whenever so many more do: a wake-up is an
/// interrupt, which in a virtual machine costs as much as the rest of a boundary. A power of two.
const WAKE_BYTES: u64 = 512 << 10;

/// Counts one loss.
#[inline(always)]
pub fn lost(kind: Loss) {
    if let Some(row) = LOST.get_ptr_mut(0) {
        // SAFETY: this CPU's row; the index is a constant below LOSSES.
        unsafe { (*row)[kind as usize] += 1 };
    }
}

/// What a record takes in the ring: a head of its own, and whole words.
#[inline(always)]
fn room(size: u64) -> u64 {
    (size + 8 + 7) & !7
}

/// Copies `size` bytes to the event ring; a full ring is counted as `kind`, and is false.
///
/// # Safety
///
/// `data` must point to `size` readable bytes, and the verifier must be able to see that.
#[inline(always)]
pub unsafe fn event(data: *const u8, size: u64, kind: Loss) -> bool {
    let ring = core::ptr::addr_of!(EVENTS).cast_mut().cast();
    // SAFETY: the ring is a map; the caller answers for data.
    unsafe {
        let waiting = bpf_ringbuf_query(ring, u64::from(BPF_RB_AVAIL_DATA));
        // Two CPUs that pass the mark together may both wake it, or neither: then the next mark or its own timer does.
        let passes = waiting ^ (waiting + room(size)) >= WAKE_BYTES;
        let flag = if passes { BPF_RB_FORCE_WAKEUP } else { BPF_RB_NO_WAKEUP };
        let sent = bpf_ringbuf_output(ring, data.cast_mut().cast(), size, u64::from(flag)) == 0;
        if !sent {
            lost(kind);
        }
        sent
    }
}

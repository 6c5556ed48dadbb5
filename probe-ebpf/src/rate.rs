//! Rates: counter units in 2^[`RATE_BITS`] ns, what is drawn in a time. Below 2^32; 0 says that it is not known.

use probe_common::{RATE_BITS, RATE_NS};

const MASK: u64 = 0xffff_ffff;

/// A rate that somebody else may be learning: a single word, so it is never torn.
///
/// # Safety
///
/// `rate` must be readable.
#[inline(always)]
pub unsafe fn get(rate: *const u64) -> u64 {
    // SAFETY: the caller answers for it.
    unsafe { rate.read_volatile() & MASK }
}

/// Moves a rate towards what was drawn in this time, as far as that is of [`RATE_NS`].
///
/// # Safety
///
/// `rate` must be the caller's to write.
#[inline(always)]
pub unsafe fn learn(rate: *mut u64, units: u64, ns: u64) {
    // So much is no core's; and it would not fit.
    if units >= 1 << 47 || ns == 0 {
        return;
    }
    let seen = units << RATE_BITS;
    // SAFETY: the caller answers for it.
    unsafe {
        let old = get(rate);
        let new = if old == 0 || ns >= RATE_NS {
            seen / ns
        } else {
            (old * (RATE_NS - ns) + seen) / RATE_NS
        };
        rate.write_volatile(if new == 0 {
            1
        } else if new >> 32 != 0 {
            MASK
        } else {
            new
        });
    }
}

/// `ns × rate`, in counter units; in two halves, so that days in one window do not overflow.
#[inline(always)]
pub fn by(ns: u64, rate: u64) -> u64 {
    (ns >> 32) * (rate << (32 - RATE_BITS)) + (((ns & MASK) * rate) >> RATE_BITS)
}

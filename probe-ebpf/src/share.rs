//! Sharing counter units in proportion to on-CPU time, with 64-bit integers. `probe-ledger` has the same
//! arithmetic in `kernel_charge`.

use probe_common::{CONSUMERS, IDLE};

/// Writes how far each clock but idle's has run since `old`, and returns the sum. A clock that went back
/// stands still until it has caught up.
///
/// # Safety
///
/// All three must be there; `used` must be none of the others.
#[inline(always)]
pub unsafe fn used(
    new: *const [u64; CONSUMERS],
    old: *const [u64; CONSUMERS],
    used: *mut [u64; CONSUMERS],
) -> u64 {
    let mut sum = 0u64;
    for k in IDLE as usize + 1..CONSUMERS {
        // SAFETY: the caller answers for the pointers.
        unsafe {
            let (new, old) = ((*new)[k], (*old)[k]);
            let ns = if new > old { new - old } else { 0 };
            (*used)[k] = ns;
            sum += ns;
        }
    }
    sum
}

/// How to share by this much on-CPU time.
#[derive(Clone, Copy)]
pub struct Shares {
    sum: u64,
    shift: u32,
    part: u64,
}

/// `None` when nobody was on CPU.
#[inline(always)]
pub fn of(sum: u64) -> Option<Shares> {
    if sum == 0 {
        return None;
    }
    // Twice the shift that brings the sum below 2^32, so that rest × used fits into 64 bits.
    let mut shift = 0u32;
    for _ in 0..16 {
        if sum >> (shift / 2) >= 1 << 32 {
            shift += 2;
        }
    }
    let part = sum >> shift;
    (part != 0).then_some(Shares { sum, shift, part })
}

/// An amount to be shared.
pub struct Split {
    shares: Shares,
    whole: u64,
    rest: u64,
}

impl Shares {
    #[inline(always)]
    pub fn split(self, amount: u64) -> Split {
        Split { shares: self, whole: amount / self.sum, rest: amount % self.sum }
    }
}

impl Split {
    /// What goes to somebody with this much on-CPU time.
    #[inline(always)]
    pub fn part(&self, used: u64) -> u64 {
        let Shares { shift, part, .. } = self.shares;
        self.whole * used + (self.rest * (used >> shift) + part / 2) / part
    }
}

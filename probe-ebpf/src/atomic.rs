//! Atomic addition, the one atomic every supported kernel has (`lock *(u64 *)`, without fetch).

use core::arch::asm;

/// Adds to a word that other CPUs add to as well.
///
/// # Safety
///
/// `to` must be an aligned word of a map value.
#[inline(always)]
pub unsafe fn add(to: *mut u64, value: u64) {
    // SAFETY: the caller answers for the pointer; the verifier checks it.
    unsafe { asm!("lock *(u64 *)({0} + 0) += {1}", in(reg) to, in(reg) value) };
}

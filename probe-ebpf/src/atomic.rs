//! Atomic addition without and with the old value (the latter Linux 5.12), and a lock that is tried and not waited for
//! (compare and exchange, Linux 5.12).

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

/// As [`add`]; says what the word was before.
///
/// # Safety
///
/// `to` must be an aligned word of a map value.
#[inline(always)]
pub unsafe fn fetch_add(to: *mut u64, value: u64) -> u64 {
    let old: u64;
    // SAFETY: the caller answers for the pointer; the verifier checks it.
    unsafe {
        asm!(
            "{1} = atomic_fetch_add((u64 *)({0} + 0), {1})",
            in(reg) to, inout(reg) value => old
        );
    }
    old
}

/// Takes a lock that is 0 when free; false when another CPU holds it.
///
/// # Safety
///
/// `lock` must be an aligned word of a map value.
#[inline(always)]
pub unsafe fn try_lock(lock: *mut u64) -> bool {
    let held: u64;
    // SAFETY: the caller answers for the pointer; the verifier checks it.
    unsafe {
        asm!(
            "r0 = cmpxchg_64({0} + 0, r0, {1})",
            in(reg) lock, in(reg) 1u64, inout("r0") 0u64 => held
        );
    }
    held == 0
}

/// Gives a lock back: an exchange, which is a barrier on both sides.
///
/// # Safety
///
/// `lock` must be an aligned word of a map value, and this CPU must hold it.
#[inline(always)]
pub unsafe fn unlock(lock: *mut u64) {
    // SAFETY: as above.
    unsafe { asm!("{1} = xchg_64({0} + 0, {1})", in(reg) lock, inout(reg) 0u64 => _) };
}

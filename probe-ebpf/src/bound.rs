//! A mask that the compiler cannot take away, and choices that it cannot turn into branches.
//!
//! The compiler knows ranges that the verifier does not, and drops a mask it thinks needless; the
//! verifier then finds a length or an index without a bound. And it walks every way through a loop: where the
//! loop is long, a choice must be arithmetic. Minimum kernel: any.

use core::arch::asm;

/// `value & MASK`, visibly for the verifier.
#[inline(always)]
pub fn masked<const MASK: i32>(mut value: u64) -> u64 {
    // SAFETY: plain arithmetic on one register.
    unsafe { asm!("{0} &= {1}", inout(reg) value, const MASK, options(pure, nomem, nostack)) };
    value
}

/// All ones if `value` is negative as a signed number, else 0; without a branch.
#[inline(always)]
pub fn negative(mut value: u64) -> u64 {
    // SAFETY: plain arithmetic on one register.
    unsafe { asm!("{0} s>>= 63", inout(reg) value, options(pure, nomem, nostack)) };
    value
}

/// `value`, or `other` where it is 0; `value` is below 2^63. Without a branch.
#[inline(always)]
pub fn or_else(value: u64, other: u64) -> u64 {
    value | (other & negative(value.wrapping_sub(1)))
}

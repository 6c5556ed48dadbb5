//! A mask that the compiler cannot take away.
//!
//! The compiler knows ranges that the verifier does not, and drops a mask it thinks needless; the
//! verifier then finds a length or an index without a bound. Minimum kernel: any.

use core::arch::asm;

/// `value & MASK`, visibly for the verifier.
#[inline(always)]
pub fn masked<const MASK: i32>(mut value: u64) -> u64 {
    // SAFETY: plain arithmetic on one register.
    unsafe { asm!("{0} &= {1}", inout(reg) value, const MASK, options(pure, nomem, nostack)) };
    value
}

//! Reading a structure of the kernel's, a `task_struct` above all: directly where the tracepoint hands over a typed pointer (`tp_btf`), through
//! `bpf_probe_read_kernel` where it does not (`raw_tp`). Offsets come from the kernel's BTF at load.

use aya_ebpf::helpers::bpf_probe_read_kernel;
use probe_common::{KERNEL, OTHER};

use crate::maps::{OFF_FLAGS, OFF_LIVE, OFF_PID, OFF_SIGNAL, OFF_TGID};

const PF_KTHREAD: u32 = 0x0020_0000;

/// Keeps an offset below 64 KiB where the verifier can see it.
#[inline(always)]
pub fn field(base: *const u8, offset: u32) -> *const u8 {
    base.wrapping_add((offset & 0xffff) as usize)
}

/// A structure of the kernel's.
pub trait Structure: Copy {
    /// Its address, for reads off the hot path.
    fn address(self) -> *const u8;
    /// One of its fields.
    fn word<T: Default>(self, offset: u32) -> T;
}

/// A task.
pub trait Task: Structure {
    /// Its process.
    #[inline(always)]
    fn tgid(self) -> u32 {
        self.word(OFF_TGID.load())
    }

    /// Its thread id.
    #[inline(always)]
    fn pid(self) -> u32 {
        read(field(self.address(), OFF_PID.load()))
    }

    /// The consumer of a process never seen before: the kernel's own thread, or other.
    #[inline(always)]
    fn first_consumer(self) -> u32 {
        let flags: u32 = read(field(self.address(), OFF_FLAGS.load()));
        if flags & PF_KTHREAD != 0 {
            KERNEL
        } else {
            OTHER
        }
    }

    /// Whether every thread of the process has begun to exit.
    #[inline(always)]
    fn group_dead(self) -> bool {
        let signal: u64 = read(field(self.address(), OFF_SIGNAL.load()));
        let live: i32 = read(field(signal as *const u8, OFF_LIVE.load()));
        live <= 0
    }
}

/// A kernel value, or zeroes where it cannot be read: offsets were checked at load, so this is the
/// kernel's own zeroing of a faulting read.
#[inline(always)]
pub fn read<T: Default>(from: *const u8) -> T {
    // SAFETY: the helper checks the address.
    unsafe { bpf_probe_read_kernel(from.cast::<T>()) }.unwrap_or_default()
}

/// The word in a field of the kernel's structure at `base`.
#[inline(always)]
pub fn follow(base: u64, offset: u32) -> u64 {
    read(field(base as *const u8, offset))
}

/// A pointer typed by BTF: loads are direct, checked by the verifier.
#[derive(Clone, Copy)]
pub struct Typed(pub *const u8);

impl Structure for Typed {
    #[inline(always)]
    fn address(self) -> *const u8 {
        self.0
    }

    #[inline(always)]
    fn word<T: Default>(self, offset: u32) -> T {
        // SAFETY: the verifier proves the load against the kernel's BTF.
        unsafe { core::ptr::read_volatile(field(self.0, offset).cast()) }
    }
}

impl Task for Typed {}

/// A pointer without a type.
#[derive(Clone, Copy)]
pub struct Raw(pub *const u8);

impl Structure for Raw {
    #[inline(always)]
    fn address(self) -> *const u8 {
        self.0
    }

    #[inline(always)]
    fn word<T: Default>(self, offset: u32) -> T {
        read(field(self.0, offset))
    }
}

impl Task for Raw {}

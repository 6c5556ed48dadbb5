//! What the current task had in its registers when it came into the kernel, and the system call that they say it is in.
//! Minimum kernel 5.15 (`bpf_task_pt_regs`).

use aya_ebpf::helpers::generated::{bpf_get_current_task_btf, bpf_task_pt_regs};

use crate::{
    maps::{
        OFF_ARG0, OFF_ARG1, OFF_ARG2, OFF_ARG3, OFF_FD, OFF_FDT, OFF_FILES, OFF_INO, OFF_INODE,
        OFF_PRIVATE, OFF_SOCK,
    },
    task::{follow, read},
};

/// The registers that the kernel saved: those of a system call, or at a trap.
pub struct Regs(u64);

impl Regs {
    #[inline(always)]
    pub fn current() -> Self {
        // SAFETY: both helpers return kernel pointers that stay valid while the task runs.
        Self(unsafe { bpf_task_pt_regs(bpf_get_current_task_btf()) } as u64)
    }

    /// The word at an offset.
    #[inline(always)]
    pub fn word(&self, offset: u32) -> u64 {
        follow(self.0, offset)
    }

    /// One of the first four arguments of the system call.
    #[inline(always)]
    pub fn arg(&self, n: usize) -> u64 {
        let offset = match n {
            0 => OFF_ARG0.load(),
            1 => OFF_ARG1.load(),
            2 => OFF_ARG2.load(),
            _ => OFF_ARG3.load(),
        };
        self.word(offset)
    }

    /// Inode number of the file whose descriptor the first argument is.
    #[inline(always)]
    pub fn inode(&self) -> Option<u64> {
        let file = file_of(self.arg(0) as u32);
        let number = follow(follow(file, OFF_INODE.load()), OFF_INO.load());
        if number == 0 {
            None
        } else {
            Some(number)
        }
    }
}

/// The `file` of the current process behind a descriptor.
#[inline(always)]
fn file_of(fd: u32) -> u64 {
    // SAFETY: the helper returns the current task.
    let task = unsafe { bpf_get_current_task_btf() } as u64;
    let table = follow(follow(task, OFF_FILES.load()), OFF_FDT.load());
    let files = follow(table, OFF_FD.load());
    read((files + u64::from(fd) * 8) as *const u8)
}

/// The `sock` of the current process behind a descriptor, which is a socket's.
#[inline(always)]
pub fn sock_of(fd: u32) -> u64 {
    follow(follow(file_of(fd), OFF_PRIVATE.load()), OFF_SOCK.load())
}

//! Room for every energy counter of every package.
//!
//! aya makes no perf event array larger than the machine has CPUs, because such arrays mostly hold one
//! ring buffer a CPU. Ours holds a package's counters: five of them do not fit on a machine of four CPUs,
//! and the second package's begin at 8. So the array is made here and put in the place of aya's, under the
//! same descriptor, before any program that names it is loaded. Facility: `bpf(BPF_MAP_CREATE)`, Linux 4.3.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use aya::Ebpf;
use aya::maps::Map;
use probe_common::{MAX_COUNTERS, MAX_PACKAGES};

use super::KernelError;

/// Exchanges `ENERGY` of an object whose programs are not loaded yet.
pub(super) fn make(bpf: &Ebpf) -> Result<(), KernelError> {
    let Some(Map::PerfEventArray(energy)) = bpf.map("ENERGY") else {
        return Err(KernelError::Mismatch("perf event array ENERGY".to_owned()));
    };
    let made = create((MAX_PACKAGES * MAX_COUNTERS) as u32)
        .and_then(|ours| replace(energy.fd().as_fd(), &ours));
    made.map_err(|source| KernelError::System {
        what: "cannot make room for the energy counters",
        source,
    })
}

fn create(max_entries: u32) -> io::Result<OwnedFd> {
    #[repr(C)]
    struct Attr {
        map_type: u32,
        key_size: u32,
        value_size: u32,
        max_entries: u32,
    }
    const BPF_MAP_CREATE: libc::c_long = 0;
    const BPF_MAP_TYPE_PERF_EVENT_ARRAY: u32 = 4;
    let map_type = BPF_MAP_TYPE_PERF_EVENT_ARRAY;
    let attr = Attr { map_type, key_size: 4, value_size: 4, max_entries };
    // SAFETY: the attribute block is the prefix of `union bpf_attr` for this command and outlives the call.
    let fd =
        unsafe { libc::syscall(libc::SYS_bpf, BPF_MAP_CREATE, &raw const attr, size_of::<Attr>()) };
    let fd = RawFd::try_from(fd).ok().filter(|fd| *fd >= 0).ok_or_else(io::Error::last_os_error)?;
    // SAFETY: the kernel has just made it, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Makes `old` another name of `new`; what it was is closed.
fn replace(old: BorrowedFd<'_>, new: &OwnedFd) -> io::Result<()> {
    // SAFETY: `old` stays open and stays its owner's; only what it refers to changes, and that is a perf
    // event array before and after, with keys and values of the same size.
    match unsafe { libc::dup3(new.as_raw_fd(), old.as_raw_fd(), libc::O_CLOEXEC) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

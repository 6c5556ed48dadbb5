//! Which kernel fields the programs read, and where they lie in the running kernel.

use std::path::Path;

use super::btf::{Btf, BtfError};

/// Name of the program's global and the offset it takes.
pub(super) type Offset = (&'static str, u32);

const FIELDS: [(&str, &str, &str); 17] = [
    ("OFF_TGID", "task_struct", "tgid"),
    ("OFF_PID", "task_struct", "pid"),
    ("OFF_FLAGS", "task_struct", "flags"),
    ("OFF_SIGNAL", "task_struct", "signal"),
    ("OFF_LIVE", "signal_struct", "live"),
    ("OFF_FILES", "task_struct", "files"),
    ("OFF_FDT", "files_struct", "fdt"),
    ("OFF_FD", "fdtable", "fd"),
    ("OFF_INODE", "file", "f_inode"),
    ("OFF_INO", "inode", "i_ino"),
    ("OFF_PRIVATE", "file", "private_data"),
    ("OFF_SOCK", "socket", "sk"),
    ("OFF_SOCKET", "sock", "sk_socket"),
    ("OFF_FAMILY", "sock_common", "skc_family"),
    ("OFF_PROTOCOL", "sock", "sk_protocol"),
    ("OFF_COPIED", "tcp_sock", "copied_seq"),
    ("OFF_RECEIVED", "tcp_sock", "rcv_nxt"),
];

/// What the kernel's types say.
pub(super) struct Resolved {
    /// Globals and what they take.
    pub(super) offsets: Vec<Offset>,
    /// Whether sockets say when data comes (`sk_data_ready`, Linux 6.3).
    pub(super) tells_arrivals: bool,
    /// What is missing for the kernel's socket functions to be hooked, as [`BtfError::Missing`] has it.
    pub(super) functions_missing: Option<(&'static str, &'static str)>,
}

/// Resolves every offset.
///
/// # Errors
///
/// When the kernel has no BTF or lacks a field.
pub(super) fn resolve(path: &Path) -> Result<Resolved, BtfError> {
    let btf = Btf::read(path)?;
    let mut offsets = Vec::new();
    for (global, structure, field) in FIELDS {
        offsets.push((global, btf.offset(structure, field)?));
    }
    offsets.extend(arguments(&btf)?);
    offsets.push(("OFF_QUEUED", btf.offset_within("sock", "sk_receive_queue", "qlen")?));
    let functions_missing = match functions(&btf) {
        Ok(more) => {
            offsets.extend(more);
            None
        }
        Err(BtfError::Missing(of, what)) => Some((of, what)),
        Err(error) => return Err(error),
    };
    let tells_arrivals = btf.has_tracepoint("btf_trace_sk_data_ready");
    Ok(Resolved { offsets, tells_arrivals, functions_missing })
}

/// What the programs on the kernel's socket functions need.
fn functions(btf: &Btf) -> Result<Vec<Offset>, BtfError> {
    // Before 5.19 there is another one before it.
    if btf.parameter("tcp_recvmsg", "flags")? != 3 {
        return Err(BtfError::Missing("tcp_recvmsg", "flags as its fourth parameter"));
    }
    let inode = btf.offset("socket_alloc", "vfs_inode")? - btf.offset("socket_alloc", "socket")?;
    let segments = btf.offset("iov_iter", "__iov").or_else(|_| btf.offset("iov_iter", "iov"))?;
    Ok(vec![
        ("OFF_SOCKET_INO", inode + btf.offset("inode", "i_ino")?),
        ("OFF_ITER", btf.offset("msghdr", "msg_iter")?),
        ("OFF_ITER_TYPE", btf.offset("iov_iter", "iter_type")?),
        ("OFF_ITER_DONE", btf.offset("iov_iter", "iov_offset")?),
        ("OFF_ITER_IOV", segments),
        ("ITER_IOVEC", btf.enumerator("iter_type", "ITER_IOVEC")?),
        // Since 6.0.
        ("ITER_UBUF", btf.enumerator("iter_type", "ITER_UBUF").unwrap_or(u32::MAX)),
        ("OFF_ITER_UBUF", btf.offset("iov_iter", "ubuf").unwrap_or(0)),
    ])
}

/// Where the first four arguments of a system call lie among the saved registers, then the fourth of a function and its
/// result.
#[cfg(target_arch = "x86_64")]
fn arguments(btf: &Btf) -> Result<Vec<Offset>, BtfError> {
    let registers = [
        ("OFF_ARG0", "di"),
        ("OFF_ARG1", "si"),
        ("OFF_ARG2", "dx"),
        ("OFF_ARG3", "r10"),
        ("OFF_CALL3", "cx"),
        ("OFF_RESULT", "ax"),
    ];
    registers
        .into_iter()
        .map(|(global, register)| Ok((global, btf.offset("pt_regs", register)?)))
        .collect()
}

/// As above; `x0` is overwritten by the result, the kernel keeps a copy of a system call's.
#[cfg(target_arch = "aarch64")]
fn arguments(btf: &Btf) -> Result<Vec<Offset>, BtfError> {
    let regs = btf.offset("pt_regs", "regs")?;
    Ok(vec![
        ("OFF_ARG0", btf.offset("pt_regs", "orig_x0")?),
        ("OFF_ARG1", regs + 8),
        ("OFF_ARG2", regs + 16),
        ("OFF_ARG3", regs + 24),
        ("OFF_CALL3", regs + 24),
        ("OFF_RESULT", regs),
    ])
}

//! Which kernel fields the programs read, and where they lie in the running kernel.

use std::path::Path;

use super::btf::{Btf, BtfError};

/// Name of the program's global and the offset it takes.
pub(super) type Offset = (&'static str, u32);

const FIELDS: [(&str, &str, &str); 10] = [
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
];

/// Resolves every offset.
///
/// # Errors
///
/// When the kernel has no BTF or lacks a field.
pub(super) fn resolve(path: &Path) -> Result<Vec<Offset>, BtfError> {
    let btf = Btf::read(path)?;
    let mut offsets = Vec::new();
    for (global, structure, field) in FIELDS {
        offsets.push((global, btf.offset(structure, field)?));
    }
    offsets.extend(arguments(&btf)?);
    Ok(offsets)
}

/// Where a system call's first four arguments lie among the saved registers.
#[cfg(target_arch = "x86_64")]
fn arguments(btf: &Btf) -> Result<Vec<Offset>, BtfError> {
    [("OFF_ARG0", "di"), ("OFF_ARG1", "si"), ("OFF_ARG2", "dx"), ("OFF_ARG3", "r10")]
        .into_iter()
        .map(|(global, register)| Ok((global, btf.offset("pt_regs", register)?)))
        .collect()
}

/// Where a system call's first four arguments lie among the saved registers; `x0` is overwritten by the
/// result, the kernel keeps a copy.
#[cfg(target_arch = "aarch64")]
fn arguments(btf: &Btf) -> Result<Vec<Offset>, BtfError> {
    let regs = btf.offset("pt_regs", "regs")?;
    Ok(vec![
        ("OFF_ARG0", btf.offset("pt_regs", "orig_x0")?),
        ("OFF_ARG1", regs + 8),
        ("OFF_ARG2", regs + 16),
        ("OFF_ARG3", regs + 24),
    ])
}

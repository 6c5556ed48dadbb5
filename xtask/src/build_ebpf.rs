//! Builds the committed eBPF object.

use anyhow::{Result, bail};

use crate::paths::Paths;

/// Builds it; with `check`, elsewhere, and fails when the bytes differ from the committed ones.
pub(crate) fn run(paths: &Paths, check: bool) -> Result<()> {
    let linker = crate::provision::ebpf_chain(paths)?;
    bail!("not here yet (linker {}, check {check})", linker.display())
}

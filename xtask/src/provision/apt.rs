//! Debian's packages: installed where the process is root, or only downloaded.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::process::{is_root, output, run, which};

/// A new machine may be busy with packages of its own, and a mirror may stutter.
const PATIENCE: [&str; 4] = ["-o", "DPkg::Lock::Timeout=120", "-o", "Acquire::Retries=3"];

/// Installs those of `packages` that are not installed.
pub(crate) fn install(packages: &[&str]) -> Result<()> {
    let missing: Vec<_> = packages.iter().copied().filter(|name| !is_installed(name)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let list = missing.join(" ");
    ensure!(which("apt-get").is_some(), "not a Debian system: install {list} by hand");
    ensure!(is_root(), "not root: run `apt-get install {list}` as root");
    refresh()?;
    run(Command::new("apt-get")
        .env("DEBIAN_FRONTEND", "noninteractive")
        .args(PATIENCE)
        .args(["install", "-y", "-qq", "--no-install-recommends"])
        .args(&missing))
    .with_context(|| format!("cannot install {list}"))
}

/// Downloads one package file into `dir`.
pub(crate) fn download(dir: &Path, package: &str) -> Result<()> {
    ensure!(which("apt-get").is_some(), "not a Debian system: install {package} by hand");
    let get = || {
        let mut get = Command::new("apt-get");
        get.current_dir(dir).args(PATIENCE);
        get.args(["download", "-qq", "-o", "APT::Sandbox::User=root", package]);
        get
    };
    if output(&mut get()).is_err() {
        refresh()?;
        run(&mut get())?;
    }
    Ok(())
}

fn refresh() -> Result<()> {
    ensure!(is_root(), "not root: run `apt-get update` as root");
    run(Command::new("apt-get").args(PATIENCE).args(["update", "-qq"]))
}

fn is_installed(package: &str) -> bool {
    output(Command::new("dpkg-query").args(["-W", "-f", "${db:Status-Status}", package]))
        .is_ok_and(|status| status == "installed")
}

//! A real Prometheus, to run every dashboard query against.
//!
//! Debian's package is unpacked into the cache rather than installed, so that no service is started.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::paths::Paths;
use crate::process::{run, which};

/// The server's path; `promtool` lies beside it.
pub(crate) fn server(paths: &Paths) -> Result<PathBuf> {
    if let Some(installed) = which("prometheus") {
        return Ok(installed);
    }
    let dir = paths.cache.join("prometheus");
    let program = dir.join("usr/bin/prometheus");
    fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    super::once(&dir, "prometheus", || {
        super::apt::download(&dir, "prometheus")?;
        let package = fs::read_dir(&dir)?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .find(|path| path.extension().is_some_and(|e| e == "deb"))
            .context("apt-get download left no package")?;
        run(Command::new("dpkg").arg("-x").arg(&package).arg(&dir))?;
        fs::remove_file(package).map_err(Into::into)
    })?;
    Ok(program)
}

//! Rewrites what is generated from code: METRICS.md, dashboards, golden outputs.
//!
//! Tests that compare with such a file write it instead when `BLESS` is set; so does this.

use std::process::Command;

use anyhow::Result;

use crate::paths::Paths;
use crate::process;

/// Runs the tests with `BLESS=1`, then shows what changed.
pub(crate) fn run(paths: &Paths) -> Result<()> {
    let root = &paths.root;
    process::run(Command::new("cargo").current_dir(root).env("BLESS", "1").args([
        "test",
        "--quiet",
        "--workspace",
        "--no-fail-fast",
    ]))?;
    process::run(Command::new("git").current_dir(root).args(["status", "--short"]))
}

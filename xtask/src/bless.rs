//! Rewrites what is generated from code: METRICS.md, dashboards, golden outputs, the fuzz targets' seeds.
//!
//! Tests that compare with such a file write it instead when `BLESS` is set; so does this.

use std::process::Command;

use anyhow::Result;

use crate::paths::Paths;
use crate::{built, fuzz, process};

/// Runs the tests with `BLESS=1`, then shows what changed.
pub(crate) fn run(paths: &Paths) -> Result<()> {
    process::run(built::tests(paths).env("BLESS", "1").args(["--quiet", "--no-fail-fast"]))?;
    process::run(built::lab_tests(paths).env("BLESS", "1").arg("--quiet"))?;
    fuzz::write_seeds(paths)?;
    process::run(Command::new("git").current_dir(&paths.root).args(["status", "--short"]))
}

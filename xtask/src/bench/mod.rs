//! What the probe costs, measured. Each prints its figures and fails when a bound is broken.

mod soak;

use std::process;

use anyhow::Result;
use clap::Subcommand;

use crate::paths::Paths;
use crate::process::run as run_shown;

/// A benchmark.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Nanoseconds per `sched_switch`, against an empty program and one that reads the clock.
    Kernel,
    /// Resident memory and CPU of the probe while a server is under load.
    Soak(soak::Args),
}

/// Runs one.
pub(crate) fn run(paths: &Paths, command: &Command) -> Result<()> {
    match command {
        Command::Kernel => kernel(paths),
        Command::Soak(args) => soak::run(paths, args),
    }
}

/// The benchmark is the probe's own, because it loads programs.
fn kernel(paths: &Paths) -> Result<()> {
    let mut cargo = process::Command::new("cargo");
    run_shown(cargo.current_dir(&paths.root).args([
        "bench",
        "-p",
        "wattprobe",
        "--bench",
        "kernel",
    ]))
}

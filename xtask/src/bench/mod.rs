//! What the probe costs, measured. Each prints its figures and fails when a bound is broken.

mod soak;

use anyhow::Result;
use clap::Subcommand;

use crate::paths::Paths;

/// A benchmark.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Resident memory and CPU of the probe while a server is under load.
    Soak(soak::Args),
}

/// Runs one.
pub(crate) fn run(paths: &Paths, command: &Command) -> Result<()> {
    match command {
        Command::Soak(args) => soak::run(paths, args),
    }
}

//! What the probe costs and how right it is, measured. Each prints its figures and fails when a bound is broken.

mod overlap;
mod soak;
mod truth;

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
    /// Microseconds a read of each source, and its share of a core.
    Sources,
    /// Time and memory of replaying a tape of one hour.
    Replay,
    /// Resident memory and CPU of the probe while a server is under load.
    Soak(soak::Args),
    /// What a request to llama.cpp costs by how many overlap.
    Overlap(overlap::Args),
    /// The accuracy table: every method against a simulator whose joules are known.
    Truth(truth::Args),
}

/// Runs one.
pub(crate) fn run(paths: &Paths, command: &Command) -> Result<()> {
    match command {
        Command::Kernel => cargo_bench(paths, "kernel"),
        Command::Sources => cargo_bench(paths, "sources"),
        Command::Replay => cargo_bench(paths, "replay"),
        Command::Soak(args) => soak::run(paths, args),
        Command::Overlap(args) => overlap::run(paths, args),
        Command::Truth(args) => truth::run(paths, args),
    }
}

/// The benchmark is the probe's own, because it loads programs and opens sensors.
fn cargo_bench(paths: &Paths, name: &str) -> Result<()> {
    let mut cargo = process::Command::new("cargo");
    run_shown(cargo.current_dir(&paths.root).args(["bench", "-p", "wattprobe", "--bench", name]))
}

//! What the probe costs and how right it is, measured. Each prints its figures and fails when a bound is broken.

mod boundary;
mod overlap;
mod soak;
mod truth;
mod usage;

use anyhow::Result;
use clap::Subcommand;

use crate::built;
use crate::paths::Paths;
use crate::process::run as run_shown;

/// A benchmark.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Nanoseconds per `sched_switch`, against an empty program and one that reads the clock; and of a program on a system
    /// call of a process that is not watched.
    Kernel,
    /// Microseconds a read of each source, and its share of a core.
    Sources,
    /// Time and memory of replaying a tape of one hour.
    Replay,
    /// Resident memory and CPU of the probe while a server is under load.
    Soak(soak::Args),
    /// What following every request costs, and whom: a server at its maximum, thousands of connections, llama.cpp, others.
    Boundary(boundary::Args),
    /// What a request to llama.cpp costs by how many overlap.
    Overlap(overlap::Args),
    /// The accuracy table: every method against a simulator whose joules are known.
    Truth(truth::Args),
}

/// Runs one.
pub(crate) fn run(paths: &Paths, command: &Command) -> Result<()> {
    match command {
        Command::Kernel => ["kernel", "calls"].into_iter().try_for_each(|b| cargo_bench(paths, b)),
        Command::Sources => cargo_bench(paths, "sources"),
        Command::Replay => cargo_bench(paths, "replay"),
        Command::Soak(args) => soak::run(paths, args),
        Command::Boundary(args) => boundary::run(paths, args),
        Command::Overlap(args) => overlap::run(paths, args),
        Command::Truth(args) => truth::run(paths, args),
    }
}

/// The benchmark is the probe's own, because it loads programs and opens sensors.
fn cargo_bench(paths: &Paths, name: &str) -> Result<()> {
    run_shown(built::bench(paths).args(["--bench", name]))
}

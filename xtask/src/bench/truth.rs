//! The accuracy table: what a request is said to cost against what it cost, in simulations.
//!
//! The table is a benchmark of `probe-lab`, which has the simulator; it needs no privilege and no sensor.

use std::process::Command;

use anyhow::Result;

use crate::paths::Paths;
use crate::process;

/// Options of the table.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Random simulations whose books must close.
    #[arg(long, value_name = "N")]
    simulations: Option<u64>,
    /// Requests in a cell of the table, at least.
    #[arg(long, value_name = "N")]
    requests: Option<usize>,
    /// The full form: 10,000 simulations, 1,000 requests a cell.
    #[arg(long, conflicts_with_all = ["simulations", "requests"])]
    full: bool,
    /// Only the random simulations: whether books close and error bars are honest.
    #[arg(long)]
    no_table: bool,
    /// Seed of all runs.
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
}

/// Prints the table; fails when a bound does not hold.
pub(crate) fn run(paths: &Paths, args: &Args) -> Result<()> {
    let mut cargo = Command::new("cargo");
    cargo.current_dir(&paths.root);
    cargo.args(["bench", "-p", "probe-lab", "--no-default-features", "--bench", "truth", "--"]);
    cargo.args(["--seed", &args.seed.to_string()]);
    if let Some(n) = args.simulations {
        cargo.args(["--simulations", &n.to_string()]);
    }
    if let Some(n) = args.requests {
        cargo.args(["--requests", &n.to_string()]);
    }
    if args.no_table {
        cargo.arg("--no-table");
    }
    if args.full {
        cargo.arg("--full");
    }
    process::run(&mut cargo)
}

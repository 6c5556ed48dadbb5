//! The accuracy table: what a request is said to cost against what it cost, in simulations.
//!
//! The table is a benchmark of `probe-lab`, which has the simulator; it needs no privilege and no sensor.

use anyhow::Result;

use crate::built;
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
    /// A part of the table, judged like all of it, and 1,000 simulations: less than a minute.
    #[arg(long, conflicts_with_all = ["simulations", "requests", "full"])]
    short: bool,
    /// Only the random simulations: whether books close and error bars are honest.
    #[arg(long, conflicts_with = "short")]
    no_table: bool,
    /// The table and 10,000 simulations, and the README's tables anew.
    #[arg(long, conflicts_with_all = ["simulations", "requests", "full", "short", "no_table"])]
    readme: bool,
    /// Seed of all runs.
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
}

/// Prints the table; fails when a bound does not hold.
pub(crate) fn run(paths: &Paths, args: &Args) -> Result<()> {
    let mut cargo = built::bench(paths);
    cargo.args(["--bench", "truth", "--"]);
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
    for (flag, given) in [("--full", args.full), ("--short", args.short)] {
        cargo.args(given.then_some(flag));
    }
    if args.readme {
        cargo.arg("--readme").arg(paths.root.join("README.md"));
    }
    process::run(&mut cargo)
}

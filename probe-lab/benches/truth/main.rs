//! The accuracy table: what a request is said to have cost against what it cost, in simulations whose every joule is known.
//!
//! `cargo xtask bench truth`. Every cell of the table is a load (what runs, length of the requests, how many overlap);
//! the same runs are told to ledgers under several policies and to the methods people use today. Then come random
//! simulations of everything at once, whose books must close to the nanojoule. Ends with status 1 when the
//! bounds of [`verdict`] do not hold, error bars are not honest or books do not close.

mod books;
mod campaign;
mod cells;
mod figures;
mod idle;
mod policies;
mod print;
mod readme;
mod scene;
mod verdict;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use self::scene::Extent;

/// The accuracy table.
#[derive(Parser)]
struct Args {
    /// Random simulations whose books must close.
    #[arg(long, default_value_t = 2_000, value_name = "N")]
    simulations: u64,
    /// Requests in a cell of the table, at least.
    #[arg(long, default_value_t = 200, value_name = "N")]
    requests: usize,
    /// The full form: 10,000 simulations, 1,000 requests a cell.
    #[arg(long)]
    full: bool,
    /// A part of the table and 1,000 simulations, in less than a minute.
    #[arg(long)]
    short: bool,
    /// Only the random simulations, not the table.
    #[arg(long)]
    no_table: bool,
    /// The table and 10,000 simulations; puts the README's tables into this file, between its marks.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["full", "short", "no_table"])]
    readme: Option<PathBuf>,
    /// Seed of all runs.
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
    /// Cells that are simulated at a time.
    #[arg(long, default_value_t = 2, value_name = "N")]
    jobs: usize,
    /// What cargo says to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

/// Why there is no verdict.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Simulation(#[from] books::Error),
    #[error(transparent)]
    Readme(#[from] readme::Error),
}

fn main() -> ExitCode {
    let mut args = Args::parse();
    if args.full {
        (args.simulations, args.requests) = (10_000, 1_000);
    }
    if args.short {
        (args.simulations, args.requests) = (1_000, 100);
    }
    if args.readme.is_some() {
        args.simulations = 10_000;
    }
    match run(&args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("truth: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<bool, Failure> {
    let extent = if args.short { Extent::Short } else { Extent::Full };
    let cells = if args.no_table {
        Vec::new()
    } else {
        cells::measure(extent, args.requests, args.seed, args.jobs)?
    };
    let bounds = args.no_table || {
        print::tables(&cells);
        verdict::print(&cells)
    };
    let sums = campaign::run(args.simulations, args.seed, args.jobs)?;
    let closed = sums.print(args.simulations);
    if let Some(path) = &args.readme {
        readme::write(path, &cells, &sums)?;
    }
    Ok(bounds && closed)
}

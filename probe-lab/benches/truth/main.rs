//! The accuracy table: what a request is said to have cost against what it cost, in simulations whose every joule is known.
//!
//! `cargo xtask bench truth`. Every cell of the table is a load (length of the requests, how many overlap, what else runs);
//! the same runs are told to ledgers under several policies and to the methods people use today. Then come random
//! simulations of everything at once, whose books must close to the nanojoule. Ends with status 1 when the
//! bounds of [`verdict`] do not hold or books do not close.

mod books;
mod campaign;
mod cells;
mod figures;
mod policies;
mod print;
mod verdict;

use std::process::ExitCode;

use clap::Parser;

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
    /// Only the random simulations, not the table.
    #[arg(long)]
    no_table: bool,
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

fn main() -> ExitCode {
    let mut args = Args::parse();
    if args.full {
        (args.simulations, args.requests) = (10_000, 1_000);
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

fn run(args: &Args) -> Result<bool, books::Error> {
    let bounds = args.no_table || {
        let cells = cells::measure(args.requests, args.seed, args.jobs)?;
        print::tables(&cells);
        verdict::print(&cells)
    };
    let closed = campaign::run(args.simulations, args.seed, args.jobs)?;
    Ok(bounds && closed)
}

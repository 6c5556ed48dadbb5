//! What it costs to follow every request: of a server at its own maximum, with thousands of connections, of the real
//! llama.cpp, and what others pay for it.
//!
//! Runs with and without the probe take turns in one go, in changing order, and their ratios are compared: the machine may be
//! shared and slow, but it is so for both.

mod crowd;
mod others;
mod run;
mod throughput;
mod tokens;

use std::fs;

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;

use crate::built;
use crate::paths::Paths;

/// Options of the bench.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Fewer and shorter runs, without llama.cpp, and only what does not depend on the machine's mood is judged.
    #[arg(long)]
    short: bool,
    /// Only these parts.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "PART")]
    only: Vec<Part>,
    /// Pairs of runs, with and without the probe.
    #[arg(long, value_name = "N")]
    pairs: Option<usize>,
}

/// A part of the bench.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Requests a second.
    Throughput,
    /// Thousands of connections and of streams at once.
    Crowd,
    /// Tokens a second of llama.cpp.
    Tokens,
    /// What others pay.
    Others,
}

/// Runs the parts, prints their tables, fails in the end when a bound is broken.
pub(crate) fn run(paths: &Paths, args: &Args) -> Result<()> {
    built::programs(paths)?;
    let dir = paths.target.join("boundary");
    fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    let bench = run::Bench { paths, dir };
    // The short form is without llama.cpp, unless that is asked for.
    let wanted = |part| match args.only.as_slice() {
        [] => part != Part::Tokens || !args.short,
        only => only.contains(&part),
    };
    let pairs = args.pairs.unwrap_or(if args.short { 3 } else { 9 }).max(1);
    let mut broken = Vec::new();
    let mut part = |part, run: &dyn Fn() -> Result<()>| {
        if wanted(part)
            && let Err(error) = run()
        {
            eprintln!("broken: {error:#}");
            broken.push(format!("{error:#}"));
        }
    };
    part(Part::Throughput, &|| throughput::run(&bench, pairs, args.short));
    part(Part::Crowd, &|| crowd::run(&bench));
    part(Part::Others, &|| others::run(&bench, pairs));
    part(Part::Tokens, &|| tokens::run(&bench, pairs));
    ensure!(broken.is_empty(), "{}", broken.join("; "));
    Ok(())
}

//! Automation of this repository: `cargo xtask COMMAND`.
//!
//! Everything a person or CI runs more than once is here, so that both run the same thing. It knows
//! paths and command lines and nothing of the product's code. What a machine lacks is fetched by
//! [`provision`] from package registries; what cannot be had is named, and the tests that need it are
//! reported as not run.

mod bench;
mod bless;
mod books;
mod build_ebpf;
mod built;
mod demo;
mod fuzz;
mod lint;
mod paths;
mod process;
mod provision;
mod test;
mod vm;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::paths::Paths;

/// Automation of the wattprobe repository.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build the eBPF object that is committed.
    BuildEbpf {
        /// Build it elsewhere and fail when it differs from the committed one.
        #[arg(long)]
        check: bool,
    },
    /// Start a demo server, attach to it, send requests, print what each cost.
    Demo(demo::Args),
    /// Run every test that this machine can run, and name the others.
    Test(test::Args),
    /// Formatting, clippy, documentation, dependencies, the committed eBPF object.
    Lint,
    /// Rewrite generated files and golden outputs.
    Bless,
    /// Measure what the probe costs.
    #[command(subcommand)]
    Bench(bench::Command),
    /// Feed what reads strangers' bytes with such as nobody thought of.
    Fuzz(fuzz::Args),
    /// Run the probe in virtual machines whose true joules are known.
    Vm(vm::Args),
    /// Fetch what the tests need and say what is missing.
    Provision,
}

fn main() -> ExitCode {
    let command = Cli::parse().command;
    match Paths::find().and_then(|paths| run(&paths, command)) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(paths: &Paths, command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::BuildEbpf { check } => build_ebpf::run(paths, check)?,
        Command::Demo(args) => demo::run(paths, &args)?,
        Command::Test(args) => return test::run(paths, &args),
        Command::Lint => lint::run(paths)?,
        Command::Bless => bless::run(paths)?,
        Command::Bench(command) => bench::run(paths, &command)?,
        Command::Fuzz(args) => fuzz::run(paths, &args)?,
        Command::Vm(args) => return vm::run(paths, &args),
        Command::Provision => provision::tests(paths)?.print(),
    }
    Ok(ExitCode::SUCCESS)
}

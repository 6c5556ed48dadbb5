//! The truth machine: stock Debian kernels in QEMU, a simulated RAPL beneath the kernel's own drivers, the
//! real probe inside, and what it says held against the true joules.
//!
//! The scenarios are data (`probe-lab/scenarios`), the guest's side is `probe-lab`'s `lab-guest`. Nothing
//! here needs root: kernels are unpacked, not installed, and an initramfs needs no disk. What could not be
//! had is named as not run, with the reason.

mod cpio;
mod e2e;
mod expect;
mod guest;
mod lane;
mod machine;
mod module;
mod pack;
mod plan;
mod report;
mod runner;
mod scenario;
mod table;
mod verifier;

use std::env;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};

use crate::paths::Paths;
use crate::provision::KNOWN_KERNELS;
use machine::Cpu;
use plan::Job;
pub(crate) use report::Outcome;
use runner::Runner;
use scenario::Scenario;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// A kernel: 5.10, 6.1, 6.12, 6.18, 7.2, 7.3; may be repeated. Default: 6.1 and 6.12, with --all each.
    #[arg(long, value_name = "VERSION")]
    kernel: Vec<String>,
    /// A scenario of probe-lab/scenarios; may be repeated. Default: each.
    #[arg(long, value_name = "NAME")]
    scenario: Vec<String>,
    /// Whose processor.
    #[arg(long, value_enum, default_value = "intel")]
    cpu: Cpu,
    /// Processor packages.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=2))]
    sockets: u32,
    /// Count instructions instead of time, run twice and compare the results to the byte.
    #[arg(long, conflicts_with = "kvm")]
    deterministic: bool,
    /// The full matrix.
    #[arg(long, conflicts_with_all = ["scenario", "cpu", "sockets", "deterministic"])]
    all: bool,
    /// Only list scenarios and kernels.
    #[arg(long)]
    list: bool,
    /// Rewrite the committed instruction counts of the kernels that ran.
    #[arg(long)]
    bless: bool,
    /// Use the processor's virtualisation; not every machine that has /dev/kvm can.
    #[arg(long)]
    kvm: bool,
}

/// Runs what was asked for and prints it.
pub(crate) fn run(paths: &Paths, args: &Args) -> Result<ExitCode> {
    let scenarios = scenarios(paths)?;
    if args.list {
        list(&scenarios);
        return Ok(ExitCode::SUCCESS);
    }
    let jobs = jobs(args, &scenarios)?;
    let outcome = Runner::new(paths, cache()?, args.kvm).run(&jobs, &scenarios, args.bless)?;
    outcome.print();
    Ok(ExitCode::from(u8::from(!outcome.failed.is_empty() || outcome.passed == 0)))
}

/// The short form, for `cargo xtask test`.
pub(crate) fn short(paths: &Paths) -> Result<Outcome> {
    let scenarios = scenarios(paths)?;
    Runner::new(paths, cache()?, false).run(&plan::short(&scenarios), &scenarios, false)
}

fn scenarios(paths: &Paths) -> Result<Vec<Scenario>> {
    Scenario::all(&paths.root.join("probe-lab/scenarios"))
}

fn list(scenarios: &[Scenario]) {
    for scenario in scenarios {
        println!("{:16} {}", scenario.name, scenario.about);
    }
    println!("kernels: {}", labels().join(", "));
}

fn labels() -> Vec<String> {
    KNOWN_KERNELS.iter().map(|known| known.label.to_owned()).collect()
}

fn jobs(args: &Args, scenarios: &[Scenario]) -> Result<Vec<Job>> {
    for kernel in &args.kernel {
        ensure!(labels().contains(kernel), "no kernel {kernel}; there are {}", labels().join(", "));
    }
    for name in &args.scenario {
        ensure!(scenarios.iter().any(|s| s.name == *name), "no scenario {name}; see --list");
    }
    if args.all {
        let kernels = if args.kernel.is_empty() { labels() } else { args.kernel.clone() };
        return Ok(plan::all(&kernels, scenarios));
    }
    let wanted = |s: &&Scenario| args.scenario.is_empty() || args.scenario.contains(&s.name);
    let default = plan::SHORT.map(str::to_owned);
    let kernels = if args.kernel.is_empty() { &default } else { args.kernel.as_slice() };
    let Args { cpu, sockets, deterministic, .. } = *args;
    let job = |kernel: &String, scenario: &Scenario| Job {
        cpu,
        sockets,
        deterministic,
        ..Job::new(kernel, &scenario.name)
    };
    Ok(kernels
        .iter()
        .flat_map(|kernel| scenarios.iter().filter(wanted).map(move |s| job(kernel, s)))
        .collect())
}

/// Kernels and builds, outside the repository: hundreds of megabytes that every checkout shares.
fn cache() -> Result<PathBuf> {
    let var = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let dir = var("WATTPROBE_VM_CACHE")
        .or_else(|| Some(var("XDG_CACHE_HOME")?.join("wattprobe/vm")))
        .or_else(|| Some(var("HOME")?.join(".cache/wattprobe/vm")))
        .context("no place for kernels; set WATTPROBE_VM_CACHE")?;
    std::fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    dir.canonicalize().with_context(|| format!("cannot find {}", dir.display()))
}

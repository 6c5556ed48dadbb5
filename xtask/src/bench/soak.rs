//! Two minutes of load: is the probe's memory flat and below its bound, and what CPU does it take?
//!
//! Reads the kernel's accounts of the probe's process from outside, once a second.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::usage::Usage;
use crate::built;
use crate::paths::Paths;
use crate::process::Running;
use crate::{demo, provision};

/// Options of the soak.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How long the load runs.
    #[arg(long, default_value_t = 120, value_name = "N")]
    seconds: u64,
    /// Requests in flight.
    #[arg(long, default_value_t = 4, value_name = "N")]
    clients: u32,
    /// Load the real llama.cpp server instead of the demo server.
    #[arg(long)]
    llamacpp: bool,
}

/// Resident memory, at most.
const RSS_BOUND: u64 = 40_000_000;
/// Growth of resident memory from the first quarter of the run to its end: flat within the pages
/// that a new histogram or a longer queue may touch.
const GROWTH_BOUND: u64 = 1_000_000;
/// CPU time of the probe's process over wall time.
const CPU_BOUND: f64 = 0.01;

/// Runs the load, prints the figures, fails when a bound is broken.
pub(crate) fn run(paths: &Paths, args: &Args) -> Result<()> {
    built::programs(paths)?;
    let dir = paths.target.join("soak");
    fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;

    let mut server = Running(demo::start(&mut server(paths, args)?, &dir, "server")?);
    let address = demo::listening(&mut server.0, &dir, "server")?;
    let mut probe = Command::new(paths.binary("release", "wattprobe"));
    probe.args(["attach", "--name", "soak", "--port", demo::port_of(&address)?]);
    probe.arg("--requests").arg(dir.join("requests.jsonl"));
    probe.arg("--summary").arg(dir.join("summary.json"));
    let mut probe = Running(demo::start(&mut probe, &dir, "probe")?);
    demo::attached(&mut probe.0, &dir)?;

    let mut load = Command::new(paths.binary("release", "lab-load"));
    load.args(["--url", &address, "--overlap", &args.clients.to_string()]);
    load.args(["--duration", &format!("{}s", args.seconds)]);
    let mut load = Running(demo::start(&mut load, &dir, "load")?);
    let samples = watch(probe.0.id(), args.seconds)?;
    ensure!(load.0.wait()?.success(), "lab-load failed: see {}", dir.join("load.err").display());
    demo::end_probe(&mut probe.0, &dir)?;
    let requests = fs::read_to_string(dir.join("requests.jsonl"))?.lines().count();
    println!(
        "kernel programs: {:.2} % of one core",
        100.0 * programs_s(&dir)? / args.seconds as f64
    );
    judge(&samples, requests)
}

/// Seconds all kernel programs ran, by the kernel's own statistics.
fn programs_s(dir: &Path) -> Result<f64> {
    let summary: Value = serde_json::from_str(&fs::read_to_string(dir.join("summary.json"))?)?;
    let programs =
        summary["self"]["programs"].as_object().context("the summary has no programs")?;
    Ok(programs.values().filter_map(|program| program["ns"].as_f64()).sum::<f64>() / 1e9)
}

fn server(paths: &Paths, args: &Args) -> Result<Command> {
    if !args.llamacpp {
        let mut server = Command::new(paths.binary("release", "lab-server"));
        server.args(["--port", "0"]);
        return Ok(server);
    }
    let have = provision::tests(paths)?;
    let part = |name| have.parts.get(name).with_context(|| format!("{name} is missing"));
    let mut server = Command::new(part("python")?);
    server.arg(paths.root.join("probe-lab/servers/xllamacpp_server.py"));
    server.arg("--model").arg(part("model")?);
    Ok(server)
}

/// One sample a second, the first when the load begins.
fn watch(pid: u32, seconds: u64) -> Result<Vec<Usage>> {
    let mut samples = vec![Usage::of(pid)?];
    for _ in 0..seconds {
        thread::sleep(Duration::from_secs(1));
        samples.push(Usage::of(pid)?);
    }
    Ok(samples)
}

fn judge(samples: &[Usage], requests: usize) -> Result<()> {
    let (first, last) = (samples[0], samples[samples.len() - 1]);
    let seconds = (samples.len() - 1) as f64;
    let most = samples.iter().map(|s| s.rss_bytes).max().unwrap_or(0);
    let quarter = samples[samples.len() / 4];
    let growth = last.rss_bytes.saturating_sub(quarter.rss_bytes);
    let cpu = (last.cpu_s - first.cpu_s) / seconds;
    let mb = |bytes: u64| bytes as f64 / 1e6;
    println!("{requests} requests in {seconds} s");
    println!(
        "resident memory: {:.1} MB at the start, {:.1} MB after a quarter, {:.1} MB at the end, \
         {:.1} MB at most (bound {:.0} MB)",
        mb(first.rss_bytes),
        mb(quarter.rss_bytes),
        mb(last.rss_bytes),
        mb(most),
        mb(RSS_BOUND)
    );
    println!(
        "CPU of its process: {:.2} % of one core (bound {:.0} %)",
        cpu * 100.0,
        CPU_BOUND * 100.0
    );
    ensure!(requests > 0, "no request was seen");
    ensure!(most <= RSS_BOUND, "resident memory is above its bound");
    ensure!(growth <= GROWTH_BOUND, "resident memory grew by {:.1} MB after a quarter", mb(growth));
    ensure!(cpu <= CPU_BOUND, "CPU is above its bound");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run_of(rss: [u64; 5], cpu_s: f64) -> Vec<Usage> {
        let sample = |(i, mb): (usize, u64)| Usage {
            rss_bytes: mb * 1_000_000,
            cpu_s: cpu_s * i as f64 / 4.0,
        };
        rss.into_iter().enumerate().map(sample).collect()
    }

    #[test]
    fn flat_memory_and_little_cpu_pass() {
        assert!(judge(&run_of([18, 20, 20, 21, 20], 0.03), 9).is_ok());
    }

    #[test]
    fn growth_after_the_first_quarter_fails() {
        let error = judge(&run_of([18, 20, 22, 24, 26], 0.03), 9).unwrap_err().to_string();
        assert!(error.contains("grew by 6.0 MB"), "{error}");
    }

    #[test]
    fn more_than_one_percent_of_a_core_fails() {
        let error = judge(&run_of([18, 20, 20, 20, 20], 0.05), 9).unwrap_err().to_string();
        assert!(error.contains("CPU is above"), "{error}");
    }
}

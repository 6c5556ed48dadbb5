//! The fuzz targets of `probe-user/fuzz`, built with cargo-fuzz and run side by side.
//!
//! Without a sanitizer: what is fuzzed is safe Rust, where a sanitizer finds nothing and would ask for a
//! nightly compiler. What a run finds new is kept in the cache, so that the next one goes on from there; the
//! seeds that are committed come from `cargo xtask bless`.

use std::env::{self, consts::ARCH};
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::paths::Paths;
use crate::process::{self, Running, which};
use crate::provision;

/// Which targets, and for how long.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only this target.
    #[arg(long, value_name = "NAME")]
    target: Option<String>,
    /// Seconds for each target.
    #[arg(long, default_value_t = 60, value_name = "N")]
    seconds: u64,
    /// Targets at once; one a CPU unless given.
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
    /// Where libFuzzer's random numbers begin; elsewhere each time unless given.
    #[arg(long, value_name = "N")]
    seed: Option<u32>,
}

/// Prints a line for each target; a finding is an error that names the input to reproduce it with.
pub(crate) fn run(paths: &Paths, args: &Args) -> Result<()> {
    let mut waiting = targets(paths)?;
    if let Some(name) = &args.target {
        ensure!(waiting.contains(name), "no target `{name}`; there are {}", waiting.join(", "));
        waiting.retain(|target| target == name);
    }
    build(paths)?;
    waiting.reverse();
    let jobs = args
        .jobs
        .map_or_else(|| thread::available_parallelism().map_or(1, usize::from), |n| n.max(1));
    let (mut running, mut findings) = (Vec::new(), 0);
    while !(waiting.is_empty() && running.is_empty()) {
        while running.len() < jobs
            && let Some(name) = waiting.pop()
        {
            running.push(Target::start(paths, name, args)?);
        }
        thread::sleep(Duration::from_millis(100));
        let mut still = Vec::new();
        for mut target in running {
            match target.process.0.try_wait()? {
                None => still.push(target),
                Some(status) => findings += usize::from(!target.told(status.success())?),
            }
        }
        running = still;
    }
    ensure!(findings == 0, "fuzz: {findings} of the targets found something; see above");
    Ok(())
}

/// Writes the seeds of every target anew.
pub(crate) fn write_seeds(paths: &Paths) -> Result<()> {
    let mut cargo = Command::new("cargo");
    cargo.current_dir(folder(paths)).args(["run", "--quiet", "--locked", "--example", "seeds"]);
    // Where the workspace has compiled what it needs.
    process::run(cargo.arg("--target-dir").arg(&paths.target))
}

fn folder(paths: &Paths) -> PathBuf {
    paths.root.join("probe-user/fuzz")
}

fn target_dir(paths: &Paths) -> PathBuf {
    paths.target.join("fuzz")
}

/// Names of all targets.
fn targets(paths: &Paths) -> Result<Vec<String>> {
    let folder = folder(paths).join("fuzz_targets");
    let files =
        fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut names = Vec::new();
    for file in files {
        let path = file?.path();
        names.extend(path.file_stem().map(|name| name.to_string_lossy().into_owned()));
    }
    names.sort_unstable();
    Ok(names)
}

fn build(paths: &Paths) -> Result<()> {
    if env::var_os("CXX").is_none() && which("c++").is_none() {
        provision::cxx().context("libFuzzer is C++")?;
    }
    let mut fuzz = Command::new(provision::cargo_fuzz(paths)?);
    fuzz.current_dir(folder(paths)).args(["build", "--sanitizer", "none", "--fuzz-dir", "."]);
    process::run(fuzz.arg("--target-dir").arg(target_dir(paths)))
}

/// A target that runs.
struct Target {
    name: String,
    seconds: u64,
    binary: PathBuf,
    log: PathBuf,
    process: Running,
}

impl Target {
    fn start(paths: &Paths, name: String, args: &Args) -> Result<Self> {
        let seconds = args.seconds;
        let binary = target_dir(paths).join(format!("{ARCH}-unknown-linux-gnu/release/{name}"));
        let found = paths.cache.join("fuzz-corpus").join(&name);
        let findings = target_dir(paths).join("findings");
        for folder in [&found, &findings] {
            fs::create_dir_all(folder)
                .with_context(|| format!("cannot create {}", folder.display()))?;
        }
        let log = findings.join(format!("{name}.log"));
        let file = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let mut command = Command::new(&binary);
        // New inputs go into the first folder.
        command.arg(&found).arg(folder(paths).join("corpus").join(&name));
        command.arg(format!("-max_total_time={seconds}"));
        // 0 is libFuzzer's word for another each time.
        command.arg(format!("-seed={}", args.seed.unwrap_or(0)));
        command.arg(format!("-artifact_prefix={}/{name}-", findings.display()));
        command.arg(format!("-dict={}", folder(paths).join("words.dict").display()));
        command.args(["-print_final_stats=1", "-rss_limit_mb=2048", "-timeout=20"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file);
        let child = command
            .spawn()
            .with_context(|| format!("cannot start `{}`", process::show(&command)))?;
        Ok(Self { name, seconds, binary, log, process: Running(child) })
    }

    /// Prints what came of it; whether it found nothing.
    fn told(&self, success: bool) -> Result<bool> {
        let said =
            fs::read(&self.log).with_context(|| format!("cannot read {}", self.log.display()))?;
        let said = String::from_utf8_lossy(&said);
        let name = &self.name;
        if success {
            let Some(done) = Done::of(&said) else {
                bail!("{name}: its log ends early; see {}", self.log.display());
            };
            println!(
                "{name}: {} runs in {} s, {} edges covered, nothing found",
                done.runs, self.seconds, done.edges
            );
            return Ok(true);
        }
        let input = said.lines().find_map(|line| line.split_once("Test unit written to "));
        let why = said.lines().skip_while(|line| !line.contains("panicked at"));
        println!("{name}: a finding");
        why.take(2).for_each(|line| println!("    {line}"));
        match input {
            Some((_, input)) => println!("    again: {} {input}", self.binary.display()),
            None => println!("    no input was written; see {}", self.log.display()),
        }
        Ok(false)
    }
}

/// The figures that libFuzzer closes with.
#[derive(Debug, PartialEq, Eq)]
struct Done {
    runs: u64,
    edges: u64,
}

impl Done {
    fn of(log: &str) -> Option<Self> {
        let behind = |prefix| {
            let (_, rest) = log.rsplit_once(prefix)?;
            rest.split_whitespace().next()?.parse().ok()
        };
        Some(Self { runs: behind("stat::number_of_executed_units:")?, edges: behind(" cov: ")? })
    }
}

#[cfg(test)]
mod tests {
    use super::Done;

    #[test]
    fn the_closing_figures_are_the_last_ones() {
        let log = "#2\tINITED cov: 5 ft: 6 corp: 1/1b\n#9\tDONE   cov: 17 ft: 20 corp: 2/9b\n\
                   Done 9 runs in 1 second(s)\nstat::number_of_executed_units: 9\n";
        assert_eq!(Done::of(log), Some(Done { runs: 9, edges: 17 }));
        assert_eq!(Done::of("==1== ERROR: libFuzzer: out-of-memory"), None);
    }
}

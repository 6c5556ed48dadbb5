//! Runs machines one after another; fetches and builds what they need when the first of them needs it.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};

use super::guest::{self, Parts};
use super::machine::{Machine, Results};
use super::plan::Job;
use super::report::Outcome;
use super::scenario::Scenario;
use super::verifier::{self, Reference};
use crate::paths::Paths;
use crate::provision::{KNOWN_KERNELS, Kernel, qemu};

/// A guest that takes longer hangs. Emulated time passes slower than real time.
const PATIENCE: Duration = Duration::from_mins(5);
const PATIENCE_DETERMINISTIC: Duration = Duration::from_mins(20);

type Modules = BTreeMap<String, Vec<u8>>;

/// A kernel and its modules, or why there are none.
struct Ready {
    kernel: Kernel,
    modules: Result<Modules, String>,
}

pub(super) struct Runner<'a> {
    paths: &'a Paths,
    cache: PathBuf,
    kvm: bool,
    kernels: BTreeMap<String, Result<Ready, String>>,
}

impl<'a> Runner<'a> {
    pub(super) fn new(paths: &'a Paths, cache: PathBuf, kvm: bool) -> Self {
        Self { paths, cache, kvm, kernels: BTreeMap::new() }
    }

    /// Runs all jobs; those that cannot run are in the outcome with the reason.
    pub(super) fn run(
        mut self,
        jobs: &[Job],
        scenarios: &[Scenario],
        bless: bool,
    ) -> Result<Outcome> {
        let mut outcome = Outcome::default();
        if let Err(error) = qemu() {
            let why = format!("{error:#}");
            outcome.not_run.extend(jobs.iter().map(|job| (job.name(), why.clone())));
            return Ok(outcome);
        }
        // Our own programs not building is no lack of this machine.
        let parts = Parts::build(self.paths, &self.cache)?;
        let file = verifier::file(&self.paths.root);
        let reference = Reference::read(&file)?;
        let folder = self.cache.join("runs").join(std::process::id().to_string());
        for job in jobs {
            let named = scenarios.iter().find(|s| s.name == job.scenario);
            let scenario = named.with_context(|| format!("no scenario {}", job.scenario))?;
            if let Some(why) =
                job.senseless(scenario).or_else(|| self.obstacle(job, scenario, &parts))
            {
                println!("not run: {}, because {why}", job.name());
                outcome.not_run.insert(job.name(), why);
                continue;
            }
            let results =
                self.start(job, scenario, &parts, &folder.join(job.name().replace("::", "-")));
            let (results, mut wrong) = match results {
                Ok((results, wrong)) => (results, wrong),
                Err(error) => (Results::default(), vec![format!("{error:#}")]),
            };
            wrong.extend(results.errors.iter().map(|e| format!("the guest: {e}")));
            for (name, text) in &results.texts {
                println!("{}: {name}: {text}", job.name());
            }
            if scenario.verifies() {
                let counts = verifier::counts(&results.verify);
                let ours = if bless { Vec::new() } else { reference.compare(&job.kernel, &counts) };
                wrong.extend(ours);
                // A guest that failed half way has not counted everything.
                if wrong.is_empty() || !bless {
                    outcome.counts.insert(job.kernel.clone(), counts);
                }
            }
            let judge = |e: &super::expect::Expect| e.judge(&results.figures, job.deterministic);
            outcome.book(job, &scenario.expect.iter().map(judge).collect::<Vec<_>>(), &wrong);
        }
        if bless {
            reference.bless(&outcome.counts, &file)?;
        }
        if outcome.failed.is_empty() {
            let _ = fs::remove_dir_all(&folder);
        } else {
            println!("consoles and results: {}", folder.display());
        }
        Ok(outcome)
    }

    /// What this machine lacks for it.
    fn obstacle(&mut self, job: &Job, scenario: &Scenario, parts: &Parts) -> Option<String> {
        if scenario.needs_perf()
            && let Some(why) = parts.without_perf()
        {
            return Some(why.to_owned());
        }
        match self.ready(&job.kernel) {
            Err(why) => Some(format!("Linux {} could not be had: {why}", job.kernel)),
            Ok(ready) if scenario.needs_module() => ready.modules.as_ref().err().cloned(),
            Ok(_) => None,
        }
    }

    fn ready(&mut self, label: &str) -> Result<&Ready, String> {
        let (paths, cache) = (self.paths, &self.cache);
        let fetch = || {
            let known = KNOWN_KERNELS.iter().find(|known| known.label == label);
            let known = known.with_context(|| format!("no kernel {label}"))?;
            let kernel = Kernel::fetch(cache, known)?;
            let modules = guest::modules(paths, cache, &kernel).map_err(|e| format!("{e:#}"));
            println!("Linux {label} is {}", kernel.release);
            Ok(Ready { kernel, modules })
        };
        let entry = self.kernels.entry(label.to_owned());
        let ready = entry.or_insert_with(|| fetch().map_err(|e: anyhow::Error| format!("{e:#}")));
        ready.as_ref().map_err(Clone::clone)
    }

    /// Boots it, twice where the runs must be the same, and says what is wrong with them.
    fn start(
        &mut self,
        job: &Job,
        scenario: &Scenario,
        parts: &Parts,
        dir: &std::path::Path,
    ) -> Result<(Results, Vec<String>)> {
        let kvm = self.kvm;
        let ready = self.ready(&job.kernel).map_err(anyhow::Error::msg)?;
        fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
        let modules = ready.modules.as_ref().ok().filter(|_| scenario.needs_module());
        let initramfs = dir.join("initramfs");
        let guests_copy = scenario.resolve(job.resolved(scenario))?;
        fs::write(&initramfs, parts.initramfs(modules, scenario.needs_perf(), guests_copy)?)?;
        let machine = Machine {
            image: &ready.kernel.image(),
            cpu: job.cpu,
            cpus: job.cpus(scenario),
            sockets: job.sockets,
            memory_mb: scenario.memory_mb,
            deterministic: job.deterministic,
            kvm,
            patience: if job.deterministic { PATIENCE_DETERMINISTIC } else { PATIENCE },
        };
        let run = |name: &str| {
            let dir = dir.join(name);
            fs::create_dir_all(&dir)?;
            machine.run(&initramfs, &dir)
        };
        let first = run("1")?;
        let mut wrong = Vec::new();
        if job.deterministic && run("2")?.bytes != first.bytes {
            wrong.push("two deterministic runs differ".to_owned());
        }
        let _ = fs::remove_file(&initramfs);
        Ok((first, wrong))
    }
}

//! Which machines can be and are: fetches and builds what they need, runs them, judges what came out.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::thread;

use anyhow::{Context, Result};

use super::guest::{self, Parts, Unbuilt};
use super::lane::{Lane, Ready};
use super::machine::Results;
use super::plan::{self, Job};
use super::report::Outcome;
use super::scenario::Scenario;
use super::verifier::{self, Reference};
use crate::paths::Paths;
use crate::provision::{KNOWN_KERNELS, Kernel, qemu};

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
    ///
    /// A guest that verifies programs computes for minutes on one CPU and measures nothing; what measures time leaves a CPU
    /// idle half of its own. So there are two rows: one after another in each, one beside the other.
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
        let parts = Parts::build(self.paths)?;
        let (mut verifying, mut measuring) = (Vec::new(), Vec::new());
        for job in jobs {
            let named = scenarios.iter().find(|s| s.name == job.scenario);
            let scenario = named.with_context(|| format!("no scenario {}", job.scenario))?;
            if let Some(why) =
                job.senseless(scenario).or_else(|| self.obstacle(job, scenario, &parts))
            {
                println!("not run: {}, because {why}", job.name());
                outcome.not_run.insert(job.name(), why);
            } else if scenario.verifies() {
                verifying.push((job, scenario));
            } else {
                measuring.push((job, scenario));
            }
        }
        let folder = self.cache.join("runs").join(std::process::id().to_string());
        let reference = Reference::read(&verifier::file(&self.paths.root))?;
        let held_against = (!bless).then_some(&reference);
        let booked = Mutex::new(outcome);
        let in_a_row = |jobs: &[(&Job, &Scenario)], lane: &mut Lane<'_>| {
            for (job, scenario) in jobs {
                let results = lane.run(job, scenario);
                let mut outcome = booked.lock().unwrap_or_else(PoisonError::into_inner);
                self.judge(job, scenario, results, held_against, &mut outcome);
            }
        };
        let lane = || Lane::new(self.paths, self.kvm, &self.kernels, &parts, &folder);
        let mut beside = lane();
        beside.modest = !measuring.is_empty();
        thread::scope(|scope| {
            scope.spawn(|| in_a_row(&verifying, &mut beside));
            in_a_row(&measuring, &mut lane());
        });
        let mut outcome = booked.into_inner().unwrap_or_else(PoisonError::into_inner);
        let file = verifier::file(&self.paths.root);
        if bless && let Err(refused) = reference.bless(&outcome.counts, &outcome.failed, &file) {
            outcome.failed.push(format!("vm::bless: {refused:#}"));
        }
        if outcome.failed.is_empty() {
            let _ = fs::remove_dir_all(&folder);
        } else {
            println!("consoles and results: {}", folder.display());
        }
        Ok(outcome)
    }

    /// What one machine's results come to.
    fn judge(
        &self,
        job: &Job,
        scenario: &Scenario,
        results: Result<(Results, Vec<String>)>,
        reference: Option<&Reference>,
        outcome: &mut Outcome,
    ) {
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
            let release = match self.kernels.get(&job.kernel) {
                Some(Ok(ready)) => &ready.kernel.release,
                _ => "?",
            };
            if let Some(reference) = reference {
                wrong.extend(reference.compare(&job.kernel, release, &counts));
            }
            outcome.counts.insert(job.kernel.clone(), counts);
        }
        let judge = |e: &super::expect::Expect| e.judge(&results.figures, job.deterministic);
        let asked = scenario.expect.iter().filter(|e| e.asked(job.deterministic));
        outcome.book(job, &asked.map(judge).collect::<Vec<_>>(), &wrong);
    }

    /// What this machine lacks for it.
    fn obstacle(&mut self, job: &Job, scenario: &Scenario, parts: &Parts) -> Option<String> {
        if scenario.on.kvm && !self.kvm {
            return Some("it says nothing on an emulated processor; --kvm".to_owned());
        }
        if scenario.needs_perf()
            && let Some(why) = parts.without_perf()
        {
            return Some(why.to_owned());
        }
        match self.ready(&job.kernel) {
            Err(why) => Some(format!("Linux {} could not be had: {why}", job.kernel)),
            Ok(ready) if scenario.needs_module() => {
                let unbuilt = ready.modules.as_ref().err()?;
                excuse(&job.kernel, unbuilt).map(str::to_owned)
            }
            Ok(_) => None,
        }
    }

    fn ready(&mut self, label: &str) -> Result<&Ready, String> {
        let (paths, cache) = (self.paths, &self.cache);
        let fetch = || {
            let known = KNOWN_KERNELS.iter().find(|known| known.label == label);
            let known = known.with_context(|| format!("no kernel {label}"))?;
            let kernel = Kernel::fetch(cache, known)?;
            let modules = guest::modules(paths, cache, &kernel);
            println!("Linux {label} is {}", kernel.release);
            Ok(Ready { kernel, modules })
        };
        let entry = self.kernels.entry(label.to_owned());
        let ready = entry.or_insert_with(|| fetch().map_err(|e: anyhow::Error| format!("{e:#}")));
        ready.as_ref().map_err(Clone::clone)
    }
}

/// Whether a kernel without modules is merely not run. Those that we promise must have them where the machine
/// has the tools; a newer one's build tools may refuse this system's compiler.
fn excuse<'a>(kernel: &str, unbuilt: &'a Unbuilt) -> Option<&'a str> {
    match unbuilt {
        Unbuilt::Broken(_) if plan::SHORT.contains(&kernel) => None,
        Unbuilt::Lacking(why) | Unbuilt::Broken(why) => Some(why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_that_does_not_build_is_a_failure_on_the_kernels_we_promise() {
        let broken = Unbuilt::Broken("x.c: error".to_owned());
        assert_eq!(excuse("6.1", &broken), None);
        assert_eq!(excuse("6.12", &broken), None);
        assert_eq!(excuse("7.2", &broken), Some("x.c: error"));
        let lacking = Unbuilt::Lacking("no make".to_owned());
        assert_eq!(excuse("6.12", &lacking), Some("no make"));
    }
}

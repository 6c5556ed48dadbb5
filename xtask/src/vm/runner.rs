//! Runs machines one after another; fetches and builds what they need when the first of them needs it.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};

use super::guest::{self, Parts, Unbuilt};
use super::machine::{Failed, Machine, Results};
use super::plan::{self, Job};
use super::report::Outcome;
use super::scenario::Scenario;
use super::verifier::{self, Reference};
use crate::paths::Paths;
use crate::provision::{KNOWN_KERNELS, Kernel, qemu};

/// A guest that takes longer, beside what it burns, hangs. Emulated time passes slower than real time.
const PATIENCE: Duration = Duration::from_secs(90);
/// Verifying every program takes an emulated processor minutes.
const VERIFYING: Duration = Duration::from_mins(4);
const PATIENCE_DETERMINISTIC: Duration = Duration::from_mins(20);
/// A machine is booted so often at most, where the emulator spoils it.
const BOOTS: u32 = 3;
/// After so many in a row, the others of that kernel are not waited for.
const HANGS: u32 = 2;

type Modules = BTreeMap<String, Vec<u8>>;

/// A kernel and its modules, or why there are none.
struct Ready {
    kernel: Kernel,
    modules: Result<Modules, Unbuilt>,
}

pub(super) struct Runner<'a> {
    paths: &'a Paths,
    cache: PathBuf,
    kvm: bool,
    kernels: BTreeMap<String, Result<Ready, String>>,
    /// Guests in a row that hung, by kernel.
    hangs: BTreeMap<String, u32>,
}

impl<'a> Runner<'a> {
    pub(super) fn new(paths: &'a Paths, cache: PathBuf, kvm: bool) -> Self {
        Self { paths, cache, kvm, kernels: BTreeMap::new(), hangs: BTreeMap::new() }
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
        let parts = Parts::build(self.paths)?;
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
            let hung = failed(&results).is_some_and(|failed| failed.hung);
            if !self.given_up(&job.kernel) {
                let row = self.hangs.entry(job.kernel.clone()).or_default();
                *row = in_a_row(*row, hung);
            }
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
                if !bless {
                    let release =
                        self.ready(&job.kernel).map_or("?", |ready| &ready.kernel.release);
                    wrong.extend(reference.compare(&job.kernel, release, &counts));
                }
                outcome.counts.insert(job.kernel.clone(), counts);
            }
            let judge = |e: &super::expect::Expect| e.judge(&results.figures, job.deterministic);
            let asked = scenario.expect.iter().filter(|e| e.asked(job.deterministic));
            outcome.book(job, &asked.map(judge).collect::<Vec<_>>(), &wrong);
        }
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

    /// Whether the last guests of this kernel hung.
    fn given_up(&self, kernel: &str) -> bool {
        self.hangs.get(kernel).is_some_and(|row| *row >= HANGS)
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

    /// Boots it, twice where the runs must be the same, and says what is wrong with them.
    fn start(
        &mut self,
        job: &Job,
        scenario: &Scenario,
        parts: &Parts,
        dir: &std::path::Path,
    ) -> Result<(Results, Vec<String>)> {
        let kvm = self.kvm;
        ensure!(
            !self.given_up(&job.kernel),
            "the last {HANGS} guests of Linux {} hung",
            job.kernel
        );
        let ready = self.ready(&job.kernel).map_err(anyhow::Error::msg)?;
        fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
        let modules = match &ready.modules {
            _ if !scenario.needs_module() => None,
            Ok(modules) => Some(modules),
            Err(unbuilt) => return Err(anyhow!("{}", unbuilt.why())),
        };
        let initramfs = dir.join("initramfs");
        let guests_copy = scenario.resolve(job.resolved(scenario))?;
        fs::write(&initramfs, parts.initramfs(modules, scenario.needs_perf(), guests_copy)?)?;
        let machine = Machine {
            image: &ready.kernel.image(),
            cpu: job.cpu,
            cpus: job.cpus(scenario),
            sockets: job.sockets,
            threads: job.threads(scenario),
            memory_mb: scenario.memory_mb,
            deterministic: job.deterministic,
            kvm,
            patience: patience(scenario.burn(), job.deterministic)
                + if scenario.verifies() { VERIFYING } else { Duration::ZERO },
        };
        let run = |name: &str| {
            let dir = dir.join(name);
            fs::create_dir_all(&dir)?;
            again(BOOTS, || machine.run(&initramfs, &dir))
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

fn failed(results: &Result<impl Sized>) -> Option<&Failed> {
    results.as_ref().err()?.downcast_ref()
}

/// Boots until the emulator has not spoilt it, or so many times.
fn again<T>(times: u32, mut boot: impl FnMut() -> Result<T>) -> Result<T> {
    let mut left = times;
    loop {
        let results = boot();
        left = left.saturating_sub(1);
        if left == 0 || !failed(&results).is_some_and(|failed| failed.emulator) {
            return results;
        }
        println!("the emulator spoilt the machine; once more");
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

fn patience(burn: Duration, deterministic: bool) -> Duration {
    burn + if deterministic { PATIENCE_DETERMINISTIC } else { PATIENCE }
}

/// Guests in a row that hung, after one more.
fn in_a_row(before: u32, hung: bool) -> u32 {
    if hung { before + 1 } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_that_does_not_come_up_is_booted_again_and_one_that_does_is_not() {
        let mut boots = 0;
        let mut boot = |emulator: bool, works: u32| {
            boots = 0;
            let booted = again(BOOTS, || {
                boots += 1;
                if boots >= works {
                    Ok(())
                } else {
                    Err(anyhow!("").context(Failed { words: String::new(), hung: false, emulator }))
                }
            });
            (booted.is_ok(), boots)
        };
        assert_eq!(boot(true, 1), (true, 1));
        assert_eq!(boot(true, 3), (true, 3));
        assert_eq!(boot(true, 9), (false, BOOTS));
        assert_eq!(boot(false, 9), (false, 1));
    }

    #[test]
    fn a_module_that_does_not_build_is_a_failure_on_the_kernels_we_promise() {
        let broken = Unbuilt::Broken("x.c: error".to_owned());
        assert_eq!(excuse("6.1", &broken), None);
        assert_eq!(excuse("6.12", &broken), None);
        assert_eq!(excuse("7.2", &broken), Some("x.c: error"));
        let lacking = Unbuilt::Lacking("no make".to_owned());
        assert_eq!(excuse("6.12", &lacking), Some("no make"));
    }

    #[test]
    fn a_guest_that_burns_a_minute_is_given_that_minute_more() {
        assert_eq!(patience(Duration::from_secs(60), false), Duration::from_secs(150));
        assert_eq!(patience(Duration::ZERO, false), Duration::from_secs(90));
        assert_eq!(patience(Duration::ZERO, true), Duration::from_mins(20));
    }

    #[test]
    fn only_hangs_in_a_row_are_counted() {
        let after = |all: &[bool]| all.iter().fold(0, |n, hung| in_a_row(n, *hung));
        assert_eq!(after(&[true, true]), HANGS);
        assert_eq!(after(&[true, false, true]), 1);
    }
}

//! Machines one after another: boots each, again where the emulator spoilt it, and gives a kernel up that hangs.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};

use super::e2e;
use super::guest::{Parts, Unbuilt};
use super::machine::{Failed, Machine, Results};
use super::pack::Files;
use super::plan::Job;
use super::scenario::Scenario;
use crate::paths::Paths;
use crate::provision::Kernel;

/// A guest that takes longer, beside what it burns, hangs. Emulated time passes slower than real time.
const PATIENCE: Duration = Duration::from_secs(90);
/// Verifying every program takes an emulated processor minutes, and several times as many where other machines leave little.
const VERIFYING: Duration = Duration::from_mins(20);
const PATIENCE_DETERMINISTIC: Duration = Duration::from_mins(20);
/// A machine is booted so often at most, where the emulator spoils it.
const BOOTS: u32 = 3;
/// After so many in a row, the others of that kernel in the same lane are not waited for.
const HANGS: u32 = 2;

/// A kernel and its modules, or why there are none.
pub(super) struct Ready {
    pub(super) kernel: Kernel,
    pub(super) modules: Result<Files, Unbuilt>,
}

pub(super) struct Lane<'a> {
    paths: &'a Paths,
    kvm: bool,
    kernels: &'a BTreeMap<String, Result<Ready, String>>,
    parts: &'a Parts,
    folder: &'a Path,
    /// They only take what other processes leave.
    pub(super) modest: bool,
    /// Guests in a row that hung, by kernel.
    hangs: BTreeMap<String, u32>,
}

impl<'a> Lane<'a> {
    /// Machines on these kernels, with these programs in them; their files go below `folder`.
    pub(super) fn new(
        paths: &'a Paths,
        kvm: bool,
        kernels: &'a BTreeMap<String, Result<Ready, String>>,
        parts: &'a Parts,
        folder: &'a Path,
    ) -> Self {
        Self { paths, kvm, kernels, parts, folder, modest: false, hangs: BTreeMap::new() }
    }

    /// What the guest printed, and what is wrong with it.
    pub(super) fn run(&mut self, job: &Job, scenario: &Scenario) -> Result<(Results, Vec<String>)> {
        let results = self.start(job, scenario, &self.folder.join(job.name().replace("::", "-")));
        if !self.given_up(&job.kernel) {
            let hung = failed(&results).is_some_and(|failed| failed.hung);
            let row = self.hangs.entry(job.kernel.clone()).or_default();
            *row = in_a_row(*row, hung);
        }
        results
    }

    /// Whether the last guests of this kernel hung.
    fn given_up(&self, kernel: &str) -> bool {
        self.hangs.get(kernel).is_some_and(|row| *row >= HANGS)
    }

    /// Boots it, twice where the runs must be the same, and says what is wrong with them.
    fn start(&self, job: &Job, scenario: &Scenario, dir: &Path) -> Result<(Results, Vec<String>)> {
        let (kvm, paths) = (self.kvm, self.paths);
        ensure!(
            !self.given_up(&job.kernel),
            "the last {HANGS} guests of Linux {} hung",
            job.kernel
        );
        let ready = self.kernels.get(&job.kernel).context("its kernel was not fetched")?;
        let ready = ready.as_ref().map_err(|why| anyhow!("{why}"))?;
        fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
        let modules = match &ready.modules {
            _ if !scenario.needs_module() => None,
            Ok(modules) => Some(modules),
            Err(unbuilt) => return Err(anyhow!("{}", unbuilt.why())),
        };
        let initramfs = dir.join("initramfs");
        let guests_copy = scenario.resolve(job.resolved(scenario, !kvm))?;
        let tests = scenario.tests();
        let more = if tests.is_empty() { Files::new() } else { e2e::files(paths, &tests, !kvm)? };
        let perf = scenario.needs_perf();
        fs::write(&initramfs, self.parts.initramfs(modules, perf, &more, guests_copy)?)?;
        let machine = Machine {
            image: &ready.kernel.image(),
            cpu: job.cpu,
            cpus: job.cpus(scenario),
            sockets: job.sockets,
            threads: job.threads(scenario),
            memory_mb: scenario.memory_mb,
            deterministic: job.deterministic,
            kvm,
            modest: self.modest,
            patience: patience(scenario.lasts(), job.deterministic)
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

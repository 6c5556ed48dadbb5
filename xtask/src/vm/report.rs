//! What came out of all machines.

use std::collections::BTreeMap;

use super::expect::{Judged, Verdict};
use super::plan::Job;
use super::table;
use super::verifier::{self, Counts};

/// Results of a run of `cargo xtask vm`, counted like tests: one per machine.
#[derive(Default)]
pub(crate) struct Outcome {
    /// Machines whose figures all hold.
    pub(crate) passed: usize,
    /// Names of the others.
    pub(crate) failed: Vec<String>,
    /// Those that could not run, and why.
    pub(crate) not_run: BTreeMap<String, String>,
    rows: Vec<Vec<String>>,
    /// The verifier's counts by kernel.
    pub(super) counts: BTreeMap<String, Counts>,
}

impl Outcome {
    /// Books one machine: its figures, and what else is wrong.
    pub(super) fn book(&mut self, job: &Job, judged: &[Judged], wrong: &[String]) {
        let mode = if job.deterministic { "deterministic" } else { "plain" };
        let run = [&job.scenario, &job.kernel, job.cpu.name(), &job.sockets.to_string(), mode]
            .map(str::to_owned);
        self.rows.extend(judged.iter().map(|one| table::row(&run, one)));
        for line in wrong {
            println!("{}: {line}", job.name());
        }
        let failed = !wrong.is_empty() || judged.iter().any(|j| j.verdict == Verdict::Failed);
        println!("test {} ... {}", job.name(), if failed { "FAILED" } else { "ok" });
        if failed {
            self.failed.push(job.name());
        } else {
            self.passed += 1;
        }
    }

    /// The figures, and the verifier's counts.
    pub(crate) fn print_tables(&self) {
        if !self.rows.is_empty() {
            let rows: Vec<_> = std::iter::once(table::head()).chain(self.rows.clone()).collect();
            println!("\n{}", table::text(&rows));
        }
        if !self.counts.is_empty() {
            println!(
                "Instructions that the verifier walked:\n\n{}",
                table::text(&verifier::table(&self.counts))
            );
        }
    }

    /// Everything.
    pub(super) fn print(&self) {
        self.print_tables();
        for (name, why) in &self.not_run {
            println!("not run: {name}, because {why}");
        }
        for name in &self.failed {
            println!("failed: {name}");
        }
        println!(
            "{} passed, {} failed, {} not run",
            self.passed,
            self.failed.len(),
            self.not_run.len()
        );
    }
}

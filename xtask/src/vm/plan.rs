//! Which machines are started: scenario by kernel by processor by sockets.

use super::machine::Cpu;
use super::scenario::{Resolved, Scenario};

/// What runs in `cargo xtask test`: minutes, not an hour.
const SHORT: [&str; 5] = ["verify", "model", "equal", "unequal", "perf-stat"];
/// What runs with two sockets, on AMD, and without chance, in the full matrix.
const TWO_SOCKETS: [&str; 2] = ["equal", "model"];
const AMD: [&str; 2] = ["equal", "model"];
const DETERMINISTIC: [&str; 2] = ["equal", "model"];
/// The probe needs `bpf_task_pt_regs`.
const FIRST_KERNEL: (u32, u32) = (5, 15);
/// Before it, two CPUs that take turns do not do so alike in every run.
const FIRST_REPEATABLE: (u32, u32) = (6, 12);

/// One machine to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Job {
    pub(super) kernel: String,
    pub(super) scenario: String,
    pub(super) cpu: Cpu,
    pub(super) sockets: u32,
    pub(super) deterministic: bool,
}

impl Job {
    pub(super) fn new(kernel: &str, scenario: &str) -> Self {
        let (kernel, scenario) = (kernel.to_owned(), scenario.to_owned());
        Self { kernel, scenario, cpu: Cpu::Intel, sockets: 1, deterministic: false }
    }

    /// As a test's name.
    pub(super) fn name(&self) -> String {
        let how = if self.deterministic { "-deterministic" } else { "" };
        let Self { kernel, scenario, cpu, sockets, .. } = self;
        format!("vm::{scenario}::linux-{kernel}-{}-{sockets}{how}", cpu.name())
    }

    /// The machine's CPUs.
    pub(super) fn cpus(&self, scenario: &Scenario) -> u32 {
        if self.deterministic && version(&self.kernel) < FIRST_REPEATABLE {
            return 1;
        }
        scenario.cpus.next_multiple_of(self.sockets)
    }

    pub(super) fn resolved(&self, scenario: &Scenario) -> Resolved<'_> {
        Resolved {
            kernel: &self.kernel,
            cpu: self.cpu.name(),
            cpus: self.cpus(scenario),
            sockets: self.sockets,
            deterministic: self.deterministic,
        }
    }

    /// Why it cannot be, whatever this machine has.
    pub(super) fn senseless(&self, scenario: &Scenario) -> Option<String> {
        let cpus = self.cpus(scenario);
        if version(&self.kernel) < FIRST_KERNEL && scenario.needs_object() {
            return Some("the probe needs Linux 5.15 (bpf_task_pt_regs)".into());
        }
        if u64::from(cpus) < scenario.fewest_cpus() || cpus < self.sockets {
            return Some(format!(
                "{cpus} CPU is too few, and more are not repeatable before Linux 6.12"
            ));
        }
        None
    }
}

/// `6.12` → (6, 12); `7` → (7, 0).
fn version(label: &str) -> (u32, u32) {
    let mut parts = label.split('.').map(|part| part.parse().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
}

/// The short form.
pub(super) fn short() -> Vec<Job> {
    ["6.1", "6.12"].iter().flat_map(|k| SHORT.iter().map(|s| Job::new(k, s))).collect()
}

/// Everything.
pub(super) fn all(kernels: &[String], scenarios: &[Scenario]) -> Vec<Job> {
    let mut jobs = Vec::new();
    for kernel in kernels {
        let job = |scenario: &str| Job::new(kernel, scenario);
        jobs.extend(scenarios.iter().map(|s| job(&s.name)));
        jobs.extend(TWO_SOCKETS.iter().map(|s| Job { sockets: 2, ..job(s) }));
        jobs.extend(AMD.iter().map(|s| Job { cpu: Cpu::Amd, ..job(s) }));
        jobs.extend(DETERMINISTIC.iter().map(|s| Job { deterministic: true, ..job(s) }));
    }
    jobs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scenario(steps: &str) -> Scenario {
        let text = format!(
            r#"{{"name": "x", "about": "", "cpus": 2, "memory_mb": 64, "steps": [{steps}], "expect": []}}"#
        );
        Scenario::parse(&text).unwrap()
    }

    #[test]
    fn a_kernel_older_than_the_probe_runs_only_what_needs_no_probe() {
        let job = Job::new("5.10", "x");
        assert!(job.senseless(&scenario(r#""verify""#)).unwrap().contains("5.15"));
        assert_eq!(job.senseless(&scenario(r#"{"model": {}}"#)), None);
        assert_eq!(Job::new("7", "x").senseless(&scenario(r#""verify""#)), None);
    }

    #[test]
    fn an_old_kernel_is_repeatable_with_one_cpu_only() {
        let job = |kernel: &str| Job { deterministic: true, ..Job::new(kernel, "x") };
        let plain = scenario(r#""load""#);
        assert_eq!(job("6.1").cpus(&plain), 1);
        assert_eq!(job("6.12").cpus(&plain), 2);
        let unplugged = scenario(r#"{"measure": {"actions": [{"do": {"offline": 1}}]}}"#);
        assert!(job("6.1").senseless(&unplugged).is_some());
        assert!(Job { sockets: 2, ..job("6.1") }.senseless(&plain).is_some());
    }

    #[test]
    fn the_short_form_verifies_the_object_on_both_kernels() {
        let jobs = short();
        for kernel in ["6.1", "6.12"] {
            assert!(jobs.contains(&Job::new(kernel, "verify")));
        }
    }
}

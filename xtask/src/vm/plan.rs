//! Which machines are started: scenario by kernel by processor by sockets.

use super::machine::Cpu;
use super::scenario::{On, Resolved, Scenario};

/// The probe needs `bpf_task_pt_regs`.
const FIRST_KERNEL: (u32, u32) = (5, 15);
/// The kernels of the short form.
pub(super) const SHORT: [&str; 2] = ["6.1", "6.12"];

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

    /// The machine's CPUs. Two that take turns do not do so alike in every run, so in deterministic mode a
    /// package has one.
    pub(super) fn cpus(&self, scenario: &Scenario) -> u32 {
        let each = if self.deterministic { 1 } else { scenario.cpus };
        each * self.sockets
    }

    /// The threads of each core: only so many as CPUs make whole cores of.
    pub(super) fn threads(&self, scenario: &Scenario) -> u32 {
        let each = self.cpus(scenario) / self.sockets.max(1);
        let wanted = scenario.on.threads.max(1);
        if each.is_multiple_of(wanted) { wanted } else { 1 }
    }

    pub(super) fn resolved(&self, scenario: &Scenario, emulated: bool) -> Resolved<'_> {
        Resolved {
            kernel: &self.kernel,
            cpu: self.cpu.name(),
            cpus: self.cpus(scenario),
            sockets: self.sockets,
            deterministic: self.deterministic,
            emulated,
        }
    }

    /// Why it cannot be, whatever this machine has.
    pub(super) fn senseless(&self, scenario: &Scenario) -> Option<String> {
        let cpus = self.cpus(scenario);
        if version(&self.kernel) < FIRST_KERNEL && scenario.needs_object() {
            return Some("the probe needs Linux 5.15 (bpf_task_pt_regs)".into());
        }
        if let Some(from) = scenario.on.from.as_ref().filter(|f| version(&self.kernel) < version(f))
        {
            return Some(format!("it needs Linux {from}"));
        }
        if u64::from(cpus) < scenario.fewest_cpus() {
            return Some(format!("{cpus} CPU is too few, and more are not repeatable"));
        }
        None
    }
}

/// `6.12` → (6, 12). A bare `7` is the newest of its kind.
fn version(label: &str) -> (u32, u32) {
    let mut parts = label.split('.').map(|part| part.parse().ok());
    (parts.next().flatten().unwrap_or(0), parts.next().map_or(u32::MAX, |p| p.unwrap_or(0)))
}

/// The short form: minutes, not an hour.
pub(super) fn short(scenarios: &[Scenario]) -> Vec<Job> {
    let wanted = |scenario: &&Scenario| scenario.on.short;
    SHORT.iter().flat_map(|k| scenarios.iter().filter(wanted).map(|s| first(k, s))).collect()
}

/// Everything: each scenario on each of its processors, on each of its numbers of packages, and in
/// deterministic mode.
pub(super) fn all(kernels: &[String], scenarios: &[Scenario]) -> Vec<Job> {
    let mut jobs = Vec::new();
    for kernel in kernels {
        for scenario in scenarios {
            let (on, first) = (&scenario.on, first(kernel, scenario));
            jobs.push(first.clone());
            let cpu = |cpu: &Cpu| Job { cpu: *cpu, ..first.clone() };
            jobs.extend(on.cpu.iter().skip(1).map(cpu));
            let sockets = |sockets: &u32| Job { sockets: *sockets, ..first.clone() };
            jobs.extend(on.sockets.iter().skip(1).map(sockets));
            jobs.extend(on.deterministic.then(|| Job { deterministic: true, ..first.clone() }));
        }
    }
    jobs
}

/// A scenario on the first of its machines.
fn first(kernel: &str, scenario: &Scenario) -> Job {
    let On { cpu, sockets, .. } = &scenario.on;
    let plain = Job::new(kernel, &scenario.name);
    Job {
        cpu: cpu.first().copied().unwrap_or(plain.cpu),
        sockets: sockets.first().copied().unwrap_or(plain.sockets),
        ..plain
    }
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
    fn what_needs_two_cpus_cannot_be_deterministic_and_what_needs_a_newer_kernel_does_not_run() {
        let unplugged = scenario(r#"{"measure": {"actions": [{"do": {"offline": 1}}]}}"#);
        let plain = Job::new("6.12", "x");
        assert_eq!((plain.cpus(&unplugged), plain.senseless(&unplugged)), (2, None));
        let repeated = Job { deterministic: true, ..plain.clone() };
        assert_eq!(repeated.cpus(&unplugged), 1);
        assert!(repeated.senseless(&unplugged).is_some());
        let mut newer = scenario(r#""load""#);
        newer.on.from = Some("6.14".into());
        assert!(plain.senseless(&newer).unwrap().contains("6.14"));
        assert_eq!(Job::new("7", "x").senseless(&newer), None);
        assert_eq!(Job { sockets: 2, ..plain }.cpus(&newer), 4);
    }

    #[test]
    fn the_full_matrix_has_every_processor_every_number_of_packages_and_a_repetition() {
        let mut rich = scenario(r#""load""#);
        rich.on = On {
            cpu: vec![Cpu::Intel, Cpu::Amd],
            sockets: vec![1, 2],
            deterministic: true,
            short: true,
            kvm: false,
            threads: 1,
            from: None,
        };
        let names: Vec<_> = all(&["6.1".to_owned()], &[rich]).iter().map(Job::name).collect();
        let wanted = ["intel-1", "amd-1", "intel-2", "intel-1-deterministic"];
        assert_eq!(names, wanted.map(|w| format!("vm::x::linux-6.1-{w}")));
    }

    #[test]
    fn the_short_form_is_what_asks_for_it_on_both_kernels() {
        let mut quick = scenario(r#""verify""#);
        quick.on.short = true;
        let jobs = short(&[quick, scenario(r#""load""#)]);
        assert_eq!(jobs, ["6.1", "6.12"].map(|kernel| Job::new(kernel, "x")));
    }
}

//! What the kernel itself counted, to compare with.

use std::fs;
use std::process::{Child, Command, Stdio};

/// CPU seconds of a process, its ended threads included: `utime + stime` of `/proc/PID/stat`.
pub(crate) fn cpu_seconds(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("the server runs");
    // The second field is the name in parentheses; after it come state (3) to utime (14), stime (15).
    let (_, rest) = stat.rsplit_once(')').expect("a name in parentheses");
    let ticks: Vec<f64> = rest.split_whitespace().skip(11).take(2).map(number).collect();
    ticks.iter().sum::<f64>() / procfs::ticks_per_second() as f64
}

/// The processes that a process started, and those that they started.
pub(crate) fn descendants(pid: u32) -> Vec<u32> {
    let all = procfs::process::all_processes().expect("procfs").filter_map(Result::ok);
    let parents: Vec<(u32, u32)> = all
        .filter_map(|process| {
            let parent = process.stat().ok()?.ppid;
            Some((u32::try_from(process.pid).ok()?, u32::try_from(parent).ok()?))
        })
        .collect();
    let mut found = vec![pid];
    let mut next = 0;
    while let Some(&parent) = found.get(next) {
        found.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(child, _)| *child));
        next += 1;
    }
    found.split_off(1)
}

/// Seconds the hypervisor took from this machine's CPUs while they had work.
pub(crate) fn stolen_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/stat").expect("Linux");
    let steal = stat.lines().next().and_then(|line| line.split_whitespace().nth(8));
    number(steal.expect("steal is the eighth number")) / procfs::ticks_per_second() as f64
}

fn number(word: &str) -> f64 {
    word.parse().unwrap_or_else(|e| panic!("{word:?}: {e}"))
}

/// Processes that do nothing but burn CPU, ended when this is dropped.
pub(crate) struct Busy(Vec<Child>);

impl Busy {
    /// Starts so many.
    pub(crate) fn start(number: usize) -> Self {
        let burn = || {
            let mut burn = Command::new("sh");
            burn.args(["-c", "while :; do :; done"]).stdin(Stdio::null());
            burn.spawn().expect("there is a shell")
        };
        Self((0..number).map(|_| burn()).collect())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// How the names of the probe's kernel programs begin (`probe-ebpf`).
const OURS: [&str; 7] = ["core_", "on_", "process_", "resync", "sched_switch", "tick", "tls_"];

/// Kernel programs on this machine that are named as the probe's are, by id.
pub(crate) fn programs() -> Vec<u32> {
    let ours = |name: &str| OURS.iter().any(|begin| name.starts_with(begin));
    let loaded = aya::programs::loaded_programs().filter_map(Result::ok);
    loaded.filter(|p| p.name_as_str().is_some_and(ours)).map(|p| p.id()).collect()
}

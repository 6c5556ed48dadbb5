//! Who used a GPU since the reading before: from lists of processes to time by process.
//!
//! Best first: nobody was there; one process was, and all is its; the driver says what each used; in MIG mode, the
//! size of each one's instance; equal parts. Only the first three are more than a guess.

use std::collections::BTreeMap;

use probe_ledger::Split;

use super::device::{Fault, Gpus, Used};
use crate::source::Users;

/// What was used longer ago than this says nothing of now, ns: several times the driver's own sampling (0.17 to 1 s).
const STALE_NS: u64 = 3_000_000_000;

/// What is known of the use of one GPU.
#[derive(Debug)]
pub(super) struct Usage {
    mig: bool,
    /// The driver's clock at the last sample, µs.
    last_us: u64,
    /// When it came, ns.
    came: u64,
    /// What each process used then, percent.
    percent: BTreeMap<u32, u64>,
    /// The driver says nothing of processes.
    unsupported: bool,
}

impl Usage {
    pub(super) fn new(mig: bool) -> Self {
        Self { mig, last_us: 0, came: 0, percent: BTreeMap::new(), unsupported: mig }
    }

    /// Who used it in the `elapsed` ns before `now`.
    pub(super) fn users(&mut self, gpu: &dyn Gpus, now: u64, elapsed: u64) -> Users {
        let Ok(processes) = gpu.processes() else { return Users::Device(Split::Unknown, vec![]) };
        // Asked every time: the driver keeps what nobody asks for.
        let known = !self.unsupported && self.learn(gpu.used(self.last_us), now);
        match processes.as_slice() {
            [] => Users::Device(Split::Clocks, vec![]),
            [one] => Users::Device(Split::Exclusive, vec![(*one, elapsed)]),
            _ if self.mig => Users::Device(Split::Partition, instances(gpu, &processes, elapsed)),
            all if known => Users::Device(Split::Utilisation, self.by_use(all, elapsed)),
            all => Users::Device(Split::Equal, equal(all, elapsed)),
        }
    }

    /// Takes new samples in; whether what each process used is known.
    fn learn(&mut self, samples: Result<Vec<Used>, Fault>, now: u64) -> bool {
        match samples {
            Ok(samples) if !samples.is_empty() => {
                self.percent = means(&samples);
                self.last_us = samples.iter().map(|used| used.t_us).max().unwrap_or(self.last_us);
                self.came = now;
            }
            Ok(_) | Err(Fault::Nothing) => {
                if now.saturating_sub(self.came) > STALE_NS {
                    self.percent.clear();
                }
            }
            Err(Fault::Unsupported) => self.unsupported = true,
            Err(Fault::Failed(_)) => return false,
        }
        !self.unsupported
    }

    /// By what each used; who used nothing gets nothing.
    fn by_use(&self, processes: &[u32], elapsed: u64) -> Vec<(u32, u64)> {
        let used = |tgid: &u32| Some((*tgid, *self.percent.get(tgid)?));
        let time = |(tgid, percent): (u32, u64)| (tgid, share(elapsed, percent, 100));
        processes.iter().filter_map(used).map(time).filter(|(_, ns)| *ns > 0).collect()
    }
}

/// Mean use of each process over its samples.
fn means(samples: &[Used]) -> BTreeMap<u32, u64> {
    let mut sums: BTreeMap<u32, (u64, u64)> = BTreeMap::new();
    for used in samples {
        let (sum, count) = sums.entry(used.tgid).or_default();
        (*sum, *count) = (*sum + u64::from(used.percent), *count + 1);
    }
    sums.into_iter().map(|(tgid, (sum, count))| (tgid, sum.div_ceil(count))).collect()
}

/// By the slices of each one's instance, in equal parts within one. Where no size is known, all are equal.
fn instances(gpu: &dyn Gpus, processes: &[u32], elapsed: u64) -> Vec<(u32, u64)> {
    // A number that most sizes of a crowd in an instance divide.
    const FINE: u64 = 5040;
    let Ok(instances) = gpu.instances() else { return equal(processes, elapsed) };
    let mut weights: BTreeMap<u32, u64> = BTreeMap::new();
    for instance in &instances {
        let slices = u64::from(instance.slices.unwrap_or(1)) * FINE;
        for tgid in &instance.processes {
            *weights.entry(*tgid).or_default() += slices / instance.processes.len().max(1) as u64;
        }
    }
    if weights.is_empty() { equal(processes, elapsed) } else { parts(&weights, elapsed) }
}

fn equal(processes: &[u32], elapsed: u64) -> Vec<(u32, u64)> {
    parts(&processes.iter().map(|tgid| (*tgid, 1)).collect(), elapsed)
}

/// The time, divided by weight.
fn parts(weights: &BTreeMap<u32, u64>, elapsed: u64) -> Vec<(u32, u64)> {
    let sum = weights.values().fold(0, |sum: u64, weight| sum.saturating_add(*weight));
    weights.iter().map(|(tgid, weight)| (*tgid, share(elapsed, *weight, sum))).collect()
}

fn share(whole: u64, part: u64, of: u64) -> u64 {
    let ns = u128::from(whole) * u128::from(part) / u128::from(of.max(1));
    u64::try_from(ns).unwrap_or(u64::MAX)
}

//! Who used a GPU since the reading before: from lists of processes to time by process.
//!
//! Best first: nobody was there; one process was, and all is its; the driver says what each used; in MIG mode, the
//! size of each one's instance; equal parts. Only the first three are more than a guess.
//!
//! The driver samples each process by itself and tells of those that did something: of each, what it said last holds
//! until it is stale. Where it has said nothing of anybody for as long, nothing is known.

use std::collections::BTreeMap;

use probe_ledger::Split;

use super::device::{Fault, Gpus, Used};
use crate::source::Users;

/// What was used longer ago than this says nothing of now, ns: several times the driver's own sampling (0.17 to 1 s).
const STALE_NS: u64 = 3_000_000_000;
/// A process that is on no list any more was there if it was sampled this recently, ns.
const LEFT_NS: u64 = 1_000_000_000;
/// A sample of one process may come after later ones of others, by less than this on the driver's clock, µs.
const LATE_US: u64 = 1_000_000;
/// More processes than this are not remembered.
const MOST: usize = 4096;

/// What is known of the use of one GPU.
#[derive(Debug)]
pub(super) struct Usage {
    mig: bool,
    /// The latest sample of before the first reading, on the driver's clock, µs: history. `None` before that reading.
    began_us: Option<u64>,
    /// The latest sample of all, µs.
    last_us: u64,
    /// By process.
    heard: BTreeMap<u32, Heard>,
    /// The driver says nothing of processes.
    unsupported: bool,
}

/// What a process used when the driver told of it last.
#[derive(Clone, Copy, Debug)]
struct Heard {
    /// When that was sampled, on the driver's clock, µs.
    t_us: u64,
    /// When it came, ns.
    came: u64,
    /// Mean over the samples that came together.
    percent: u64,
}

impl Usage {
    pub(super) fn new(mig: bool) -> Self {
        Self { mig, began_us: None, last_us: 0, heard: BTreeMap::new(), unsupported: mig }
    }

    /// Who used it in the `elapsed` ns before `now`.
    pub(super) fn users(&mut self, gpu: &dyn Gpus, now: u64, elapsed: u64) -> Users {
        // Asked every time: the driver keeps what nobody asks for.
        if !self.unsupported {
            self.learn(gpu.used(self.last_us.saturating_sub(LATE_US)), now);
        }
        let Ok(processes) = gpu.processes() else { return Users::Device(Split::Unknown, vec![]) };
        match processes.as_slice() {
            [] => Users::Device(Split::Clocks, vec![]),
            [one] => Users::Device(Split::Exclusive, vec![(*one, elapsed)]),
            _ if self.mig => Users::Device(Split::Partition, instances(gpu, &processes, elapsed)),
            all if self.knows(all, now) => {
                Users::Device(Split::Utilisation, self.by_use(all, now, elapsed))
            }
            all => Users::Device(Split::Equal, equal(all, elapsed)),
        }
    }

    /// Takes new samples in. A failure is no sample.
    fn learn(&mut self, samples: Result<Vec<Used>, Fault>, now: u64) {
        let samples = match samples {
            Ok(samples) => samples,
            Err(Fault::Nothing) => vec![],
            Err(Fault::Unsupported) => {
                self.unsupported = true;
                return;
            }
            Err(Fault::Failed(_)) => return,
        };
        let latest = samples.iter().map(|used| used.t_us).fold(self.last_us, u64::max);
        let Some(began_us) = self.began_us else {
            // The driver's memory of minutes: whoever was there then.
            (self.began_us, self.last_us) = (Some(latest), latest);
            return;
        };
        let before = |tgid| self.heard.get(&tgid).map_or(0, |heard: &Heard| heard.t_us);
        let new = samples.iter().filter(|used| used.t_us > before(used.tgid).max(began_us));
        for (tgid, (t_us, percent)) in means(new) {
            if self.heard.len() < MOST || self.heard.contains_key(&tgid) {
                self.heard.insert(tgid, Heard { t_us, came: now, percent });
            }
        }
        self.last_us = latest;
        // While a sample can come again, it must be known that it came.
        let again = |heard: &Heard| heard.t_us > latest.saturating_sub(LATE_US);
        self.heard.retain(|_, heard| again(heard) || now.saturating_sub(heard.came) <= STALE_NS);
    }

    /// Whether the driver has told of any of them lately.
    fn knows(&self, processes: &[u32], now: u64) -> bool {
        let fresh = |tgid| self.heard.get(tgid).is_some_and(|heard| heard.within(STALE_NS, now));
        !self.unsupported && processes.iter().any(fresh)
    }

    /// By what each used; who used nothing gets nothing. Those who left meanwhile had their part, too.
    fn by_use(&self, processes: &[u32], now: u64, elapsed: u64) -> Vec<(u32, u64)> {
        let there = |tgid: &u32, heard: &Heard| {
            let listed = processes.contains(tgid);
            heard.within(if listed { STALE_NS } else { LEFT_NS }, now)
        };
        let there = self.heard.iter().filter(|(tgid, heard)| there(tgid, heard));
        let time = |(tgid, heard): (&u32, &Heard)| (*tgid, share(elapsed, heard.percent, 100));
        there.map(time).filter(|(_, ns)| *ns > 0).collect()
    }
}

impl Heard {
    fn within(&self, most_ns: u64, now: u64) -> bool {
        now.saturating_sub(self.came) <= most_ns
    }
}

/// The latest sample and the mean use of each process.
fn means<'a>(samples: impl Iterator<Item = &'a Used>) -> BTreeMap<u32, (u64, u64)> {
    let mut sums: BTreeMap<u32, (u64, u64, u64)> = BTreeMap::new();
    for used in samples {
        let (t_us, sum, count) = sums.entry(used.tgid).or_default();
        (*t_us, *sum, *count) =
            ((*t_us).max(used.t_us), *sum + u64::from(used.percent), *count + 1);
    }
    sums.into_iter().map(|(tgid, (t_us, sum, count))| (tgid, (t_us, sum.div_ceil(count)))).collect()
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

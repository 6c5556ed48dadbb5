//! Turns ticks into the ledger's samples, one for each domain, whoever reads its counter.
//!
//! - A counter that the tick read itself comes with clocks of the same instant.
//! - A counter that user space reads (powercap, hwmon) falls between two ticks: the clocks at its instant
//!   are interpolated between theirs.
//! - A device (a GPU) has clocks of its own: the time each consumer used it, as its reading tells.
//! - The cores' books come with the tick; so do the weights that a package's energy is shared by then.
//! - Elsewhere the weight policy says what the clocks are worth (`weighing`); a device's are as they are.
//! - The model has no counter: it follows from the busy clock of the tick.

use std::collections::{BTreeSet, VecDeque};

use probe_common::{CONSUMERS, IDLE, MAX_PACKAGES};
use probe_ledger::{
    DomainId, Flag, Ledger, Nanos, Nanowatts, Sample, Scope, Split, Weight, Weights, Window,
};

use super::{
    core::consumer,
    entry::Reading,
    samplers::Taken,
    weighing::{By, by_misses, by_policy},
};
use crate::{
    event::{CoreBooks, Tick},
    source::{ModelPower, Users},
};

/// Where a domain's counter comes from.
pub enum Feed {
    /// Read by the tick.
    Kernel {
        /// Place among the package's counters.
        slot: usize,
    },
    /// The books of the package's cores.
    Cores,
    /// Read by user space.
    Polled {
        /// Read, but no tick has passed them yet.
        waiting: VecDeque<Reading>,
        /// A device's use so far, by consumer; nobody's where the CPUs' clocks tell.
        used: Clocks,
    },
    /// Computed.
    Model(ModelPower),
}

/// A domain as the engine feeds it.
pub struct Fed {
    /// In the ledger.
    pub id: DomainId,
    /// Package whose tick brings its clocks.
    pub package: usize,
    /// What it covers.
    pub scope: Scope,
    /// Belongs to the additive set.
    pub additive: bool,
    /// Its counter.
    pub feed: Feed,
    /// Reads that failed.
    pub failed: u64,
    /// How its use was known so far, where it is a device.
    pub splits: BTreeSet<&'static str>,
    /// Its energy is shared by what was drawn on the cores, not by time.
    pub weighed: bool,
    /// It is the memory of a package: its energy is shared by misses of the last cache level where they are counted.
    pub memory: bool,
}

/// Cumulative clocks, idle left out: the ledger's order of consumers.
pub type Clocks = [u64; CONSUMERS - 1];

/// All domains and the last tick of each package.
pub struct Readings {
    domains: Vec<Fed>,
    packages: usize,
    /// The ledger's: the first of the clocks.
    consumers: usize,
    weight: Weight,
    last: [Option<Last>; MAX_PACKAGES],
    /// Ticks, of whatever package, without weights by policy; and of them those that the machine's domains know of.
    unweighted: (u64, u64),
    /// Misses have come: then memory is never shared by anything else but time.
    misses: bool,
}

/// A package's last tick.
#[derive(Clone, Copy)]
struct Last {
    t: u64,
    clocks: Clocks,
    /// Where cores have counters.
    drawn: Option<Clocks>,
    /// By the weight policy, where it says anything else than the clocks.
    policy: Option<Clocks>,
    /// Misses of the last cache level.
    misses: Option<Clocks>,
}

impl Readings {
    /// Begins with no tick seen.
    #[must_use]
    pub fn new(domains: Vec<Fed>, packages: usize, consumers: usize, weight: Weight) -> Self {
        Self {
            domains,
            packages,
            consumers: consumers.min(CONSUMERS - 1),
            weight,
            last: [None; MAX_PACKAGES],
            unweighted: (0, 0),
            misses: false,
        }
    }

    /// How many packages the machine has.
    #[must_use]
    pub fn packages(&self) -> usize {
        self.packages
    }

    /// The additive domains that what runs on a package has a part in.
    pub fn additive_of(&self, package: usize) -> impl Iterator<Item = DomainId> + '_ {
        let wanted = move |domain: &&Fed| {
            domain.additive
                && match domain.scope {
                    Scope::Package(of) => of == package,
                    Scope::Machine => true,
                    // Its joules follow no slice of a CPU.
                    Scope::Device => false,
                }
        };
        self.domains.iter().filter(wanted).map(|domain| domain.id)
    }

    /// The domains.
    #[must_use]
    pub fn domains(&self) -> &[Fed] {
        &self.domains
    }

    /// Takes in what user space read.
    pub fn taken(&mut self, reading: Reading) {
        /// More waiting readings than this say that the ticks have stopped.
        const MOST: usize = 4096;
        let Some(domain) = self.domains.get_mut(reading.domain.0) else { return };
        let Feed::Polled { waiting, .. } = &mut domain.feed else { return };
        domain.failed += u64::from(reading.count.is_none() || waiting.len() >= MOST);
        if waiting.len() >= MOST {
            return;
        }
        domain.splits.extend(reading.split.flag().map(Flag::name));
        waiting.push_back(reading);
    }

    /// Feeds the ledger with what a tick brings. `sampled` is told of every sample that ended a window or
    /// began the first: the domain, its instant and its clocks.
    pub fn tick(
        &mut self,
        tick: &Tick,
        ledger: &mut Ledger,
        mut sampled: impl FnMut(&Ledger, DomainId, u64, &Clocks),
    ) {
        let Some(slot) = self.last.get_mut(tick.package) else { return };
        let clocks = without_idle(&tick.clock);
        let books = tick.cores.as_deref();
        let drawn = books.map(|books| without_idle(&books.weight));
        let policy = slot.as_ref().and_then(|last| last.policy.as_ref());
        let policy = by_policy(self.weight, tick, policy);
        self.unweighted.0 += u64::from(policy.is_none());
        let misses = slot.as_ref().and_then(|last| last.misses.as_ref());
        let misses = by_misses(self.weight, tick, misses);
        self.misses |= misses.is_some();
        let (counted_misses, consumers) = (self.misses, self.consumers);
        let now = Last { t: tick.t, clocks, drawn, policy, misses };
        let before = slot.replace(now);
        let machine = |d: &Fed| d.scope == Scope::Machine;
        let whole = self.domains.iter().any(|d| machine(d) && d.package == tick.package);
        let mut others = whole.then(|| Others::of(&self.last, tick.package));
        if let Some(others) = &mut others {
            let (now, told) = self.unweighted;
            others.policy = others.policy.filter(|_| now == told);
            self.unweighted.1 = now;
        }
        for domain in self.domains.iter_mut().filter(|domain| domain.package == tick.package) {
            let (id, others) = (domain.id, others.as_ref().filter(|_| machine(domain)));
            let measured = domain.weighed;
            let memory = domain.memory && counted_misses;
            let pick = |last: &Last| match (measured, memory) {
                (true, _) => last.drawn,
                (false, true) => last.misses,
                (false, false) => last.policy,
            };
            let by = |weights| By { weights, nobody: 0, measured };
            let weights = pick(&now).map(by);
            let mut sample = |t, counter, clocks: Clocks, split, by: Option<By>| {
                ledger.split(id, split);
                let (clocks, by) = others.map_or((clocks, by), |others| others.add(&clocks, by));
                let weights = by.as_ref().map(|by| Weights {
                    consumers: &by.weights[..consumers],
                    nobody: by.nobody,
                    measured: by.measured,
                });
                let sample = Sample { t: Nanos(t), counter, clocks: &clocks[..consumers], weights };
                // What became of the window is in the ledger's books.
                let window = ledger.sample(id, &sample);
                if !matches!(window, Window::Missing | Window::Held | Window::Ignored(_)) {
                    sampled(ledger, id, t, &clocks);
                }
            };
            match &mut domain.feed {
                Feed::Kernel { slot } => {
                    let counter = tick.counter.get(*slot).copied().flatten();
                    domain.failed += u64::from(counter.is_none());
                    sample(tick.t, counter, clocks, Split::Clocks, weights);
                }
                Feed::Cores => {
                    domain.failed += u64::from(books.is_none());
                    let count = books.map(counted);
                    sample(tick.t, count, clocks, Split::Clocks, books.map(charged));
                }
                Feed::Model(power) => {
                    let count = modelled(*power, tick.t, &clocks);
                    sample(tick.t, Some(count), clocks, Split::Clocks, weights);
                }
                Feed::Polled { waiting, used } => {
                    while let Some(read) = waiting.pop_front_if(|read| read.t <= tick.t) {
                        if let Some(more) = &read.used {
                            *used = add(*used, more);
                        }
                        if domain.scope == Scope::Device {
                            sample(read.t, read.count, *used, read.split, None);
                        } else if let Some(before) = before.filter(|before| read.t > before.t) {
                            let at = |a: Clocks, b| between((before.t, a), (tick.t, b), read.t);
                            let weights = pick(&before).zip(pick(&now));
                            let weights = weights.map(|(a, b)| by(at(a, b)));
                            let clocks = at(before.clocks, clocks);
                            sample(read.t, read.count, clocks, read.split, weights);
                        }
                    }
                }
            }
        }
    }

    /// The latest clock of a consumer by package.
    #[must_use]
    pub fn target_clock(&self, who: u32) -> [u64; MAX_PACKAGES] {
        let index = (who as usize).saturating_sub(1);
        self.last.map(|last| last.and_then(|last| last.clocks.get(index).copied()).unwrap_or(0))
    }
}

/// A sensor's reading with who used the device as consumers; `who` tells a process's.
pub fn resolved(taken: Taken, who: impl Fn(u32) -> u32) -> Reading {
    let Taken { domain, t, count, users } = taken;
    let (split, list) = match users {
        Users::Cpus => (Split::Clocks, None),
        Users::Device(split, list) => (split, Some(list)),
    };
    let used = list.map(|list| {
        let mut used = Box::new([0_u64; CONSUMERS - 1]);
        for (tgid, ns) in list {
            if let Some(clock) = used.get_mut(consumer(who(tgid)).0) {
                *clock = clock.saturating_add(ns);
            }
        }
        used
    });
    Reading { domain, t, count, split, used }
}

fn without_idle(clock: &[u64; CONSUMERS]) -> Clocks {
    const { assert!(IDLE == 0) };
    std::array::from_fn(|i| clock[i + 1])
}

fn add(mut a: Clocks, b: &Clocks) -> Clocks {
    for (a, b) in a.iter_mut().zip(b) {
        *a = a.saturating_add(*b);
    }
    a
}

/// The latest clocks of all packages but one, and their weights by policy.
struct Others {
    clocks: Clocks,
    /// `None`: of one package there are none, or were none since the machine's domains were sampled last.
    policy: Option<Clocks>,
}

impl Others {
    fn of(last: &[Option<Last>; MAX_PACKAGES], except: usize) -> Self {
        let others = last.iter().enumerate().filter(|(package, _)| *package != except);
        let none = Self { clocks: [0; CONSUMERS - 1], policy: Some([0; CONSUMERS - 1]) };
        others.filter_map(|(_, last)| last.as_ref()).fold(none, |sum, last| Self {
            clocks: add(sum.clocks, &last.clocks),
            policy: sum.policy.zip(last.policy.as_ref()).map(|(sum, policy)| add(sum, policy)),
        })
    }

    /// The whole machine's. It has weights by policy where all packages have.
    fn add(&self, clocks: &Clocks, by: Option<By>) -> (Clocks, Option<By>) {
        let by = by.zip(self.policy.as_ref());
        let by = by.map(|(by, others)| By { weights: add(by.weights, others), ..by });
        (add(*clocks, &self.clocks), by)
    }
}

/// What the cores counted.
fn counted(books: &CoreBooks) -> u64 {
    books.book.iter().fold(0, |sum, units| sum.wrapping_add(*units))
}

/// By who ran on them, and while nobody did.
fn charged(books: &CoreBooks) -> By {
    let (weights, nobody) = (without_idle(&books.book), books.book[IDLE as usize]);
    By { weights, nobody, measured: true }
}

/// Linear between two ticks.
fn between(a: (u64, Clocks), b: (u64, Clocks), t: u64) -> Clocks {
    let span = u128::from(b.0.saturating_sub(a.0).max(1));
    let part = u128::from(t.saturating_sub(a.0)).min(span);
    std::array::from_fn(|k| {
        let step = u128::from(b.1[k].saturating_sub(a.1[k])) * part / span;
        a.1[k] + u64::try_from(step).unwrap_or(0)
    })
}

/// Nanojoules since the machine's boot, by the model: watts × nanoseconds.
fn modelled(power: ModelPower, t: u64, clocks: &Clocks) -> u64 {
    let busy: u128 = clocks.iter().map(|ns| u128::from(*ns)).sum();
    // The same rounding as the domain's idle power, so that an idle machine has no active energy.
    let nanowatts = |watts: f64| u128::from(Nanowatts::from_watts(watts).0);
    let idle = nanowatts(power.min_watts * power.threads as f64) * u128::from(t);
    let active = nanowatts(power.max_watts - power.min_watts).saturating_mul(busy);
    u64::try_from(idle.saturating_add(active) / 1_000_000_000).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_counts_idle_watts_of_all_threads_and_the_rest_per_busy_second() {
        let power = ModelPower { min_watts: 1.0, max_watts: 4.0, threads: 2 };
        let mut clocks = [0; CONSUMERS - 1];
        clocks[1] = 500_000_000;
        assert_eq!(modelled(power, 1_000_000_000, &clocks), 2_000_000_000 + 1_500_000_000);
    }

    #[test]
    fn clocks_between_two_ticks_are_linear_and_exact_at_both_ends() {
        let (mut a, mut b) = ([0; CONSUMERS - 1], [0; CONSUMERS - 1]);
        (a[3], b[3]) = (100, 201);
        assert_eq!(between((0, a), (1000, b), 0)[3], 100);
        assert_eq!(between((0, a), (1000, b), 500)[3], 150);
        assert_eq!(between((0, a), (1000, b), 1000)[3], 201);
    }
}

//! Random hosts: packages, consumers, domains and requests whose every nanojoule is known.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::HashSet;

use probe_ledger::*;
use proptest::prelude::*;

pub(crate) const PACKAGES: usize = 2;
pub(crate) const CONSUMERS: usize = 4;
/// Consumers 0 and 1 are targets; the others only burn.
pub(crate) const TARGETS: usize = 2;

/// Time passes, then something happens.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    dt: u64,
    /// What everybody does meanwhile.
    seed: u64,
    act: Act,
}

#[derive(Clone, Debug)]
enum Act {
    Sample {
        domain: usize,
        fault: Fault,
    },
    /// Enters the request if it is not resident, else ends its prefill or it.
    Boundary {
        target: usize,
        request: u64,
        end: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    None,
    Missing,
    Leap,
}

/// A host, and what happens on it.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) domains: Vec<DomainSpec>,
    /// Where each counter starts.
    pub(crate) starts: Vec<u64>,
    pub(crate) steps: Vec<Step>,
}

/// How to tell the ledger about it.
pub(crate) struct Telling<'a> {
    /// Steps whose samples are not told.
    pub(crate) dropped: &'a HashSet<usize>,
    /// What requests are called.
    pub(crate) name: &'a dyn Fn(u64) -> u64,
    /// Requests of target 0 that enter at one step and leave at another.
    pub(crate) extra: Vec<(u64, usize, usize)>,
    pub(crate) idle: Idle,
}

pub(crate) struct Told {
    pub(crate) ledger: Ledger,
    pub(crate) accounts: Vec<Account>,
    /// By domain: energy of the windows reported as closed.
    pub(crate) closed: Vec<u128>,
    /// Windows and boundaries: what a nanojoule of rounding may happen at.
    pub(crate) segments: u64,
}

fn domain() -> impl Strategy<Value = DomainSpec> {
    let scope = prop_oneof![
        (0..PACKAGES).prop_map(Scope::Package),
        Just(Scope::Machine),
        Just(Scope::Device)
    ];
    let scale = prop_oneof![
        Just(Scale::NANOJOULES),
        Just(Scale::MICROJOULES),
        Just(Scale::from_joules_per_count(2.7e-10).unwrap())
    ];
    let range = prop_oneof![Just(Range::Bits(64)), (1u64 << 44..).prop_map(Range::Max)];
    let power = prop::option::of((0u64..40_000_000_000).prop_map(Nanowatts));
    (scope, scale, range, any::<bool>(), power, 0u64..2_000_000).prop_map(
        |(scope, scale, range, additive, idle, period)| DomainSpec {
            name: "random".to_owned(),
            scale,
            range,
            scope,
            additive,
            idle,
            idle_error: None,
            max_power: None,
            period: Nanos(period),
            quantum: Nanojoules(period / 100),
            class: Ratio(0),
            expected_window: Nanos(5_000_000),
            pulse: None,
        },
    )
}

fn step(domains: usize, faults: bool) -> impl Strategy<Value = Step> {
    let fault = prop_oneof![
        8 => Just(Fault::None),
        1 => Just(if faults { Fault::Missing } else { Fault::None }),
        1 => Just(if faults { Fault::Leap } else { Fault::None })
    ];
    let act = prop_oneof![
        2 => (0..domains, fault).prop_map(|(domain, fault)| Act::Sample { domain, fault }),
        1 => (0..TARGETS, 0u64..5, any::<bool>()).prop_map(|(target, request, end)| {
            Act::Boundary { target, request: request + 10 * target as u64, end }
        })
    ];
    (1u64..3_000_000, any::<u64>(), act).prop_map(|(dt, seed, act)| Step { dt, seed, act })
}

/// Random worlds; with faults, counters go missing and leap, and leaps are recognised by a physical bound.
pub(crate) fn worlds(faults: bool) -> impl Strategy<Value = World> {
    prop::collection::vec((domain(), any::<u64>()), 1..4).prop_flat_map(move |domains| {
        let steps = prop::collection::vec(step(domains.len(), faults), 1..120);
        steps.prop_map(move |steps| {
            let (mut domains, starts): (Vec<_>, Vec<_>) = domains.iter().cloned().unzip();
            for spec in domains.iter_mut().filter(|_| faults) {
                spec.max_power = Some(Nanowatts(200_000_000_000));
            }
            World { domains, starts, steps }
        })
    })
}

/// The host as it runs.
struct Host<'a> {
    world: &'a World,
    t: u64,
    clocks: [[u64; PACKAGES]; CONSUMERS],
    device: [u64; CONSUMERS],
    counts: Vec<u128>,
}

impl Host<'_> {
    fn run(&mut self, dt: u64, seed: u64) {
        let mut seed = seed;
        self.t += dt;
        for k in 0..CONSUMERS {
            for clock in self.clocks[k].iter_mut().chain([&mut self.device[k]]) {
                let r = next(&mut seed);
                *clock += if r.is_multiple_of(3) { 0 } else { r % (2 * dt + 1) };
            }
        }
        for (count, spec) in self.counts.iter_mut().zip(&self.world.domains) {
            // Up to 100 W; 1,000 counts of a quarter nanojoule are at least 200 nJ.
            let nj = next(&mut seed) % (dt * 100);
            let per_thousand = spec.scale.energy(1_000).get().max(200);
            *count += u128::from(nj) * 1_000 / u128::from(per_thousand);
        }
    }

    fn counter(&self, d: usize) -> u64 {
        let modulus = match self.world.domains[d].range {
            Range::Bits(bits) => 1u128 << bits,
            Range::Max(max) => u128::from(max) + 1,
        };
        ((u128::from(self.world.starts[d]) % modulus + self.counts[d]) % modulus) as u64
    }

    fn clocks(&self, d: usize) -> Vec<u64> {
        let of = |k: usize| match self.world.domains[d].scope {
            Scope::Package(p) => self.clocks[k][p],
            Scope::Machine => self.clocks[k].iter().sum(),
            Scope::Device => self.device[k],
        };
        (0..CONSUMERS).map(of).collect()
    }
}

fn next(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (*seed ^ (*seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl World {
    /// Counts of each domain from its first sample to its last.
    pub(crate) fn truth(&self) -> Vec<u128> {
        let mut host = self.host();
        for step in &self.steps {
            host.run(step.dt, step.seed);
        }
        host.run(1_000, 1);
        host.counts
    }

    fn host(&self) -> Host<'_> {
        Host {
            world: self,
            t: 1_000,
            clocks: [[0; PACKAGES]; CONSUMERS],
            device: [0; CONSUMERS],
            counts: vec![0; self.domains.len()],
        }
    }

    pub(crate) fn tell_all(&self) -> Told {
        self.tell(&Telling {
            dropped: &HashSet::new(),
            name: &|id| id,
            extra: vec![],
            idle: Idle::None,
        })
    }

    /// Runs the host and tells a ledger, from a first sample of every domain to a last one.
    pub(crate) fn tell(&self, telling: &Telling<'_>) -> Told {
        let ledger = Ledger::new(Config {
            domains: self.domains.clone(),
            consumers: CONSUMERS,
            packages: PACKAGES,
            horizon: Nanos(u64::MAX),
            patience: Nanos(u64::MAX),
            policies: Policies { idle: telling.idle, ..Policies::default() },
        });
        let closed = vec![0; self.domains.len()];
        let mut told = Told { ledger: ledger.unwrap(), accounts: vec![], closed, segments: 0 };
        let mut host = self.host();
        let mut resident = HashSet::new();
        (0..self.domains.len()).for_each(|d| told.sample(&host, d, false));
        for (i, step) in self.steps.iter().enumerate() {
            host.run(step.dt, step.seed);
            match step.act {
                Act::Sample { .. } if telling.dropped.contains(&i) => {}
                Act::Sample { domain, fault } => {
                    if fault == Fault::Leap {
                        host.counts[domain] += 1 << 42;
                    }
                    told.sample(&host, domain, fault == Fault::Missing);
                }
                Act::Boundary { target, request, end } => {
                    let change = match (resident.contains(&request), end) {
                        (false, _) => Change::Enter,
                        (true, true) => Change::Leave,
                        (true, false) => Change::First,
                    };
                    match change {
                        Change::Enter => resident.insert(request),
                        Change::Leave => resident.remove(&request),
                        Change::First => false,
                    };
                    told.boundary(&host, target, (telling.name)(request), change);
                }
            }
            for (request, from, to) in &telling.extra {
                if i == *to {
                    told.boundary(&host, 0, *request, Change::Leave);
                }
                if i == *from {
                    told.boundary(&host, 0, *request, Change::Enter);
                }
            }
        }
        host.run(1_000, 1);
        (0..self.domains.len()).for_each(|d| told.sample(&host, d, false));
        told.ledger.finish(Nanos(host.t));
        told.accounts.extend(told.ledger.settled());
        told
    }
}

impl Told {
    fn sample(&mut self, host: &Host<'_>, d: usize, missing: bool) {
        let clocks = host.clocks(d);
        let counter = (!missing).then(|| host.counter(d));
        let sample = Sample { t: Nanos(host.t), counter, clocks: &clocks, weights: None };
        if let Window::Closed(window) = self.ledger.sample(DomainId(d), &sample) {
            self.closed[d] += u128::from(window.energy.get());
        }
        self.segments += 1;
        self.accounts.extend(self.ledger.settled());
    }

    fn boundary(&mut self, host: &Host<'_>, target: usize, request: u64, change: Change) {
        let clocks = &host.clocks[target];
        let request = RequestId(request);
        let boundary = Boundary { t: Nanos(host.t), clocks, request, change };
        // A second `First` is refused; nothing else is.
        let refused = self.ledger.boundary(ConsumerId(target), &boundary).is_err();
        assert!(!refused || change == Change::First);
        self.segments += 1;
        self.accounts.extend(self.ledger.settled());
    }

    pub(crate) fn book(&self, d: usize) -> &Book {
        self.ledger.books(DomainId(d)).unwrap()
    }

    /// What the requests that `pick` picks were charged in a domain.
    pub(crate) fn charged(&self, d: usize, pick: impl Fn(&Account) -> bool) -> u128 {
        let of = |a: &Account| a.domains[d].active.map_or(0, |e| u128::from(e.energy.get()));
        self.accounts.iter().filter(|a| pick(a)).map(of).sum()
    }
}

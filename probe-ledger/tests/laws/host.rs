//! Runs a machine, and writes down what a ledger is told of it: counters, clocks, weights by policy, boundaries.

use probe_ledger::*;

use crate::machine::{BEGIN, CONSUMERS, Fault, Machine, PACKAGES, Pace, Request, Step};
use crate::tape::{Input, Tape, Weighed};

/// More than any window's energy.
const LEAP_NJ: u64 = 1 << 42;

/// The machine as it runs.
struct Host<'a> {
    machine: &'a Machine,
    weight: Weight,
    t: u64,
    ran: [[Ran; PACKAGES]; CONSUMERS],
    device: [u64; CONSUMERS],
    /// What core counters showed; nobody's last.
    cores: [u64; CONSUMERS + 1],
    counts: Vec<u128>,
    shown: Vec<Option<u64>>,
}

/// A consumer on a package.
#[derive(Clone, Copy, Default)]
struct Ran {
    ns: u64,
    /// Of that, beside a busy sibling.
    beside: u64,
    cycles: u64,
}

impl Host<'_> {
    fn run(&mut self, dt: u64, seed: u64, pace: Pace) {
        let mut seed = seed;
        self.t += dt;
        let lone = self.machine.lone;
        let mut time = |k: usize| {
            let r = next(&mut seed);
            match (lone, k) {
                (true, 0) => (1 + r % dt.max(1)).min(dt),
                (true, _) => 0,
                _ if pace == Pace::Quiet => r % (dt / 400 + 1),
                _ if pace == Pace::Busy => dt / 4 + r % (dt / 2 + 1),
                _ if r.is_multiple_of(3) => 0,
                _ => r % (dt + 1),
            }
        };
        for k in 0..CONSUMERS {
            for ran in &mut self.ran[k] {
                let ns = time(k);
                ran.ns += ns;
                ran.beside += time(k).min(ns);
                ran.cycles += ns + ns * (time(k) % 4);
            }
            self.device[k] += time(k);
        }
        for core in &mut self.cores {
            *core += next(&mut seed) % (7 * dt + 1);
        }
        for d in 0..self.counts.len() {
            // Up to 100 W, now and then nothing.
            let r = next(&mut seed);
            let nj = match pace {
                Pace::Busy => dt * 60 + (r >> 3) % (dt * 40 + 1),
                _ if r.is_multiple_of(5) => 0,
                _ => (r >> 3) % (dt * 100 + 1),
            };
            self.counts[d] += counts(self.machine.domains[d].scale, nj);
        }
    }

    fn clocks(&self, d: usize) -> Vec<u64> {
        match self.machine.domains[d].scope {
            Scope::Device => self.device.to_vec(),
            _ => self.of(d).iter().map(|ran| ran.ns).collect(),
        }
    }

    /// Each consumer on the CPUs of a domain.
    fn of(&self, d: usize) -> Vec<Ran> {
        let add = |a: Ran, b: &Ran| Ran {
            ns: a.ns + b.ns,
            beside: a.beside + b.beside,
            cycles: a.cycles + b.cycles,
        };
        let of = |ran: &[Ran; PACKAGES]| match self.machine.domains[d].scope {
            Scope::Package(p) => ran[p],
            _ => ran.iter().fold(Ran::default(), add),
        };
        self.ran.iter().map(of).collect()
    }

    /// As the probe weighs by a policy; under `time` some domains have counters of single cores.
    fn weights(&self, d: usize) -> Option<Weighed> {
        let odd = self.machine.odd & (1 << d) != 0;
        if self.machine.domains[d].scope == Scope::Device {
            return None;
        }
        if self.weight == Weight::Time {
            let (nobody, consumers) = self.cores.split_last().unwrap();
            let measured = self.machine.odd & 8 != 0;
            let weighed = Weighed { consumers: consumers.to_vec(), nobody: *nobody, measured };
            return (odd && !self.machine.lone).then_some(weighed);
        }
        if odd && self.t.is_multiple_of(5) {
            return None;
        }
        let of = |ran: &Ran| self.weight.of(ran.ns, Some(ran.beside), Some(ran.cycles));
        let consumers = self.of(d).iter().map(of).collect::<Option<_>>()?;
        Some(Weighed { consumers, nobody: 0, measured: false })
    }

    fn sample(&mut self, d: usize, fault: Option<Fault>) -> Input {
        let spec = &self.machine.domains[d];
        let modulus = modulus(spec.range);
        let start = u128::from(self.machine.starts[d]) % modulus;
        match fault {
            Some(Fault::Leap) => self.counts[d] += counts(spec.scale, LEAP_NJ),
            // Backwards, through the whole range.
            Some(Fault::Back) => self.counts[d] += modulus - counts(spec.scale, LEAP_NJ),
            _ => {}
        }
        let mut counter = Some(((start + self.counts[d]) % modulus) as u64);
        match fault {
            Some(Fault::Missing) => counter = None,
            Some(Fault::Stuck) => counter = self.shown[d].or(counter),
            _ => {}
        }
        self.shown[d] = counter.or(self.shown[d]);
        let weights = self.weights(d);
        Input::Sample { t: self.t, domain: d, counter, clocks: self.clocks(d), weights }
    }

    fn boundary(&self, target: usize, request: u64, change: Change) -> Input {
        let clocks = self.ran[target].iter().map(|ran| ran.ns).collect();
        Input::Boundary { t: self.t, target, clocks, request, change }
    }
}

pub(crate) fn modulus(range: Range) -> u128 {
    match range {
        Range::Bits(bits) => 1 << bits,
        Range::Max(max) => u128::from(max) + 1,
    }
}

/// Counts of an energy, rounded down.
pub(crate) fn counts(scale: Scale, nj: u64) -> u128 {
    let per_million = scale.energy(1_000_000).get();
    u128::from(nj) * 1_000_000 / u128::from(per_million)
}

/// A sequence of random numbers.
pub(crate) fn next(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (*seed ^ (*seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Machine {
    /// Runs it and writes down what a ledger is told, from a first sample of every domain to a last one.
    pub(crate) fn tape(&self, policies: Policies) -> Tape {
        let mut host = self.host(policies.weight);
        let mut inputs: Vec<Input> =
            (0..self.domains.len()).map(|d| host.sample(d, None)).collect();
        let mut entered = vec![0; self.requests.len()];
        for (i, step) in self.steps.iter().enumerate() {
            host.run(step.dt, step.seed, step.pace);
            inputs.extend(self.happenings(host.t, i));
            let mut samples = Vec::new();
            for d in (0..self.domains.len()).filter(|d| step.read & (1 << d) != 0) {
                let out =
                    self.outage.is_some_and(|(domain, a, b)| domain == d && (a..b).contains(&i));
                let fault = step.fault.filter(|(domain, _)| *domain == d).map(|(_, fault)| fault);
                samples.push(host.sample(d, if out { Some(Fault::Stuck) } else { fault }));
            }
            let boundaries = self.boundaries(&host, i, &mut entered);
            let (first, second) =
                if step.read & 8 == 0 { (samples, boundaries) } else { (boundaries, samples) };
            inputs.extend(first.into_iter().chain(second));
        }
        host.run(1_000, 1, Pace::Usual);
        inputs.extend((0..self.domains.len()).map(|d| host.sample(d, None)));
        Tape {
            domains: self.domains.clone(),
            policies,
            horizon: self.horizon,
            patience: self.patience,
            inputs,
            end: host.t,
        }
    }

    /// How far each counter runs in all, if nothing is wrong with it.
    pub(crate) fn counted(&self) -> Vec<u128> {
        let mut host = self.host(Weight::Time);
        for Step { dt, seed, pace, .. } in &self.steps {
            host.run(*dt, *seed, *pace);
        }
        host.run(1_000, 1, Pace::Usual);
        host.counts
    }

    fn host(&self, weight: Weight) -> Host<'_> {
        Host {
            machine: self,
            weight,
            t: BEGIN,
            ran: [[Ran::default(); PACKAGES]; CONSUMERS],
            device: [0; CONSUMERS],
            cores: [0; CONSUMERS + 1],
            counts: vec![0; self.domains.len()],
            shown: vec![None; self.domains.len()],
        }
    }

    /// What else is told at a step.
    fn happenings(&self, t: u64, step: usize) -> Vec<Input> {
        let splits = self.splits.iter().filter(|(at, ..)| *at == step);
        let breaks = self.breaks.iter().filter(|(at, ..)| *at == step);
        let splits =
            splits.map(|(_, domain, split)| Input::Split { domain: *domain, split: *split });
        let breaks = breaks.map(|(_, domain, (before, length), cause)| {
            let begin = t.saturating_sub(*before);
            Input::Distrust { domain: *domain, begin, end: begin + length, cause: *cause }
        });
        splits.chain(breaks).collect()
    }

    /// Those of one step: who leaves does so before others enter.
    fn boundaries(&self, host: &Host<'_>, step: usize, entered: &mut [u64]) -> Vec<Input> {
        let mut inputs = Vec::new();
        let resident = |r: &&(usize, &Request)| r.1.from < step && step <= r.1.to;
        let all: Vec<(usize, &Request)> = self.requests.iter().enumerate().collect();
        for (i, request) in all.iter().filter(resident) {
            if request.first == Some(step) {
                inputs.push(host.boundary(request.target, request.id, Change::First));
            }
            if request.to == step {
                inputs.extend(self.leave(host, request, entered[*i]));
            }
        }
        for (i, request) in all.iter().filter(|(_, request)| request.from == step) {
            entered[*i] = host.t;
            inputs.push(host.boundary(request.target, request.id, Change::Enter));
            if request.first == Some(step) {
                inputs.push(host.boundary(request.target, request.id, Change::First));
            }
            if request.to == step {
                inputs.extend(self.leave(host, request, host.t));
            }
        }
        inputs
    }

    fn leave(&self, host: &Host<'_>, request: &Request, entered: u64) -> Vec<Input> {
        let mut inputs = Vec::new();
        if let Some(told) = &request.told {
            let at = |part: u8| Nanos(entered + (host.t - entered) * u64::from(part) / 255);
            let work = Work {
                begin: told.begin.map(at),
                first: told.first.map(at),
                last: told.last.map(at),
                prompt: told.prompt,
                cached: told.cached,
                completion: told.completion,
            };
            inputs.push(Input::Work { request: request.id, work });
        }
        inputs.push(host.boundary(request.target, request.id, Change::Leave));
        inputs
    }
}

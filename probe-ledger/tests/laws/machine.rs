//! Random small machines: two packages, two servers and two others that only burn, counters of every kind, requests that
//! overlap, queue, and are told of or not.

use probe_ledger::*;
use proptest::prelude::*;

use crate::tape::{Input, Tape, Weighed};

pub(crate) const PACKAGES: usize = 2;
pub(crate) const CONSUMERS: usize = 4;
/// Consumers 0 and 1 are targets.
pub(crate) const TARGETS: usize = 2;
/// The instant of the first samples.
pub(crate) const BEGIN: u64 = 1_000;
/// More than any window's energy.
const LEAP_NJ: u64 = 1 << 42;

/// A machine and what happens on it. Times are numbers of steps.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    pub(crate) domains: Vec<DomainSpec>,
    /// Where counters start, modulo their range.
    pub(crate) starts: Vec<u64>,
    /// Domains whose weights are odd: by `time` those that have any, measured; else those that miss some.
    pub(crate) odd: u8,
    /// A counter stands still between two steps.
    pub(crate) outage: Option<(usize, usize, usize)>,
    /// Consumer 0 alone is on CPU, always.
    pub(crate) lone: bool,
    pub(crate) horizon: u64,
    pub(crate) patience: u64,
    pub(crate) steps: Vec<Step>,
    pub(crate) requests: Vec<Request>,
}

/// Time passes, then domains are read and requests change.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) dt: u64,
    /// What everybody does meanwhile.
    pub(crate) seed: u64,
    /// Domains that are read.
    pub(crate) read: u8,
    pub(crate) fault: Option<(usize, Fault)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Missing,
    Leap,
    Back,
    /// It shows what it showed before.
    Stuck,
}

#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) id: u64,
    pub(crate) target: usize,
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) first: Option<usize>,
    pub(crate) told: Option<Report>,
}

/// What is told of a request at its end: instants in 1/255 of its residency.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    pub(crate) begin: Option<u8>,
    pub(crate) first: Option<u8>,
    pub(crate) last: Option<u8>,
    pub(crate) prompt: Option<u64>,
    pub(crate) cached: u64,
    pub(crate) completion: Option<u64>,
}

/// What may happen on a machine.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Kind {
    /// Counters go missing, leap, go back and stand still; some must move.
    pub(crate) faults: bool,
    /// Little patience and a near horizon.
    pub(crate) hasty: bool,
}

fn domain(kind: Kind) -> impl Strategy<Value = DomainSpec> {
    let scope = prop_oneof![
        3 => (0..PACKAGES).prop_map(Scope::Package),
        1 => Just(Scope::Machine),
        1 => Just(Scope::Device)
    ];
    let scale = prop_oneof![
        Just(Scale::NANOJOULES),
        Just(Scale::MICROJOULES),
        Just(Scale::RAPL),
        Just(Scale::from_joules_per_count(2.7e-10).unwrap()),
        Just(Scale::from_joules_per_count(1.53e-5).unwrap())
    ];
    let range = prop_oneof![
        Just(Range::Bits(64)),
        Just(Range::Bits(48)),
        (1u64 << 46..).prop_map(Range::Max)
    ];
    let register = Just((Scale::from_joules_per_count(6.1035e-5).unwrap(), Range::Bits(32)));
    let counter = prop_oneof![4 => (scale, range), 1 => register];
    let idle = prop::option::of((0u64..40_000_000_000).prop_map(Nanowatts));
    let period = prop_oneof![Just(0), 0u64..3_000_000];
    let pulse = prop::option::of(5_000_000u64..40_000_000);
    (scope, counter, any::<bool>(), idle, period, pulse).prop_map(
        move |(scope, (scale, range), additive, idle, period, pulse)| DomainSpec {
            name: "random".to_owned(),
            scale,
            range,
            scope,
            additive,
            idle,
            idle_error: idle.map(|power| Nanowatts(power.0 / 50)),
            max_power: kind.faults.then_some(Nanowatts(200_000_000_000)),
            period: Nanos(period),
            quantum: Nanojoules(period / 100),
            class: Ratio(0),
            expected_window: Nanos(5_000_000),
            pulse: pulse.filter(|_| kind.faults).map(Nanos),
        },
    )
}

fn step(kind: Kind) -> impl Strategy<Value = Step> {
    let dt = prop_oneof![
        2 => Just(0),
        8 => 1u64..2_000_000,
        1 => 2_000_000u64..20_000_000
    ];
    let fault = prop_oneof![
        2 => Just(Fault::Missing),
        1 => Just(Fault::Leap),
        1 => Just(Fault::Back),
        4 => Just(Fault::Stuck)
    ];
    let fault = prop::option::weighted(0.4, (0usize..3, fault));
    let read = any::<u8>();
    (dt, any::<u64>(), read, fault).prop_map(move |(dt, seed, read, fault)| Step {
        dt,
        seed,
        read,
        fault: fault.filter(|_| kind.faults),
    })
}

fn report() -> impl Strategy<Value = Report> {
    let at = || prop::option::weighted(0.7, any::<u8>());
    let tokens = || prop::option::weighted(0.9, 0u64..500);
    (at(), at(), at(), tokens(), 0u64..50, tokens()).prop_map(
        |(begin, first, last, prompt, cached, completion)| Report {
            begin,
            first,
            last,
            prompt,
            cached,
            completion,
        },
    )
}

pub(crate) fn request(steps: usize) -> impl Strategy<Value = Request> {
    let first = prop::option::of(0..steps);
    let told = prop::option::weighted(0.7, report());
    (0..TARGETS, 0..steps, 0..steps, first, told).prop_map(move |(target, a, b, first, told)| {
        let (from, to) = (a.min(b), a.max(b));
        Request { id: 0, target, from, to, first, told }
    })
}

/// Random machines of a kind.
pub(crate) fn machines(kind: Kind) -> impl Strategy<Value = Machine> {
    const STEPS: usize = 60;
    let domains = prop::collection::vec((domain(kind), any::<u64>()), 1..4);
    let steps = prop::collection::vec(step(kind), 1..STEPS);
    let requests = prop::collection::vec(request(STEPS), 0..12);
    let outage = prop::option::of((0usize..3, 0..STEPS, 0..STEPS));
    let waits = prop_oneof![Just(u64::MAX), 0u64..100_000_000];
    let waits = (waits.clone(), waits);
    (domains, any::<u8>(), outage, waits, steps, requests).prop_map(
        move |(domains, odd, outage, (horizon, patience), steps, requests)| {
            let (domains, starts) = domains.into_iter().unzip();
            let wait = |ns| if kind.hasty { ns } else { u64::MAX };
            let requests =
                requests.into_iter().zip(1..).map(|(request, id)| Request { id, ..request });
            Machine {
                domains,
                starts,
                odd,
                outage: outage.filter(|_| kind.faults),
                lone: false,
                horizon: wait(horizon),
                patience: wait(patience),
                steps,
                requests: requests.collect(),
            }
        },
    )
}

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
    fn run(&mut self, dt: u64, seed: u64) {
        let mut seed = seed;
        self.t += dt;
        let lone = self.machine.lone;
        let mut time = |k: usize| {
            let r = next(&mut seed);
            match (lone, k) {
                (true, 0) => (1 + r % dt.max(1)).min(dt),
                (true, _) => 0,
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
            let nj = if r.is_multiple_of(5) { 0 } else { (r >> 3) % (dt * 100 + 1) };
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
            host.run(step.dt, step.seed);
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
        host.run(1_000, 1);
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
        self.steps.iter().for_each(|step| host.run(step.dt, step.seed));
        host.run(1_000, 1);
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

    /// When a step's changes happen.
    pub(crate) fn instant(&self, step: usize) -> u64 {
        BEGIN + self.steps.iter().take(step + 1).map(|step| step.dt).sum::<u64>()
    }

    /// The machine with more requests.
    pub(crate) fn with(&self, more: &[Request]) -> Self {
        let mut machine = self.clone();
        machine.requests.extend_from_slice(more);
        machine
    }

    /// The machine with nothing told of its requests: while they overlap they share equally by every policy.
    pub(crate) fn untold(mut self) -> Self {
        self.requests.iter_mut().for_each(|request| request.told = None);
        self
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

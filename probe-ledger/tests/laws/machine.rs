//! Random small machines and what happens on them: two packages, two servers and two others that only burn, counters of
//! every kind, requests that overlap, queue, and are told of or not.

use probe_ledger::*;
use proptest::prelude::*;

pub(crate) const PACKAGES: usize = 2;
pub(crate) const CONSUMERS: usize = 4;
/// Consumers 0 and 1 are targets.
pub(crate) const TARGETS: usize = 2;
/// The instant of the first samples.
pub(crate) const BEGIN: u64 = 1_000;

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

impl Machine {
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
}

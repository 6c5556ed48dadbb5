//! Random small machines and what happens on them: two packages, two servers and two others that only burn, counters of
//! every kind, requests that overlap, queue, and are told of or not.

use probe_ledger::*;
use proptest::prelude::*;

use crate::host::next;

pub(crate) const PACKAGES: usize = 2;
pub(crate) const CONSUMERS: usize = 4;
/// Consumers 0 and 1 are targets.
pub(crate) const TARGETS: usize = 2;
/// The instant of the first samples.
pub(crate) const BEGIN: u64 = 1_000;

/// The quiet steps of a machine that learns its idle power, and the requests of each target that teach prices.
const QUIET: usize = 7;
const LESSONS: usize = 8;

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
    /// The first steps, in which it learns and nothing goes wrong.
    pub(crate) lessons: usize,
    pub(crate) requests: Vec<Request>,
    pub(crate) splits: Vec<(usize, usize, Split)>,
    /// Told at a step, of a domain: from so long before it, for so long.
    pub(crate) breaks: Vec<(usize, usize, (u64, u64), Cause)>,
}

/// Time passes, then domains are read and requests change.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) dt: u64,
    /// What everybody does meanwhile.
    pub(crate) seed: u64,
    pub(crate) pace: Pace,
    /// Domains that are read.
    pub(crate) read: u8,
    pub(crate) fault: Option<(usize, Fault)>,
}

/// How busy everybody is in a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// At random, now and then not at all.
    Usual,
    /// At random, but never not at all.
    Busy,
    /// For less than a twentieth of a CPU.
    Quiet,
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

impl Report {
    /// Enough is told of it to be priced.
    fn complete(&self) -> bool {
        self.first.is_some() && self.prompt.is_some() && self.completion.is_some()
    }
}

/// What may happen on a machine.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Kind {
    /// Counters go missing, leap, go back and stand still; some must move; time is distrusted.
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
    let bound = prop::option::of(Just(Nanowatts(200_000_000_000)));
    let period = prop_oneof![Just(0), 0u64..3_000_000];
    let pulse = prop::option::of(5_000_000u64..40_000_000);
    (scope, counter, any::<bool>(), idle, bound, period, pulse).prop_map(
        move |(scope, (scale, range), additive, idle, bound, period, pulse)| DomainSpec {
            name: "random".to_owned(),
            scale,
            range,
            scope,
            additive,
            idle,
            idle_error: idle.map(|power| Nanowatts(power.0 / 50)),
            max_power: if kind.faults { Some(Nanowatts(200_000_000_000)) } else { bound },
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
        pace: Pace::Usual,
        read,
        fault: fault.filter(|_| kind.faults),
    })
}

/// So likely is each fact told.
fn report(known: f64) -> impl Strategy<Value = Report> {
    let at = move || prop::option::weighted(known, any::<u8>());
    let tokens = || prop::option::weighted(0.9 + known / 10.0, 0u64..500);
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
    let told = prop_oneof![
        prop::option::weighted(0.7, report(0.7)),
        prop::option::weighted(0.97, report(0.97))
    ];
    (0..TARGETS, 0..steps, 0..steps, first, told).prop_map(move |(target, a, b, first, told)| {
        let (from, to) = (a.min(b), a.max(b));
        Request { id: 0, target, from, to, first, told }
    })
}

/// What happens to a domain's splits and times that are not to be trusted.
type Happenings = (Vec<(usize, usize, Split)>, Vec<(usize, usize, (u64, u64), Cause)>);

fn happenings(kind: Kind, steps: usize) -> impl Strategy<Value = Happenings> {
    let split = prop::sample::select(&Split::ALL[..]);
    let cause = prop_oneof![Just(Cause::Suspended), Just(Cause::Hotplug)];
    let splits = prop::collection::vec((0..steps, 0usize..3, split), 0..4);
    let time = (0u64..2_000_000, 0u64..5_000_000);
    let most = if kind.faults { 3 } else { 1 };
    let breaks = prop::collection::vec((0..steps, 0usize..3, time, cause), 0..most);
    (splits, breaks)
}

/// What a machine learns at first: its idle power, where nobody tells it; what requests cost.
#[derive(Clone, Copy, Debug)]
struct Learns {
    idle: bool,
    prices: bool,
    seed: u64,
}

/// Random machines of a kind; three quarters of them learn prices first, a quarter idle power.
pub(crate) fn machines(kind: Kind) -> impl Strategy<Value = Machine> {
    const STEPS: usize = 60;
    let domains = prop::collection::vec((domain(kind), any::<u64>()), 1..4);
    let steps = prop::collection::vec(step(kind), 1..STEPS);
    let requests = prop::collection::vec(request(STEPS), 0..12);
    let outage = prop::option::of((0usize..3, 0..STEPS, 0..STEPS));
    let waits = prop_oneof![Just(u64::MAX), 0u64..100_000_000];
    let waits = (waits.clone(), waits);
    let learns = (prop::bool::weighted(0.25), prop::bool::weighted(0.75), any::<u64>());
    let learns = learns.prop_map(|(idle, prices, seed)| Learns { idle, prices, seed });
    let odd = (any::<u8>(), outage, happenings(kind, STEPS));
    (domains, odd, waits, steps, requests, learns).prop_map(
        move |(domains, (odd, outage, happenings), waits, steps, requests, learns)| {
            let (horizon, patience) = waits;
            let (domains, starts) = domains.into_iter().unzip();
            let wait = |ns| if kind.hasty { ns } else { u64::MAX };
            let requests =
                requests.into_iter().zip(1..).map(|(request, id)| Request { id, ..request });
            let machine = Machine {
                domains,
                starts,
                odd,
                outage: outage.filter(|_| kind.faults),
                lone: false,
                horizon: wait(horizon),
                patience: wait(patience),
                steps,
                lessons: 0,
                requests: requests.collect(),
                splits: happenings.0,
                breaks: happenings.1,
            };
            machine.that(learns)
        },
    )
}

/// A request of which everything is told.
fn taught(seed: &mut u64) -> Report {
    let mut pick = |from: u64, to: u64| from + next(seed) % (to - from);
    Report {
        begin: None,
        first: Some(pick(60, 200) as u8),
        last: None,
        prompt: Some(pick(1, 500)),
        cached: pick(0, 50),
        completion: Some(pick(2, 300)),
    }
}

impl Machine {
    /// After what it learns at first.
    fn that(mut self, Learns { idle, prices, mut seed }: Learns) -> Self {
        let mut steps = Vec::new();
        let lesson = |dt, pace, seed: &mut u64| {
            let (seed, read) = (next(seed), 7);
            Step { dt, seed, pace, read, fault: None }
        };
        if idle {
            // Each is one observation.
            steps.extend((0..QUIET).map(|_| lesson(1_100_000_000, Pace::Quiet, &mut seed)));
            self.domains.iter_mut().skip(1).step_by(2).for_each(|spec| spec.idle = None);
            (self.domains[0].idle, self.domains[0].additive) = (None, true);
        }
        let first = steps.len();
        let mut requests = Vec::new();
        if prices {
            self.domains[0].additive = true;
            steps.extend((0..=LESSONS).map(|_| lesson(2_000_000, Pace::Busy, &mut seed)));
            for (i, target) in (0..LESSONS).flat_map(|i| (0..TARGETS).map(move |k| (i, k))) {
                let (from, to) = (first + i, first + i + 1);
                let id = (1_000 + i * TARGETS + target) as u64;
                requests.push(Request {
                    id,
                    target,
                    from,
                    to,
                    first: None,
                    told: Some(taught(&mut seed)),
                });
            }
        }
        self.lessons = steps.len();
        steps.append(&mut self.steps);
        self.steps = steps;
        // On most machines that learn prices everybody leaves before the end, and everything is told of him.
        let all = prices && !seed.is_multiple_of(8);
        let usual = self.steps.len() - self.lessons;
        for mut request in std::mem::take(&mut self.requests) {
            if all {
                let (a, b) = (request.from % usual, request.to % usual);
                (request.from, request.to) = (a.min(b), a.max(b));
            }
            request = self.later(&request);
            let told = request.told.as_ref().filter(|told| told.complete() || !all).cloned();
            request.told = told.or_else(|| all.then(|| taught(&mut seed)));
            requests.push(request);
        }
        self.requests = requests;
        let lessons = self.lessons;
        self.outage = self.outage.map(|(d, from, to)| (d, from + lessons, to + lessons));
        let domains = self.domains.len();
        let places = self.splits.iter_mut().map(|(step, d, _)| (step, d));
        for (step, d) in places.chain(self.breaks.iter_mut().map(|(step, d, ..)| (step, d))) {
            (*step, *d) = (lessons + *step % usual, *d % domains);
        }
        self
    }

    /// A request that comes after what is learned at first.
    pub(crate) fn later(&self, request: &Request) -> Request {
        let Request { from, to, first, .. } = *request;
        let later = |step| step + self.lessons;
        Request { from: later(from), to: later(to), first: first.map(later), ..request.clone() }
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
}

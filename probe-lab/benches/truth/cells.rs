//! The loads of the table, and what each method says of their requests.

mod axes;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use probe_lab::sim;
use probe_lab::sim::methods::{Idle, Method, Observed};
use probe_lab::sim::{Energy, Host, Load, RequestTruth};
use probe_ledger::{DomainShare, Nanojoules};

pub(crate) use self::axes::{Axis, Beside, Bound};
use crate::books::{Books, Error, IdlePower, calibrate};
use crate::figures::Figures;
use crate::policies::POLICIES;

/// One load, and the errors of all methods.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    pub(crate) axis: Axis,
    /// By place in [`POLICIES`].
    pub(crate) ledgers: Vec<Figures>,
    /// Likewise, of the part before the first content and of the rest.
    pub(crate) phases: Vec<[Figures; 2]>,
    /// By place in [`Method::ALL`], as they are used.
    pub(crate) today: Vec<Figures>,
    /// With idle power taken off.
    pub(crate) today_less_idle: Vec<Figures>,
    /// How long requests really took, s, by length.
    pub(crate) seconds: Figures,
}

/// Runs of a cell: each has a seed of its own.
const RUNS: u64 = 4;
/// Residents on average, itself included, of a request that overlapped nobody.
const ALONE: f64 = 1.000_5;
/// How long the machine's idle power is measured, ns.
const CALIBRATION_NS: u64 = 60_000_000_000;

/// Simulates every cell, `jobs` at a time.
pub(crate) fn measure(requests: usize, seed: u64, jobs: usize) -> Result<Vec<Cell>, Error> {
    let axes = Axis::all();
    let host = axes::host();
    let idle = calibrate(&host, &Load::default(), seed, CALIBRATION_NS);
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::new());
    let work = || loop {
        let place = next.fetch_add(1, Ordering::Relaxed);
        let Some(axis) = axes.get(place) else { break };
        let cell = cell(&host, &idle, axis, requests, seed);
        if let Ok(mut done) = done.lock() {
            done.push((place, cell));
        }
    };
    thread::scope(|scope| {
        (0..jobs.max(1)).for_each(|_| drop(scope.spawn(work)));
    });
    let mut done = done.into_inner().map_err(|_| Error::Worker)?;
    done.sort_by_key(|(place, _)| *place);
    if done.len() != axes.len() {
        return Err(Error::Worker);
    }
    done.into_iter().map(|(_, cell)| cell).collect()
}

fn cell(
    host: &Host,
    idle: &[IdlePower],
    axis: &Axis,
    requests: usize,
    seed: u64,
) -> Result<Cell, Error> {
    let figures = |n: usize| vec![Figures::default(); n];
    let methods = Method::ALL.len();
    let mut cell = Cell {
        axis: *axis,
        ledgers: figures(POLICIES.len()),
        phases: vec![<_>::default(); POLICIES.len()],
        today: figures(methods),
        today_less_idle: figures(methods),
        seconds: Figures::default(),
    };
    for run in 0..RUNS {
        let seed = seed.wrapping_mul(1_000_003).wrapping_add(run);
        let load = axis.load(requests.div_ceil(RUNS as usize), seed);
        cell.add(host, idle, &load, seed)?;
    }
    Ok(cell)
}

impl Cell {
    fn add(
        &mut self,
        host: &Host,
        idle: &[IdlePower],
        load: &Load,
        seed: u64,
    ) -> Result<(), Error> {
        let open = |entry| Books::open(host, load, idle, entry);
        let mut ledgers = POLICIES.iter().map(open).collect::<Result<Vec<_>, _>>()?;
        let idle_watts = idle.iter().map(|idle| idle.power.watts()).sum();
        let mut seen = Observed::new(host.domains(), idle_watts);
        let truth = sim::run(host, load, seed, &mut |input| {
            ledgers.iter_mut().for_each(|ledger| ledger.tell(&input));
            seen.see(&input);
        });
        if !truth.closes() {
            return Err(Error::Truth(seed));
        }
        for (ledger, figures) in ledgers.iter_mut().zip(&mut self.ledgers) {
            ledger.finish(&truth)?;
            of_ledger(ledger, &truth.requests)?.into_iter().for_each(|f| figures.extend(f));
        }
        for (ledger, phases) in ledgers.iter().zip(&mut self.phases) {
            of_phases(ledger, &truth.requests, phases);
        }
        for request in &truth.requests {
            let took = (request.facts.end - request.facts.queue) as f64 * 1e-6;
            self.seconds.add(took, self.axis.length_ms as f64);
        }
        // Both are in the order in which requests ended, but for those that ended in one gap.
        let truths: std::collections::HashMap<u64, f64> =
            truth.requests.iter().map(|r| (r.facts.request, r.joules())).collect();
        for (place, method) in Method::ALL.iter().enumerate() {
            let both = [(Idle::Kept, &mut self.today), (Idle::Off, &mut self.today_less_idle)];
            for (idle, figures) in both {
                for (facts, said) in seen.facts.iter().zip(method.joules(&seen, idle)) {
                    let truth = truths.get(&facts.request).copied();
                    figures[place].add(said, truth.ok_or(Error::NoAccount(facts.request))?);
                }
            }
        }
        Ok(())
    }
}

/// What a ledger says of requests whose truth is known: of those that were alone, and of the others.
pub(crate) fn of_ledger(books: &Books, truths: &[RequestTruth]) -> Result<[Figures; 2], Error> {
    let mut both = <[Figures; 2]>::default();
    for request in truths {
        let id = request.facts.request;
        let account = books.accounts.get(&id).ok_or(Error::NoAccount(id))?;
        let energy = account.energy.ok_or(Error::NoAccount(id))?;
        let truth = request.joules();
        let figures = &mut both[usize::from(account.mean_residents > ALONE)];
        figures.add(energy.energy.joules(), truth);
        figures.bar(energy.low.joules(), truth, energy.high.joules());
    }
    Ok(both)
}

/// What it says of their phases, where it knows them and they cost something.
fn of_phases(books: &Books, truths: &[RequestTruth], figures: &mut [Figures; 2]) {
    for request in truths {
        let Some(account) = books.accounts.get(&request.facts.request) else { continue };
        let said = |phase: fn(&DomainShare) -> Option<Nanojoules>| {
            let sum = account.domains.iter().filter_map(phase).map(Nanojoules::joules).sum::<f64>();
            (sum > 0.0).then_some(sum)
        };
        let truth = |phase: fn(&Energy) -> u64| {
            request.domains.iter().map(phase).sum::<u64>() as f64 * 1e-12
        };
        let both = [
            (said(|d| d.prefill), truth(|e| e.prefill_pj)),
            (said(|d| d.decode), truth(|e| e.decode_pj)),
        ];
        for (figures, (said, truth)) in figures.iter_mut().zip(both) {
            if let Some(said) = said.filter(|_| truth > 0.0) {
                figures.add(said, truth);
            }
        }
    }
}

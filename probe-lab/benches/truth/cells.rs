//! The loads of the table, and what each method says of their requests.

mod axis;
mod said;

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use probe_lab::sim;
use probe_lab::sim::methods::{Idle, Method, Observed};
use probe_lab::sim::{Load, RequestTruth};

pub(crate) use self::axis::Axis;
pub(crate) use self::said::{KINDS, Said};
use crate::books::{Books, Error};
use crate::figures::{Figures, quantiles};
use crate::idle::{IdlePower, calibrate};
use crate::policies::POLICIES;
use crate::scene::{Extent, Scene};

/// One load, and the errors of all methods.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    pub(crate) axis: Axis,
    /// By place in [`POLICIES`]; empty where the scene has no such ledger.
    pub(crate) ledgers: Vec<Said>,
    /// By place in [`Method::ALL`], as they are used.
    pub(crate) today: Vec<Figures>,
    /// With idle power taken off.
    pub(crate) today_less_idle: Vec<Figures>,
    /// How long requests really took, s.
    seconds: Vec<f32>,
    /// How many were there on average, the request itself included.
    residents: Vec<f32>,
}

/// How long the machine's idle power is measured, ns.
const CALIBRATION_NS: u64 = 60_000_000_000;

/// Simulates every cell, `jobs` at a time.
pub(crate) fn measure(
    extent: Extent,
    requests: usize,
    seed: u64,
    jobs: usize,
) -> Result<Vec<Cell>, Error> {
    let axes = Axis::all(extent);
    let idle = [Scene::Nothing, Scene::Device]
        .map(|scene| calibrate(&axis::host(scene), &Load::default(), seed, CALIBRATION_NS));
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::new());
    let work = || loop {
        let place = next.fetch_add(1, Ordering::Relaxed);
        let Some(axis) = axes.get(place) else { break };
        let cell = cell(&idle[usize::from(axis.scene.gpu())], axis, extent, requests, seed);
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
    idle: &[IdlePower],
    axis: &Axis,
    extent: Extent,
    requests: usize,
    seed: u64,
) -> Result<Cell, Error> {
    let methods = vec![Figures::default(); Method::ALL.len()];
    let mut cell = Cell {
        axis: *axis,
        ledgers: vec![Said::default(); POLICIES.len()],
        today: methods.clone(),
        today_less_idle: methods,
        seconds: Vec::new(),
        residents: Vec::new(),
    };
    let runs = extent.runs(axis.scene, axis.overlap);
    for run in 0..runs {
        let seed = seed.wrapping_mul(1_000_003).wrapping_add(run);
        let load = axis.load(requests.div_ceil(runs as usize), seed);
        cell.add(idle, &load, seed)?;
    }
    Ok(cell)
}

impl Cell {
    /// Requests in it.
    pub(crate) fn count(&self) -> usize {
        self.seconds.len()
    }

    /// Medians: how long they took, s, and how many were there.
    pub(crate) fn really(&self) -> [f64; 2] {
        [&self.seconds, &self.residents].map(|values| quantiles(values.clone(), [0.5])[0])
    }

    /// Simulates a run.
    fn add(&mut self, idle: &[IdlePower], load: &Load, seed: u64) -> Result<(), Error> {
        let scene = self.axis.scene;
        let host = &axis::host(scene);
        let places = || (0..POLICIES.len()).filter(|place| scene.has(*place));
        let mut ledgers = places()
            .map(|place| Books::open(host, load, Some(idle), &POLICIES[place]))
            .collect::<Result<Vec<_>, _>>()?;
        let idle_watts = idle.iter().map(|idle| idle.power.watts()).sum();
        let mut seen = Observed::new(host.domains(), idle_watts);
        let truth = sim::run(host, load, seed, &mut |input| {
            ledgers.iter_mut().for_each(|ledger| ledger.tell(&input));
            seen.see(&input);
        });
        if !truth.closes() {
            return Err(Error::Truth(seed));
        }
        let truths: Vec<&RequestTruth> =
            truth.requests.iter().filter(|request| request.facts.consumer == 0).collect();
        for (place, ledger) in places().zip(&mut ledgers) {
            ledger.finish(&truth)?;
            self.ledgers[place].add(ledger, &truths)?;
        }
        for request in &truths {
            self.seconds.push((request.facts.end - request.facts.queue) as f32 * 1e-9);
            let account = ledgers.first().map(|ledger| ledger.account(request)).transpose()?;
            self.residents.extend(account.map(|account| account.mean_residents as f32));
        }
        self.add_today(&seen, &truths);
        Ok(())
    }

    fn add_today(&mut self, seen: &Observed, truths: &[&RequestTruth]) {
        // Both are in the order in which requests ended, but for those that ended in one gap.
        let truths: HashMap<u64, f64> =
            truths.iter().map(|r| (r.facts.request, r.joules())).collect();
        for (place, method) in Method::ALL.iter().enumerate() {
            let both = [(Idle::Kept, &mut self.today), (Idle::Off, &mut self.today_less_idle)];
            for (idle, figures) in both {
                for (facts, said) in seen.facts.iter().zip(method.joules(seen, idle)) {
                    if let Some(truth) = truths.get(&facts.request) {
                        figures[place].add(said, *truth);
                    }
                }
            }
        }
    }
}

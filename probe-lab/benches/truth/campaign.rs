//! Random simulations of everything at once: do all books close, and how often does the truth lie in the bar?

mod bars;
mod random;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use probe_lab::sim;

pub(crate) use self::bars::Bars;
use self::random::{Drawn, Known};
use crate::books::{Books, Error};
use crate::idle::calibrate;
use crate::policies::{Entry, POLICIES};

/// How long each machine's idle power is measured, ns.
const CALIBRATION_NS: u64 = 500_000_000;

/// Sums over simulations.
#[derive(Debug, Default)]
pub(crate) struct Sums {
    pub(crate) runs: u64,
    pub(crate) requests: u64,
    pub(crate) wrong_nj: u128,
    /// Lowest seed whose books do not close.
    first_wrong: Option<u64>,
    pub(crate) bars: Bars,
}

/// Runs them.
pub(crate) fn run(simulations: u64, seed: u64, jobs: usize) -> Result<Sums, Error> {
    let next = AtomicU64::new(0);
    let sums = Mutex::new(Ok(Sums::default()));
    let work = || loop {
        let place = next.fetch_add(1, Ordering::Relaxed);
        if place >= simulations {
            break;
        }
        let one = one(seed.wrapping_mul(1_000_003).wrapping_add(place));
        let Ok(mut sums) = sums.lock() else { break };
        match (&mut *sums, one) {
            (Ok(sums), Ok(one)) => sums.add(&one),
            (sums @ Ok(_), Err(error)) => *sums = Err(error),
            (Err(_), _) => break,
        }
    };
    thread::scope(|scope| {
        (0..jobs.max(1)).for_each(|_| drop(scope.spawn(work)));
    });
    sums.into_inner().map_err(|_| Error::Worker)?
}

fn one(seed: u64) -> Result<Sums, Error> {
    let Drawn { host, load, idle, known } = random::draw(seed);
    let calibrated =
        (known == Known::Calibrated).then(|| calibrate(&host, &load, seed, CALIBRATION_NS));
    let open = |entry: &Entry| {
        let mut entry = *entry;
        entry.policies.idle = idle;
        Books::open(&host, &load, calibrated.as_deref(), &entry)
    };
    let mut ledgers = POLICIES.iter().map(open).collect::<Result<Vec<_>, _>>()?;
    let truth = sim::run(&host, &load, seed, &mut |input| {
        ledgers.iter_mut().for_each(|ledger| ledger.tell(&input));
    });
    if !truth.closes() {
        return Err(Error::Truth(seed));
    }
    let mut sums = Sums { runs: 1, requests: truth.requests.len() as u64, ..Sums::default() };
    for (place, ledger) in ledgers.iter_mut().enumerate() {
        ledger.finish(&truth)?;
        sums.wrong_nj += ledger.error_nj()?;
        for request in &truth.requests {
            sums.bars.add(place, ledger.account(request)?, request, &load)?;
        }
    }
    sums.first_wrong = (sums.wrong_nj > 0).then_some(seed);
    Ok(sums)
}

impl Sums {
    fn add(&mut self, other: &Self) {
        self.runs += other.runs;
        self.requests += other.requests;
        self.wrong_nj += other.wrong_nj;
        self.first_wrong = self.first_wrong.into_iter().chain(other.first_wrong).min();
        self.bars.extend(&other.bars);
    }

    /// Says whether every book of every simulation closes, and whether bars are honest.
    pub(crate) fn print(&self, simulations: u64) -> bool {
        println!("\n### Conservation\n");
        println!(
            "{} random simulations, {} requests, {} ledgers each: the books are wrong by {} nJ in all.",
            self.runs,
            self.requests,
            POLICIES.len(),
            self.wrong_nj
        );
        if let Some(seed) = self.first_wrong {
            println!("The first that does not close has the seed {seed}.");
        }
        let honest = self.bars.print();
        self.runs == simulations && self.wrong_nj == 0 && honest
    }
}

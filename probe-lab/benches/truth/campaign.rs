//! Random simulations of everything at once: do all books close, and how often does the truth lie in the bar?

mod random;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use probe_lab::sim;

use crate::books::{Books, Error, calibrate};
use crate::cells::of_ledger;
use crate::figures::Figures;
use crate::policies::POLICIES;

/// How long each machine's idle power is measured, ns.
const CALIBRATION_NS: u64 = 500_000_000;

/// Sums over simulations.
#[derive(Debug, Default)]
struct Sums {
    runs: u64,
    requests: u64,
    wrong_nj: u128,
    /// First seed whose books do not close.
    first_wrong: Option<u64>,
    /// By policy: requests that were alone, and the others.
    figures: Vec<[Figures; 2]>,
}

/// So many of a hundred truths must lie in their 95 % bars.
const COVERAGE: std::ops::RangeInclusive<f64> = 0.93..=0.97;

/// Runs them and prints what came out; says whether every book of every one closes, and whether bars are honest.
pub(crate) fn run(simulations: u64, seed: u64, jobs: usize) -> Result<bool, Error> {
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
            (Ok(sums), Ok(one)) => sums.add(one),
            (sums @ Ok(_), Err(error)) => *sums = Err(error),
            (Err(_), _) => break,
        }
    };
    thread::scope(|scope| {
        (0..jobs.max(1)).for_each(|_| drop(scope.spawn(work)));
    });
    let sums = sums.into_inner().map_err(|_| Error::Worker)??;
    let honest = sums.print();
    Ok(sums.runs == simulations && sums.wrong_nj == 0 && honest)
}

fn one(seed: u64) -> Result<Sums, Error> {
    let (host, load) = random::draw(seed);
    let idle = calibrate(&host, &load, seed, CALIBRATION_NS);
    let open = |entry| Books::open(&host, &load, &idle, entry);
    let mut ledgers = POLICIES.iter().map(open).collect::<Result<Vec<_>, _>>()?;
    let truth = sim::run(&host, &load, seed, &mut |input| {
        ledgers.iter_mut().for_each(|ledger| ledger.tell(&input));
    });
    if !truth.closes() {
        return Err(Error::Truth(seed));
    }
    let mut sums = Sums { runs: 1, requests: truth.requests.len() as u64, ..Sums::default() };
    for ledger in &mut ledgers {
        ledger.finish(&truth)?;
        sums.wrong_nj += ledger.error_nj()?;
        sums.figures.push(of_ledger(ledger, &truth.requests)?);
    }
    sums.first_wrong = (sums.wrong_nj > 0).then_some(seed);
    Ok(sums)
}

impl Sums {
    fn add(&mut self, other: Self) {
        self.runs += other.runs;
        self.requests += other.requests;
        self.wrong_nj += other.wrong_nj;
        self.first_wrong = self.first_wrong.or(other.first_wrong);
        self.figures.resize(POLICIES.len(), <_>::default());
        for (sums, both) in self.figures.iter_mut().zip(other.figures) {
            sums.iter_mut().zip(both).for_each(|(sum, figures)| sum.extend(figures));
        }
    }

    /// Says whether enough truths lie in the bars of the claimed policies, and not too many.
    fn print(&self) -> bool {
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
        println!("\n### Error bars\n");
        println!("Truths inside their 95 % bars in these simulations; claimed: 93 % to 97 %.\n");
        println!("| policies | alone | requests | overlapping | requests |\n|---|---|---|---|---|");
        let mut honest = true;
        for (entry, both) in POLICIES.iter().zip(&self.figures) {
            let inside = both.each_ref().map(|f| f.coverage().unwrap_or(f64::NAN));
            honest &= !entry.claimed || inside.iter().all(|part| COVERAGE.contains(part));
            let percent = inside.map(|part| format!("{:.1} %", 100.0 * part));
            let claimed = if entry.claimed { "**claimed** " } else { "" };
            let [alone, over] = both.each_ref().map(Figures::count);
            let name = entry.name;
            println!("| {claimed}{name} | {} | {alone} | {} | {over} |", percent[0], percent[1]);
        }
        honest
    }
}

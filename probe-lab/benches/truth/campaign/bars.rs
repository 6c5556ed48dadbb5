//! How often the truth lies in the 95 % bar.

use probe_lab::sim::{Load, RequestTruth};
use probe_ledger::{Account, Flag, Nanos};

use crate::books::Error;
use crate::figures::Figures;
use crate::policies::{Claim, POLICIES};

/// So many of a hundred truths must lie in their bars.
pub(crate) const COVERAGE: std::ops::RangeInclusive<f64> = 0.93..=0.97;
/// Residents on average, itself included, of a request that overlapped nobody.
const ALONE: f64 = 1.000_5;
/// A long request.
const LONG: Nanos = Nanos::from_millis(1_000);

/// Kinds of requests. The first two are all of them, and are judged.
const CLASSES: [&str; 6] = [
    "alone",
    "overlapping",
    "1 s and longer",
    "by learned idle power",
    "alone on a GPU",
    "on a shared GPU",
];
const JUDGED: usize = 2;

/// By ledger and class.
#[derive(Debug)]
pub(crate) struct Bars {
    figures: Vec<[Figures; CLASSES.len()]>,
    /// Whose idle power was not known: it is in their joules, as they say.
    pub(crate) idle_unknown: usize,
}

impl Default for Bars {
    fn default() -> Self {
        Self { figures: vec![<_>::default(); POLICIES.len()], idle_unknown: 0 }
    }
}

impl Bars {
    pub(crate) fn add(
        &mut self,
        ledger: usize,
        account: &Account,
        request: &RequestTruth,
        load: &Load,
    ) -> Result<(), Error> {
        let energy = account.energy.ok_or(Error::NoAccount(request.facts.request))?;
        if account.flags.contains(Flag::IdleUnknown) {
            self.idle_unknown += usize::from(ledger == 0);
            return Ok(());
        }
        let truth = request.joules();
        let overlaps = account.mean_residents > ALONE;
        let users = load.servers.iter().filter(|server| server.gpu_mw > 0).count();
        let on_gpu =
            load.servers[request.facts.consumer].gpu_mw > 0 && request.domains.len() % 2 == 1;
        let in_class = [
            !overlaps,
            overlaps,
            account.resident >= LONG,
            account.flags.contains(Flag::IdleLearned),
            on_gpu && users == 1,
            on_gpu && users > 1,
        ];
        let classes = self.figures[ledger].iter_mut().zip(in_class);
        for (figures, _) in classes.filter(|(_, here)| *here) {
            figures.add(energy.energy.joules(), truth);
            figures.bar(energy.low.joules(), truth, energy.high.joules());
        }
        Ok(())
    }

    pub(crate) fn extend(&mut self, other: &Self) {
        for (sums, figures) in self.figures.iter_mut().zip(&other.figures) {
            sums.iter_mut().zip(figures).for_each(|(sum, figures)| sum.extend(figures));
        }
        self.idle_unknown += other.idle_unknown;
    }

    /// Of a ledger's requests that were alone, and of the others, which part of the bars holds the truth.
    pub(crate) fn judged(&self, ledger: usize) -> [f64; JUDGED] {
        std::array::from_fn(|class| self.figures[ledger][class].coverage().unwrap_or(f64::NAN))
    }

    /// Says whether enough truths lie in the bars that are claimed, and not too many.
    pub(crate) fn print(&self) -> bool {
        println!("\n### Error bars\n");
        println!(
            "Truths inside their 95 % bars in these simulations, of so many requests; claimed: 93 % to 97 % of those that \
             were alone, and of the others. Left out are {} requests that say that idle power is in them.\n",
            self.idle_unknown
        );
        println!("| policies | {} |", CLASSES.join(" | "));
        println!("|---|{}", "---|".repeat(CLASSES.len()));
        let mut honest = true;
        for (ledger, entry) in POLICIES.iter().enumerate() {
            let claimed = entry.claim != Claim::Nothing;
            honest &= !claimed || self.judged(ledger).iter().all(|part| COVERAGE.contains(part));
            let cells = self.figures[ledger].each_ref().map(|figures| {
                let inside = figures.coverage().unwrap_or(f64::NAN);
                format!("{:.1} % of {}", 100.0 * inside, figures.count())
            });
            let mark = if claimed { "**claimed** " } else { "" };
            println!("| {mark}{} | {} |", entry.name, cells.join(" | "));
        }
        honest
    }
}

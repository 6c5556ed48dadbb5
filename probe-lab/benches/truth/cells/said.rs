//! What one ledger said of the requests of a cell.

use probe_lab::sim::{Energy, RequestTruth};
use probe_ledger::{Account, DomainShare, Nanojoules};

use crate::books::{Books, Error};
use crate::figures::Figures;

/// Kinds of domains, by how their names begin.
pub(crate) const KINDS: [&str; 3] = ["package", "dram", "gpu"];

/// Errors of a ledger in one cell.
#[derive(Clone, Debug, Default)]
pub(crate) struct Said {
    /// Of requests, and how often the truth lies in the bar.
    pub(crate) all: Figures,
    /// By kind of domain.
    pub(crate) kinds: [Figures; KINDS.len()],
    /// Of the part before the first content and of the rest.
    pub(crate) phases: [Figures; 2],
    /// Medians of single runs.
    pub(crate) runs: Vec<f64>,
}

impl Said {
    /// Takes a run in.
    pub(crate) fn add(&mut self, books: &Books, truths: &[&RequestTruth]) -> Result<(), Error> {
        let mut run = Figures::default();
        for request in truths {
            let account = books.account(request)?;
            let energy = account.energy.ok_or(Error::NoAccount(request.facts.request))?;
            let truth = request.joules();
            run.add(energy.energy.joules(), truth);
            run.bar(energy.low.joules(), truth, energy.high.joules());
            self.add_kinds(books, account, request);
            self.add_phases(account, request);
        }
        self.runs.push(run.median());
        self.all.extend(&run);
        Ok(())
    }

    fn add_kinds(&mut self, books: &Books, account: &Account, request: &RequestTruth) {
        for (figures, kind) in self.kinds.iter_mut().zip(KINDS) {
            let of = |d: &usize| books.name(*d).starts_with(kind);
            let domains = || (0..request.domains.len()).filter(of);
            let energy = |share: &DomainShare| share.active.map_or(0.0, |e| e.energy.joules());
            let said: f64 = domains().map(|d| energy(&account.domains[d])).sum();
            let truth: u64 = domains().map(|d| request.domains[d].pj()).sum();
            figures.add(said, truth as f64 * 1e-12);
        }
    }

    /// Where a phase is known, what is said of it counts; also that it cost nothing.
    fn add_phases(&mut self, account: &Account, request: &RequestTruth) {
        let said = |phase: fn(&DomainShare) -> Option<Nanojoules>| {
            let known: Option<Vec<f64>> =
                account.domains.iter().map(|d| phase(d).map(Nanojoules::joules)).collect();
            known.map(|parts| parts.iter().sum::<f64>())
        };
        let truth = |phase: fn(&Energy) -> u64| {
            request.domains.iter().map(phase).sum::<u64>() as f64 * 1e-12
        };
        let both = [
            (said(|d| d.prefill), truth(|e| e.prefill_pj)),
            (said(|d| d.decode), truth(|e| e.decode_pj)),
        ];
        for (figures, (said, truth)) in self.phases.iter_mut().zip(both) {
            if let Some(said) = said {
                figures.add(said, truth);
            }
        }
    }
}

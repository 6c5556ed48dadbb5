//! What can be read from the books at any time.

use super::Ledger;
use crate::book::{Anomalies, Book, TargetBook};
use crate::domain::Scope;
use crate::id::{ConsumerId, DomainId};
use crate::policy::Policies;
use crate::unit::Nanos;

impl Ledger {
    /// A domain's books; `None` if there is no such domain.
    #[must_use]
    pub fn books(&self, domain: DomainId) -> Option<&Book> {
        self.books.get(domain.0)
    }

    /// A consumer's energy over the additive domains; sums saturate at 18.4 GJ. Zero for no such consumer.
    #[must_use]
    pub fn target(&self, consumer: ConsumerId) -> TargetBook {
        let mut sum = TargetBook::default();
        let mut packages = vec![Nanos::ZERO; self.packages];
        let mut machine = Nanos::ZERO;
        for (meter, book) in self.meters.iter().zip(&self.books) {
            let Some(charged) = book.consumers.get(consumer.0) else { continue };
            if meter.spec.additive {
                sum.requests = sum.requests.saturating_add(charged.requests);
                sum.background = sum.background.saturating_add(charged.background);
            }
            match meter.spec.scope {
                Scope::Package(p) => packages[p] = packages[p].max(charged.cpu),
                Scope::Machine => machine = machine.max(charged.cpu),
                Scope::Device => {}
            }
        }
        let cores = packages.into_iter().fold(Nanos::ZERO, Nanos::saturating_add);
        sum.cpu = cores.max(machine);
        sum
    }

    /// How many requests of a target are resident.
    #[must_use]
    pub fn residents(&self, consumer: ConsumerId) -> usize {
        self.targets.get(consumer.0).map_or(0, |target| target.residents().len())
    }

    /// How many accounts are open: resident, or waiting for a domain's next window.
    #[must_use]
    pub fn unsettled(&self) -> usize {
        self.desk.len()
    }

    /// Contradictions in the input so far.
    #[must_use]
    pub fn anomalies(&self) -> Anomalies {
        self.anomalies
    }

    /// The policies the books are kept by.
    #[must_use]
    pub fn policies(&self) -> Policies {
        self.policies
    }
}

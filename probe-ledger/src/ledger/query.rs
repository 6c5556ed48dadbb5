//! What can be read from the books at any time.

use super::Ledger;
use crate::book::{Anomalies, Book, TargetBook};
use crate::id::{ConsumerId, DomainId};
use crate::idle::IdlePower;
use crate::policy::Policies;

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
        let domains = self.meters.iter().zip(&self.books).filter(|(meter, _)| meter.spec.additive);
        for charged in domains.filter_map(|(_, book)| book.consumers.get(consumer.0)) {
            sum.requests = sum.requests.saturating_add(charged.requests);
            sum.background = sum.background.saturating_add(charged.background);
            sum.during.add(charged.during);
        }
        sum
    }

    /// What is known of a domain's idle power now: told, or learned so far.
    #[must_use]
    pub fn idle(&self, domain: DomainId) -> Option<IdlePower> {
        self.meters.get(domain.0)?.idle_power()
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

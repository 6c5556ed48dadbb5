//! What really happened, in picojoules.

use super::input::Facts;

/// The truth of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Truth {
    /// First and last instant, ns.
    pub begin: u64,
    /// Last instant.
    pub end: u64,
    /// By domain.
    pub domains: Vec<DomainTruth>,
    /// In the order in which they ended.
    pub requests: Vec<RequestTruth>,
    /// By server, by domain: what it drew with nothing resident.
    pub background: Vec<Vec<u64>>,
}

/// A domain's energy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DomainTruth {
    /// All of it, added up from the parts of the machine.
    pub total_pj: u64,
    /// Nobody's.
    pub idle_pj: u64,
    /// By consumer.
    pub active_pj: Vec<u64>,
}

/// A request's energy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestTruth {
    /// Instants and tokens.
    pub facts: Facts,
    /// By domain.
    pub domains: Vec<Energy>,
}

/// Energy of a request in a domain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Energy {
    /// In steps that read its prompt.
    pub prefill_pj: u64,
    /// In steps that wrote its tokens.
    pub decode_pj: u64,
}

impl Energy {
    /// Both phases.
    #[must_use]
    pub fn pj(self) -> u64 {
        self.prefill_pj + self.decode_pj
    }
}

impl RequestTruth {
    /// Over all domains, joules.
    #[must_use]
    pub fn joules(&self) -> f64 {
        self.domains.iter().map(|e| e.pj()).sum::<u64>() as f64 * 1e-12
    }
}

impl Truth {
    /// Whether every picojoule is somebody's, and a server's are its requests' or its background.
    #[must_use]
    pub fn closes(&self) -> bool {
        self.domains.iter().enumerate().all(|(d, domain)| {
            let whole = domain.total_pj == domain.idle_pj + domain.active_pj.iter().sum::<u64>();
            let servers = self.background.iter().enumerate().all(|(s, background)| {
                let own = self.requests.iter().filter(|r| r.facts.consumer == s);
                let requests: u64 = own.map(|r| r.domains[d].pj()).sum();
                domain.active_pj[s] == requests + background[d]
            });
            whole && servers
        })
    }
}

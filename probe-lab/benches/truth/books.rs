//! A ledger told by the simulator.

use std::collections::HashMap;

use probe_lab::sim;
use probe_lab::sim::{Domain, Facts, Host, Input, Load, RequestTruth, Truth, Users};
use probe_ledger::{
    Account, Boundary, Change, Config, ConfigError, ConsumerId, DomainId, DomainSpec, Ledger,
    Nanojoules, Nanos, Nanowatts, Range, Ratio, Refused, RequestId, Sample, Scale, ScaleError,
    Scope, Split, Weights, Work,
};

use crate::idle::IdlePower;
use crate::policies::{Entry, Sees};

/// The simulator told nonsense.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("the ledger cannot be opened: {0}")]
    Config(#[from] ConfigError),
    #[error("a counter of the simulator has no scale: {0}")]
    Scale(#[from] ScaleError),
    #[error("the ledger refused a boundary of the simulator: {0}")]
    Refused(#[from] Refused),
    #[error("the simulator's own truth does not close with seed {0}")]
    Truth(u64),
    #[error("request {0} has no account")]
    NoAccount(u64),
    #[error("a worker of the table panicked")]
    Worker,
}

/// A window longer than three idle ticks is a gap, as the probe has it.
const EXPECTED_WINDOW: Nanos = Nanos::from_millis(300);

/// One ledger, and what it settled.
#[derive(Debug)]
pub(crate) struct Books {
    ledger: Ledger,
    accounts: HashMap<u64, Account>,
    entry: Entry,
    refused: Option<Refused>,
    /// By domain: first raw counter, last, and units between them.
    counted: Vec<Option<(u64, u64)>>,
    domains: Vec<Domain>,
}

/// Last raw counter and units since the first.
fn count(counted: &mut Option<(u64, u64)>, domain: &Domain, counter: u64) {
    let (last, units) = counted.unwrap_or((counter, 0));
    *counted = Some((counter, units + (counter.wrapping_sub(last) & domain.mask())));
}

fn spec(domain: &Domain, idle: Option<IdlePower>) -> Result<DomainSpec, ScaleError> {
    Ok(DomainSpec {
        name: domain.name.clone(),
        scale: Scale::from_joules_per_count(domain.joules_per_count)?,
        range: Range::Bits(domain.bits),
        scope: match domain.scope {
            sim::Scope::Package(package) => Scope::Package(package),
            sim::Scope::Device => Scope::Device,
        },
        additive: true,
        idle: idle.map(|idle| idle.power),
        idle_error: idle.map(|idle| idle.error),
        max_power: Some(Nanowatts::from_watts(domain.max_mw as f64 * 1e-3)),
        period: Nanos(domain.period_ns),
        quantum: Nanojoules((domain.joules_per_count * 1e9).ceil() as u64),
        class: Ratio(0),
        expected_window: EXPECTED_WINDOW,
        pulse: None,
    })
}

impl Books {
    /// Without idle power it has to learn it.
    pub(crate) fn open(
        host: &Host,
        load: &Load,
        idle: Option<&[IdlePower]>,
        entry: &Entry,
    ) -> Result<Self, Error> {
        let domains = host.domains();
        let told = |d: usize| idle.and_then(|idle| idle.get(d).copied());
        let specs = domains.iter().enumerate().map(|(d, domain)| spec(domain, told(d)));
        let config = Config {
            domains: specs.collect::<Result<_, _>>()?,
            consumers: load.consumers(),
            packages: host.packages,
            cpus: host.cores * host.threads(),
            horizon: Nanos::from_millis(10_000),
            patience: Nanos::from_millis(60_000),
            policies: entry.policies,
        };
        Ok(Self {
            ledger: Ledger::new(config)?,
            accounts: HashMap::new(),
            entry: *entry,
            refused: None,
            counted: vec![None; domains.len()],
            domains,
        })
    }

    pub(crate) fn tell(&mut self, input: &Input<'_>) {
        match *input {
            Input::Sample { domain, t, counter, clocks, weights } => {
                count(&mut self.counted[domain], &self.domains[domain], counter);
                let memory = self.domains[domain].name.starts_with("dram");
                let weights = match (self.entry.sees, memory) {
                    (Sees::Clocks, _) => None,
                    (Sees::Smt, _) => Some((weights.smt, false)),
                    (Sees::Cycles, false) => Some((weights.cycles, false)),
                    (Sees::Cores, false) => Some((weights.drawn, true)),
                    (Sees::Cycles | Sees::Cores, true) => Some((weights.misses, false)),
                };
                let by = |(consumers, measured)| Weights { consumers, nobody: 0, measured };
                let (t, counter, weights) = (Nanos(t), Some(counter), weights.map(by));
                self.ledger.sample(DomainId(domain), &Sample { t, counter, clocks, weights });
                self.settle();
            }
            Input::Device { domain, t, counter, clocks, users } => {
                count(&mut self.counted[domain], &self.domains[domain], counter);
                let split = match users {
                    Users::Nobody => Split::Clocks,
                    Users::Exclusive => Split::Exclusive,
                    Users::Utilisation => Split::Utilisation,
                    Users::Equal => Split::Equal,
                };
                self.ledger.split(DomainId(domain), split);
                let (t, counter) = (Nanos(t), Some(counter));
                self.ledger.sample(DomainId(domain), &Sample { t, counter, clocks, weights: None });
                self.settle();
            }
            Input::Boundary { consumer, t, clocks, request, change } => {
                let change = match change {
                    sim::Change::Enter => Change::Enter,
                    sim::Change::First => Change::First,
                    sim::Change::Leave => Change::Leave,
                };
                let boundary =
                    Boundary { t: Nanos(t), clocks, request: RequestId(request), change };
                let refused = self.ledger.boundary(ConsumerId(consumer), &boundary).err();
                self.refused = self.refused.or(refused);
            }
            Input::Finished(facts) => self.finished(&facts),
            Input::Chunk { .. } | Input::Poll { .. } => {}
        }
    }

    /// What the answer said of itself: its tokens, and its phases as llama.cpp's `timings` do. Without them the stream's
    /// first content has been seen, and work is taken to have begun when the request came.
    fn finished(&mut self, facts: &Facts) {
        let work = Work {
            begin: self.entry.timings.then_some(Nanos(facts.prefill)),
            first: Some(Nanos(facts.decode)),
            last: None,
            prompt: Some(facts.prompt_tokens),
            cached: 0,
            completion: Some(facts.completion_tokens),
        };
        self.ledger.work(RequestId(facts.request), work);
    }

    /// What it said of a request that is over.
    pub(crate) fn account(&self, request: &RequestTruth) -> Result<&Account, Error> {
        let id = request.facts.request;
        self.accounts.get(&id).ok_or(Error::NoAccount(id))
    }

    /// A domain's name.
    pub(crate) fn name(&self, domain: usize) -> &str {
        &self.domains[domain].name
    }

    fn settle(&mut self) {
        let settled = self.ledger.settled();
        self.accounts.extend(settled.into_iter().map(|account| (account.request.0, account)));
    }

    /// The run is over.
    pub(crate) fn finish(&mut self, truth: &Truth) -> Result<(), Error> {
        self.ledger.finish(Nanos(truth.end));
        self.settle();
        self.refused.map_or(Ok(()), |refused| Err(refused.into()))
    }

    /// Nanojoules by which the books are wrong, all of them added up:
    ///
    /// * measured against idle + residual + Σ active, and against what the counter counted;
    /// * idle against what was given of it to requests and what was kept, and that against their accounts;
    /// * every consumer's active against requests + background;
    /// * what requests were charged against the sum of their accounts.
    pub(crate) fn error_nj(&self) -> Result<u128, Error> {
        let mut wrong = 0;
        for (d, domain) in self.domains.iter().enumerate() {
            let Some(book) = self.ledger.books(DomainId(d)) else { continue };
            let wide = |e: Nanojoules| u128::from(e.get());
            let active: u128 = book.consumers.iter().map(|c| wide(c.active)).sum();
            wrong += wide(book.measured).abs_diff(wide(book.idle) + wide(book.residual) + active);
            let scale = Scale::from_joules_per_count(domain.joules_per_count)?;
            let counted = self.counted[d].map_or(0, |(_, units)| units);
            wrong += wide(book.measured).abs_diff(wide(scale.energy(counted)));
            for consumer in &book.consumers {
                let parts = wide(consumer.requests) + wide(consumer.background);
                wrong += wide(consumer.active).abs_diff(parts);
            }
            let requests: u128 = book.consumers.iter().map(|c| wide(c.requests)).sum();
            let sum = |of: &dyn Fn(&Account) -> u128| self.accounts.values().map(of).sum::<u128>();
            let accounts = sum(&|a| a.domains[d].active.map_or(0, |e| wide(e.energy)));
            wrong += requests.abs_diff(accounts);
            wrong += wide(book.idle).abs_diff(wide(book.idle_given) + wide(book.idle_kept));
            let given = sum(&|a| a.domains[d].idle.map_or(0, wide));
            wrong += wide(book.idle_given).abs_diff(given);
        }
        Ok(wrong)
    }
}

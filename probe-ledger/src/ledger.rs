//! The ledger: samples and boundaries in, books and accounts out.

mod boundaries;
mod close;
mod even;
mod query;
mod settle;

use crate::account::Account;
use crate::apportion::Remainders;
use crate::book::{Anomalies, Book};
use crate::config::{Config, ConfigError};
use crate::desk::{Desk, Slot};
use crate::domain::Scope;
use crate::flag::Flags;
use crate::id::DomainId;
use crate::layout::Row;
use crate::meter::{Interval, Meter, Reading};
use crate::policy::Policies;
use crate::sample::{Cause, Ignored, Sample, Window};
use crate::settlement::Settlement;
use crate::split::Split;
use crate::target::Target;
use crate::unit::{Nanojoules, Nanos};

/// The books of a run. Feed it samples and boundaries in the order of their instants.
#[derive(Debug)]
pub struct Ledger {
    policies: Policies,
    horizon: Nanos,
    patience: Nanos,
    packages: usize,
    meters: Vec<Meter>,
    books: Vec<Book>,
    targets: Vec<Target>,
    /// One a domain and consumer, domain by domain.
    rows: Vec<Row>,
    /// One a consumer.
    settlements: Vec<Settlement>,
    desk: Desk,
    settled: Vec<Account>,
    /// Whose turn it is to get odd nanojoules of idle energy.
    idle_turn: usize,
    anomalies: Anomalies,
    /// The latest instant of any input.
    now: Nanos,
    /// No domain is waited for any more.
    finished: bool,
    scratch: Scratch,
}

/// Reused from window to window, so that a sample allocates nothing.
#[derive(Debug, Default)]
struct Scratch {
    charges: Vec<u64>,
    /// Idle energy by consumer.
    idles: Vec<u64>,
    remainders: Remainders,
    touched: Vec<Slot>,
}

impl Ledger {
    /// Opens the books.
    ///
    /// # Errors
    /// A domain's package or counter width does not exist.
    pub fn new(config: Config) -> Result<Self, ConfigError> {
        config.check()?;
        let Config { domains, consumers, packages, cpus, horizon, patience, policies } = config;
        Ok(Self {
            policies,
            horizon,
            patience,
            packages,
            finished: false,
            settlements: (0..consumers).map(|_| Settlement::default()).collect(),
            books: domains.iter().map(|_| Book::new(consumers)).collect(),
            targets: (0..consumers).map(|_| Target::new(packages)).collect(),
            rows: (0..domains.len() * consumers).map(|_| Row::default()).collect(),
            meters: domains
                .into_iter()
                .map(|spec| {
                    let cpus = match spec.scope {
                        Scope::Package(_) => cpus,
                        Scope::Machine => cpus.saturating_mul(packages),
                        // Its consumers' time is time on the device, however many CPUs the machine has.
                        Scope::Device => 1,
                    };
                    Meter::new(spec, consumers, cpus)
                })
                .collect(),
            desk: Desk::default(),
            settled: Vec::new(),
            idle_turn: 0,
            anomalies: Anomalies::default(),
            now: Nanos::ZERO,
            scratch: Scratch::default(),
        })
    }

    /// A domain was read: closes its window, charges it, and settles the requests this was waited for.
    pub fn sample(&mut self, domain: DomainId, sample: &Sample<'_>) -> Window {
        let d = domain.0;
        let (Some(meter), Some(book)) = (self.meters.get_mut(d), self.books.get(d)) else {
            self.anomalies.malformed_samples += 1;
            return Window::Ignored(Ignored::NoSuchDomain);
        };
        let fits = |list: &[u64]| list.len() == self.targets.len();
        if !fits(sample.clocks) || !sample.weights.is_none_or(|w| fits(w.consumers)) {
            self.anomalies.malformed_samples += 1;
            return Window::Ignored(Ignored::Clocks);
        }
        self.now = self.now.max(sample.t);
        let window = match sample.counter {
            None => Window::Missing,
            Some(counter) => {
                let room = Nanojoules(u64::MAX - book.measured.0);
                match meter.read(sample, counter, room, &mut self.anomalies) {
                    Reading::Stale => {
                        self.anomalies.stale_samples += 1;
                        return Window::Ignored(Ignored::Stale);
                    }
                    Reading::Held => {
                        self.books[d].held_samples += 1;
                        Window::Held
                    }
                    Reading::First(t) => {
                        self.void(d, Interval { begin: t, end: t }, Flags::NONE);
                        Window::First
                    }
                    Reading::Valid(interval, energy) => self.close(d, interval, energy),
                    Reading::Void(interval, reason) => {
                        self.add_cpu(d);
                        self.books[d].void(reason);
                        self.void(d, interval, reason.flags());
                        Window::Void(reason)
                    }
                }
            }
        };
        self.meters[d].show(sample.clocks);
        if !matches!(window, Window::Missing | Window::Held) {
            self.meters[d].stalled = false;
        }
        self.tidy();
        window
    }

    /// How it is known who used a domain in the windows that close from now on. Nothing for no such domain.
    pub fn split(&mut self, domain: DomainId, split: Split) {
        if let Some(meter) = self.meters.get_mut(domain.0) {
            meter.split = split;
        }
    }

    /// What the domain's counter shows of this time is worthless: every window that touches it is void. To be told
    /// before the first sample that ends in it or after it.
    pub fn distrust(&mut self, domain: DomainId, begin: Nanos, end: Nanos, cause: Cause) {
        if let Some(meter) = self.meters.get_mut(domain.0) {
            meter.distrust(Interval { begin, end }, cause);
        }
    }
}

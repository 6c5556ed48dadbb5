//! The ledger: samples and boundaries in, books and accounts out.

mod boundaries;
mod even;
mod query;
mod settle;

use crate::account::Account;
use crate::apportion::{Remainders, apportion};
use crate::book::{Anomalies, Book};
use crate::config::{Config, ConfigError};
use crate::desk::{Desk, Slot};
use crate::domain::Scope;
use crate::flag::{Flag, Flags};
use crate::id::DomainId;
use crate::kernel_books::kernel_charge;
use crate::layout::{Layout, Row};
use crate::meter::{Energy, Interval, Meter, Reading};
use crate::policy::{Idle, Policies};
use crate::sample::{Cause, Closed, Ignored, Sample, Window};
use crate::settlement::Settlement;
use crate::split::{Seen, Split};
use crate::tally::Whole;
use crate::target::Target;
use crate::unit::{Nanojoules, Nanos};
use crate::weighing::By;

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
                    let whole = !matches!(spec.scope, Scope::Package(_));
                    let cpus = cpus.saturating_mul(if whole { packages } else { 1 });
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

    /// Charges a valid window and lays it out along its boundaries.
    fn close(&mut self, d: usize, interval: Interval, energy: Energy) -> Window {
        self.add_cpu(d);
        let (meter, book, scratch) = (&self.meters[d], &mut self.books[d], &mut self.scratch);
        let gap = interval.length() > meter.spec.expected_window;
        let Scratch { charges, remainders, .. } = scratch;
        let by = meter.weighing.by(&meter.used);
        let weights = if by == By::Weights { meter.weighing.used() } else { &meter.used };
        let measured = by == By::Weights && meter.weighing.measured();
        let residual = apportion(energy.active.0, weights, charges, remainders);
        // Nobody's part, the last one, where there are weights.
        let idle = energy.idle.0 + charges.get(self.targets.len()).copied().unwrap_or(0);
        // None of these sums overflows: each is at most `measured`, and the meter kept to the room left.
        book.measured.0 += energy.total.0;
        book.idle.0 += idle;
        let unweighted = by == By::ClocksForWant && energy.active.0 > 0;
        book.unweighted += u64::from(unweighted);
        book.residual.0 += residual;
        book.windows += 1;
        book.gaps += u64::from(gap);
        book.units += u128::from(energy.units);
        let on_cpu = meter.used.iter().fold(0, |sum: u64, used| sum.saturating_add(*used));
        let ran = book.gross_units.iter_mut().zip(&meter.used).filter(|(_, used)| **used > 0);
        for (sum, used) in ran {
            *sum += u128::from(kernel_charge(energy.units, *used, on_cpu));
        }
        let (period, active, split) = (meter.period().0, energy.total.0 - idle, meter.split);
        let seen = Seen { used: on_cpu, length: interval.length().0 };
        let by = energy.by;
        let idle_error = by.map_or(0, |by| by.off(interval.length()).0);
        let late = meter.pulse.late(&meter.spec);
        self.books[d].late_windows += u64::from(late);
        self.scratch.idles.clear();
        self.scratch.idles.resize(self.targets.len(), 0);
        let gives = self.policies.idle != Idle::None;
        let kept = match self.policies.idle {
            Idle::None => idle,
            Idle::Even => self.give_evenly(d, interval, idle),
            Idle::Proportional => {
                let Scratch { charges, idles, remainders, .. } = &mut self.scratch;
                apportion(idle, &charges[..self.targets.len()], idles, remainders)
            }
        };
        self.books[d].idle_kept.0 += kept;
        for k in 0..self.targets.len() {
            let (charge, idle) = (self.scratch.charges[k], self.scratch.idles[k]);
            if charge == 0 && idle == 0 && self.quiet(d, k) {
                continue;
            }
            let whole = Whole {
                active,
                charge,
                idle,
                idle_error,
                by,
                gives,
                period,
                late,
                gap,
                changed: false,
                measured,
                unweighted,
                split,
                seen,
            };
            let waits = self.lay(d, k, interval, whole);
            self.books[d].idle_kept.0 += if waits { 0 } else { whole.idle };
            let consumer = &mut self.books[d].consumers[k];
            consumer.active.0 += whole.charge;
            if !waits {
                consumer.background.0 += whole.charge;
                self.targets[k].background(interval.begin, whole.charge, &mut consumer.during);
            }
        }
        let length = interval.length();
        Window::Closed(Closed { length, units: energy.units, energy: energy.total, gap })
    }

    /// Nothing is to be laid out: nobody is resident, and no boundary is to be passed.
    fn quiet(&self, d: usize, k: usize) -> bool {
        let row = &self.rows[d * self.targets.len() + k];
        row.residents.is_empty() && row.cursor == self.targets[k].end() && !row.skipped
    }

    /// Lays one consumer's charge out where somebody may have a part in it. False: it is background.
    fn lay(&mut self, d: usize, k: usize, interval: Interval, whole: Whole) -> bool {
        let end = self.targets[k].end();
        let row = self.row(d, k);
        if std::mem::take(&mut row.skipped) {
            self.layout(d, k, interval).skip(Flag::Gap.into());
            return false;
        }
        let waits = !row.residents.is_empty() || row.cursor != end;
        if waits {
            self.targets[k].laid = true;
            self.layout(d, k, interval).charge(whole);
        }
        waits
    }

    fn add_cpu(&mut self, d: usize) {
        for (consumer, used) in self.books[d].consumers.iter_mut().zip(&self.meters[d].used) {
            consumer.cpu = consumer.cpu.saturating_add(Nanos(*used));
        }
    }

    /// A window that is charged to nobody: its boundaries are passed.
    fn void(&mut self, d: usize, interval: Interval, flags: Flags) {
        for k in 0..self.targets.len() {
            self.row(d, k).skipped = false;
            self.layout(d, k, interval).skip(flags);
            let curve = &mut self.row(d, k).curve;
            if !curve.is_empty() {
                // Nothing was laid out in that time: what comes after it does not reach back.
                curve.cut(interval.end.0, 0);
            }
        }
    }

    fn row(&mut self, d: usize, k: usize) -> &mut Row {
        let width = self.targets.len();
        &mut self.rows[d * width + k]
    }

    fn layout(&mut self, d: usize, k: usize, interval: Interval) -> Layout<'_> {
        let meter = &self.meters[d];
        Layout {
            domain: d,
            scope: meter.spec.scope,
            interval,
            from: meter.from[k],
            used: meter.used[k],
            target: &self.targets[k],
            row: &mut self.rows[d * self.targets.len() + k],
            desk: &mut self.desk,
            touched: &mut self.scratch.touched,
        }
    }
}

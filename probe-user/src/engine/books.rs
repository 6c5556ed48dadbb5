//! The energy part of a snapshot: what the accountant alone tells, the same live and in a replay.

use std::collections::BTreeMap;

use probe_common::{KERNEL, OTHER, SELF};
use probe_ledger::DomainId;
use serde::Serialize;

use super::{accountant::Accountant, core::consumer, records::DomainLabel};
use crate::{
    record::End,
    snapshot::{ConsumerBook, DomainBook, KernelBooks, Policies, Snapshot, TargetBook},
};

/// Energy by domain and target.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Energy {
    /// Policies.
    pub policies: Policies,
    /// Requests by end.
    pub requests: BTreeMap<String, u64>,
    /// Books by domain; without the kernel's own.
    pub domains: BTreeMap<String, DomainBook>,
    /// Books by target.
    pub targets: BTreeMap<String, TargetBook>,
}

impl Energy {
    /// The summary of a run with this in its place. What the kernel booked stays: it knows no policies.
    #[must_use]
    pub fn within(self, summary: Snapshot) -> Snapshot {
        let Self { policies, requests, mut domains, targets } = self;
        for (name, domain) in &mut domains {
            domain.kernel_books = summary.domains.get(name).and_then(|told| told.kernel_books);
        }
        Snapshot { policies, requests, domains, targets, ..summary }
    }

    /// Whether all energy of the targets is a request's or background: so once everything is settled.
    #[must_use]
    pub fn closes(&self) -> bool {
        let active = |name: &str| -> u128 {
            let additive = self.domains.values().filter(|domain| domain.additive);
            let charged = additive.filter_map(|domain| domain.consumers.get(name));
            charged.map(|book| u128::from(book.active_nj)).sum()
        };
        let booked =
            |book: &TargetBook| u128::from(book.requests_nj) + u128::from(book.background_nj);
        self.targets.iter().all(|(name, book)| booked(book) == active(name))
    }
}

impl Snapshot {
    /// Its energy part.
    #[must_use]
    pub fn energy(&self) -> Energy {
        let without = |(name, book): (&String, &DomainBook)| {
            (name.clone(), DomainBook { kernel_books: None, ..book.clone() })
        };
        Energy {
            policies: self.policies.clone(),
            requests: self.requests.clone(),
            domains: self.domains.iter().map(without).collect(),
            targets: self.targets.clone(),
        }
    }
}

/// The books now.
#[must_use]
pub fn energy(accounts: &Accountant) -> Energy {
    let labels = accounts.records.labels().iter().enumerate();
    let domains = labels.map(|(i, l)| (l.name.clone(), domain(accounts, DomainId(i), l, None)));
    Energy {
        policies: accounts.ledger.policies().into(),
        requests: requests(accounts),
        domains: domains.collect(),
        targets: targets(accounts),
    }
}

/// Whether every domain's energy is idle, somebody's or residual, to the nanojoule.
#[must_use]
pub fn closes(accounts: &Accountant) -> bool {
    let fed = accounts.readings.domains().iter();
    fed.filter_map(|fed| accounts.ledger.books(fed.id)).all(probe_ledger::Book::closes)
}

pub(super) fn requests(accounts: &Accountant) -> BTreeMap<String, u64> {
    let all = [End::Complete, End::Aborted, End::Reset, End::Timeout, End::Interrupted];
    let count = |end: &End| accounts.ended.get(end).copied().unwrap_or(0);
    all.iter().map(|end| (end.as_str().to_owned(), count(end))).collect()
}

pub(super) fn targets(accounts: &Accountant) -> BTreeMap<String, TargetBook> {
    let book = |who| {
        let book = accounts.ledger.target(consumer(who));
        TargetBook {
            requests_nj: book.requests.0,
            kinds: accounts.kinds.get(&consumer(who)).copied().unwrap_or_default(),
            background_nj: book.background.0,
            background_before_nj: book.during.before.0,
            background_waiting_nj: book.during.waiting.0,
            background_after_nj: book.during.after.0,
            cpu_ns: accounts.cpu_ns(who),
        }
    };
    accounts.names.iter().map(|(who, name)| (name.clone(), book(*who))).collect()
}

pub(super) fn domain(
    accounts: &Accountant,
    id: DomainId,
    label: &DomainLabel,
    kernel_books: Option<KernelBooks>,
) -> DomainBook {
    let others = [("kernel", KERNEL), ("other", OTHER), ("self", SELF)];
    let others = others.into_iter().map(|(name, who)| (name.to_owned(), who));
    let whos = others.chain(accounts.names.iter().map(|(who, name)| (name.clone(), *who)));
    let book = accounts.ledger.books(id).cloned().unwrap_or_default();
    let of = |who| book.consumers.get(consumer(who).0).copied().unwrap_or_default();
    let consumers = whos.map(|(name, who)| {
        let charged = of(who);
        (name, ConsumerBook { active_nj: charged.active.0, cpu_ns: charged.cpu.0 })
    });
    let fed = accounts.readings.domains().get(id.0);
    let splits = fed.into_iter().flat_map(|fed| &fed.splits).map(|name| (*name).to_owned());
    DomainBook {
        source: label.source.clone(),
        quality: label.quality,
        additive: label.additive,
        measured_nj: book.measured.0,
        idle_nj: book.idle.0,
        idle_given_nj: book.idle_given.0,
        residual_nj: book.residual.0,
        splits: splits.collect(),
        consumers: consumers.collect(),
        void_windows: book.void_windows,
        void_causes: book.voids.iter().map(|(why, n)| (why.name().to_owned(), *n)).collect(),
        windows: book.windows,
        kernel_books,
    }
}

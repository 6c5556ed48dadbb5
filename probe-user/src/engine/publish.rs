//! Builds the snapshots that exporters see.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use probe_common::{LOSSES, Loss};
use probe_ledger::{DomainId, Flag, Scope, Void};
use rustix::system::uname;

use super::{
    books,
    core::Core,
    cross_check::DISAGREE,
    readings::{Fed, Feed},
    records::DomainLabel,
};
use crate::{
    boundary::NotUnderstood,
    clock::Clock,
    kernel::Probe,
    snapshot::{DomainBook, Events, HostBooks, KernelBooks, Policies, SCHEMA, SelfCost, Snapshot},
};

/// Names of the losses, by `probe_common::Loss`.
const LOSS_NAMES: [&str; LOSSES] = [
    "tick",
    "io",
    "process",
    "slice",
    "process_table",
    "connection_table",
    "torn",
    "counter",
    "switch",
    "tls",
];

/// Losses that are records that never came.
const RECORDS: [Loss; 4] = [Loss::Tick, Loss::Io, Loss::Process, Loss::Slice];

/// Flag of a counter that could not be read at times, by the kernel or by user space.
const UNREADABLE: &str = "counter-unreadable";
/// Losses of another kind and the flag that tells of them.
const TROUBLES: [(Loss, &str); 6] = [
    (Loss::ProcessTable, "process-table-full"),
    (Loss::ConnTable, "connection-table-full"),
    (Loss::Torn, "clock-torn"),
    (Loss::Counter, UNREADABLE),
    (Loss::Switch, "switch-missed"),
    (Loss::Tls, "tls-table-full"),
];

/// Knows what does not change during a run.
pub(super) struct Publisher {
    clock: Clock,
    begin: u64,
    last: u64,
    kernel: String,
    policies: Policies,
    labels: Vec<DomainLabel>,
    said: BTreeSet<NotUnderstood>,
    /// Targets that use io_uring, which the boundary rung does not see through.
    pub(super) rings: u64,
    /// Known from the start.
    flags: Vec<String>,
    /// The host books and when they were read: a walk through the whole process table.
    host: Option<(u64, HostBooks)>,
}

/// How often the host books are read.
const HOST_NS: u64 = 10_000_000_000;

impl Publisher {
    /// Begins now.
    pub(super) fn new(
        clock: Clock,
        policies: &Policies,
        labels: &[DomainLabel],
        flags: Vec<String>,
    ) -> Self {
        Self {
            clock,
            begin: clock.now(),
            last: 0,
            kernel: uname().release().to_string_lossy().into_owned(),
            policies: policies.clone(),
            labels: labels.to_vec(),
            said: BTreeSet::new(),
            rings: 0,
            flags,
            host: None,
        }
    }

    /// Whether the last snapshot is older than `period`; if so, the next one is `period` from now.
    pub(super) fn due(&mut self, period: Duration) -> bool {
        let now = self.clock.now();
        if u128::from(now - self.last) < period.as_nanos() {
            return false;
        }
        self.last = now;
        true
    }

    /// Whether nobody was told of this kind yet.
    pub(super) fn first_of(&mut self, kind: NotUnderstood) -> bool {
        self.said.insert(kind)
    }

    /// Name of a domain.
    pub(super) fn name(&self, id: DomainId) -> &str {
        self.labels.get(id.0).map_or("?", |label| &label.name)
    }

    /// Adds a flag to every snapshot from now on.
    pub(super) fn flag(&mut self, flag: &str) {
        self.flags.push(flag.to_owned());
    }

    /// The next snapshot is the last: everything in it is read anew.
    pub(super) fn last(&mut self) {
        self.host = None;
    }

    fn host(&mut self, probe: &Probe) -> HostBooks {
        let now = self.clock.now();
        match self.host {
            Some((t, host)) if now - t < HOST_NS => host,
            _ => {
                let host = probe.host();
                self.host = Some((now, host));
                host
            }
        }
    }

    /// The books now.
    pub(super) fn snapshot(&mut self, core: &Core, probe: &Probe) -> Snapshot {
        let lost = probe.lost();
        let domains: BTreeMap<String, DomainBook> = self
            .labels
            .iter()
            .enumerate()
            .map(|(i, label)| {
                let kernel = kernel_books(core, probe, DomainId(i));
                (label.name.clone(), books::domain(&core.accounts, DomainId(i), label, kernel))
            })
            .collect();
        let mut flags = self.flags.clone();
        let idle = || (0..self.labels.len()).map(|d| core.accounts.ledger.idle(DomainId(d)));
        if idle().any(|power| power.is_none()) {
            flags.push(Flag::IdleUnknown.name().to_owned());
        }
        if idle().flatten().any(|power| power.learned) {
            flags.push(Flag::IdleLearned.name().to_owned());
        }
        if domains.values().any(|d| d.kernel_books.is_some_and(|k| !k.agree)) {
            flags.push("kernel-books-disagree".to_owned());
        }
        flags.extend(counters(core));
        let events = events(core, probe, &lost);
        if events.lost > 0 {
            flags.push("events-lost".to_owned());
        }
        if core.tracker.stats().orphan_writes > 0 {
            // Requests that were in flight when the probe attached.
            flags.push("response-without-request".to_owned());
        }
        if core.tracker.stats().evicted > 0 {
            flags.push("connections-evicted".to_owned());
        }
        if core.silent > 0 {
            // A port scan, or a server that hands accepted connections to another process or descriptor.
            flags.push("connections-without-bytes".to_owned());
        }
        let anomalies = core.accounts.ledger.anomalies();
        let contradictions = [
            (anomalies.clocks_backwards, "clock-backwards"),
            (anomalies.refused_boundaries, "boundary-refused"),
            (anomalies.stale_samples + anomalies.malformed_samples, "sample-refused"),
        ];
        let met = contradictions.iter().filter(|(count, _)| *count > 0);
        flags.extend(met.map(|(_, flag)| (*flag).to_owned()));
        let domains_by_id = (0..self.labels.len()).map(DomainId);
        if domains_by_id
            .filter_map(|d| core.accounts.ledger.books(d))
            .any(|book| book.unweighted > 0)
        {
            // A window of a package in which somebody ran, and nothing is known of what that drew.
            flags.push("weights-missing".to_owned());
        }
        let degraded = TROUBLES.iter().filter(|(loss, _)| lost[*loss as usize] > 0);
        flags.extend(degraded.map(|(_, flag)| (*flag).to_owned()));
        let unread = |fed: &Fed| fed.failed > 0;
        if lost[Loss::Counter as usize] == 0 && core.accounts.readings.domains().iter().any(unread)
        {
            flags.push(UNREADABLE.to_owned());
        }
        let splits: BTreeSet<&String> = domains.values().flat_map(|d| &d.splits).collect();
        // One process alone limits nothing.
        let doubtful = splits.into_iter().filter(|name| *name != Flag::GpuExclusive.name());
        flags.extend(doubtful.cloned());
        let names = self.said.iter().map(|kind| format!("not-understood-{}", kind.as_str()));
        flags.extend(names);
        Snapshot {
            schema: SCHEMA,
            started: self.clock.rfc3339(self.begin),
            ended: self.clock.rfc3339(self.clock.now()),
            kernel: self.kernel.clone(),
            requests: books::requests(&core.accounts),
            in_flight: in_flight(core),
            domains,
            targets: books::targets(&core.accounts),
            host: self.host(probe),
            events,
            not_understood: not_understood(core, self.rings),
            self_cost: self.cost(probe),
            policies: self.policies.clone(),
            flags,
        }
    }

    fn cost(&self, probe: &Probe) -> SelfCost {
        let own = self.clock.own_cpu();
        SelfCost { cpu_s: own as f64 / 1e9, rss_bytes: resident(), programs: probe.costs() }
    }
}

/// What is to be said of the counters: stuck, late, in disagreement; and of what happened to the machine.
fn counters(core: &Core) -> Vec<String> {
    let books = || {
        core.accounts.readings.domains().iter().filter_map(|fed| core.accounts.ledger.books(fed.id))
    };
    let stuck = books().any(|book| book.voids.contains_key(&Void::Stuck));
    let late = books().any(|book| book.late_windows > 0);
    let mut flags = Vec::new();
    flags.extend(stuck.then(|| Flag::CounterStuck.name()));
    flags.extend(late.then(|| Flag::CounterLate.name()));
    flags.extend(core.accounts.check.ever().then_some(DISAGREE));
    flags.extend(&core.accounts.happened);
    flags.into_iter().map(str::to_owned).collect()
}

/// Resident memory of this process; 0 only where procfs is not there.
fn resident() -> u64 {
    let page = rustix::param::page_size() as u64;
    let me = procfs::process::Process::myself().and_then(|p| p.statm());
    me.map_or(0, |statm| statm.resident * page)
}

fn in_flight(core: &Core) -> BTreeMap<String, u64> {
    core.targets
        .0
        .iter()
        .map(|t| (t.name.clone(), core.accounts.in_flight.get(&t.who).copied().unwrap_or(0)))
        .collect()
}

/// Connections and bodies by why they are not parsed, and the targets that use io_uring unseen.
fn not_understood(core: &Core, rings: u64) -> BTreeMap<String, u64> {
    let counts = core.tracker.stats().not_understood;
    let named = NotUnderstood::ALL.iter().map(|kind| kind.as_str()).zip(counts);
    named.chain([("io_uring", rings)]).map(|(kind, n)| (kind.to_owned(), n)).collect()
}

fn events(core: &Core, probe: &Probe, lost: &[u64; LOSSES]) -> Events {
    let by_kind = LOSS_NAMES.iter().zip(lost).map(|(name, n)| ((*name).to_owned(), *n));
    let mut lost_by_kind: BTreeMap<String, u64> = by_kind.collect();
    let others = [("undecodable", probe.undecodable()), ("skipped", probe.skipped())];
    let met = core.tracker.stats();
    let beside = [("late", met.late_records), ("evicted", met.evicted)];
    let more = others.iter().chain(&beside);
    lost_by_kind.extend(more.map(|(name, n)| ((*name).to_owned(), *n)));
    let records: u64 = RECORDS.iter().map(|loss| lost[*loss as usize]).sum();
    let lost = records + others.iter().map(|(_, n)| n).sum::<u64>();
    Events { seen: core.seen, lost, lost_by_kind, boundary: probe.boundary().to_string() }
}

/// Compares with the kernel's own books, to the bit. `None` where the kernel keeps none (it knows no
/// domain that spans packages), where they stand at another tick than ours, or where windows were lost, void or held
/// open, which the kernel charged all the same.
fn kernel_books(core: &Core, probe: &Probe, id: DomainId) -> Option<KernelBooks> {
    let book = core.accounts.ledger.books(id)?;
    let fed = core.accounts.readings.domains().get(id.0)?;
    let Feed::Kernel { slot } = fed.feed else { return None };
    if fed.scope == Scope::Machine && core.accounts.readings.packages() > 1 {
        return None;
    }
    let count = core.accounts.ticks.get(&fed.package)?;
    let kernel = probe.books(fed.package, slot)?;
    if kernel.tick != count.last || count.missed > 0 || count.first != Some(1) || fed.failed > 0 {
        return None;
    }
    if book.void_windows > 0 || book.held_samples > 0 {
        return None;
    }
    let differences = (1..kernel.charged.len()).map(|who| {
        let ours = book.gross_units.get(who - 1).copied().unwrap_or(0);
        u128::from(kernel.charged[who]).abs_diff(ours)
    });
    let largest = u64::try_from(differences.max().unwrap_or(0)).unwrap_or(u64::MAX);
    Some(KernelBooks { windows: book.windows, max_difference_units: largest, agree: largest == 0 })
}

//! Reads a tape as what it is: entries, fed to the same accountant that kept the books of the run.
//!
//! Everything streams: one frame and the open requests are in memory. Knows no kernel and no clock.

mod error;
mod walk;

use std::{path::Path, sync::Arc};

use probe_ledger::Weight;
use serde::Serialize;

pub use error::ReplayError;
pub use walk::{Walked, walk};

use crate::{
    engine::{
        WEIGHT_UNKNOWN,
        accountant::Accountant,
        books::{self, Energy},
        core::Effect,
        digest::Digest,
        entry::{Entry, Published},
        host::Host,
    },
    record::RequestRecord,
    snapshot::Snapshot,
    tape::Damage,
};
use walk::Refused;

/// More requests than a server ever had open at once: a tape with more is none of ours.
const MOST_OPEN: usize = 1 << 14;

/// Policies to replay under; those that are `None` are the run's.
#[derive(Clone, Copy, Debug, Default)]
pub struct Others {
    /// Between consumers.
    pub weight: Option<Weight>,
    /// Between overlapping requests.
    pub share: Option<probe_ledger::Share>,
    /// For idle energy.
    pub idle: Option<probe_ledger::Idle>,
}

impl Others {
    /// Sets them; says whether any is another than the run's.
    fn over(self, host: &mut Host) -> bool {
        let before = host.policies.clone();
        let policies = &mut host.policies;
        let set = |name: &mut Arc<str>, other: Option<&str>| {
            if let Some(other) = other {
                *name = other.into();
            }
        };
        set(&mut policies.weight, self.weight.map(Weight::name));
        set(&mut policies.share, self.share.map(probe_ledger::Share::name));
        set(&mut policies.idle, self.idle.map(probe_ledger::Idle::name));
        *policies != before
    }
}

/// What a tape says of itself.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Info {
    /// What the run was opened with; `None`: the tape ends before it.
    pub host: Option<Host>,
    /// Entries by kind.
    pub entries: Entries,
    /// First and last tick, `CLOCK_MONOTONIC` ns.
    pub span_ns: Option<(u64, u64)>,
    /// What the run published; `None`: it did not come to its end.
    pub published: Option<Published>,
}

/// Entries by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Entries {
    /// Ticks.
    pub ticks: u64,
    /// Readings of sensors.
    pub readings: u64,
    /// Boundaries of requests.
    pub boundaries: u64,
    /// Finished requests.
    pub requests: u64,
    /// What happened to the machine.
    pub events: u64,
}

impl Info {
    fn count(&mut self, entry: &Entry) {
        let entries = &mut self.entries;
        match entry {
            Entry::Host(host) => self.host = Some((**host).clone()),
            Entry::Tick(tick) => {
                entries.ticks += 1;
                let (first, last) = self.span_ns.unwrap_or((tick.t, tick.t));
                self.span_ns = Some((first, last.max(tick.t)));
            }
            Entry::Reading(_) => entries.readings += 1,
            Entry::Boundary(_) => entries.boundaries += 1,
            Entry::Finished(_) => entries.requests += 1,
            Entry::Distrust(_) | Entry::Mark(_) => entries.events += 1,
            Entry::End(_) => {}
            Entry::Published(published) => self.published = Some((**published).clone()),
        }
    }
}

/// What a replay has found.
pub struct Replayed {
    /// What is on the tape.
    pub walked: Walked,
    /// What it says.
    pub info: Info,
    /// Its energy; `None`: the tape ends before its host.
    pub energy: Option<Energy>,
    /// The summary that the run published, with the energy of the replay; `None`: it published none.
    pub summary: Option<Snapshot>,
    /// Under other policies than the run's: nothing was held against what it published.
    pub differ: bool,
}

/// Only looks: chain and entries.
///
/// # Errors
/// The tape is damaged, or cannot be read.
pub fn info(dir: &Path) -> Result<(Walked, Info), ReplayError> {
    let mut info = Info::default();
    let walked = walk(dir, |entry| {
        info.count(&entry);
        Ok(())
    })?;
    Ok((walked, info))
}

/// Keeps the books once more and hands each record on, in the order of the run.
///
/// # Errors
/// The tape is damaged, its books do not close, under the run's policies they are not what the run published, or what `each`
/// says.
pub fn replay(
    dir: &Path,
    others: Others,
    mut each: impl FnMut(&RequestRecord) -> Result<(), ReplayError>,
) -> Result<Replayed, ReplayError> {
    let (mut info, mut books) = (Info::default(), None);
    let walked = walk(dir, |entry| {
        info.count(&entry);
        match (entry, &mut books) {
            (Entry::Host(mut host), books) => {
                let differ = others.over(&mut host);
                let (accounts, lacks) = (Accountant::open(&host)?, host.lacks_weights());
                *books = Some(Books { accounts, differ, lacks, records: Digest::default() });
                Ok(())
            }
            (Entry::Published(published), Some(books)) => books.published(&published),
            (entry, Some(books)) => books.take(entry, &mut each),
            // The walk has seen to it that the host is the first.
            (_, None) => Ok(()),
        }
    })?;
    let energy = books.as_ref().map(|books| books::energy(&books.accounts));
    let differ = books.as_ref().is_some_and(|books| books.differ);
    let summary = books.zip(info.published.as_ref()).map(|(books, told)| books.summary(told));
    Ok(Replayed { walked, info, energy, summary, differ })
}

/// The books of a replay.
struct Books {
    accounts: Accountant,
    /// Under other policies than the run's: its numbers are others, too.
    differ: bool,
    /// Its weight policy goes by time.
    lacks: bool,
    records: Digest,
}

impl Books {
    fn take(
        &mut self,
        entry: Entry,
        each: &mut impl FnMut(&RequestRecord) -> Result<(), ReplayError>,
    ) -> Result<(), Refused> {
        let mut effects = Vec::new();
        self.accounts.take(entry, None, &mut effects);
        for effect in effects {
            if let Effect::Record(record) = effect {
                self.records.record(&record);
                each(&record)?;
            }
        }
        if self.accounts.open_requests() > MOST_OPEN {
            return Err(Refused::Damage(Damage::Content));
        }
        if books::closes(&self.accounts) { Ok(()) } else { Err(Refused::Damage(Damage::Books)) }
    }

    /// The run is over: all is settled, and the numbers are those that it published.
    fn published(&self, published: &Published) -> Result<(), Refused> {
        let energy = books::energy(&self.accounts);
        if !energy.closes() {
            return Err(Refused::Damage(Damage::Books));
        }
        let same = self.records.hex() == published.records && energy == published.summary.energy();
        if same || self.differ { Ok(()) } else { Err(Refused::Damage(Damage::Published)) }
    }

    fn summary(&self, published: &Published) -> Snapshot {
        let mut summary = books::energy(&self.accounts).within(published.summary.clone());
        if self.differ {
            summary.flags.retain(|flag| flag != WEIGHT_UNKNOWN);
            summary.flags.extend(self.lacks.then(|| WEIGHT_UNKNOWN.to_owned()));
        }
        summary
    }
}

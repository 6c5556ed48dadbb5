//! Reads a tape as what it is: entries, fed to the same accountant that kept the books of the run.
//!
//! Everything streams: one frame and the open requests are in memory. Knows no kernel and no clock.

mod error;
mod walk;

use std::path::Path;

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
        entry::Entry,
        host::Host,
    },
    record::RequestRecord,
    tape::{Damage, Ending, TapeError},
};

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
    fn over(self, host: &mut Host) {
        let policies = &mut host.policies;
        let set = |name: &mut String, other: Option<&str>| {
            if let Some(other) = other {
                other.clone_into(name);
            }
        };
        set(&mut policies.weight, self.weight.map(Weight::name));
        set(&mut policies.share, self.share.map(probe_ledger::Share::name));
        set(&mut policies.idle, self.idle.map(probe_ledger::Idle::name));
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
    /// The run came to its end.
    pub over: bool,
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
            Entry::End(_) => self.over = true,
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
/// The tape is damaged, its books do not close, or what `each` says.
pub fn replay(
    dir: &Path,
    others: Others,
    mut each: impl FnMut(&RequestRecord) -> Result<(), ReplayError>,
) -> Result<Replayed, ReplayError> {
    let (mut info, mut accounts, mut effects) = (Info::default(), None, Vec::new());
    // Whether the run counted cycles its first tick tells; a run by cycles has told it itself.
    let mut in_doubt = others.weight == Some(Weight::Cycles);
    let walked = walk(dir, |entry| {
        info.count(&entry);
        let books = match (entry, &mut accounts) {
            (Entry::Host(mut host), _) => {
                in_doubt &= host.policies.weight != Weight::Cycles.name();
                others.over(&mut host);
                accounts = Some(Accountant::open(&host)?);
                return Ok(());
            }
            (entry, Some(books)) => {
                if let Entry::Tick(tick) = &entry
                    && std::mem::take(&mut in_doubt)
                    && tick.cycles.is_none()
                {
                    books.mark(WEIGHT_UNKNOWN);
                }
                books.take(entry, None, &mut effects);
                books
            }
            // The walk has seen to it that the host is the first.
            (_, None) => return Ok(()),
        };
        for effect in effects.drain(..) {
            if let Effect::Record(record) = effect {
                each(&record)?;
            }
        }
        if books::closes(books) { Ok(()) } else { Err(walk::Refused::Books) }
    })?;
    let energy = accounts.as_ref().map(books::energy);
    let whole = || energy.as_ref().is_some_and(Energy::closes) && info.over;
    if matches!(walked.ending, Ending::Ended(_)) && !whole() {
        let (segment, frame) = walked.last;
        return Err(TapeError::Damaged { segment, frame, damage: Damage::Books }.into());
    }
    Ok(Replayed { walked, info, energy })
}

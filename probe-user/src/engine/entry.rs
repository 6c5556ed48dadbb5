//! What the books are kept from: every fact that reaches them is one [`Entry`], in the order in which it was taken in.
//!
//! The front of the engine makes entries of what the kernel and the sensors tell; the [accountant](super::accountant)
//! is a function of them alone. So a tape that holds them holds everything: a replay is the same code once more. No entry
//! holds bytes of a request or an answer.

use probe_ledger::{Cause, DomainId, Flag, Split};
use serde::{Deserialize, Serialize};

use super::{host::Host, readings::Clocks, watch::Stretch};
use crate::{
    boundary::{Boundary, Facts},
    event::Tick,
    snapshot::Snapshot,
};

/// One fact.
#[derive(Clone, Debug)]
pub enum Entry {
    /// The first: what the books are opened with.
    Host(Box<Host>),
    /// Counters and clocks of a package, as the kernel sent them.
    Tick(Box<Tick>),
    /// What user space read of a sensor.
    Reading(Reading),
    /// An instant of a request.
    Boundary(Boundary),
    /// A request is over.
    Finished(Box<Facts>),
    /// What counters show of that time is worthless: of all domains, or of those that the tick of one package reads.
    Distrust(Distrust),
    /// Something happened to the machine.
    Mark(Flag),
    /// The run ended: everything settles.
    End(End),
    /// What the run then published, which a replay must come to by itself. Nothing follows.
    Published(Box<Published>),
}

/// A sensor's reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Whose.
    pub domain: DomainId,
    /// The instant it stands for, `CLOCK_MONOTONIC` ns.
    pub t: u64,
    /// The raw counter; `None` if it could not be read.
    pub count: Option<u64>,
    /// How it is known who used a device.
    pub split: Split,
    /// Time on a device since the reading before, by consumer; `None`: the CPUs' clocks tell.
    pub used: Option<Box<Clocks>>,
}

/// Time that is not to be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Distrust {
    /// `None`: all.
    pub package: Option<usize>,
    /// When.
    pub when: Stretch,
    /// Why.
    pub cause: Cause,
}

/// The end of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// The last instant that anything was seen at, `CLOCK_MONOTONIC` ns.
    pub t: u64,
}

/// What a run published.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Published {
    /// BLAKE3 of its record lines, in hexadecimal digits: of the file that `--requests` wrote.
    pub records: String,
    /// Its summary.
    pub summary: Snapshot,
}

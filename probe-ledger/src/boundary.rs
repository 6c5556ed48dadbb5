//! What comes in when a request changes state.

use crate::id::RequestId;
use crate::unit::Nanos;

/// A change of a target's set of residents, with the target's clocks at that instant.
#[derive(Clone, Copy, Debug)]
pub struct Boundary<'a> {
    /// The instant, `CLOCK_MONOTONIC`.
    pub t: Nanos,
    /// Cumulative on-CPU nanoseconds of the target, by package.
    pub clocks: &'a [u64],
    /// Which request.
    pub request: RequestId,
    /// What changed.
    pub change: Change,
}

/// What a boundary does to its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Change {
    /// `body`: it was read to its end and is resident from now on.
    Enter,
    /// `first`: its first content; prefill ends, decode begins.
    First,
    /// `end` or `abort`: it is resident no more.
    Leave,
}

/// Why a boundary was refused. It is counted and changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// `Enter` of a request that is resident.
    #[error("request {} is resident already: a request enters once", .0.0)]
    AlreadyResident(RequestId),
    /// `First` or `Leave` of a request that is not resident, or at another target.
    #[error("request {} is not resident at this target: it must enter first", .0.0)]
    NotResident(RequestId),
    /// A second `First`.
    #[error("request {} has had its first content already", .0.0)]
    AlreadyFirst(RequestId),
    /// There is no such consumer.
    #[error("there is no consumer {0}: see Config::consumers")]
    NoSuchConsumer(usize),
    /// It does not carry one clock a package.
    #[error("{given} clocks for {packages} packages: a boundary carries one clock a package")]
    Clocks {
        /// How many it carries.
        given: usize,
        /// How many there are.
        packages: usize,
    },
}

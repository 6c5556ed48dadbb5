//! The ledgers of the table, one a line: their policies, and what they are told.

use probe_ledger::{Idle, Policies, Share, Weight};

/// A ledger of the table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) name: &'static str,
    pub(crate) policies: Policies,
    pub(crate) sees: Sees,
    /// Whether answers tell when work on them began, as llama.cpp's `timings` do; else the first content is all that is seen.
    pub(crate) timings: bool,
    pub(crate) claim: Claim,
}

/// What a window's energy is shared by between consumers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sees {
    /// Time on a CPU.
    Clocks,
    /// Time, that beside a busy sibling as six tenths.
    Smt,
    /// Cycles; memory by misses of the last cache level.
    Cycles,
    /// What counters of single cores showed; memory by misses.
    Cores,
}

/// What is promised of a ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// Nothing.
    Nothing,
    /// Its error bars are honest.
    Bars,
    /// And it keeps the bounds.
    Bounds,
}

const fn entry(name: &'static str, share: Share, sees: Sees, timings: bool, claim: Claim) -> Entry {
    let weight = match sees {
        Sees::Clocks => Weight::Time,
        Sees::Smt => Weight::Smt,
        Sees::Cycles | Sees::Cores => Weight::Cycles,
    };
    Entry { name, policies: Policies { weight, share, idle: Idle::None }, sees, timings, claim }
}

/// All of them.
pub(crate) const POLICIES: [Entry; 7] = [
    entry("wattprobe time, equal", Share::Equal, Sees::Clocks, true, Claim::Bars),
    entry("wattprobe time, tokens", Share::Tokens, Sees::Clocks, true, Claim::Bars),
    entry("wattprobe time, work", Share::Work, Sees::Clocks, true, Claim::Bounds),
    entry("wattprobe smt, work", Share::Work, Sees::Smt, true, Claim::Bounds),
    entry("wattprobe time, work, no timings", Share::Work, Sees::Clocks, false, Claim::Nothing),
    entry("wattprobe cycles and misses, work", Share::Work, Sees::Cycles, true, Claim::Nothing),
    entry("wattprobe cores and misses, work", Share::Work, Sees::Cores, true, Claim::Nothing),
];

/// Places in [`POLICIES`] of those that the README shows.
pub(crate) const EQUAL: usize = 0;
pub(crate) const WORK: usize = 2;
pub(crate) const SMT: usize = 3;
pub(crate) const UNTIMED: usize = 4;
pub(crate) const CYCLES: usize = 5;
pub(crate) const CORES: usize = 6;

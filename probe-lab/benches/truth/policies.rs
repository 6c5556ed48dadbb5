//! The policies of the table, one a line.

use probe_ledger::{Idle, Policies, Share, Weight};

/// A ledger of the table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) name: &'static str,
    pub(crate) policies: Policies,
    /// Whether it is told the samples' weights.
    pub(crate) weights: bool,
    /// Whether the bounds are claimed for it.
    pub(crate) claimed: bool,
}

const fn entry(name: &'static str, share: Share, weights: bool, claimed: bool) -> Entry {
    Entry {
        name,
        policies: Policies {
            weight: if weights { Weight::Smt } else { Weight::Time },
            share,
            idle: Idle::None,
        },
        weights,
        claimed,
    }
}

/// All of them.
pub(crate) const POLICIES: [Entry; 4] = [
    entry("wattprobe time, equal", Share::Equal, false, false),
    entry("wattprobe time, tokens", Share::Tokens, false, false),
    entry("wattprobe time, work", Share::Work, false, true),
    entry("wattprobe smt, work", Share::Work, true, true),
];

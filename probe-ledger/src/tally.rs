//! What one request has been charged in one domain so far, and what its error bar will need.

use crate::flag::{Flag, Flags};

/// A request's account in one domain, in progress. Nanojoules and nanoseconds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) active: u64,
    /// `active` at the first content.
    pub(crate) prefill: Option<u64>,
    /// Valid windows it was resident in.
    pub(crate) windows: u64,
    /// How long it was resident in them.
    pub(crate) covered: u64,
    /// The first and last valid windows in which it was resident for any time.
    pub(crate) edges: Option<(Edge, Edge)>,
    /// How much less and how much more it may be, from gaps.
    pub(crate) gap_down: u64,
    pub(crate) gap_up: u64,
    pub(crate) flags: Flags,
    /// Energy and residency in the window being laid out.
    open: Edge,
}

/// A window as one request saw it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Edge {
    /// Charged to the request.
    pub(crate) energy: u64,
    /// Resident for this long.
    pub(crate) time: u64,
    /// The domain's energy in the window.
    pub(crate) window: u64,
}

/// What all residents of a window share.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Whole {
    /// The domain's energy.
    pub(crate) total: u64,
    /// The target's part of it.
    pub(crate) charge: u64,
    /// Longer than expected.
    pub(crate) gap: bool,
    /// The set of residents changed inside it.
    pub(crate) changed: bool,
}

impl Tally {
    /// Charges a part of a window.
    #[inline]
    pub(crate) fn charge(&mut self, energy: u64, time: u64) {
        self.active = self.active.saturating_add(energy);
        self.open.energy = self.open.energy.saturating_add(energy);
        self.open.time = self.open.time.saturating_add(time);
    }

    /// Ends a valid window.
    #[inline]
    pub(crate) fn close(&mut self, whole: Whole) {
        let edge = Edge { window: whole.total, ..self.open };
        self.open = Edge::default();
        self.windows += 1;
        self.covered = self.covered.saturating_add(edge.time);
        if edge.time > 0 {
            let first = self.edges.map_or(edge, |(first, _)| first);
            self.edges = Some((first, edge));
        }
        if whole.gap {
            self.flags.insert(Flag::Gap);
            if whole.changed {
                // Which of those who were resident caused it, nobody saw.
                self.gap_down = self.gap_down.saturating_add(edge.energy);
                self.gap_up = self.gap_up.saturating_add(whole.charge.saturating_sub(edge.energy));
            }
        }
    }
}

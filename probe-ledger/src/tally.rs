//! What one request has been charged in one domain so far, and what its error bar will need.

use crate::flag::{Flag, Flags};
use crate::idle::IdlePower;
use crate::split::{Seen, Split};
use crate::unit::mul_div_up;

/// A request's account in one domain, in progress. Nanojoules and nanoseconds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    /// In equal parts between residents, as windows closed: what its power was, for the error bar.
    pub(crate) active: u64,
    /// What it is charged, as far as that is settled.
    pub(crate) settled: u64,
    /// Of that, before its first content.
    pub(crate) prefill: u64,
    /// Valid windows it was resident in.
    pub(crate) windows: u64,
    /// How long it was resident in them.
    pub(crate) covered: u64,
    /// The domain's active energy in them.
    pub(crate) whole: u64,
    /// Of `active`, what would move if others had drawn more or less: by their part of each window.
    pub(crate) beside: u64,
    /// Likewise, in windows whose weights follow from what was seen of who drew what.
    pub(crate) seen_beside: u64,
    /// Of `active`, what the idle power may be off by.
    pub(crate) idle_error: u64,
    /// What the idle power may be off by in windows that were taken for idle altogether, whosever that may be.
    pub(crate) idle_unseen: u64,
    /// Somebody used the domain in its windows.
    pub(crate) ran: bool,
    pub(crate) edges: Edges,
    /// The longest period its sensor was known to have in them.
    pub(crate) period: u64,
    /// How much less and how much more it may be, from gaps.
    pub(crate) gap_down: u64,
    pub(crate) gap_up: u64,
    /// The same, from guesses at who used a device.
    pub(crate) split_down: u64,
    pub(crate) split_up: u64,
    pub(crate) flags: Flags,
    /// What it is given of idle energy; `None`: no idle power was known, or the policy gives none.
    pub(crate) idle: Option<u64>,
    /// The largest idle power it saw taken off, nW.
    pub(crate) idle_power: u64,
    /// Windows in which idle power was learned, and in which it was not known.
    pub(crate) idle_learned: u64,
    pub(crate) idle_unknown: u64,
    /// Energy and residency in the window being laid out.
    open: Edge,
}

/// Both ends of a residency: the first and the last valid windows, as many as make up a sensor period, since
/// a sensor that updates in lumps shows no power in one window and too much in another.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Edges {
    first: Edge,
    /// What `last` was before it began anew.
    before: Edge,
    last: Edge,
    period: u64,
}

impl Edges {
    #[inline]
    fn add(&mut self, window: Edge, period: u64) {
        self.period = period;
        if !self.first.fills(period) {
            self.first.add(window);
        }
        if self.last.fills(period) {
            (self.before, self.last) = (self.last, window);
        } else {
            self.last.add(window);
        }
    }

    /// First and last; `None` if it was not resident for any time in a valid window.
    pub(crate) fn ends(self) -> Option<(Edge, Edge)> {
        let mut last = self.last;
        if !last.fills(self.period) {
            last.add(self.before);
        }
        (self.first.time > 0).then_some((self.first, last))
    }
}

/// Windows as one request saw them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Edge {
    /// Charged to the request.
    pub(crate) energy: u64,
    /// Resident for this long.
    pub(crate) time: u64,
    /// The domain's active energy in the windows.
    pub(crate) window: u64,
}

impl Edge {
    fn fills(self, period: u64) -> bool {
        self.time > 0 && self.time >= period
    }

    #[inline]
    fn add(&mut self, other: Self) {
        self.energy = self.energy.saturating_add(other.energy);
        self.time = self.time.saturating_add(other.time);
        self.window = self.window.saturating_add(other.window);
    }
}

/// What all residents of a window share.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Whole {
    /// The domain's active energy.
    pub(crate) active: u64,
    /// The target's part of it.
    pub(crate) charge: u64,
    /// What its idle energy may be off by.
    pub(crate) idle_error: u64,
    /// The sensor's period.
    pub(crate) period: u64,
    /// It is much longer than declared.
    pub(crate) late: bool,
    /// Longer than expected.
    pub(crate) gap: bool,
    /// The set of residents changed inside it.
    pub(crate) changed: bool,
    /// Who drew how much of it was measured.
    pub(crate) measured: bool,
    /// Shared by time for want of weights.
    pub(crate) unweighted: bool,
    /// How it is known who used it.
    pub(crate) split: Split,
    /// How much of its time anybody was seen using it.
    pub(crate) seen: Seen,
    /// The target's part of the idle energy, if it is laid out as its charge is.
    pub(crate) idle: u64,
    /// The idle power that was taken off.
    pub(crate) by: Option<IdlePower>,
    /// Idle energy is given to requests.
    pub(crate) gives: bool,
}

impl Tally {
    /// Charges a part of a window.
    #[inline]
    pub(crate) fn charge(&mut self, energy: u64, time: u64) {
        self.active = self.active.saturating_add(energy);
        self.open.add(Edge { energy, time, window: 0 });
    }

    /// Gives it a part of idle energy.
    #[inline]
    pub(crate) fn give(&mut self, idle: u64) {
        if idle > 0 {
            self.idle = Some(self.idle.unwrap_or(0).saturating_add(idle));
        }
    }

    /// Ends a valid window.
    #[inline]
    pub(crate) fn close(&mut self, whole: Whole) {
        let edge = Edge { window: whole.active, ..self.open };
        self.open = Edge::default();
        self.windows += 1;
        self.covered = self.covered.saturating_add(edge.time);
        self.whole = self.whole.saturating_add(whole.active);
        // Where it was guessed who was there, that doubt holds this one.
        if !whole.split.guessed() {
            let others = whole.active.saturating_sub(whole.charge);
            let moved = mul_div_up(edge.energy, others, whole.active);
            let beside = if whole.measured { &mut self.seen_beside } else { &mut self.beside };
            *beside = beside.saturating_add(moved);
        }
        let length = whole.seen.length;
        let (sum, idle) = match whole.active {
            0 => {
                let unseen = mul_div_up(whole.idle_error, edge.time.min(length), length);
                (&mut self.idle_unseen, unseen)
            }
            active => (&mut self.idle_error, mul_div_up(whole.idle_error, edge.energy, active)),
        };
        *sum = sum.saturating_add(idle);
        self.ran |= whole.seen.used > 0;
        self.period = self.period.max(whole.period);
        match whole.by {
            Some(by) => {
                self.idle_power = self.idle_power.max(by.power.0);
                self.idle_learned += u64::from(by.learned);
                if whole.gives {
                    self.idle.get_or_insert(0);
                }
            }
            None => self.idle_unknown += 1,
        }
        if whole.late {
            self.flags.insert(Flag::CounterLate);
        }
        if whole.unweighted {
            self.flags.insert(Flag::WeightsMissing);
        }
        if edge.time > 0 {
            self.edges.add(edge, whole.period);
        }
        if whole.charge > 0 || whole.split == Split::Unknown {
            let (down, up) = whole.split.doubt(whole.active, whole.charge, edge.energy, whole.seen);
            self.split_down = self.split_down.saturating_add(down);
            self.split_up = self.split_up.saturating_add(up);
            whole.split.flag().into_iter().for_each(|flag| self.flags.insert(flag));
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

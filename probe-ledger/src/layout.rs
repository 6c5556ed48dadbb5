//! Lays a target's charge in one window along the target's own clock, and cuts it at the boundaries.
//!
//! Energy at a cut is `charge × (clock at the boundary - clock at the window's begin) / on-CPU time in the window`,
//! rounded down; a segment is the difference of two cuts. So segments add up to the charge exactly, every
//! cut is within a nanojoule of where it belongs however many there are. The cuts make the target's curve, from which
//! its requests are settled later; what is shared here, in equal parts, is for their error bars only.

use crate::boundary::Change;
use crate::curve::Curve;
use crate::desk::{Desk, Slot};
use crate::domain::Scope;
use crate::flag::Flags;
use crate::meter::Interval;
use crate::policy::Portions;
use crate::tally::Whole;
use crate::target::{Entry, Target, change_residents};

/// How far one domain has come in one target's boundaries.
#[derive(Debug, Default)]
pub(crate) struct Row {
    /// Number of the next boundary.
    pub(crate) cursor: u64,
    /// Residents there, in order of arrival.
    pub(crate) residents: Vec<Slot>,
    /// What was laid out here and is not settled.
    pub(crate) curve: Curve,
    /// The same of idle energy that follows the charge.
    pub(crate) idle: Curve,
    /// How much of either has found its place in the books.
    pub(crate) booked: Booked,
    turn: usize,
    /// Boundaries were passed unseen since the last window closed: whose its energy is, nobody can tell.
    pub(crate) skipped: bool,
}

/// How much of what was laid out is in the books. Windows that close late may lie before what is settled: a sum is compared with
/// the one last booked, and not with what the curve shows of an instant by then.
#[derive(Debug, Default)]
pub(crate) struct Booked {
    pub(crate) charge: u64,
    pub(crate) idle: u64,
}

impl Booked {
    /// What is new of two sums, charge and idle energy.
    pub(crate) fn up_to(&mut self, charge: u64, idle: u64) -> (u64, u64) {
        let new = (charge.saturating_sub(self.charge), idle.saturating_sub(self.idle));
        *self = Self { charge: self.charge.max(charge), idle: self.idle.max(idle) };
        new
    }
}

/// One target in one window of one domain.
pub(crate) struct Layout<'a> {
    pub(crate) domain: usize,
    pub(crate) scope: Scope,
    pub(crate) interval: Interval,
    /// The target's clock at the window's begin, and how far it runs in it.
    pub(crate) from: u64,
    pub(crate) used: u64,
    pub(crate) target: &'a Target,
    pub(crate) row: &'a mut Row,
    pub(crate) desk: &'a mut Desk,
    /// Residents at any time of the window; reused.
    pub(crate) touched: &'a mut Vec<Slot>,
}

impl Layout<'_> {
    /// A valid window; `whole.changed` is found out here.
    pub(crate) fn charge(mut self, mut whole: Whole) {
        self.row.curve.begin(self.interval.begin.0);
        let lays_idle = whole.idle > 0 || !self.row.idle.is_empty();
        if lays_idle {
            self.row.idle.begin(self.interval.begin.0);
        }
        let mut idle_spent = 0;
        self.touched.clone_from(&self.row.residents);
        let (mut t, mut spent) = (self.interval.begin, 0);
        let length = self.length();
        while let Some(entry) = self.next_due() {
            // Instants and clocks of a target's entries never decrease, and entries before the window were
            // passed when they came: neither cuts nor instants go back.
            let (cut_t, position) = (entry.t, self.position(entry));
            let cut = share_of(whole.charge, position, length);
            let idle_cut = share_of(whole.idle, position, length);
            whole.changed |= entry.change != Change::First;
            self.segment(cut - spent, cut_t.since(t).0);
            self.row.curve.cut(cut_t.0, cut - spent);
            if lays_idle {
                self.row.idle.cut(cut_t.0, idle_cut - idle_spent);
            }
            self.pass();
            (t, spent, idle_spent) = (cut_t, cut, idle_cut);
        }
        self.segment(whole.charge - spent, self.interval.end.since(t).0);
        self.row.curve.end(self.interval.end.0, whole.charge - spent);
        if lays_idle {
            self.row.idle.end(self.interval.end.0, whole.idle - idle_spent);
        }
        for slot in &*self.touched {
            if let Some(tally) = self.desk.tally(*slot, self.domain) {
                tally.close(whole);
            }
        }
    }

    /// A window, or a part of one, that is charged to nobody: boundaries are passed, residents flagged.
    pub(crate) fn skip(mut self, flags: Flags) {
        self.touched.clone_from(&self.row.residents);
        while self.next_due().is_some() {
            self.pass();
        }
        for slot in &*self.touched {
            if let Some(tally) = self.desk.tally(*slot, self.domain) {
                tally.flags = tally.flags.union(flags);
            }
        }
    }

    #[inline]
    fn next_due(&self) -> Option<&Entry> {
        self.target.due(self.row.cursor, self.interval.end)
    }

    /// Applies the next boundary.
    fn pass(&mut self) {
        let Some(Entry { slot, change, .. }) = self.next_due() else { return };
        let (slot, change) = (*slot, *change);
        self.row.cursor += 1;
        change_residents(&mut self.row.residents, slot, change);
        if change == Change::Enter {
            self.touched.push(slot);
        }
    }

    /// Shares a part of the charge between the residents, for their error bars.
    #[inline]
    fn segment(&mut self, energy: u64, time: u64) {
        let n = self.row.residents.len();
        if n == 0 {
            return;
        }
        let portions = Portions::of(energy, n, &mut self.row.turn);
        for (place, slot) in self.row.residents.iter().enumerate() {
            if let Some(tally) = self.desk.tally(*slot, self.domain) {
                tally.charge(portions.part(place), time);
            }
        }
    }

    /// The window's length on the axis boundaries are placed on.
    fn length(&self) -> u64 {
        match self.scope {
            Scope::Device => self.interval.length().0,
            Scope::Package(_) | Scope::Machine => self.used,
        }
    }

    /// A boundary's place on that axis, clamped into the window.
    fn position(&self, entry: &Entry) -> u64 {
        match entry.clock(self.scope) {
            Some(clock) => clock.saturating_sub(self.from).min(self.used),
            None => entry.t.since(self.interval.begin).0.min(self.length()),
        }
    }
}

/// `charge × position / length`, rounded down; `position` is at most `length`.
fn share_of(charge: u64, position: u64, length: u64) -> u64 {
    if length == 0 {
        return 0;
    }
    // At most `charge`.
    (u128::from(charge) * u128::from(position) / u128::from(length)) as u64
}

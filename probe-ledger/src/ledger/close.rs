//! A valid window: what its energy is charged to whom, and that laid out along the boundaries in it.

use super::{Ledger, Scratch};
use crate::apportion::apportion;
use crate::flag::{Flag, Flags};
use crate::kernel_books::kernel_charge;
use crate::layout::{Layout, Row};
use crate::meter::{Energy, Interval};
use crate::policy::Idle;
use crate::sample::{Closed, Window};
use crate::split::Seen;
use crate::tally::Whole;
use crate::unit::Nanos;
use crate::weighing::By;

impl Ledger {
    /// Charges a valid window and lays it out along its boundaries.
    pub(super) fn close(&mut self, d: usize, interval: Interval, energy: Energy) -> Window {
        self.add_cpu(d);
        let length = interval.length();
        let (whole, idle) = self.charge(d, energy, length);
        self.count(d, &whole, energy.units);
        let kept = self.give_idle(d, interval, idle);
        self.books[d].idle_kept.0 += kept;
        for k in 0..self.targets.len() {
            let (charge, idle) = (self.scratch.charges[k], self.scratch.idles[k]);
            if charge == 0 && idle == 0 && self.quiet(d, k) {
                continue;
            }
            let waits = self.lay(d, k, interval, Whole { charge, idle, ..whole });
            self.books[d].idle_kept.0 += if waits { 0 } else { idle };
            let consumer = &mut self.books[d].consumers[k];
            consumer.active.0 += charge;
            if !waits {
                consumer.background.0 += charge;
                self.targets[k].background(interval.begin, charge, &mut consumer.during);
            }
        }
        Window::Closed(Closed { length, units: energy.units, energy: energy.total, gap: whole.gap })
    }

    /// Shares a window's energy between the consumers, and books what is nobody's. Returns what is the same for all of them,
    /// and the idle energy.
    fn charge(&mut self, d: usize, energy: Energy, length: Nanos) -> (Whole, u64) {
        let (meter, book, scratch) = (&self.meters[d], &mut self.books[d], &mut self.scratch);
        let by = meter.weighing.by(&meter.used);
        let weights = if by == By::Weights { meter.weighing.used() } else { &meter.used };
        let residual =
            apportion(energy.active.0, weights, &mut scratch.charges, &mut scratch.remainders);
        // Nobody's part, the last one, where there are weights.
        let nobody = scratch.charges.get(self.targets.len()).copied().unwrap_or(0);
        let idle = energy.idle.0 + nobody;
        // None of these sums overflows: each is at most `measured`, and the meter kept to the room left.
        book.measured.0 += energy.total.0;
        book.idle.0 += idle;
        book.residual.0 += residual;
        let whole = Whole {
            active: energy.total.0 - idle,
            charge: 0,
            idle: 0,
            idle_error: energy.by.map_or(0, |by| by.off(length).0),
            by: energy.by,
            gives: self.policies.idle != Idle::None,
            period: meter.period().0,
            late: meter.pulse.late(&meter.spec),
            gap: length > meter.spec.expected_window,
            changed: false,
            measured: by == By::Weights && meter.weighing.measured(),
            unweighted: by == By::ClocksForWant && energy.active.0 > 0,
            split: meter.split,
            seen: Seen { used: meter.on_cpu(), length: length.0 },
        };
        (whole, idle)
    }

    /// Counts a window, and keeps what the kernel's books charge of it.
    fn count(&mut self, d: usize, whole: &Whole, units: u64) {
        let (meter, book) = (&self.meters[d], &mut self.books[d]);
        book.windows += 1;
        book.gaps += u64::from(whole.gap);
        book.late_windows += u64::from(whole.late);
        book.unweighted += u64::from(whole.unweighted);
        book.units += u128::from(units);
        let ran = book.gross_units.iter_mut().zip(&meter.used).filter(|(_, used)| **used > 0);
        for (sum, used) in ran {
            *sum += u128::from(kernel_charge(units, *used, whole.seen.used));
        }
    }

    /// Gives a window's idle energy to consumers or residents, as the policy says. Returns what nobody is given.
    fn give_idle(&mut self, d: usize, interval: Interval, idle: u64) -> u64 {
        let consumers = self.targets.len();
        self.scratch.idles.clear();
        self.scratch.idles.resize(consumers, 0);
        match self.policies.idle {
            Idle::None => idle,
            Idle::Even => self.give_evenly(d, interval, idle),
            Idle::Proportional => {
                let Scratch { charges, idles, remainders, .. } = &mut self.scratch;
                apportion(idle, &charges[..consumers], idles, remainders)
            }
        }
    }

    /// Nothing is to be laid out: nobody is resident, and no boundary is to be passed.
    fn quiet(&self, d: usize, k: usize) -> bool {
        let row = &self.rows[d * self.targets.len() + k];
        row.residents.is_empty() && row.cursor == self.targets[k].end() && !row.skipped
    }

    /// Lays one consumer's charge out where somebody may have a part in it. False: it is background.
    fn lay(&mut self, d: usize, k: usize, interval: Interval, whole: Whole) -> bool {
        let end = self.targets[k].end();
        let row = self.row(d, k);
        if std::mem::take(&mut row.skipped) {
            self.layout(d, k, interval).skip(Flag::Gap.into());
            return false;
        }
        let waits = !row.residents.is_empty() || row.cursor != end;
        if waits {
            self.targets[k].laid = true;
            self.layout(d, k, interval).charge(whole);
        }
        waits
    }

    pub(super) fn add_cpu(&mut self, d: usize) {
        for (consumer, used) in self.books[d].consumers.iter_mut().zip(&self.meters[d].used) {
            consumer.cpu = consumer.cpu.saturating_add(Nanos(*used));
        }
    }

    /// A window that is charged to nobody: its boundaries are passed.
    pub(super) fn void(&mut self, d: usize, interval: Interval, flags: Flags) {
        for k in 0..self.targets.len() {
            self.row(d, k).skipped = false;
            self.layout(d, k, interval).skip(flags);
            let curve = &mut self.row(d, k).curve;
            if !curve.is_empty() {
                // Nothing was laid out in that time: what comes after it does not reach back.
                curve.cut(interval.end.0, 0);
            }
        }
    }

    pub(super) fn row(&mut self, d: usize, k: usize) -> &mut Row {
        let width = self.targets.len();
        &mut self.rows[d * width + k]
    }

    pub(super) fn layout(&mut self, d: usize, k: usize, interval: Interval) -> Layout<'_> {
        let meter = &self.meters[d];
        Layout {
            domain: d,
            scope: meter.spec.scope,
            interval,
            from: meter.from[k],
            used: meter.used[k],
            target: &self.targets[k],
            row: &mut self.rows[d * self.targets.len() + k],
            desk: &mut self.desk,
            touched: &mut self.scratch.touched,
        }
    }
}

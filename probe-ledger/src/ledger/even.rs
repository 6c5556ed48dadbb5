//! The idle policy `even`: an instant's idle energy, in equal parts, to all who are resident then.
//!
//! A window's idle energy is laid along wall clock, since idle power does not follow anybody's clock, and cut at the boundaries of
//! all targets. Who is resident is known as soon as the window closes, so nothing here waits to be settled.

use super::Ledger;
use crate::boundary::Change;
use crate::desk::Slot;
use crate::meter::Interval;
use crate::policy::Portions;
use crate::target::change_residents;
use crate::unit::Nanos;

impl Ledger {
    /// Gives a window's idle energy away, before its boundaries are passed. Returns what nobody gets.
    pub(super) fn give_evenly(&mut self, d: usize, interval: Interval, idle: u64) -> u64 {
        if idle == 0 {
            return 0;
        }
        let width = self.targets.len();
        let mut residents: Vec<Slot> = Vec::new();
        let mut changes: Vec<(Nanos, Slot, Change)> = Vec::new();
        for (row, target) in self.rows.iter().skip(d * width).zip(&self.targets) {
            residents.extend(&row.residents);
            let due = (row.cursor..).map_while(|number| target.due(number, interval.end));
            let changed = due.filter(|entry| entry.change != Change::First);
            changes.extend(changed.map(|entry| (entry.t, entry.slot, entry.change)));
        }
        if residents.is_empty() && changes.is_empty() {
            return idle;
        }
        changes.sort_by_key(|(t, _, _)| *t);
        let length = interval.length().0.max(1);
        let (mut spent, mut kept) = (0, 0);
        for (t, slot, change) in changes {
            let position = t.since(interval.begin).0.min(length);
            // At most `idle`.
            let cut = (u128::from(idle) * u128::from(position) / u128::from(length)) as u64;
            kept += self.give(d, cut - spent, &residents);
            spent = cut;
            change_residents(&mut residents, slot, change);
        }
        kept + self.give(d, idle - spent, &residents)
    }

    /// Gives an amount to all of them. Returns what nobody got.
    fn give(&mut self, d: usize, amount: u64, residents: &[Slot]) -> u64 {
        let portions = Portions::of(amount, residents.len(), &mut self.idle_turn);
        let mut left = amount;
        for (place, slot) in residents.iter().enumerate() {
            if let Some(tally) = self.desk.tally(*slot, d) {
                let part = portions.part(place);
                tally.give(part);
                left -= part;
            }
        }
        self.books[d].idle_given.0 += amount - left;
        left
    }
}

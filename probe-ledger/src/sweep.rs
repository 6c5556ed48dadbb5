//! Who is resident at an instant that moves forward: so an interval costs as many steps as there are residents, however many
//! have come and gone since the last time.

use crate::desk::{Desk, Slot};
use crate::work::Phases;

/// Stands at an instant.
#[derive(Debug, Default)]
pub(crate) struct Sweep {
    /// Everybody with what is known of them, in order of arrival.
    everybody: Vec<(Slot, Phases)>,
    /// So many of them have arrived.
    arrived: usize,
    here: Vec<(Slot, Phases)>,
    left: Option<u64>,
}

impl Sweep {
    /// Stands before everybody's arrival.
    pub(crate) fn begin(&mut self, open: &[Slot], desk: &Desk) {
        (self.arrived, self.left) = (0, None);
        self.here.clear();
        self.everybody.clear();
        let known = |slot: &Slot| Some((*slot, desk.get(*slot)?.phases()));
        self.everybody.extend(open.iter().filter_map(known));
    }

    /// Moves on.
    pub(crate) fn to(&mut self, t: u64) {
        let coming = &self.everybody[self.arrived..];
        let come = coming.iter().take_while(|(_, phases)| phases.enter <= t).count();
        self.here.extend_from_slice(&coming[..come]);
        self.arrived += come;
        let left = &mut self.left;
        self.here.retain(|(_, phases)| {
            let stays = phases.leave > t;
            if !stays {
                *left = (*left).max(Some(phases.leave));
            }
            stays
        });
    }

    /// Everybody, wherever it stands.
    pub(crate) fn everybody(&self) -> &[(Slot, Phases)] {
        &self.everybody
    }

    /// Those who have arrived and not left.
    pub(crate) fn here(&self) -> &[(Slot, Phases)] {
        &self.here
    }

    /// When the last of those left who have.
    pub(crate) fn left(&self) -> Option<u64> {
        self.left
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{ConsumerId, RequestId};
    use crate::unit::Nanos;

    #[test]
    fn who_is_there_at_an_instant_has_arrived_and_not_left() {
        let mut desk = Desk::default();
        let slots =
            [(10, Some(30)), (20, None), (20, Some(20)), (40, Some(50))].map(|(t, leave)| {
                let slot = desk.open(RequestId(t), ConsumerId(0), Nanos(t), 0);
                desk.get_mut(slot).unwrap().leave = leave.map(Nanos);
                slot
            });
        let mut sweep = Sweep::default();
        for _ in 0..2 {
            sweep.begin(&slots, &desk);
            let mut at = |t| {
                sweep.to(t);
                (sweep.here().iter().map(|(slot, _)| *slot).collect::<Vec<_>>(), sweep.left())
            };
            assert_eq!(at(9), (vec![], None));
            assert_eq!(at(20), (vec![slots[0], slots[1]], Some(20)));
            assert_eq!(at(30), (vec![slots[1]], Some(30)));
            assert_eq!(at(90), (vec![slots[1]], Some(50)));
        }
    }
}

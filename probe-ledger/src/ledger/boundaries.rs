//! Boundaries as they come in: checked, noted, and passed at once by the domains that are past them.

use super::Ledger;
use crate::boundary::{Boundary, Change, Refused};
use crate::desk::Slot;
use crate::flag::{Flag, Flags};
use crate::id::{ConsumerId, RequestId};
use crate::meter::Interval;
use crate::unit::Nanos;
use crate::work::Work;

impl Ledger {
    /// A request of a target changed state.
    ///
    /// # Errors
    /// It contradicts what came before; it is counted and changes nothing.
    pub fn boundary(&mut self, target: ConsumerId, boundary: &Boundary<'_>) -> Result<(), Refused> {
        self.check(target, boundary).inspect_err(|_| self.anomalies.refused_boundaries += 1)?;
        let k = target.0;
        self.now = self.now.max(boundary.t);
        self.advance(k, boundary.t, boundary.clocks);
        let slot = self.change(target, boundary);
        self.note(k, slot, boundary.change);
        self.tidy();
        Ok(())
    }

    /// What is known of a resident request besides its boundaries. To be told before it leaves; what is told later is
    /// not taken in, and false is returned.
    pub fn work(&mut self, request: RequestId, work: Work) -> bool {
        let slot = self.desk.resident(request);
        let request = slot.and_then(|slot| self.desk.get_mut(slot));
        request.map(|request| request.work = Some(work)).is_some()
    }

    fn check(&self, target: ConsumerId, boundary: &Boundary<'_>) -> Result<(), Refused> {
        let (id, given, packages) = (boundary.request, boundary.clocks.len(), self.packages);
        if target.0 >= self.targets.len() {
            return Err(Refused::NoSuchConsumer(target.0));
        }
        if given != packages {
            return Err(Refused::Clocks { given, packages });
        }
        let resident = self.desk.resident(id).and_then(|slot| self.desk.get(slot));
        match (boundary.change, resident) {
            (Change::Enter, None) => Ok(()),
            (Change::Enter, Some(_)) => Err(Refused::AlreadyResident(id)),
            (_, Some(request)) if request.target == target => match boundary.change {
                Change::First if request.first.is_some() => Err(Refused::AlreadyFirst(id)),
                _ => Ok(()),
            },
            _ => Err(Refused::NotResident(id)),
        }
    }

    fn advance(&mut self, k: usize, t: Nanos, clocks: &[u64]) {
        let target = &mut self.targets[k];
        self.anomalies.boundaries_backwards += u64::from(t < target.last_t());
        self.anomalies.clocks_backwards += target.advance(t, clocks, &mut self.desk);
    }

    /// Changes the request itself; it was checked.
    fn change(&mut self, target: ConsumerId, boundary: &Boundary<'_>) -> Option<Slot> {
        let t = self.targets[target.0].last_t();
        let id = boundary.request;
        if boundary.change == Change::Enter {
            let slot = self.desk.open(id, target, t, self.meters.len());
            self.settlements[target.0].enter(slot);
            return Some(slot);
        }
        let slot = self.desk.resident(id)?;
        let crowd = self.targets[target.0].residents().len();
        let request = self.desk.get_mut(slot)?;
        match boundary.change {
            Change::First => request.first = Some(t),
            Change::Enter | Change::Leave => {
                request.leave = Some(t);
                request.last_crowd = crowd;
                self.desk.left(id);
                self.settlements[target.0].leave(t);
            }
        }
        Some(slot)
    }

    /// Queues the boundary for the domains, and passes it at once where nothing is to be waited for.
    fn note(&mut self, k: usize, slot: Option<Slot>, change: Change) {
        let Some(slot) = slot else { return };
        let number = self.targets[k].note(slot, change);
        let t = self.targets[k].last_t();
        let mut late = false;
        for d in 0..self.meters.len() {
            let last = self.meters[d].last_t();
            let everything = Interval { begin: t, end: Nanos(u64::MAX) };
            if self.meters[d].stalled {
                self.row(d, k).skipped = true;
                let flags = self.meters[d].pulse.against().union(Flag::Stalled.into());
                self.layout(d, k, everything).skip(flags);
            } else if last.is_some_and(|last| t <= last) && self.row(d, k).cursor == number {
                late |= last > Some(t);
                self.layout(d, k, everything).skip(Flags::NONE);
            }
        }
        if late {
            self.anomalies.late_boundaries += 1;
            if let Some(request) = self.desk.get_mut(slot) {
                request.flags.insert(Flag::Late);
            }
        }
    }
}

//! The requests whose accounts are open: resident, or gone with a domain still to close their last window.

use std::collections::HashMap;

use crate::flag::Flags;
use crate::id::{ConsumerId, RequestId};
use crate::steps::{Decoding, Reading};
use crate::tally::Tally;
use crate::unit::Nanos;
use crate::work::{Phases, Work};

/// Where a request lies on the desk. Reused once its account is settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot(usize);

/// An open account.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) id: RequestId,
    pub(crate) target: ConsumerId,
    pub(crate) enter: Nanos,
    pub(crate) leave: Option<Nanos>,
    /// Its first content.
    pub(crate) first: Option<Nanos>,
    /// What was told of it.
    pub(crate) work: Option<Work>,
    /// Some of what it is charged was settled before it was known which phase that was.
    pub(crate) unphased: bool,
    /// How it was shared with those it overlapped.
    pub(crate) shares: Shares,
    /// What its target did in its prefill and in its decode.
    pub(crate) reading: Reading,
    pub(crate) decoding: Decoding,
    /// Its share of the target's on-CPU time, ns.
    pub(crate) cpu: u64,
    /// Integral of the number of residents over its residency, ns.
    pub(crate) crowd: u128,
    /// Residents when it left, itself included.
    pub(crate) last_crowd: usize,
    pub(crate) flags: Flags,
    /// By domain.
    pub(crate) tallies: Vec<Tally>,
}

/// What a request was charged as others worked beside it, and what it might have been; nJ over the additive domains.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Shares {
    /// Under the policy that was chosen.
    pub(crate) chosen: f64,
    /// By work, as far as that has prices; else as chosen.
    pub(crate) best: f64,
    /// Of that, what is uncertain by as much as prices did not foretell,
    pub(crate) foretold: f64,
    /// and what prices move at all,
    pub(crate) steps: f64,
    /// and of that, while somebody may still have been queued.
    pub(crate) queues: f64,
    /// What might be others', or theirs its, where there were no prices.
    pub(crate) unknown: f64,
}

impl Request {
    /// Its time line as far as it is known now.
    pub(crate) fn phases(&self) -> Phases {
        let plain = Phases::plain(self.enter, self.first, self.leave);
        self.work.as_ref().map_or(plain, |work| plain.told(work))
    }
}

/// All open accounts.
#[derive(Debug, Default)]
pub(crate) struct Desk {
    slots: Vec<Option<Request>>,
    free: Vec<Slot>,
    resident: HashMap<RequestId, Slot>,
}

impl Desk {
    pub(crate) fn open(
        &mut self,
        id: RequestId,
        target: ConsumerId,
        enter: Nanos,
        domains: usize,
    ) -> Slot {
        let request = Request {
            id,
            target,
            enter,
            leave: None,
            first: None,
            work: None,
            unphased: false,
            shares: Shares::default(),
            reading: Reading::default(),
            decoding: Decoding::default(),
            cpu: 0,
            crowd: 0,
            last_crowd: 1,
            flags: Flags::NONE,
            tallies: vec![Tally::default(); domains],
        };
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            Slot(self.slots.len() - 1)
        });
        self.slots[slot.0] = Some(request);
        self.resident.insert(id, slot);
        slot
    }

    /// The resident request of that id.
    pub(crate) fn resident(&self, id: RequestId) -> Option<Slot> {
        self.resident.get(&id).copied()
    }

    /// From now on the id is free; the account stays open.
    pub(crate) fn left(&mut self, id: RequestId) {
        self.resident.remove(&id);
    }

    pub(crate) fn get(&self, slot: Slot) -> Option<&Request> {
        self.slots.get(slot.0)?.as_ref()
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, slot: Slot) -> Option<&mut Request> {
        self.slots.get_mut(slot.0)?.as_mut()
    }

    #[inline]
    pub(crate) fn tally(&mut self, slot: Slot, domain: usize) -> Option<&mut Tally> {
        self.get_mut(slot)?.tallies.get_mut(domain)
    }

    pub(crate) fn close(&mut self, slot: Slot) -> Option<Request> {
        let request = self.slots.get_mut(slot.0)?.take()?;
        self.free.push(slot);
        Some(request)
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }
}

#[cfg(test)]
impl Slot {
    pub(crate) fn test(number: usize) -> Self {
        Self(number)
    }
}

//! A target's boundaries, kept until every domain has passed them, and what needs no domain: its
//! on-CPU time and the number of residents over time.

use std::collections::VecDeque;

use crate::book::Background;
use crate::boundary::Change;
use crate::curve::Curve;
use crate::desk::{Desk, Slot};
use crate::domain::Scope;
use crate::unit::Nanos;

/// A boundary on its way through the domains.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) t: Nanos,
    /// By package; never less than at the entry before.
    clocks: Box<[u64]>,
    pub(crate) slot: Slot,
    pub(crate) change: Change,
}

impl Entry {
    /// The target's clock on the CPUs of a domain; `None` where only wall clock is known.
    pub(crate) fn clock(&self, scope: Scope) -> Option<u64> {
        match scope {
            Scope::Package(package) => self.clocks.get(package).copied(),
            Scope::Machine => Some(self.clocks.iter().fold(0, |sum, c| sum.saturating_add(*c))),
            Scope::Device => None,
        }
    }
}

/// One consumer's boundaries.
#[derive(Debug)]
pub(crate) struct Target {
    entries: VecDeque<Entry>,
    /// Number of the first entry kept.
    base: u64,
    residents: Vec<Slot>,
    /// Instant and clocks of the last boundary.
    t: Nanos,
    clocks: Box<[u64]>,
    /// Somebody has been resident.
    served: bool,
    /// Its on-CPU time that is not settled.
    pub(crate) cpu: Curve,
    /// There may be something in its curves.
    pub(crate) laid: bool,
}

impl Target {
    pub(crate) fn new(packages: usize) -> Self {
        Self {
            entries: VecDeque::new(),
            base: 0,
            residents: Vec::new(),
            t: Nanos::ZERO,
            clocks: vec![0; packages].into(),
            served: false,
            cpu: Curve::default(),
            laid: false,
        }
    }

    /// Instant of its last boundary.
    pub(crate) fn last_t(&self) -> Nanos {
        self.t
    }

    pub(crate) fn residents(&self) -> &[Slot] {
        &self.residents
    }

    /// Clocks of its last boundary.
    pub(crate) fn clocks(&self) -> &[u64] {
        &self.clocks
    }

    /// Moves to a boundary's instant, and adds to the residents' crowds. Returns how many clocks went backwards.
    pub(crate) fn advance(&mut self, t: Nanos, clocks: &[u64], desk: &mut Desk) -> u64 {
        let mut backwards = 0;
        let mut cpu = 0u64;
        for (last, now) in self.clocks.iter_mut().zip(clocks) {
            // Those of a boundary that is told late were read before.
            backwards += u64::from(now < last && t >= self.t);
            cpu = cpu.saturating_add(now.saturating_sub(*last));
            *last = (*last).max(*now);
        }
        let (n, elapsed) = (self.residents.len(), t.since(self.t).0);
        if n > 0 {
            self.cpu.begin(self.t.0);
            self.cpu.cut(self.t.max(t).0, cpu);
        }
        self.t = self.t.max(t);
        for slot in &self.residents {
            if let Some(request) = desk.get_mut(*slot) {
                request.crowd = request.crowd.saturating_add(n as u128 * u128::from(elapsed));
            }
        }
        backwards
    }

    /// Notes a change at the instant it has advanced to. Returns the entry's number.
    pub(crate) fn note(&mut self, slot: Slot, change: Change) -> u64 {
        (self.laid, self.served) = (true, true);
        change_residents(&mut self.residents, slot, change);
        self.entries.push_back(Entry { t: self.t, clocks: self.clocks.clone(), slot, change });
        self.end() - 1
    }

    /// Tells what it did in a window without boundaries and residents, by its begin.
    pub(crate) fn background(&self, begin: Nanos, charge: u64, during: &mut Background) {
        let sum = match self.served {
            false => &mut during.before,
            true if begin.since(self.t) <= Background::SPINNING => &mut during.after,
            true => return,
        };
        sum.0 += charge;
    }

    /// The entry of that number, if it is there and not later than `until`.
    #[inline]
    pub(crate) fn due(&self, number: u64, until: Nanos) -> Option<&Entry> {
        let index = usize::try_from(number.checked_sub(self.base)?).ok()?;
        self.entries.get(index).filter(|entry| entry.t <= until)
    }

    /// One more than the number of the last entry.
    pub(crate) fn end(&self) -> u64 {
        self.base + self.entries.len() as u64
    }

    /// The oldest entry kept: its number and instant.
    pub(crate) fn oldest(&self) -> Option<(u64, Nanos)> {
        self.entries.front().map(|entry| (self.base, entry.t))
    }

    /// Forgets the entries before that number.
    pub(crate) fn forget(&mut self, before: u64) {
        while self.base < before && self.entries.pop_front().is_some() {
            self.base += 1;
        }
    }
}

/// Applies a change to a list of residents, kept in order of arrival.
pub(crate) fn change_residents(residents: &mut Vec<Slot>, slot: Slot, change: Change) {
    match change {
        Change::Enter => residents.push(slot),
        Change::First => {}
        Change::Leave => residents.retain(|resident| *resident != slot),
    }
}

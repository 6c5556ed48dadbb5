//! The books: what each domain measured and who was charged.

use std::collections::BTreeMap;

use crate::sample::Void;
use crate::unit::{Nanojoules, Nanos};

/// One domain's books. Always, to the nanojoule: `measured = idle + residual + Σ active`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Book {
    /// Everything counted in valid windows.
    pub measured: Nanojoules,
    /// The domain's idle power over its windows, at most what was measured, and what weighed for nobody.
    pub idle: Nanojoules,
    /// Of that, given to requests by the idle policy, as far as that is settled. It stays in `idle`.
    pub idle_given: Nanojoules,
    /// Of that, given to nobody, as far as that is settled. Once the ledger has finished: `idle = idle_given + idle_kept`.
    pub idle_kept: Nanojoules,
    /// Measured above idle while nobody was on CPU.
    pub residual: Nanojoules,
    /// By `ConsumerId`.
    pub consumers: Vec<ConsumerBook>,
    /// Valid windows closed.
    pub windows: u64,
    /// Windows charged to nobody because they were implausible, the counter was reset or stuck, or what happened in them
    /// makes the counter worthless.
    pub void_windows: u64,
    /// The same by cause; a cause that has not been seen is not there.
    pub voids: BTreeMap<Void, u64>,
    /// Valid windows at whose end the counter was known to move much more seldom than declared.
    pub late_windows: u64,
    /// Samples that left the window open because the counter had not moved.
    pub held_samples: u64,
    /// Valid windows longer than expected.
    pub gaps: u64,
    /// Valid windows with active energy that was shared by the clocks though weights had come before and somebody was on
    /// CPU: no weight moved in them, or one of their samples came without.
    pub unweighted: u64,
    /// Counter units in valid windows.
    pub units: u128,
    /// Counter units by `ConsumerId`, as if idle power were 0 and there were no weights: what the kernel's own books charge, to the
    /// bit ([`kernel_charge`](crate::kernel_charge)). Each window is rounded half up, so they need not add
    /// up to `units`.
    pub gross_units: Vec<u128>,
}

/// What one consumer was charged in one domain. Always: `active = requests + background + unsettled`; once the ledger has
/// finished nothing is unsettled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConsumerBook {
    /// Active energy.
    pub active: Nanojoules,
    /// Of that, charged to its requests, as far as that is settled.
    pub requests: Nanojoules,
    /// Of that, while nobody was worked on, as far as that is settled.
    pub background: Nanojoules,
    /// What the target did then.
    pub during: Background,
    /// Time on the domain's CPUs since the domain's first sample, void windows included.
    pub cpu: Nanos,
}

/// Parts of a target's background by what it did, as far as its requests tell; told apart by the begin of a window, and in a
/// window with boundaries by them. The rest of the background is none of these: polling, keep-alive, housekeeping.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Background {
    /// Before its first request: model load and warm-up, of a server that was just started.
    pub before: Nanojoules,
    /// While requests were resident and none was worked on: queued, a model loaded on demand, after the last token.
    pub waiting: Nanojoules,
    /// From a last byte on, for a second or until the next request: spinning, cleaning up.
    pub after: Nanojoules,
}

impl Background {
    /// So long after a last byte what a target does is still because of it.
    pub(crate) const SPINNING: Nanos = Nanos(1_000_000_000);

    pub(crate) fn add(&mut self, other: Self) {
        self.before = self.before.saturating_add(other.before);
        self.waiting = self.waiting.saturating_add(other.waiting);
        self.after = self.after.saturating_add(other.after);
    }

    /// All three.
    #[must_use]
    pub fn sum(&self) -> Nanojoules {
        self.before.saturating_add(self.waiting).saturating_add(self.after)
    }
}

impl ConsumerBook {
    /// What waits for its requests to be settled. `None`: more was settled than charged, which cannot be.
    #[must_use]
    pub fn unsettled(&self) -> Option<Nanojoules> {
        let settled = self.requests.0.checked_add(self.background.0)?;
        self.active.0.checked_sub(settled).map(Nanojoules)
    }
}

impl Book {
    pub(crate) fn new(consumers: usize) -> Self {
        Self {
            consumers: vec![ConsumerBook::default(); consumers],
            gross_units: vec![0; consumers],
            ..Self::default()
        }
    }

    pub(crate) fn void(&mut self, cause: Void) {
        self.void_windows += 1;
        *self.voids.entry(cause).or_default() += 1;
    }

    /// Whether the books close.
    #[must_use]
    pub fn closes(&self) -> bool {
        let wide = |e: Nanojoules| u128::from(e.0);
        let active: u128 = self.consumers.iter().map(|c| wide(c.active)).sum();
        let parts = |c: &ConsumerBook| c.during.sum() <= c.background;
        let whole = self.consumers.iter().all(|c| c.unsettled().is_some() && parts(c));
        let given = wide(self.idle_given) + wide(self.idle_kept) <= wide(self.idle);
        given && whole && wide(self.measured) == wide(self.idle) + wide(self.residual) + active
    }
}

/// What a target was charged over the additive domains.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TargetBook {
    /// Charged to its requests.
    pub requests: Nanojoules,
    /// Charged while nobody was worked on: with no resident, or with those that wait.
    pub background: Nanojoules,
    /// What it did then.
    pub during: Background,
}

/// Input that contradicts itself. None of it stops the books; all of it is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Anomalies {
    /// Samples not later than the domain's last one.
    pub stale_samples: u64,
    /// Samples for no domain or with the wrong number of clocks.
    pub malformed_samples: u64,
    /// Clocks that went backwards: counted as standing still.
    pub clocks_backwards: u64,
    /// Boundaries that arrived after a window they belong to had closed.
    pub late_boundaries: u64,
    /// Boundaries earlier than the same target's last one: taken as simultaneous.
    pub boundaries_backwards: u64,
    /// Boundaries refused.
    pub refused_boundaries: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn books_with_one_nanojoule_missing_do_not_close() {
        let mut book = Book::new(1);
        book.measured = Nanojoules(10);
        book.idle = Nanojoules(3);
        book.residual = Nanojoules(2);
        book.consumers[0].active = Nanojoules(5);
        book.consumers[0].background = Nanojoules(5);
        assert!(book.closes());
        // Four are not settled yet; one that was not charged cannot be.
        book.consumers[0].background = Nanojoules(1);
        assert_eq!(book.consumers[0].unsettled(), Some(Nanojoules(4)));
        assert!(book.closes());
        book.consumers[0].requests = Nanojoules(5);
        assert!(!book.closes());
        book.consumers[0].requests = Nanojoules(4);
        book.measured = Nanojoules(11);
        assert!(!book.closes());
    }
}

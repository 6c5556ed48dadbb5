//! Whether a domain's counter moves as often as it should. Knows instants and counts, no energy.
//!
//! A counter whose power cannot be 0 while somebody is on CPU ([`DomainSpec::pulse`]) must move once a sensor period.
//! Between the last sample that showed it moving and a later one that shows the same count it has not moved: that *quiet*
//! time is proven, not estimated.
//!
//! * Quiet for more than [`LATE`] periods, on-CPU time in it: the window is **held** open instead of being closed at zero.
//!   When the counter moves, what it shows then is spread along the clocks of all the time it stood still, and not
//!   laid on whoever runs at that moment. The quiet time becomes the period that error bars use (**late**), until
//!   the counter is seen to move in time again; then it decays, an eighth at each movement.
//! * While it is known to be late, a window is held from the first sample on that shows the same count and on-CPU time:
//!   there is no reason to wait [`LATE`] declared periods once more. Two consumers that take turns
//!   under a counter of 100 ms instead of 1 ms are charged 47.4 and 52.6 % in its first cycle, 50 and 50 % in every later one.
//! * Held for [`DomainSpec::pulse`] with on-CPU time for at least a tenth of it: **stuck**. The window is void: what was
//!   used in it was not measured, and 0 J would be a lie. While it stays stuck, void windows of that length
//!   follow. The window in which it moves again is void, too: whether its lump holds the energy of the
//!   time it was stuck, nobody knows.
//!
//! Windows shorter than [`LATE`] periods that closed at zero before the first verdict stay closed: at most that much time,
//! and only until the counter is known to be late. A request that saw nothing but zeros of a counter known to be late or stuck
//! has no joules (`Account`).

use crate::domain::DomainSpec;
use crate::flag::{Flag, Flags};
use crate::unit::Nanos;

/// Quiet for this many sensor periods is late.
pub(crate) const LATE: u64 = 5;
/// A counter must move if somebody was on CPU for one in so many parts of the time.
const BUSY: u64 = 10;

/// When a counter last moved, and how often it does.
#[derive(Debug, Default)]
pub(crate) struct Pulse {
    /// The last sample that showed it moving, or the verdict that it is stuck.
    moved: Nanos,
    /// On-CPU time of all consumers at that sample, and at the last one.
    busy: u64,
    /// What was measured of the period, where it is longer than declared.
    measured: Nanos,
    held: bool,
    stuck: bool,
}

/// What to do with the window that a sample would close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Beat {
    /// Close it.
    Close,
    /// Leave it open.
    Hold,
    /// The counter is stuck, or moves again after it was: nobody knows what the window holds.
    Stuck,
}

impl Pulse {
    /// The counter's baseline.
    pub(crate) fn begin(&mut self, t: Nanos, clocks: &[u64]) {
        *self = Self { moved: t, busy: sum(clocks), measured: self.measured, ..Self::default() };
    }

    /// Takes in a later sample.
    pub(crate) fn beat(
        &mut self,
        spec: &DomainSpec,
        t: Nanos,
        moved: bool,
        clocks: &[u64],
    ) -> Beat {
        let Some(limit) = spec.pulse else { return Beat::Close };
        if moved {
            return self.moved(spec, t, clocks);
        }
        let quiet = t.since(self.moved).0;
        let busy = sum(clocks).saturating_sub(self.busy) >= (quiet / BUSY).max(1);
        if quiet >= limit.0 {
            // A verdict begins the next stretch.
            (self.moved, self.busy, self.held) = (t, sum(clocks), self.stuck || busy);
            self.stuck |= busy;
            return if self.stuck { Beat::Stuck } else { Beat::Close };
        }
        let in_time = spec.period.0.saturating_mul(LATE);
        self.held |= busy && (self.late(spec) || quiet > in_time);
        if self.held { Beat::Hold } else { Beat::Close }
    }

    fn moved(&mut self, spec: &DomainSpec, t: Nanos, clocks: &[u64]) -> Beat {
        // From the movement before the quiet time to this one: one period.
        let span = t.since(self.moved);
        if span.0 <= spec.period.0.saturating_mul(LATE) {
            // Held or not: it moved in time. What moves just after a verdict did not.
            if !self.stuck {
                self.measured = Nanos(self.measured.0 - self.measured.0.div_ceil(8));
            }
        } else if self.held {
            self.measured = self.measured.max(span);
        }
        let stuck = self.stuck;
        *self = Self {
            moved: t,
            busy: sum(clocks),
            measured: self.measured,
            held: false,
            stuck: false,
        };
        if stuck { Beat::Stuck } else { Beat::Close }
    }

    /// What is known against the counter in the window that is open.
    pub(crate) fn against(&self) -> Flags {
        match (self.stuck, self.held) {
            (true, _) => Flag::CounterStuck.into(),
            (false, true) => Flag::CounterLate.into(),
            (false, false) => Flags::NONE,
        }
    }

    /// The sensor's period as far as it is known: declared, or measured where that is much longer.
    pub(crate) fn period(&self, spec: &DomainSpec) -> Nanos {
        if self.late(spec) { self.measured } else { spec.period }
    }

    /// Whether it moves markedly more seldom than declared.
    pub(crate) fn late(&self, spec: &DomainSpec) -> bool {
        self.measured.0 > spec.period.0.saturating_mul(LATE)
    }
}

fn sum(clocks: &[u64]) -> u64 {
    clocks.iter().fold(0, |sum: u64, ns| sum.saturating_add(*ns))
}

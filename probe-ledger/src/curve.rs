//! A target's charge in one domain over time: what had been laid out to it by each instant.
//!
//! Knots lie at boundaries, where the target's own clock places them, and at the ends of windows; in between it is linear.
//! It is kept as far back as requests are unsettled, and grows coarser where that is long: the phases of a request
//! that is told at its end lie where they will.

use std::collections::VecDeque;

/// With more knots than this, every other one at the end of a window goes: eight seconds at full rate.
const MANY: usize = 8192;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Knot {
    t: u64,
    sum: u64,
    /// At a boundary.
    firm: bool,
}

/// A sum that grows with time.
#[derive(Debug, Default)]
pub(crate) struct Curve {
    knots: VecDeque<Knot>,
    sum: u64,
    /// Knots left by the last thinning.
    thinned: usize,
}

impl Curve {
    /// Nothing that is not settled.
    pub(crate) fn is_empty(&self) -> bool {
        self.knots.is_empty()
    }

    /// A window begins: before it nothing is known.
    pub(crate) fn begin(&mut self, t: u64) {
        if self.knots.back().is_none_or(|last| last.t < t) {
            self.knots.push_back(Knot { t, sum: self.sum, firm: true });
        }
    }

    /// So much was laid out up to this instant, at a boundary.
    pub(crate) fn cut(&mut self, t: u64, energy: u64) {
        self.sum = self.sum.saturating_add(energy);
        self.knots.push_back(Knot { t, sum: self.sum, firm: true });
    }

    /// So much up to the end of a window.
    pub(crate) fn end(&mut self, t: u64, energy: u64) {
        self.sum = self.sum.saturating_add(energy);
        self.knots.push_back(Knot { t, sum: self.sum, firm: false });
        if self.knots.len() >= MANY.max(2 * self.thinned) {
            let mut odd = false;
            self.knots.retain(|knot| {
                odd ^= !knot.firm;
                knot.firm || odd
            });
            self.thinned = self.knots.len();
        }
    }

    /// What had been laid out by an instant. Where several knots lie at it, the last of them.
    pub(crate) fn at(&self, t: u64) -> u64 {
        let after = self.knots.partition_point(|knot| knot.t <= t);
        let before = after.checked_sub(1).and_then(|i| self.knots.get(i));
        match (before, self.knots.get(after)) {
            (Some(a), Some(b)) => {
                let (step, part) = (b.sum - a.sum, t - a.t);
                // At most `step`.
                a.sum + (u128::from(step) * u128::from(part) / u128::from(b.t - a.t)) as u64
            }
            (Some(last), None) => last.sum,
            (None, Some(first)) => first.sum,
            (None, None) => self.sum,
        }
    }

    /// Everything laid out so far.
    pub(crate) fn total(&self) -> u64 {
        self.sum
    }

    /// Nothing before that instant is asked for any more.
    pub(crate) fn forget(&mut self, before: u64) {
        while self.knots.get(1).is_some_and(|next| next.t <= before) {
            self.knots.pop_front();
        }
    }

    /// Nothing so far is asked for any more.
    pub(crate) fn clear(&mut self) {
        self.knots.clear();
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.knots.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_linear_between_knots_and_exact_at_them() {
        let mut curve = Curve::default();
        curve.begin(100);
        curve.cut(150, 10);
        curve.end(200, 30);
        assert_eq!(
            [0, 100, 125, 150, 175, 200, 900].map(|t| curve.at(t)),
            [0, 0, 5, 10, 25, 40, 40]
        );
    }

    #[test]
    fn two_boundaries_at_one_instant_are_two_steps_of_nothing() {
        let mut curve = Curve::default();
        curve.begin(0);
        curve.cut(50, 5);
        curve.cut(50, 0);
        curve.end(100, 5);
        assert_eq!((curve.at(49), curve.at(50), curve.at(100)), (4, 5, 10));
    }

    #[test]
    fn a_long_one_grows_coarser_and_keeps_its_boundaries() {
        let mut curve = Curve::default();
        curve.begin(0);
        curve.cut(500_000, 7);
        for ms in 1..=600_000 {
            curve.end(ms * 1_000_000, 1_000);
        }
        assert!(curve.len() < 2 * MANY, "{}", curve.len());
        assert_eq!((curve.at(500_000), curve.at(300_000_000_000)), (7, 300_000_007));
        assert_eq!(curve.total(), 600_000_007);
        curve.forget(599_000_000_000);
        assert!(curve.len() < MANY / 8);
        assert_eq!(curve.at(599_500_000_000), 599_500_007);
        curve.clear();
        assert!(curve.is_empty());
        assert_eq!(curve.at(7), 600_000_007);
    }
}

//! What a window's energy is shared by: the weights that came with its samples, else the clocks.

use crate::book::Anomalies;
use crate::sample::Weights;

/// A domain's weights from sample to sample; the last place is nobody's.
#[derive(Debug, Default)]
pub(crate) struct Weighing {
    from: Option<Vec<u64>>,
    used: Vec<u64>,
    /// Both ends of the window had weights.
    whole: bool,
    /// Weights have come; and had come by the window's begin.
    known: (bool, bool),
    /// They were measured at both ends.
    measured: (bool, bool),
}

/// How a window is shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// By the clocks: there are no weights.
    Clocks,
    /// By the clocks, though there are weights: none of them moved while somebody was on CPU, or they did not come.
    ClocksForWant,
    /// By the weights.
    Weights,
}

impl Weighing {
    /// Goes on to the next sample. A weight that went backwards stands still until it has caught up.
    pub(crate) fn advance(&mut self, now: Option<&Weights<'_>>, seen: &mut Anomalies) {
        self.known = (now.is_some() || self.known.0, self.known.0);
        let Some(now) = now else {
            (self.from, self.whole) = (None, false);
            return;
        };
        self.measured = (self.measured.1, now.measured);
        let each = || now.consumers.iter().copied().chain([now.nobody]);
        let Some(from) = &mut self.from else {
            (self.from, self.whole) = (Some(each().collect()), false);
            return;
        };
        self.used.clear();
        for (from, now) in from.iter_mut().zip(each()) {
            seen.clocks_backwards += u64::from(now < *from);
            self.used.push(now.saturating_sub(*from));
            *from = now.max(*from);
        }
        self.whole = true;
    }

    /// How a window is shared in which the clocks have run that far.
    pub(crate) fn by(&self, clocks: &[u64]) -> By {
        let moved = |of: &[u64]| of.iter().any(|used| *used > 0);
        match (self.whole, self.whole && moved(&self.used)) {
            (_, true) => By::Weights,
            (whole, false) if (whole || self.known.1) && moved(clocks) => By::ClocksForWant,
            _ => By::Clocks,
        }
    }

    /// Whether weights that the window is shared by follow from energy counters.
    pub(crate) fn measured(&self) -> bool {
        self.measured == (true, true)
    }

    /// The weights in the window, nobody's last.
    pub(crate) fn used(&self) -> &[u64] {
        &self.used
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn advance(weighing: &mut Weighing, consumers: &[u64], nobody: u64) -> u64 {
        let mut seen = Anomalies::default();
        weighing.advance(Some(&Weights { consumers, nobody, measured: nobody > 3 }), &mut seen);
        seen.clocks_backwards
    }

    #[test]
    fn a_window_has_weights_when_both_its_ends_have() {
        let mut weighing = Weighing::default();
        assert_eq!(advance(&mut weighing, &[5, 7], 1), 0);
        assert_eq!(weighing.by(&[1, 1]), By::Clocks, "a baseline");
        advance(&mut weighing, &[6, 7], 4);
        assert_eq!((weighing.by(&[1, 1]), weighing.used()), (By::Weights, [1, 0, 3].as_slice()));
        assert!(!weighing.measured(), "at its end only");
        advance(&mut weighing, &[6, 8], 5);
        assert!(weighing.measured());
        weighing.advance(None, &mut Anomalies::default());
        assert_eq!(weighing.by(&[1, 1]), By::ClocksForWant);
        assert_eq!(weighing.by(&[0, 0]), By::Clocks, "nobody was on CPU");
        advance(&mut weighing, &[9, 9], 9);
        assert_eq!(weighing.by(&[1, 1]), By::ClocksForWant, "a baseline again");
        advance(&mut weighing, &[9, 10], 9);
        assert_eq!(weighing.by(&[1, 1]), By::Weights);
    }

    #[test]
    fn where_weights_have_never_come_none_are_missed() {
        let mut weighing = Weighing::default();
        for _ in 0..3 {
            weighing.advance(None, &mut Anomalies::default());
            assert_eq!(weighing.by(&[1, 1]), By::Clocks);
        }
        advance(&mut weighing, &[9, 9], 9);
        assert_eq!(weighing.by(&[1, 1]), By::Clocks, "the first");
    }

    #[test]
    fn weights_that_stand_still_leave_a_busy_window_to_the_clocks() {
        let mut weighing = Weighing::default();
        advance(&mut weighing, &[5], 1);
        advance(&mut weighing, &[5], 1);
        assert_eq!(weighing.by(&[3]), By::ClocksForWant);
        assert_eq!(weighing.by(&[0]), By::Clocks, "nobody was on CPU");
    }

    #[test]
    fn a_weight_that_goes_backwards_stands_still_until_it_has_caught_up() {
        let mut weighing = Weighing::default();
        advance(&mut weighing, &[10], 0);
        assert_eq!(advance(&mut weighing, &[4], 1), 1);
        assert_eq!(weighing.used(), [0, 1]);
        advance(&mut weighing, &[11], 1);
        assert_eq!(weighing.used(), [1, 0]);
    }
}

//! How often a counter moves, from looking at it often for a short time.
//!
//! Knows no GPU: instants and counts come in.

/// A move is known well enough if the two looks around it are this close, ns.
const SHARP_NS: u64 = 5_000_000;
/// So many moves say enough.
const ENOUGH: usize = 10;

/// One counter under observation.
#[derive(Clone, Debug, Default)]
pub(super) struct Watch {
    last: Option<(u64, u64)>,
    /// For each move, the last look before it and the first after it.
    moves: Vec<(u64, u64)>,
}

/// What was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// It did not move.
    Still,
    /// It moved once: its period is longer than half of the time.
    Once,
    /// The longest time between two moves, ns.
    Every(u64),
}

impl Watch {
    /// A look at an instant.
    pub(super) fn look(&mut self, t: u64, count: u64) {
        if let Some((before, was)) = self.last
            && was != count
        {
            self.moves.push((before, t));
        }
        self.last = Some((t, count));
    }

    /// Whether nothing more is to be learned.
    pub(super) fn is_enough(&self) -> bool {
        self.moves.len() > ENOUGH
    }

    /// What was seen.
    pub(super) fn seen(&self) -> Seen {
        let sharp = |(before, after): &(u64, u64)| after - before <= SHARP_NS;
        let middle = |(before, after): &(u64, u64)| u64::midpoint(*before, *after);
        let pairs = || self.moves.iter().zip(self.moves.iter().skip(1));
        let longest = |sharp_only: bool| {
            let good = pairs().filter(|(a, b)| !sharp_only || (sharp(a) && sharp(b)));
            good.map(|(a, b)| middle(b) - middle(a)).max()
        };
        // Where the looks themselves were late, better a rough answer than none.
        match (longest(true).or_else(|| longest(false)), self.moves.len()) {
            (Some(period), _) => Seen::Every(period),
            (None, 0) => Seen::Still,
            (None, _) => Seen::Once,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    /// Looks every `step` ms at a counter that moves every `period` ms.
    fn watched(step: u64, period: u64) -> Watch {
        let mut watch = Watch::default();
        for t in (0..700).step_by(usize::try_from(step).unwrap()) {
            watch.look(t * MS, t / period);
        }
        watch
    }

    #[test]
    fn the_period_is_the_longest_time_between_two_moves() {
        assert_eq!(watched(1, 50).seen(), Seen::Every(50 * MS));
        assert_eq!(watched(3, 20).seen(), Seen::Every(21 * MS), "to the step of looking");
        assert!(watched(1, 50).is_enough());
        assert!(!watched(1, 100).is_enough());
    }

    #[test]
    fn looks_that_came_late_do_not_make_the_period_longer() {
        let mut watch = Watch::default();
        for t in (0..400).filter(|t| !(140..190).contains(t)) {
            watch.look(t * MS, t / 50);
        }
        assert_eq!(watch.seen(), Seen::Every(50 * MS));
    }

    #[test]
    fn a_counter_that_hardly_moves_is_told_from_one_that_stands_still() {
        assert_eq!(watched(1, 500).seen(), Seen::Once);
        assert_eq!(watched(1, 5000).seen(), Seen::Still);
        assert_eq!(Watch::default().seen(), Seen::Still);
    }
}

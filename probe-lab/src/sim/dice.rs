//! Random numbers with the shapes that a machine has.

use crate::rng::Rng;

/// A seeded source of instants and choices.
#[derive(Clone, Debug)]
pub(super) struct Dice(Rng);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(Rng::new(seed))
    }

    pub(super) fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Uniform in `[0, 1)`, 53 bits.
    pub(super) fn unit(&mut self) -> f64 {
        // 53 bits fit an f64 exactly.
        (self.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    pub(super) fn chance(&mut self, probability: f64) -> bool {
        probability > 0.0 && self.unit() < probability
    }

    /// Uniform in `low..=high`; `low` when they are the wrong way round.
    pub(super) fn between(&mut self, low: u64, high: u64) -> u64 {
        let span = high.saturating_sub(low);
        low + self.next_u64() % span.saturating_add(1).max(1)
    }

    /// Exponential: times between things that know nothing of each other.
    pub(super) fn wait(&mut self, mean: u64) -> u64 {
        (-(1.0 - self.unit()).ln() * mean as f64) as u64
    }

    /// Around `mean`, uniform within ± `spread` of it.
    pub(super) fn around(&mut self, mean: u64, spread: f64) -> u64 {
        let factor = 1.0 + spread * (2.0 * self.unit() - 1.0);
        (mean as f64 * factor).round().max(0.0) as u64
    }
}

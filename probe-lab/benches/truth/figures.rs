//! Quantiles, and whether the truth lies in the bar.

/// Errors of a method in one cell, said / true - 1, and of a ledger how often the truth lies in its bar.
#[derive(Clone, Debug, Default)]
pub(crate) struct Figures {
    off: Vec<f32>,
    /// Truths inside the bar, and bars.
    inside: (usize, usize),
}

impl Figures {
    /// What cost nothing has no relative error.
    pub(crate) fn add(&mut self, said: f64, truth: f64) {
        if truth > 0.0 {
            self.off.push((said / truth - 1.0) as f32);
        }
    }

    pub(crate) fn bar(&mut self, low: f64, truth: f64, high: f64) {
        self.inside.0 += usize::from((low..=high).contains(&truth));
        self.inside.1 += 1;
    }

    pub(crate) fn extend(&mut self, other: &Self) {
        self.off.extend(&other.off);
        self.inside.0 += other.inside.0;
        self.inside.1 += other.inside.1;
    }

    pub(crate) fn count(&self) -> usize {
        self.off.len()
    }

    /// The smallest errors that such parts of them do not exceed; not a number where there are none.
    pub(crate) fn quantiles<const N: usize>(&self, parts: [f64; N]) -> [f64; N] {
        quantiles(self.off.iter().map(|off| off.abs()).collect(), parts)
    }

    pub(crate) fn median(&self) -> f64 {
        self.quantiles([0.5])[0]
    }

    /// Median of said over true, less one: which way it errs.
    pub(crate) fn bias(&self) -> f64 {
        quantiles(self.off.clone(), [0.5])[0]
    }

    /// Part of the bars that hold the truth.
    pub(crate) fn coverage(&self) -> Option<f64> {
        (self.inside.1 > 0).then(|| self.inside.0 as f64 / self.inside.1 as f64)
    }
}

/// The smallest values that such parts of them do not exceed.
pub(crate) fn quantiles<const N: usize>(mut values: Vec<f32>, parts: [f64; N]) -> [f64; N] {
    values.sort_unstable_by(f32::total_cmp);
    parts.map(|part| {
        let rank = (part * values.len() as f64).ceil() as usize;
        values.get(rank.max(1) - 1).map_or(f64::NAN, |value| f64::from(*value))
    })
}

/// The worst of some values; not a number, which no bound holds of, where there are none or one of them is none.
pub(crate) fn worst(values: impl Iterator<Item = f64>, of: fn(f64, f64) -> f64) -> f64 {
    let either = |a: f64, b: f64| if a.is_nan() || b.is_nan() { f64::NAN } else { of(a, b) };
    values.reduce(either).filter(|worst| worst.is_finite()).unwrap_or(f64::NAN)
}

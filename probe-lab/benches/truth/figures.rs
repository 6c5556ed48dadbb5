//! Quantiles, and whether the truth lies in the bar.

/// Errors of a method in one cell, |said - true| / true, and of a ledger how often the truth lies in its bar.
#[derive(Clone, Debug, Default)]
pub(crate) struct Figures {
    errors: Vec<f64>,
    said_over_true: Vec<f64>,
    /// Truths inside the bar, and bars.
    inside: (usize, usize),
}

impl Figures {
    pub(crate) fn add(&mut self, said: f64, truth: f64) {
        self.errors.push((said - truth).abs() / truth);
        self.said_over_true.push(said / truth);
    }

    pub(crate) fn bar(&mut self, low: f64, truth: f64, high: f64) {
        self.inside.0 += usize::from((low..=high).contains(&truth));
        self.inside.1 += 1;
    }

    pub(crate) fn extend(&mut self, other: Self) {
        self.errors.extend(other.errors);
        self.said_over_true.extend(other.said_over_true);
        self.inside.0 += other.inside.0;
        self.inside.1 += other.inside.1;
    }

    pub(crate) fn count(&self) -> usize {
        self.errors.len()
    }

    /// The smallest error that so large a part of them does not exceed.
    pub(crate) fn quantile(&self, part: f64) -> f64 {
        quantile(&self.errors, part)
    }

    /// Median of said over true, less one: which way it errs.
    pub(crate) fn bias(&self) -> f64 {
        quantile(&self.said_over_true, 0.5) - 1.0
    }

    /// Part of the bars that hold the truth.
    pub(crate) fn coverage(&self) -> Option<f64> {
        (self.inside.1 > 0).then(|| self.inside.0 as f64 / self.inside.1 as f64)
    }
}

fn quantile(values: &[f64], part: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let rank = (part * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied().unwrap_or(f64::NAN)
}

//! What a target's work costs, learned from its own history: joules for a prompt token, for a generated token, and for a
//! generated token by the context that it reads, none of them negative.
//!
//! Every interval whose work is known gives an equation, weighed by its length, since what is uncertain of it (the sensor's
//! period at both ends) is the same for all. Only their sums are kept, so memory does not grow; old ones fade,
//! since a server's load and its clock frequency change.

use ndarray::{Array1, Array2};

use crate::work::Amounts;

/// Coefficients.
pub(crate) const N: usize = 3;
/// Intervals before the first fit, and between two fits.
const ENOUGH: u64 = 24;
const AGAIN: u64 = 8;
/// What an interval still counts for after one more: half after some 1,400.
const FADE: f64 = 0.9995;
/// Intervals shorter than this say more of the sensor than of the work.
const SHORTEST_NS: u64 = 5_000_000;

/// The fit of one target.
#[derive(Debug, Default)]
pub(crate) struct Fit {
    /// Σ wXXᵀ and Σ wXy.
    squares: [[f64; N]; N],
    products: [f64; N],
    rows: u64,
    fitted: Option<[f64; N]>,
    due: u64,
}

impl Fit {
    /// Learns from an interval in which all that was done is known.
    pub(crate) fn learn(&mut self, amounts: &Amounts, joules: f64, ns: u64) {
        let x = amounts.features();
        if ns < SHORTEST_NS || x.iter().all(|x| *x == 0.0) || joules <= 0.0 {
            return;
        }
        // Rows are divided by their length, so that each is a mean power, and then weighed by it.
        let weight = 1.0 / ns as f64;
        for (i, xi) in x.iter().enumerate() {
            for (j, xj) in x.iter().enumerate() {
                self.squares[i][j] = self.squares[i][j] * FADE + weight * xi * xj;
            }
            self.products[i] = self.products[i] * FADE + weight * xi * joules;
        }
        self.rows += 1;
        if self.rows >= ENOUGH.max(self.due) {
            self.due = self.rows + AGAIN;
            self.fitted = self.solve();
        }
    }

    /// The coefficients; `None` before there is enough to learn from.
    pub(crate) fn coefficients(&self) -> Option<[f64; N]> {
        self.fitted
    }

    /// Non-negative least squares on the triangle of the normal equations' Cholesky factor, which has the same solution as
    /// all rows, columns scaled to length 1.
    fn solve(&self) -> Option<[f64; N]> {
        let scale: [f64; N] = std::array::from_fn(|i| self.squares[i][i].sqrt());
        let used: Vec<usize> = (0..N).filter(|i| scale[*i] > 0.0).collect();
        let n = used.len();
        if n == 0 {
            return None;
        }
        let mut upper = Array2::<f64>::zeros((n, n));
        let mut right = Array1::<f64>::zeros(n);
        for (row, i) in used.iter().enumerate() {
            let square = |j: usize| self.squares[*i][j] / (scale[*i] * scale[j]);
            let above = |upper: &Array2<f64>, col: usize| {
                (0..row).map(|k| upper[(k, row)] * upper[(k, col)]).sum::<f64>()
            };
            let pivot = square(*i) - above(&upper, row);
            // Columns that say the same as those before them: a hair more than nothing keeps the factor regular.
            let pivot = pivot.max(1e-9).sqrt();
            upper[(row, row)] = pivot;
            for (col, j) in used.iter().enumerate().skip(row + 1) {
                upper[(row, col)] = (square(*j) - above(&upper, col)) / pivot;
            }
            let known: f64 = (0..row).map(|k| upper[(k, row)] * right[k]).sum();
            right[row] = (self.products[*i] / scale[*i] - known) / pivot;
        }
        let (solution, _) = nnls::nnls(upper.view(), right.view());
        let mut found = [0.0; N];
        for (place, i) in used.iter().enumerate() {
            found[*i] = solution[place] / scale[*i];
        }
        let sound = found.iter().all(|x| x.is_finite()) && found.iter().any(|x| *x > 0.0);
        sound.then_some(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(i: u64) -> Amounts {
        // Three kinds of work in changing proportions.
        let (a, b) = ((i % 7) as f64, (i % 5) as f64);
        Amounts { prefill: 10.0 * a, decode: 3.0 + b, reading: (3.0 + b) * (100.0 + 40.0 * a) }
    }

    fn learned(joules: impl Fn(&Amounts) -> f64) -> Option<[f64; N]> {
        let mut fit = Fit::default();
        for i in 0..200 {
            let amounts = row(i);
            fit.learn(&amounts, joules(&amounts), 50_000_000);
        }
        fit.coefficients()
    }

    #[test]
    fn known_coefficients_are_found() {
        let found = learned(|x| 0.002 * x.prefill + 0.05 * x.decode + 1e-5 * x.reading).unwrap();
        for (found, known) in found.iter().zip([0.002, 0.05, 1e-5]) {
            assert!((found / known - 1.0).abs() < 1e-3, "{found} for {known}");
        }
    }

    #[test]
    fn none_is_negative_whatever_the_history_says() {
        let found = learned(|x| (1.0 - 0.01 * x.prefill).max(0.01)).unwrap();
        assert!(found.iter().all(|x| *x >= 0.0), "{found:?}");
    }

    #[test]
    fn a_few_intervals_or_short_ones_are_no_history() {
        let mut fit = Fit::default();
        for i in 0..ENOUGH - 1 {
            fit.learn(&row(i), 1.0, 50_000_000);
            fit.learn(&row(i), 1.0, SHORTEST_NS - 1);
            fit.learn(&Amounts::default(), 1.0, 50_000_000);
        }
        assert_eq!(fit.coefficients(), None);
        fit.learn(&row(1), 1.0, 50_000_000);
        assert!(fit.coefficients().is_some());
    }

    #[test]
    fn a_kind_of_work_that_never_came_has_no_price() {
        let mut fit = Fit::default();
        for i in 0..100 {
            let amounts = Amounts { prefill: 0.0, decode: 1.0 + (i % 3) as f64, reading: 0.0 };
            fit.learn(&amounts, amounts.decode * 0.1, 50_000_000);
        }
        let found = fit.coefficients().unwrap();
        assert!((found[1] - 0.1).abs() < 1e-9 && found[0] == 0.0 && found[2] == 0.0, "{found:?}");
    }
}

//! What a target's work costs, learned from its own history: joules for a prompt token, for a generated token, and for a
//! generated token by the context that it reads, none of them negative.
//!
//! Every interval whose work is known gives an equation, weighed by its length, since what is uncertain of it (the sensor's
//! period at both ends) is the same for all. Only their sums are kept, so memory does not grow; old ones fade,
//! since a server's load and its clock frequency change.

use ndarray::{Array1, Array2};

/// Coefficients.
pub(crate) const N: usize = 4;
/// Intervals before the first fit, and between two fits.
const ENOUGH: u64 = 8;
const AGAIN: u64 = 4;
/// What an interval still counts for after one more: half after some 1,400.
const FADE: f64 = 0.9995;

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
    pub(crate) fn learn(&mut self, x: [f64; N], joules: f64) {
        if x.iter().all(|x| *x <= 0.0) || joules <= 0.0 {
            return;
        }
        let weight = 1.0 / (joules * joules);
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

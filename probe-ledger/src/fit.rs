//! What a target's work costs, learned from its own history by least squares, no price negative; and how well that
//! tells what it has not seen yet.
//!
//! Every request that is over gives an equation (see [`crate::steps`]). All count alike relative to their energy. Only their
//! sums are kept, so memory does not grow; old ones fade, since a server's load and its clock frequency change.

use nalgebra::{Cholesky, DMatrix, DVector};

use crate::steps::{N, Prices};

/// Equations before the first fit: twice the unknowns.
const ENOUGH: u64 = 8;
/// Equations between two fits.
const AGAIN: u64 = 4;
/// What an equation still counts for after one more: half after some 1,400.
const FADE: f64 = 0.9995;
/// Of the last so many equations it is known how far off they were foretold.
const RECENT: f64 = 32.0;
/// Added to a column's length of 1, so that two that say the same have a solution.
const HAIR: f64 = 1e-9;

/// The fit of one target.
#[derive(Debug, Default)]
pub(crate) struct Fit {
    /// Σ wXXᵀ and Σ wXy.
    squares: [[f64; N]; N],
    products: Prices,
    rows: u64,
    due: u64,
    prices: Option<Prices>,
    /// Mean square of the relative error of what was foretold, and of how many.
    missed: f64,
    foretold: f64,
}

impl Fit {
    /// Learns what so much of everything cost.
    pub(crate) fn learn(&mut self, x: [f64; N], joules: f64) {
        let nothing = x.iter().all(|x| *x <= 0.0) || joules <= 0.0;
        if nothing || !joules.is_finite() || x.iter().any(|x| !x.is_finite() || *x < 0.0) {
            return;
        }
        if let Some(prices) = &self.prices {
            let said: f64 = x.iter().zip(prices).map(|(x, price)| x * price).sum();
            let error = said / joules - 1.0;
            self.foretold = (self.foretold + 1.0).min(RECENT);
            self.missed += (error * error - self.missed) / self.foretold;
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
            self.prices = self.solve();
        }
    }

    /// The prices; `None` before there is enough to learn from.
    pub(crate) fn prices(&self) -> Option<&Prices> {
        self.prices.as_ref()
    }

    /// How far off the last equations were foretold: root of the mean square of the relative error. `None` before any.
    pub(crate) fn error(&self) -> Option<f64> {
        (self.foretold > 0.0).then(|| self.missed.sqrt())
    }

    /// Non-negative least squares: of the least-squares solutions in every choice of unknowns, the rest being 0, the best
    /// one that is not negative. That is exact, there are no more than 15 choices, and none can fail to end.
    fn solve(&self) -> Option<Prices> {
        let scale: Prices = std::array::from_fn(|i| self.squares[i][i].sqrt());
        let used: Vec<usize> = (0..N).filter(|i| scale[*i] > 0.0).collect();
        let choices = (1u32..1 << used.len()).filter_map(|choice| {
            let chosen = used.iter().enumerate().filter(|(place, _)| choice >> place & 1 == 1);
            self.solve_for(&chosen.map(|(_, i)| *i).collect::<Vec<_>>(), &scale)
        });
        let best = choices.min_by(|(a, _), (b, _)| a.total_cmp(b));
        best.map(|(_, prices)| prices).filter(|prices| prices.iter().any(|price| *price > 0.0))
    }

    /// Least squares in these unknowns, columns scaled to length 1: the sum of squares, but for a constant, and the
    /// solution. `None` where one is negative.
    fn solve_for(&self, chosen: &[usize], scale: &Prices) -> Option<(f64, Prices)> {
        let n = chosen.len();
        let squares = DMatrix::from_fn(n, n, |row, col| {
            let (i, j) = (chosen[row], chosen[col]);
            self.squares[i][j] / (scale[i] * scale[j]) + if i == j { HAIR } else { 0.0 }
        });
        let products =
            DVector::from_fn(n, |row, _| self.products[chosen[row]] / scale[chosen[row]]);
        let solution = Cholesky::new(squares)?.solve(&products);
        if !solution.iter().all(|x| x.is_finite() && *x >= 0.0) {
            return None;
        }
        let mut prices = [0.0; N];
        for (x, i) in solution.iter().zip(chosen) {
            prices[*i] = x / scale[*i];
        }
        // At a least-squares solution xᵀSx = xᵀp, so that xᵀSx - 2xᵀp is -xᵀp.
        Some((-solution.dot(&products), prices))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Four kinds of work in changing proportions.
    fn row(i: u64) -> [f64; N] {
        let (a, b, c) = ((i % 7) as f64, (i % 5) as f64, (i % 11) as f64);
        let steps = 20.0 + 3.0 * b;
        [10.0 * a, steps, steps * (1.0 + c), steps * (1.0 + c) * (100.0 + 40.0 * a)]
    }

    fn learned(rows: u64, joules: impl Fn(&[f64; N]) -> f64) -> Fit {
        let mut fit = Fit::default();
        for i in 0..rows {
            fit.learn(row(i), joules(&row(i)));
        }
        fit
    }

    #[test]
    fn known_prices_are_found_and_the_future_is_foretold() {
        let known = [0.002, 0.5, 0.05, 1e-5];
        let cost = |x: &[f64; N]| x.iter().zip(known).map(|(x, price)| x * price).sum();
        let fit = learned(200, cost);
        for (found, known) in fit.prices().unwrap().iter().zip(known) {
            assert!((found / known - 1.0).abs() < 1e-3, "{found} for {known}");
        }
        assert!(fit.error().unwrap() < 1e-3);
    }

    #[test]
    fn how_far_off_it_is_is_known() {
        // Every other request costs a tenth more than its work, the others a tenth less.
        let mut odd = 0.9;
        let mut fit = Fit::default();
        for i in 0..400 {
            odd = 2.0 - odd;
            fit.learn(row(i), odd * row(i)[1]);
        }
        let error = fit.error().unwrap();
        assert!((0.09..0.12).contains(&error), "{error}");
    }

    #[test]
    fn none_is_negative_whatever_the_history_says() {
        let fit = learned(200, |x| (1.0 - 0.01 * x[0]).max(0.01));
        assert!(fit.prices().unwrap().iter().all(|x| *x >= 0.0), "{fit:?}");
    }

    #[test]
    fn a_few_equations_or_senseless_ones_are_no_history() {
        let mut fit = learned(ENOUGH - 1, |_| 1.0);
        for nonsense in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            fit.learn(row(0), nonsense);
            fit.learn([1.0, nonsense.min(0.0), f64::NAN, 1.0], 1.0);
        }
        fit.learn([0.0; N], 1.0);
        assert_eq!((fit.prices(), fit.error()), (None, None));
        fit.learn(row(1), 1.0);
        assert!(fit.prices().is_some());
    }

    #[test]
    fn a_kind_of_work_that_never_came_has_no_price() {
        let mut fit = Fit::default();
        for i in 0..100 {
            let steps = 1.0 + (i % 3) as f64;
            fit.learn([0.0, steps, 0.0, 0.0], steps * 0.1);
        }
        let found = fit.prices().unwrap();
        assert!((found[1] - 0.1).abs() < 1e-9, "{found:?}");
        assert_eq!([found[0], found[2], found[3]], [0.0; 3]);
    }

    #[test]
    fn two_kinds_that_always_come_together_share_a_price_that_foretells() {
        let mut fit = Fit::default();
        for i in 1..100 {
            let steps = f64::from(i);
            fit.learn([0.0, steps, steps, 0.0], 3.0 * steps);
        }
        let found = fit.prices().unwrap();
        assert!((found[1] + found[2] - 3.0).abs() < 1e-3, "{found:?}");
    }

    #[test]
    fn old_history_fades() {
        let mut fit = Fit::default();
        for i in 0..20_000 {
            let price = if i < 10_000 { 1.0 } else { 2.0 };
            fit.learn([0.0, 1.0, 0.0, 0.0], price);
        }
        assert!((fit.prices().unwrap()[1] - 2.0).abs() < 0.05, "{fit:?}");
    }
}

//! Non-negative least squares in few unknowns, from sums over the equations: memory does not grow with them.

use nalgebra::{Cholesky, DMatrix, DVector};

use crate::steps::{N, Prices};

/// Added to a column's length of 1, so that two that say the same have a solution.
const HAIR: f64 = 1e-9;

/// Σ wxxᵀ and Σ wxy over equations xᵀp = y.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sums {
    squares: [[f64; N]; N],
    products: Prices,
}

impl Sums {
    /// Adds an equation, both of its sides divided by `size`.
    pub(crate) fn add(&mut self, x: &[f64; N], y: f64, size: f64) {
        let x = x.map(|x| x / size);
        for (i, xi) in x.iter().enumerate() {
            for (j, xj) in x.iter().enumerate() {
                self.squares[i][j] += xi * xj;
            }
            self.products[i] += xi * (y / size);
        }
    }

    /// All of it counts for so much of what it did.
    pub(crate) fn fade(&mut self, factor: f64) {
        self.squares.as_flattened_mut().iter_mut().for_each(|sum| *sum *= factor);
        self.products.iter_mut().for_each(|sum| *sum *= factor);
    }

    /// The sums over the equations of both.
    pub(crate) fn with(mut self, other: &Self) -> Self {
        let squares = self.squares.as_flattened_mut().iter_mut();
        squares.zip(other.squares.as_flattened()).for_each(|(sum, more)| *sum += more);
        self.products.iter_mut().zip(&other.products).for_each(|(sum, more)| *sum += more);
        self
    }

    /// Of the least-squares solutions in every choice of unknowns, the rest being 0, the best one that is not negative. That is
    /// exact, there are no more than 15 choices, and none can fail to end. `None`: everything is 0.
    pub(crate) fn solve(&self) -> Option<Prices> {
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

    #[test]
    fn a_price_that_would_be_negative_is_0_and_the_others_are_the_best_without_it() {
        let mut sums = Sums::default();
        // 3 a - b, of which b can be no less than 0.
        sums.add(&[1.0, 1.0, 0.0, 0.0], 2.0, 1.0);
        sums.add(&[1.0, 0.0, 0.0, 0.0], 3.0, 1.0);
        let prices = sums.solve().unwrap();
        assert!((prices[0] - 2.5).abs() < 1e-6 && prices[1] == 0.0, "{prices:?}");
        assert_eq!(Sums::default().solve(), None);
    }
}

//! What a target's work costs, learned from its own history by least squares, no price negative; and how well that
//! tells what it has not seen yet.
//!
//! Every request that is over gives equations (see [`crate::steps`]). All count alike relative to their energy, or to what was
//! foretold if that is more: one that cost next to nothing (its prompt was in a cache, and nobody said so) would else
//! outweigh all others. One that is off by more than [`FACTOR`] counts for the square of that less, so that it settles only what
//! the others leave open. Old ones fade, since a server's load and its clock frequency change. Where so many of a
//! kind as make a fit are odd, one after the other, the past was wrong or is over, and they take its place.
//!
//! Equations that come at one instant are learned together, whatever their order.

use crate::least_squares::Sums;
use crate::steps::{Equation, Prices};

/// Equations before the first fit: twice the unknowns.
const ENOUGH: u64 = 8;
/// Equations between two fits.
const AGAIN: u64 = 4;
/// What an equation still counts for after one more: half after some 1,400.
const FADE: f64 = 0.9995;
/// Of the last so many equations it is known how far off they were foretold.
const RECENT: f64 = 32.0;
/// An equation that was foretold to cost more or less by so much is odd.
const FACTOR: f64 = 4.0;
/// By how much an equation is taken as off at most: by all of it.
const MOST: f64 = 1.0;

/// The fit of one target.
#[derive(Debug, Default)]
pub(crate) struct Fit {
    /// Of prompts that were read, and of decodes: they come in turns.
    kinds: [History; 2],
    rows: u64,
    due: u64,
    prices: Option<Prices>,
    /// Mean square of the relative error of what was foretold, and of how many.
    missed: f64,
    foretold: f64,
}

/// What was known of prices at an instant.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Tariff {
    pub(crate) prices: Option<Prices>,
    /// How far off the last equations were foretold: root of the mean square of the relative error. `None` before any.
    pub(crate) error: Option<f64>,
}

/// Equations of a kind.
#[derive(Debug, Default)]
struct History {
    all: Sums,
    /// The last ones, as long as all of them are odd, and how many they are.
    odd: Sums,
    odds: u64,
}

impl History {
    /// Adds one. Whether it was odd.
    fn add(&mut self, (x, joules): &Equation, said: Option<f64>) -> bool {
        let odd = said.is_some_and(|said| !(FACTOR.recip()..=FACTOR).contains(&(said / joules)));
        let size = joules.max(said.unwrap_or(0.0));
        self.all.add(x, *joules, if odd { size * FACTOR } else { size });
        self.odd.add(x, *joules, *joules);
        self.odds += 1;
        odd
    }

    /// After some, of which all were odd or not: whether the past has made room.
    fn turn(&mut self, odd: bool) -> bool {
        let turns = odd && self.odds >= ENOUGH;
        if turns {
            self.all = self.odd;
        }
        if turns || !odd {
            (self.odd, self.odds) = (Sums::default(), 0);
        }
        turns
    }
}

impl Fit {
    /// Learns what each of these cost.
    pub(crate) fn learn(&mut self, equations: &[Equation]) {
        let count = equations.iter().filter(|equation| sound(equation)).count();
        if count == 0 {
            return;
        }
        let faded = (0..count).fold(1.0, |left, _| left * FADE);
        let mut missed = 0.0;
        let mut turned = false;
        for (kind, history) in self.kinds.iter_mut().enumerate() {
            history.all.fade(faded);
            let mut odd = true;
            for equation in equations.iter().filter(|e| sound(e) && kind_of(e) == kind) {
                let said = self.prices.as_ref().map(|prices| foretell(prices, equation));
                odd &= history.add(equation, said);
                let off = said.map_or(0.0, |said| (said / equation.1 - 1.0).clamp(-MOST, MOST));
                missed += off * off;
            }
            turned |= history.turn(odd);
        }
        if self.prices.is_some() {
            let count = count as f64;
            self.foretold = (self.foretold + count).min(RECENT);
            self.missed += (missed / count - self.missed) * (count / self.foretold).min(1.0);
        }
        self.rows += count as u64;
        if turned || self.rows >= ENOUGH.max(self.due) {
            self.due = self.rows + AGAIN;
            let [prompts, decodes] = &self.kinds;
            self.prices = prompts.all.with(&decodes.all).solve();
        }
    }

    /// The prices; `None` before there is enough to learn from.
    pub(crate) fn prices(&self) -> Option<&Prices> {
        self.prices.as_ref()
    }

    /// What is known now.
    pub(crate) fn tariff(&self) -> Tariff {
        let error = (self.foretold > 0.0).then(|| self.missed.sqrt());
        Tariff { prices: self.prices, error }
    }
}

fn foretell(prices: &Prices, (x, _): &Equation) -> f64 {
    x.iter().zip(prices).map(|(x, price)| x * price).sum()
}

/// 0: a prompt that was read; 1: a decode.
fn kind_of(([_, _, decoding, _], _): &Equation) -> usize {
    usize::from(*decoding > 0.0)
}

/// Whether it says anything.
fn sound((x, joules): &Equation) -> bool {
    let can_be = |x: &f64| x.is_finite() && *x >= 0.0;
    *joules > 0.0 && joules.is_finite() && x.iter().all(can_be) && x.iter().any(|x| *x > 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::steps::N;

    /// Four kinds of work in changing proportions.
    fn row(i: u64) -> [f64; N] {
        let (a, b, c) = ((i % 7) as f64, (i % 5) as f64, (i % 11) as f64);
        let steps = 20.0 + 3.0 * b;
        [10.0 * a, steps, steps * (1.0 + c), steps * (1.0 + c) * (100.0 + 40.0 * a)]
    }

    const KNOWN: Prices = [0.002, 0.5, 0.05, 1e-5];

    fn cost(x: &[f64; N]) -> f64 {
        x.iter().zip(KNOWN).map(|(x, price)| x * price).sum()
    }

    fn learned(rows: u64, joules: impl Fn(&[f64; N]) -> f64) -> Fit {
        let mut fit = Fit::default();
        for i in 0..rows {
            fit.learn(&[(row(i), joules(&row(i)))]);
        }
        fit
    }

    #[test]
    fn known_prices_are_found_and_the_future_is_foretold() {
        let fit = learned(200, cost);
        for (found, known) in fit.prices().unwrap().iter().zip(KNOWN) {
            assert!((found / known - 1.0).abs() < 1e-3, "{found} for {known}");
        }
        assert!(fit.tariff().error.unwrap() < 1e-3);
    }

    #[test]
    fn how_far_off_it_is_is_known() {
        // Every other request costs a tenth more than its work, the others a tenth less.
        let mut odd = 0.9;
        let mut fit = Fit::default();
        for i in 0..400 {
            odd = 2.0 - odd;
            fit.learn(&[(row(i), odd * row(i)[1])]);
        }
        let error = fit.tariff().error.unwrap();
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
            fit.learn(&[(row(0), nonsense), ([1.0, nonsense.min(0.0), f64::NAN, 1.0], 1.0)]);
        }
        fit.learn(&[([0.0; N], 1.0)]);
        assert_eq!((fit.prices(), fit.tariff().error), (None, None));
        fit.learn(&[(row(1), 1.0)]);
        assert!(fit.prices().is_some());
    }

    #[test]
    fn a_kind_of_work_that_never_came_has_no_price() {
        let mut fit = Fit::default();
        for i in 0..100 {
            let steps = 1.0 + (i % 3) as f64;
            fit.learn(&[([0.0, steps, 0.0, 0.0], steps * 0.1)]);
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
            fit.learn(&[([0.0, steps, steps, 0.0], 3.0 * steps)]);
        }
        let found = fit.prices().unwrap();
        assert!((found[1] + found[2] - 3.0).abs() < 1e-3, "{found:?}");
    }

    #[test]
    fn old_history_fades() {
        let mut fit = Fit::default();
        for i in 0..20_000 {
            let price = if i < 10_000 { 1.0 } else { 2.0 };
            fit.learn(&[([0.0, 1.0, 0.0, 0.0], price)]);
        }
        assert!((fit.prices().unwrap()[1] - 2.0).abs() < 0.05, "{fit:?}");
    }

    /// How far what ten more rows cost is off from what is foretold, at most.
    fn off(fit: &Fit, cost: impl Fn(&[f64; N]) -> f64) -> f64 {
        let prices = fit.prices().unwrap();
        let off = |i| (foretell(prices, &(row(i), 0.0)) / cost(&row(i)) - 1.0).abs();
        (0..10).map(off).fold(0.0, f64::max)
    }

    #[test]
    fn one_that_cost_next_to_nothing_moves_the_others_by_a_thousandth_and_not_by_all() {
        let mut fit = learned(200, cost);
        fit.learn(&[(row(3), cost(&row(3)) / 10_000.0)]);
        (200..204).for_each(|i| fit.learn(&[(row(i), cost(&row(i)))]));
        let moved = off(&fit, cost);
        assert!(moved < 0.002, "{moved}");
        // One of 32 was off by all of it.
        let error = fit.tariff().error.unwrap();
        assert!((0.1..0.2).contains(&error), "{error}");
    }

    #[test]
    fn a_tenth_that_cost_a_thousandth_pull_prices_down_by_one_percent_and_not_by_ten() {
        let mut fit = Fit::default();
        for i in 0..2_000 {
            let part = if i > 50 && i % 10 == 0 { 0.001 } else { 1.0 };
            fit.learn(&[(row(i), part * cost(&row(i)))]);
        }
        let moved = off(&fit, cost);
        assert!(moved < 0.02, "{moved}");
    }

    #[test]
    fn where_everything_costs_ten_times_as_much_the_past_is_left_after_eight() {
        for factor in [10.0, 0.1] {
            let mut fit = learned(1_000, cost);
            (0..8).for_each(|i| fit.learn(&[(row(i), factor * cost(&row(i)))]));
            let moved = off(&fit, |x| factor * cost(x));
            assert!(moved < 0.01, "{moved}");
        }
    }

    #[test]
    fn a_first_history_that_was_wrong_is_left_for_one_that_is_not() {
        let mut fit = Fit::default();
        fit.learn(&[([0.0, 1e7, 1e7, 1e9], 1.0)]);
        // Prompts come in between and are foretold.
        for i in 0..40 {
            let prompt = [100.0, 1.0, 0.0, 0.0];
            fit.learn(&[(prompt, cost(&prompt))]);
            fit.learn(&[(row(i), cost(&row(i)))]);
        }
        let moved = off(&fit, cost);
        assert!(moved < 0.01, "{moved}");
    }

    #[test]
    fn those_that_come_together_teach_the_same_in_any_order() {
        let (mut one, mut other) = (learned(60, cost), learned(60, cost));
        for i in 0..50 {
            let costs = [0.7, 1.3, 0.01].map(|part| (row(i), part * cost(&row(i))));
            one.learn(&costs);
            other.learn(&[costs[2], costs[0], costs[1]]);
        }
        let [a, b] = [&one, &other].map(|fit| fit.prices().unwrap());
        let close = a.iter().zip(b).all(|(a, b)| (a - b).abs() <= 1e-9 * a.abs());
        assert!(close, "{a:?} {b:?}");
        assert!((one.tariff().error.unwrap() - other.tariff().error.unwrap()).abs() < 1e-9);
    }
}

//! The arithmetic of the accuracy table, which as a benchmark has no tests of its own.

#[path = "../benches/truth/figures.rs"]
mod figures;

use figures::{Figures, worst};

/// Said 90, 110 and 140 where 100 is true, with bars of which one does not hold it.
fn three() -> Figures {
    let mut figures = Figures::default();
    for (said, low, high) in [(90.0, 80.0, 100.0), (110.0, 105.0, 115.0), (140.0, 90.0, 190.0)] {
        figures.add(said, 100.0);
        figures.bar(low, 100.0, high);
    }
    figures
}

#[test]
fn a_quantile_is_the_smallest_error_that_so_many_do_not_exceed() {
    let mut figures = three();
    let [median, p99] = figures.quantiles([0.5, 0.99]);
    assert!((median - 0.1).abs() < 1e-6 && (p99 - 0.4).abs() < 1e-6, "{median}, {p99}");
    assert!((figures.bias() - 0.1).abs() < 1e-6, "{}", figures.bias());
    assert_eq!(figures.coverage(), Some(2.0 / 3.0));
    figures.extend(&three());
    assert_eq!((figures.count(), figures.coverage()), (6, Some(2.0 / 3.0)));
}

#[test]
fn what_is_said_to_cost_nothing_is_wholly_wrong_and_what_costs_nothing_is_no_error() {
    let mut figures = Figures::default();
    figures.add(0.0, 5.0);
    figures.add(7.0, 0.0);
    assert_eq!((figures.count(), figures.median().to_bits()), (1, 1.0f64.to_bits()));
}

#[test]
fn no_bound_holds_of_what_was_not_measured() {
    assert!(Figures::default().median().is_nan() && Figures::default().coverage().is_none());
    for values in [vec![], vec![0.1, f64::NAN], vec![f64::NAN, 0.1], vec![0.1, f64::INFINITY]] {
        let worst = worst(values.iter().copied(), f64::max);
        assert!(worst.is_nan(), "{values:?}: {worst}");
        let holds = worst <= 1.0;
        assert!(!holds);
    }
    assert_eq!(worst([0.1, 0.3, 0.2].into_iter(), f64::max).to_bits(), 0.3f64.to_bits());
}

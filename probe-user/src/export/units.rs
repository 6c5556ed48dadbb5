//! Numbers for people: SI prefixes, one scale a column, `–` for what was not measured.

/// Shown where there is no value.
pub const MISSING: &str = "–";

/// Joules in a nanojoule count, for display only.
#[must_use]
pub fn joules(nanojoules: u64) -> f64 {
    nanojoules as f64 / 1e9
}

/// Seconds in a nanosecond count, for display only.
#[must_use]
pub fn seconds(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}

/// A common scale for a column of numbers, so that their decimal points align.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scale {
    exponent: i32,
    decimals: usize,
}

const PREFIXES: [(i32, &str); 7] =
    [(-9, "n"), (-6, "µ"), (-3, "m"), (0, ""), (3, "k"), (6, "M"), (9, "G")];

impl Scale {
    /// The scale at which the largest magnitude shows `digits` significant digits.
    pub fn fitting(values: impl IntoIterator<Item = f64>, digits: usize) -> Self {
        let largest = values.into_iter().filter(|v| v.is_finite()).fold(0.0, |m, v| v.abs().max(m));
        let magnitude = if largest > 0.0 { log10_floor(largest) } else { 0 };
        let exponent = (magnitude.div_euclid(3) * 3).clamp(-9, 9);
        let integer_digits = usize::try_from(magnitude - exponent).map_or(1, |n| n + 1);
        Self { exponent, decimals: digits.saturating_sub(integer_digits) }
    }

    /// `m` in `mJ`.
    #[must_use]
    pub fn prefix(&self) -> &'static str {
        PREFIXES.iter().find(|(exponent, _)| *exponent == self.exponent).map_or("", |(_, p)| p)
    }

    /// The number at this scale, without unit.
    #[must_use]
    pub fn show(&self, value: f64) -> String {
        format!("{:.*}", self.decimals, value / 10_f64.powi(self.exponent))
    }

    /// The number at this scale, or [`MISSING`].
    #[must_use]
    pub fn show_maybe(&self, value: Option<f64>) -> String {
        value.map_or_else(|| MISSING.to_owned(), |v| self.show(v))
    }
}

/// Exponent of the leading digit after rounding to four digits, so that 999.96 counts as 1000.
fn log10_floor(value: f64) -> i32 {
    let shown = format!("{value:.3e}");
    shown.rsplit('e').next().and_then(|e| e.parse().ok()).unwrap_or(0)
}

/// One number with its unit: `12.3 mJ`.
#[must_use]
pub fn si(value: f64, unit: &str) -> String {
    let scale = Scale::fitting([value], 3);
    format!("{} {}{unit}", scale.show(value), scale.prefix())
}

/// A whole number with thousands apart: `1 234 567`.
#[must_use]
pub fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut shown = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            shown.push(' ');
        }
        shown.push(digit);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_value_gets_the_prefix_that_keeps_three_digits() {
        assert_eq!(si(0.0123, "J"), "12.3 mJ");
        assert_eq!(si(1234.0, "J"), "1.23 kJ");
        assert_eq!(si(0.0, "J"), "0.00 J");
        assert_eq!(si(4.5e-8, "J"), "45.0 nJ");
        assert_eq!(si(-2.5, "J"), "-2.50 J");
    }

    #[test]
    fn rounding_up_to_a_thousand_moves_to_the_next_prefix() {
        assert_eq!(si(999.96, "J"), "1.00 kJ");
    }

    #[test]
    fn a_column_shares_one_scale_set_by_its_largest_value() {
        let scale = Scale::fitting([0.004, 12.345, 3.0], 4);
        assert_eq!(scale.prefix(), "");
        assert_eq!(scale.show(12.345), "12.35");
        assert_eq!(scale.show(0.004), "0.00");
        assert_eq!(scale.show_maybe(None), "–");
    }

    #[test]
    fn numbers_that_are_not_finite_do_not_disturb_the_scale() {
        assert_eq!(Scale::fitting([f64::NAN, f64::INFINITY, 2.0], 3), Scale::fitting([2.0], 3));
        assert_eq!(Scale::fitting([], 3).show(0.0), "0.00");
    }

    #[test]
    fn thousands_are_set_apart() {
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(1_000), "1 000");
        assert_eq!(count(12_345_678), "12 345 678");
    }
}

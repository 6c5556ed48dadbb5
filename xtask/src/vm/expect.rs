//! Judging a run: what a scenario expects of its figures.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use serde::Deserialize;

/// Figures by name, as the guest printed them.
pub(super) type Figures = BTreeMap<String, f64>;

/// One expectation of a scenario file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Expect {
    figure: String,
    of: Option<Truth>,
    #[serde(flatten)]
    bound: Bound,
    /// Replaces the bound where nothing is left to chance; without the other it is asked there alone.
    deterministic: Option<Bound>,
    /// Printed beside its truth, not judged.
    #[serde(default)]
    print: bool,
}

/// What a figure is compared with.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Truth {
    Figure(String),
    Number(f64),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
struct Bound {
    ratio_within: Option<f64>,
    ratio_at_most: Option<f64>,
    at_most: Option<f64>,
    at_least: Option<f64>,
    equals: Option<f64>,
}

/// How an expectation came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Ok,
    Failed,
    Printed,
}

/// One line of the table.
#[derive(Clone, Debug)]
pub(super) struct Judged {
    pub(super) figure: String,
    pub(super) value: Option<f64>,
    pub(super) truth: Option<f64>,
    /// `value / truth - 1`.
    pub(super) error: Option<f64>,
    pub(super) bound: String,
    pub(super) verdict: Verdict,
}

impl Expect {
    /// Refuses what says two things at once, or nothing.
    pub(super) fn check(&self) -> Result<()> {
        let bound = self.bound != Bound::default() || self.deterministic.is_some();
        let name = &self.figure;
        ensure!(!(self.print && bound), "{name}: is printed and has a bound; take one of them");
        ensure!(self.print || bound, "{name}: has no bound; give it one, or print it");
        ensure!(!self.print || self.of.is_some(), "{name}: is printed beside nothing; add `of`");
        Ok(())
    }

    /// Whether it is asked in this mode.
    pub(super) fn asked(&self, deterministic: bool) -> bool {
        deterministic || self.print || self.bound != Bound::default()
    }

    /// A figure that is missing, or not a number, fails.
    pub(super) fn judge(&self, figures: &Figures, deterministic: bool) -> Judged {
        let bound = self.deterministic.filter(|_| deterministic).unwrap_or(self.bound);
        let value = figures.get(&self.figure).copied();
        let truth = match &self.of {
            Some(Truth::Figure(name)) => figures.get(name).copied(),
            Some(Truth::Number(number)) => Some(*number),
            None => None,
        };
        let error = value.zip(truth).filter(|(_, t)| *t != 0.0).map(|(v, t)| v / t - 1.0);
        let (text, holds) = bound.hold(value, error);
        let verdict = match (self.print, holds) {
            (true, _) if value.is_some() && truth.is_some() => Verdict::Printed,
            (false, true) => Verdict::Ok,
            _ => Verdict::Failed,
        };
        Judged { figure: self.figure.clone(), value, truth, error, bound: text, verdict }
    }
}

impl Bound {
    /// In words, and whether all of it holds; a bound that says nothing holds never.
    fn hold(self, value: Option<f64>, error: Option<f64>) -> (String, bool) {
        let mut words = Vec::new();
        let mut holds = true;
        let mut say =
            |limit: Option<f64>, text: &dyn Fn(f64) -> String, ok: &dyn Fn(f64) -> bool| {
                if let Some(limit) = limit {
                    words.push(text(limit));
                    holds &= ok(limit);
                }
            };
        let is = |test: &dyn Fn(f64) -> bool| value.is_some_and(test);
        say(self.ratio_within, &|l| format!("± {:.2} %", l * 100.0), &|l| {
            error.is_some_and(|e| e.abs() <= l)
        });
        say(self.ratio_at_most, &|l| format!("≤ {:.2} %", l * 100.0), &|l| {
            error.is_some_and(|e| 1.0 + e <= l)
        });
        say(self.at_most, &|l| format!("≤ {l}"), &|l| is(&|v| v <= l));
        say(self.at_least, &|l| format!("≥ {l}"), &|l| is(&|v| v >= l));
        #[expect(clippy::float_cmp, reason = "counts and flags are exact in a double")]
        say(self.equals, &|l| format!("= {l}"), &|l| is(&|v| v == l));
        let holds = holds && !words.is_empty();
        (words.join(", "), holds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(expect: &str, deterministic: bool) -> Judged {
        let figures = [("a", 99.5), ("true", 100.0), ("zero", 0.0)];
        let figures = figures.map(|(name, value)| (name.to_owned(), value)).into();
        serde_json::from_str::<Expect>(expect).unwrap().judge(&figures, deterministic)
    }

    #[test]
    fn a_figure_is_held_against_its_truth() {
        let judged = judge(r#"{"figure": "a", "of": "true", "ratio_within": 0.01}"#, false);
        assert_eq!(judged.verdict, Verdict::Ok);
        assert!((judged.error.unwrap() + 0.005).abs() < 1e-12);
        assert_eq!(
            judge(r#"{"figure": "a", "of": 90, "ratio_within": 0.01}"#, false).verdict,
            Verdict::Failed
        );
    }

    #[test]
    fn the_deterministic_bound_replaces_the_other() {
        let text = r#"{"figure": "a", "of": "true", "ratio_within": 0.01, "deterministic": {"ratio_within": 0.002}}"#;
        assert_eq!(judge(text, false).verdict, Verdict::Ok);
        let strict = judge(text, true);
        assert_eq!((strict.verdict, strict.bound.as_str()), (Verdict::Failed, "± 0.20 %"));
    }

    #[test]
    fn a_bound_of_deterministic_mode_alone_is_asked_there_alone() {
        let asked = |text: &str, mode| serde_json::from_str::<Expect>(text).unwrap().asked(mode);
        let text = r#"{"figure": "a", "deterministic": {"at_least": 100}}"#;
        assert_eq!((asked(text, false), asked(text, true)), (false, true));
        assert_eq!(judge(text, true).verdict, Verdict::Failed);
        assert!(asked(r#"{"figure": "a", "equals": 1}"#, false));
    }

    #[test]
    fn what_is_missing_fails_whatever_the_bound() {
        for bound in [
            r#""at_most": 1"#,
            r#""at_least": 0"#,
            r#""equals": 0"#,
            r#""of": 1, "ratio_within": 9"#,
        ] {
            let judged = judge(&format!(r#"{{"figure": "none", {bound}}}"#), false);
            assert_eq!(judged.verdict, Verdict::Failed, "{bound}");
        }
        let truth = r#"{"figure": "a", "of": "none", "ratio_within": 9}"#;
        assert_eq!(judge(truth, false).verdict, Verdict::Failed);
        let nothing = r#"{"figure": "a", "of": "zero", "ratio_within": 9}"#;
        assert_eq!(judge(nothing, false).verdict, Verdict::Failed);
        assert_eq!(judge(r#"{"figure": "none", "print": true}"#, false).verdict, Verdict::Failed);
    }

    #[test]
    fn an_expectation_without_a_bound_is_no_pass() {
        assert_eq!(judge(r#"{"figure": "a"}"#, false).verdict, Verdict::Failed);
        let alone = judge(r#"{"figure": "a", "print": true}"#, false);
        assert_eq!(alone.verdict, Verdict::Failed);
        let beside = judge(r#"{"figure": "a", "of": "true", "print": true}"#, false);
        assert_eq!(beside.verdict, Verdict::Printed);
        let nothing = judge(r#"{"figure": "a", "of": "none", "print": true}"#, false);
        assert_eq!(nothing.verdict, Verdict::Failed);
    }

    #[test]
    fn what_is_printed_has_a_truth_and_no_bound() {
        let check = |text: &str| serde_json::from_str::<Expect>(text).unwrap().check();
        let said = |text: &str| check(text).unwrap_err().to_string();
        assert!(check(r#"{"figure": "a", "of": "true", "print": true}"#).is_ok());
        assert!(
            said(r#"{"figure": "a", "of": "true", "print": true, "ratio_within": 1}"#)
                .contains("and has a bound")
        );
        assert!(
            said(
                r#"{"figure": "a", "of": "true", "print": true, "deterministic": {"at_most": 1}}"#
            )
            .contains("and has")
        );
        assert!(said(r#"{"figure": "a", "print": true}"#).contains("beside nothing"));
        assert!(said(r#"{"figure": "a"}"#).contains("no bound"));
    }

    #[test]
    fn a_figure_may_be_held_to_a_part_of_its_truth() {
        let part = |l: &str| {
            judge(&format!(r#"{{"figure": "a", "of": "true", "ratio_at_most": {l}}}"#), false)
        };
        assert_eq!(part("0.996").verdict, Verdict::Ok);
        assert_eq!(part("0.99").verdict, Verdict::Failed);
    }

    #[test]
    fn limits_are_inclusive_and_counts_exact() {
        assert_eq!(
            judge(r#"{"figure": "a", "at_least": 99.5, "at_most": 99.5}"#, false).verdict,
            Verdict::Ok
        );
        assert_eq!(judge(r#"{"figure": "true", "equals": 100}"#, false).verdict, Verdict::Ok);
        assert_eq!(judge(r#"{"figure": "a", "equals": 100}"#, false).verdict, Verdict::Failed);
    }
}

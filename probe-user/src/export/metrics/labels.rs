//! Label values, and the bound on those that come from the network.
//!
//! A client chooses its path and model, so it could make as many series as it likes. Each target
//! gets so many of either and so many pairs; further ones are `other`. A name counts as known only once the server
//! answered it without an error: scanning for paths does not use up the room.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use prometheus_client::encoding::{EncodeLabel, EncodeLabelSet, LabelSetEncoder};

use super::contract::Metric;
use crate::record::RequestRecord;

/// The value of a label that was not seen.
pub const NONE: &str = "none";
/// The value of a label beyond its bound.
pub const OTHER: &str = "other";

/// Distinct paths, and distinct models, of one target.
pub const DISTINCT: usize = 64;
/// Distinct pairs of both of one target.
pub const PAIRS: usize = 256;
/// Characters of a value.
pub const LONGEST: usize = 96;

/// The labels of one series, named by the metric table.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Labels {
    names: &'static [&'static str],
    values: Vec<String>,
}

impl Labels {
    /// Values in the order of the metric's labels.
    pub fn of<const N: usize>(metric: &Metric, values: [&str; N]) -> Self {
        debug_assert_eq!(metric.labels.len(), N, "{}", metric.name);
        Self { names: metric.labels, values: values.map(str::to_owned).to_vec() }
    }

    /// The label of an exemplar: the number of the request record.
    pub(super) fn exemplar(request: u64) -> Self {
        Self { names: &["request"], values: vec![request.to_string()] }
    }
}

impl EncodeLabelSet for Labels {
    fn encode(&self, encoder: &mut LabelSetEncoder) -> fmt::Result {
        for (name, value) in self.names.iter().zip(&self.values) {
            EncodeLabel::encode(&(*name, value.as_str()), encoder.encode_label())?;
        }
        Ok(())
    }
}

/// The bounded values of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FromNetwork {
    /// `model`.
    pub model: String,
    /// `path`.
    pub path: String,
}

#[derive(Debug, Default)]
struct Seen {
    models: BTreeSet<String>,
    paths: BTreeSet<String>,
    pairs: BTreeSet<(String, String)>,
}

/// What each target has been given so far.
#[derive(Debug, Default)]
pub struct Bounds {
    targets: BTreeMap<Arc<str>, Seen>,
}

impl Bounds {
    /// The label values of a record.
    pub fn admit(&mut self, record: &RequestRecord) -> FromNetwork {
        let seen = self.targets.entry(record.target.clone()).or_default();
        let answered = record.status.is_some_and(|status| (100..400).contains(&status));
        let model = bounded(&mut seen.models, record.model.as_deref(), answered);
        let mut path = bounded(&mut seen.paths, record.path.as_deref(), answered);
        let pair = (model.clone(), path.clone());
        if !seen.pairs.contains(&pair) {
            if seen.pairs.len() < PAIRS {
                seen.pairs.insert(pair);
            } else {
                OTHER.clone_into(&mut path);
            }
        }
        FromNetwork { model, path }
    }
}

fn bounded(seen: &mut BTreeSet<String>, value: Option<&str>, answered: bool) -> String {
    let Some(value) = value else { return NONE.to_owned() };
    let clean = clean(value);
    if seen.contains(&clean) {
        return clean;
    }
    if !answered || seen.len() >= DISTINCT {
        return OTHER.to_owned();
    }
    seen.insert(clean.clone());
    clean
}

/// Letters, digits and `/._:@+~-` of the first [`LONGEST`] characters; the rest is `_`.
fn clean(value: &str) -> String {
    let fine = |c: char| c.is_ascii_alphanumeric() || "/._:@+~-".contains(c);
    value.chars().take(LONGEST).map(|c| if fine(c) { c } else { '_' }).collect()
}

/// A status code of HTTP, or [`OTHER`], or [`NONE`] when there was no answer.
#[must_use]
pub fn status(status: Option<u16>) -> String {
    match status {
        None => NONE.to_owned(),
        Some(code) if (100..600).contains(&code) => code.to_string(),
        Some(_) => OTHER.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::example;

    fn request(path: &str, model: Option<&str>, status: Option<u16>) -> RequestRecord {
        let mut record = example::record(1);
        record.path = Some(path.to_owned());
        record.model = model.map(str::to_owned);
        record.status = status;
        record
    }

    #[test]
    fn the_sixty_fifth_path_is_other_and_the_first_keep_their_names() {
        let mut bounds = Bounds::default();
        for i in 0..1000 {
            let path = bounds.admit(&request(&format!("/p{i}"), Some("m"), Some(200))).path;
            assert_eq!(path, if i < 64 { format!("/p{i}") } else { "other".into() });
        }
        assert_eq!(bounds.admit(&request("/p7", Some("m"), Some(500))).path, "/p7");
    }

    #[test]
    fn pairs_are_bounded_too() {
        let mut bounds = Bounds::default();
        let mut pairs = BTreeSet::new();
        for path in 0..100 {
            for model in 0..100 {
                let record = request(&format!("/{path}"), Some(&format!("m{model}")), Some(200));
                let labels = bounds.admit(&record);
                pairs.insert((labels.model, labels.path));
            }
        }
        assert!(pairs.len() <= PAIRS + DISTINCT + 1, "{}", pairs.len());
    }

    #[test]
    fn a_scan_for_paths_uses_up_no_room() {
        let mut bounds = Bounds::default();
        for i in 0..1000 {
            assert_eq!(bounds.admit(&request(&format!("/scan{i}"), None, Some(404))).path, "other");
        }
        assert_eq!(bounds.admit(&request("/v1/models", None, None)).path, "other");
        assert_eq!(bounds.admit(&request("/v1/models", None, Some(200))).path, "/v1/models");
    }

    #[test]
    fn hostile_values_lose_their_length_and_their_characters() {
        let mut bounds = Bounds::default();
        let hostile = format!("a\"}} b\n\u{1f4a3}{}", "x".repeat(500));
        let labels = bounds.admit(&request("/ok", Some(&hostile), Some(200)));
        assert_eq!(labels.model.len(), LONGEST);
        assert!(labels.model.starts_with("a___b__xxx"), "{}", labels.model);
    }

    #[test]
    fn what_was_not_seen_is_none() {
        let mut bounds = Bounds::default();
        assert_eq!(bounds.admit(&request("/health", None, Some(200))).model, "none");
        assert_eq!(status(None), "none");
        assert_eq!(status(Some(7)), "other");
        assert_eq!(status(Some(404)), "404");
    }

    #[test]
    fn targets_do_not_take_each_others_room() {
        let mut bounds = Bounds::default();
        for i in 0..64 {
            bounds.admit(&request(&format!("/p{i}"), None, Some(200)));
        }
        let mut record = request("/mine", None, Some(200));
        record.target = "second".into();
        assert_eq!(bounds.admit(&record).path, "/mine");
    }
}

//! dashboards/grafana/server.json, generated from the metric table.
//!
//! [`panels`] says what is asked, in terms of the table's constants, so that a query cannot name a
//! metric that does not exist; [`grafana`] says how Grafana writes it down.

pub mod grafana;
pub mod panels;

/// What to show and where it fits: one dashboard for one server.
#[must_use]
pub fn server_json() -> String {
    let mut text = format!("{:#}", grafana::dashboard(&panels::server()));
    text.push('\n');
    text
}

/// A query as a person would type it into Prometheus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Title of the panel that asks it.
    pub panel: String,
    /// PromQL with Grafana's variables filled in.
    pub expr: String,
}

/// Every query of the dashboard for one scraped instance, rates taken over `interval` (`10s`).
#[must_use]
pub fn questions(instance: &str, interval: &str) -> Vec<Question> {
    let fill = |expr: &str| {
        expr.replace("$__rate_interval", interval)
            .replace("$__range", interval)
            .replace("$instance", instance)
            .replace("$target", ".+")
    };
    let panels = panels::server();
    let questions = panels.iter().flat_map(|panel| {
        panel
            .queries
            .iter()
            .map(|query| Question { panel: panel.title.to_owned(), expr: fill(&query.expr) })
    });
    questions.collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::export::metrics::contract::{CONTRACT, Metric};

    /// Words of a query outside of quotes, and whether one opens a call or a grouping.
    fn words(expr: &str) -> Vec<String> {
        let unquoted: String = expr
            .split('"')
            .enumerate()
            .map(|(i, part)| if i % 2 == 0 { part } else { " " })
            .collect();
        let split = unquoted.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '$'));
        split
            .filter(|w| w.starts_with(|c: char| c.is_ascii_alphabetic()))
            .map(str::to_owned)
            .collect()
    }

    #[test]
    fn every_word_of_every_query_is_a_series_a_label_or_promql() {
        let mut known: BTreeSet<String> = CONTRACT.iter().flat_map(Metric::series).collect();
        known.extend(CONTRACT.iter().flat_map(|m| m.labels).map(|l| (*l).to_owned()));
        let promql =
            ["sum", "max", "min", "by", "on", "and", "rate", "increase", "histogram_quantile"];
        known.extend(promql.iter().chain(&["instance", "le"]).map(|w| (*w).to_owned()));
        let questions = questions("127.0.0.1:9847", "10s");
        assert!(questions.len() >= 25, "{}", questions.len());
        for question in questions {
            let bare = question.expr.replace("10s", "");
            let unknown: Vec<String> =
                words(&bare).into_iter().filter(|w| !known.contains(w)).collect();
            assert!(unknown.is_empty(), "{unknown:?} in {}", question.expr);
            assert!(!question.expr.contains('$'), "{}", question.expr);
        }
    }

    #[test]
    fn every_query_keeps_to_its_server() {
        for panel in panels::server() {
            for query in panel.queries {
                let selectors = query.expr.matches('{').count();
                assert_eq!(
                    selectors,
                    query.expr.matches("instance=\"$instance\"").count(),
                    "{}",
                    query.expr
                );
            }
        }
    }

    #[test]
    fn panels_fill_the_grid_without_overlap() {
        let dashboard = grafana::dashboard(&panels::server());
        let mut taken = BTreeSet::new();
        let mut ids = BTreeSet::new();
        for panel in dashboard["panels"].as_array().unwrap() {
            let at = |key: &str| panel["gridPos"][key].as_u64().unwrap();
            assert!(at("x") + at("w") <= 24);
            assert!(ids.insert(panel["id"].as_u64()));
            for x in at("x")..at("x") + at("w") {
                for y in at("y")..at("y") + at("h") {
                    assert!(taken.insert((x, y)), "{} overlaps at {x},{y}", panel["title"]);
                }
            }
        }
    }
}

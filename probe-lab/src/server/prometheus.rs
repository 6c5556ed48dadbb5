//! `/metrics`: the engine's own counts, the ground truth that a probe's counts are held against.

use std::fmt::Write;

use crate::engine::Totals;

/// The counts in Prometheus' text format.
pub(super) fn text(t: &Totals) -> String {
    let mut out = String::new();
    let mut metric = |name: &str, kind: &str, help: &str, values: &[(&str, i128)]| {
        // Writing to a string cannot fail.
        let _ = writeln!(out, "# HELP lab_{name} {help}\n# TYPE lab_{name} {kind}");
        for (labels, value) in values {
            let _ = writeln!(out, "lab_{name}{labels} {value}");
        }
    };
    metric(
        "prompt_tokens_total",
        "counter",
        "Prompt tokens computed.",
        &[("", t.prompt_tokens.into())],
    );
    metric(
        "predicted_tokens_total",
        "counter",
        "Tokens produced.",
        &[("", t.predicted_tokens.into())],
    );
    metric("steps_total", "counter", "Forward passes.", &[("", t.steps.into())]);
    metric(
        "requests_total",
        "counter",
        "Requests that left the engine.",
        &[
            ("{end=\"complete\"}", t.complete.into()),
            ("{end=\"aborted\"}", t.aborted.into()),
            ("{end=\"failed\"}", t.failed.into()),
        ],
    );
    metric(
        "requests_processing",
        "gauge",
        "Requests that hold a slot.",
        &[("", t.resident.into())],
    );
    metric("requests_deferred", "gauge", "Requests that wait.", &[("", t.queued.into())]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_count_has_its_line() {
        let t = Totals {
            prompt_tokens: 12,
            predicted_tokens: 34,
            steps: 5,
            complete: 3,
            aborted: 2,
            failed: 0,
            resident: 1,
            queued: 0,
        };
        let text = text(&t);
        assert!(text.contains("\nlab_prompt_tokens_total 12\n"), "{text}");
        assert!(text.contains("\nlab_predicted_tokens_total 34\n"), "{text}");
        assert!(text.contains("\nlab_requests_total{end=\"aborted\"} 2\n"), "{text}");
        assert_eq!(text.lines().filter(|l| !l.starts_with('#')).count(), 8);
    }
}

//! METRICS.md, generated from the contract.

use super::DEFAULT_ADDRESS;
use super::contract::{CONTRACT, Kind};
use super::labels::{DISTINCT, LONGEST, PAIRS};

/// The whole page.
#[must_use]
pub fn page() -> String {
    let mut page = format!(
        "# Metrics\n\n\
         <!-- Generated from probe-user/src/export/metrics/contract.rs; \
         renew with `BLESS=1 cargo test -p wattprobe --test export_generated`. -->\n\n\
         `wattprobe attach --metrics ADDR` serves these in the OpenMetrics text format at `/metrics` \
         (default address {DEFAULT_ADDRESS}; in the older text format to a client that accepts `text/plain` only), \
         the last 1000 request records as a JSON array at `/v1/requests?limit=N`, and its state at `/healthz`.\n\n\
         What was not measured has no series; it is never 0. Energy counters are the integer nanojoules of the \
         books divided by 10⁹. \
         `curl -s -H 'Accept: text/plain' {DEFAULT_ADDRESS}/metrics | promtool check metrics` checks the exposition \
         (promtool reads the older format only).\n\n\
         | name | type | unit | labels | meaning |\n|---|---|---|---|---|\n",
    );
    for metric in CONTRACT {
        let labels: Vec<String> = metric.labels.iter().map(|l| format!("`{l}`")).collect();
        page.push_str(&format!(
            "| `{}` | {} | {} | {} | {} |\n",
            metric.name,
            metric.kind_word(),
            metric.unit.unwrap_or("–"),
            if labels.is_empty() { "–".to_owned() } else { labels.join(", ") },
            metric.help
        ));
    }
    page.push_str(&format!(
        "\n## Labels\n\n\
         No process id, command line, prompt or request id is ever a label. `model` and `path` come from the network: a \
         target has at most {DISTINCT} of each and {PAIRS} pairs, of at most {LONGEST} characters out of `A-Za-z0-9/._:@+~-`; \
         beyond that, and for names the server has only ever refused, the value is `other`. A value that was not seen is `none`.\n\n\
         ## Buckets\n\n"
    ));
    for metric in CONTRACT {
        if let Kind::Histogram(bounds) = metric.kind {
            let bounds: Vec<String> = bounds.iter().map(ToString::to_string).collect();
            page.push_str(&format!("- `{}`: {}\n", metric.name, bounds.join(", ")));
        }
    }
    page
}

//! Files in the repository that are generated from the metric table.
//!
//! `BLESS=1 cargo test -p wattprobe --test export_generated` renews them.

#![expect(clippy::unwrap_used, reason = "a test may panic; helpers are not `#[test]`s to clippy")]

use std::path::Path;

use wattprobe::export::{dashboard, metrics};

fn is_current(path: &str, generated: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    if std::env::var_os("BLESS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, generated).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == generated, "{} is out of date: BLESS=1 renews it", path.display());
}

#[test]
fn metrics_md_is_what_the_table_says() {
    is_current("METRICS.md", &metrics::markdown::page());
}

#[test]
fn the_dashboard_is_what_the_table_says() {
    is_current("dashboards/grafana/server.json", &dashboard::server_json());
}

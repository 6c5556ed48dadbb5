//! The endpoint against real readers: HTTP, promtool, and a Prometheus that answers the dashboard.
//!
//! The same checks on a probe at work are among the end-to-end tests (`prometheus::`).

#![expect(clippy::unwrap_used, reason = "a test may panic; helpers are not `#[test]`s to clippy")]

// example.rs names these at the crate's root.
use wattprobe::{record, snapshot};

mod checker;
#[path = "../../src/export/example.rs"]
mod example;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use wattprobe::export::Sink;
use wattprobe::export::metrics::Metrics;

/// A probe whose books grow with time: 8 snapshots and 8 requests a second.
struct Synthetic {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Synthetic {
    fn start() -> Self {
        let mut metrics = Metrics::serve("127.0.0.1:0").unwrap();
        let address = metrics.address();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        #[expect(
            clippy::disallowed_methods,
            reason = "the books must grow with the scraper's clock"
        )]
        let started = Instant::now();
        let thread = std::thread::spawn(move || {
            let mut step = 1;
            while !stopped.load(Ordering::Relaxed) {
                metrics.request(&Arc::new(example::record(step))).unwrap();
                let seconds = started.elapsed().as_secs_f64();
                metrics.snapshot(&Arc::new(example::snapshot(seconds))).unwrap();
                std::thread::sleep(Duration::from_millis(125));
                step += 1;
            }
            metrics.finish(&example::snapshot(started.elapsed().as_secs_f64())).unwrap();
        });
        let synthetic = Self { address, stop, thread: Some(thread) };
        for _ in 0..100 {
            if synthetic.get("/healthz").0 == 200 {
                return synthetic;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("the endpoint never became healthy");
    }

    fn get(&self, path: &str) -> (u16, String) {
        checker::get(self.address, path, "*/*").unwrap()
    }
}

impl Drop for Synthetic {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A program on the PATH.
fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file())
}

#[test]
fn every_query_of_the_dashboard_is_answered_by_a_real_prometheus() {
    let Some(prometheus) = program("prometheus").filter(|_| program("promtool").is_some()) else {
        println!(
            "SKIPPED: prometheus and promtool are not installed (Debian: apt-get install prometheus)"
        );
        return;
    };
    let probe = Synthetic::start();
    let directory = tempfile::tempdir().unwrap();
    let report = checker::check(&prometheus, probe.address, 6, directory.path()).unwrap();
    report.assert_holds();
    // 849 sixteenths of a watt in the additive domains.
    let power = report.answers[0].2[0];
    assert!((50.0..=56.0).contains(&power), "{power} W");
    assert!(report.exemplars >= 5, "{}", report.exemplars);
}

#[test]
fn the_exposition_is_openmetrics_and_ends_with_its_mark() {
    let probe = Synthetic::start();
    let (head, body) = checker::get_whole(probe.address, "/metrics", "*/*").unwrap();
    assert!(
        head.to_lowercase().contains("content-type: application/openmetrics-text; version=1.0.0"),
        "{head}"
    );
    assert!(body.ends_with("\n# EOF\n"));
    assert_eq!(body.matches("# EOF").count(), 1);
    assert!(body.contains("# UNIT wattprobe_energy_joules joules\n"), "{body}");
}

#[test]
fn every_metric_of_the_table_is_exposed_with_exactly_its_labels() {
    use wattprobe::export::metrics::contract::{CONTRACT, Kind};
    let probe = Synthetic::start();
    let (_, body) = probe.get("/metrics");
    for metric in CONTRACT {
        let name = if matches!(metric.kind, Kind::Histogram(_)) {
            metric.series().remove(1)
        } else {
            metric.name.to_owned()
        };
        let line = body
            .lines()
            .find(|l| l.strip_prefix(&name).is_some_and(|rest| rest.starts_with(['{', ' '])));
        let line = line.unwrap_or_else(|| panic!("{name} is not exposed"));
        let labels: Vec<&str> =
            line.split('"').step_by(2).filter_map(|part| part.strip_suffix('=')).collect();
        let labels: Vec<&str> = labels
            .iter()
            .map(|l| l.trim_start_matches(&name).trim_start_matches(['{', ',']))
            .collect();
        assert_eq!(labels, metric.labels, "{line}");
        assert!(body.contains(&format!("# TYPE {} {}\n", metric.family(), metric.kind_word())));
    }
    let families = body.lines().filter(|l| l.starts_with("# TYPE")).count();
    assert_eq!(families, CONTRACT.len(), "nothing is exposed that the table does not have");
}

#[test]
fn the_last_records_come_as_json() {
    let mut metrics = Metrics::serve("127.0.0.1:0").unwrap();
    for record in [example::record(1), example::record(2), example::check(3)] {
        metrics.request(&Arc::new(record)).unwrap();
    }
    let get = |path: &str| checker::get(metrics.address(), path, "*/*").unwrap();
    let (status, body) = get("/v1/requests?limit=2");
    assert_eq!(status, 200);
    let records: Vec<record::RequestRecord> = serde_json::from_str(&body).unwrap();
    let numbers: Vec<u64> = records.iter().map(|record| record.request).collect();
    assert_eq!(numbers, [2, 3], "the last two, oldest first");
    assert_eq!(get("/v1/requests?limit=x").0, 400);
    assert_eq!(get("/nothing").0, 404);
}

#[test]
fn only_the_last_thousand_records_are_kept() {
    let mut metrics = Metrics::serve("127.0.0.1:0").unwrap();
    for number in 1..=1200 {
        metrics.request(&Arc::new(example::record(number))).unwrap();
    }
    let (_, body) = checker::get(metrics.address(), "/v1/requests", "*/*").unwrap();
    let records: Vec<record::RequestRecord> = serde_json::from_str(&body).unwrap();
    assert_eq!((records.len(), records[0].request), (1000, 201));
}

#[test]
fn a_probe_without_a_snapshot_is_not_healthy_and_counters_never_fall() {
    let mut metrics = Metrics::serve("127.0.0.1:0").unwrap();
    let get = |path: &str| checker::get(metrics.address(), path, "*/*").unwrap();
    assert_eq!(get("/healthz").0, 503);
    let address = metrics.address();
    let mut before = 0.0;
    for seconds in 1..=20 {
        metrics.snapshot(&Arc::new(example::snapshot(f64::from(seconds)))).unwrap();
        let (_, body) = checker::get(address, "/metrics", "*/*").unwrap();
        let line = body
            .lines()
            .find(|l| l.starts_with("wattprobe_energy_joules_total{domain=\"psys\""))
            .unwrap();
        let value: f64 = line.rsplit(' ').next().unwrap().parse().unwrap();
        assert!(value > before);
        before = value;
    }
}

#[test]
fn a_client_that_never_finishes_its_request_does_not_hold_up_the_end() {
    use std::io::Write;
    let mut metrics = Metrics::serve("127.0.0.1:0").unwrap();
    let address = metrics.address();
    let mut stuck = std::net::TcpStream::connect(address).unwrap();
    stuck.write_all(b"GET /metrics HTTP/1.1\r\nHost:").unwrap();
    std::thread::sleep(Duration::from_millis(100));
    metrics.finish(&example::snapshot(1.0)).unwrap();
    assert!(std::net::TcpStream::connect(address).is_err(), "nobody listens any more");
}

//! The dashboard on a real probe: a real Prometheus scrapes it while a server works.

use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::harness::ask::Ask;
use crate::harness::client::once;
use crate::harness::parts::part;
use crate::harness::probe::Probe;
use crate::harness::server::Recipe;
use crate::harness::{alone, books};

#[path = "../export_prometheus/checker.rs"]
mod checker;

/// How long Prometheus scrapes before it is asked.
const SCRAPED_S: u64 = 8;

#[test]
#[ignore = "end to end: run by cargo xtask test"]
fn every_query_of_the_dashboard_is_answered_from_a_probe_at_work() {
    let _alone = alone();
    let dir = tempfile::tempdir().expect("a directory");
    let server = Recipe::lab().start(dir.path(), "127.0.0.1", 0);
    let free = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port");
    let metrics = free.to_string();
    let port = server.address.port();
    let probe = Probe::on_port(dir.path(), &port, &["--metrics", &metrics]);
    let stop = AtomicBool::new(false);
    let report = thread::scope(|scope| {
        scope.spawn(|| {
            for i in 0.. {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                let id = format!("scraped-{i}");
                let ask = if i % 2 == 0 { Ask::plain(id, 24) } else { Ask::stream(id, 24) };
                once(&server.address, &ask).expect("an answer");
            }
        });
        let report = checker::check(&part("prometheus"), free, SCRAPED_S, dir.path());
        stop.store(true, Ordering::Relaxed);
        report
    })
    .expect("Prometheus scrapes the probe");
    report.assert_holds();
    assert!(report.exemplars >= 1, "request energies carry exemplars");
    books::close(&probe.finish());
}

//! Which sinks a command line asks for, and who gets standard output.
//!
//! Standard output has one owner: `--requests -`, else `--summary -`, else `--format json`, else the
//! view for people. Whoever lost it goes to standard error, a view for people as a plain table.

use std::io;
use std::net::SocketAddr;
use std::path::Path;

use super::json_lines::JsonLines;
use super::live::screen::Taken;
use super::metrics::Metrics;
use super::summary::Summary;
use super::table::Table;
use super::{ExportError, Exports, STDOUT, live};

/// The place of a sink that lost standard output, in messages.
const STDERR: &str = "standard error";

/// The options of `attach` that concern exports.
#[derive(Clone, Copy, Debug, Default)]
pub struct Plan<'a> {
    /// `--requests`.
    pub requests: Option<&'a Path>,
    /// `--summary`.
    pub summary: Option<&'a Path>,
    /// `--metrics`.
    pub metrics: Option<SocketAddr>,
    /// `--format json`.
    pub json: bool,
    /// The environment's `TERM`.
    pub term: Option<&'a str>,
}

/// What became of a plan.
pub struct Opened {
    /// The sinks; the view for people is the last.
    pub exports: Exports,
    /// Where metrics are served.
    pub metrics: Option<SocketAddr>,
    /// Whether the live view has the terminal.
    pub screen: Taken,
}

/// Opens every sink of the plan, so that a path or an address that cannot be used is refused before
/// the run and not at its end. `report` is told of each later failure.
///
/// # Errors
/// The first sink that cannot be opened.
pub fn open(
    plan: Plan<'_>,
    report: impl FnMut(&ExportError) + Send + 'static,
) -> Result<Opened, ExportError> {
    let mut exports = Exports::new(report);
    let is_stdout = |path: Option<&Path>| path.is_some_and(|path| path.as_os_str() == "-");
    if let Some(path) = plan.requests {
        exports.add(JsonLines::create(path)?);
    }
    if let Some(path) = plan.summary {
        exports.add(Summary::create(path)?);
    }
    let metrics = match plan.metrics {
        Some(address) => {
            let metrics = Metrics::serve(address)?;
            let address = metrics.address();
            exports.add(metrics);
            Some(address)
        }
        None => None,
    };
    let taken = is_stdout(plan.requests) || is_stdout(plan.summary);
    let mut screen = Taken::default();
    match (plan.json, taken) {
        (true, _) if is_stdout(plan.summary) => {}
        (true, true) => exports.add(Summary::to(io::stderr(), STDERR)),
        (true, false) => exports.add(Summary::to(io::stdout(), STDOUT)),
        (false, true) => exports.add(Table::new(io::stderr(), STDERR)),
        (false, false) => {
            let (view, taken) = live::for_people(plan.term);
            exports.add(view);
            screen = taken;
        }
    }
    Ok(Opened { exports, metrics, screen })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::example;
    use super::*;
    use crate::record::RequestRecord;
    use crate::snapshot::Snapshot;

    #[test]
    fn every_file_of_a_plan_is_filled() {
        let dir = tempfile::tempdir().unwrap();
        let (requests, summary) = (dir.path().join("r.jsonl"), dir.path().join("s.json"));
        let plan = Plan {
            requests: Some(&requests),
            summary: Some(&summary),
            metrics: Some(SocketAddr::from(([127, 0, 0, 1], 0))),
            ..Plan::default()
        };
        let mut opened = open(plan, |error| panic!("{error}")).unwrap();
        assert!(opened.metrics.unwrap().port() > 0);
        opened.exports.request(&Arc::new(example::record(1)));
        opened.exports.snapshot(&Arc::new(example::snapshot(1.0)));
        assert_eq!(opened.exports.finish(&example::snapshot(2.0)), 0);
        let record: RequestRecord =
            serde_json::from_str(std::fs::read_to_string(&requests).unwrap().trim()).unwrap();
        assert_eq!((record.request, record.joules), (1, Some(3.5)));
        let read: Snapshot = serde_json::from_slice(&std::fs::read(&summary).unwrap()).unwrap();
        assert_eq!(read, example::snapshot(2.0));
    }

    #[test]
    fn what_cannot_be_opened_is_refused_before_the_run() {
        let plan = Plan { summary: Some(Path::new("/no/such/dir/s")), ..Plan::default() };
        assert!(open(plan, |_| ()).err().unwrap().to_string().contains("--summary"));
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let plan = Plan { metrics: taken.local_addr().ok(), ..Plan::default() };
        assert!(open(plan, |_| ()).err().unwrap().to_string().contains("--metrics"));
    }
}

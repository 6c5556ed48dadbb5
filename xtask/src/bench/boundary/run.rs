//! Servers, clients and the probe, as the parts of the bench need them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::bench::usage::Usage;
use crate::demo;
use crate::paths::Paths;
use crate::process::{Running, output};
use crate::provision::Provisioned;

/// Where everything is.
pub(super) struct Bench<'a> {
    pub(super) paths: &'a Paths,
    pub(super) dir: PathBuf,
}

/// A server that listens, until it is dropped.
pub(super) struct Server {
    _process: Running,
    /// Its address without the scheme.
    pub(super) address: String,
}

/// What a probe wrote, and what it used.
pub(super) struct Outcome {
    pub(super) records: Vec<Value>,
    pub(super) summary: Value,
    /// CPU of its process while something was done, seconds: without what it takes to attach.
    pub(super) cpu_s: f64,
}

impl Bench<'_> {
    pub(super) fn program(&self, name: &str) -> Command {
        Command::new(self.paths.binary("release", name))
    }

    /// Starts a server that says where it listens.
    pub(super) fn serve(&self, server: &mut Command) -> Result<Server> {
        let mut process = Running(demo::start(server, &self.dir, "server")?);
        let address = demo::listening(&mut process.0, &self.dir, "server")?;
        let address = address.trim_start_matches("http://").to_owned();
        Ok(Server { _process: process, address })
    }

    /// The command line of a real server, by the name of its script; its model is the one that the tests use.
    pub(super) fn real(&self, have: &Provisioned, script: &str) -> Result<Command> {
        let part = |name| {
            let why = || have.missing.get(name).map_or("it was not fetched", String::as_str);
            have.parts.get(name).with_context(|| format!("{name} is missing: {}", why()))
        };
        let is_node = script.ends_with(".mjs");
        let mut server = Command::new(part(if is_node { "node" } else { "python" })?);
        server.arg(self.paths.root.join("probe-lab/servers").join(script));
        server.arg("--model").arg(part("model")?);
        if is_node {
            server.arg("--modules").arg(part("node_modules")?);
        }
        Ok(server)
    }

    /// Floods a server; what came of it.
    pub(super) fn drive<T: DeserializeOwned>(
        &self,
        server: &Server,
        options: &[&str],
    ) -> Result<T> {
        let mut client = self.program("lab-flood");
        let said = output(client.args(["drive", &server.address]).args(options))?;
        serde_json::from_str(&said).with_context(|| format!("lab-flood said {said}"))
    }

    /// Attaches a probe to the server at an address, does something, and ends the probe.
    pub(super) fn watched<T>(
        &self,
        address: &str,
        act: impl FnOnce() -> Result<T>,
    ) -> Result<(T, Outcome)> {
        let mut probe = self.program("wattprobe");
        probe.args(["attach", "--name", "server", "--port", demo::port_of(address)?]);
        probe.arg("--requests").arg(self.dir.join("requests.jsonl"));
        probe.arg("--summary").arg(self.dir.join("summary.json"));
        let mut probe = Running(demo::start(&mut probe, &self.dir, "probe")?);
        demo::attached(&mut probe.0, &self.dir)?;
        let before = Usage::of(probe.0.id())?.cpu_s;
        let done = act()?;
        let cpu_s = Usage::of(probe.0.id())?.cpu_s - before;
        demo::end_probe(&mut probe.0, &self.dir)?;
        Ok((done, Outcome::read(&self.dir, cpu_s)?))
    }
}

impl Outcome {
    fn read(dir: &Path, cpu_s: f64) -> Result<Self> {
        let summary = serde_json::from_str(&fs::read_to_string(dir.join("summary.json"))?)?;
        let records = fs::read_to_string(dir.join("requests.jsonl"))?;
        let records = records.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
        Ok(Self { records, summary, cpu_s })
    }

    /// A number of the summary.
    pub(super) fn number(&self, pointer: &str) -> Result<f64> {
        let number = self.summary.pointer(pointer).and_then(Value::as_f64);
        number.with_context(|| format!("the summary has no number {pointer}"))
    }

    /// Every request has a record that is complete, and nothing was lost.
    pub(super) fn whole(&self, requests: u64) -> Result<()> {
        let complete = self.records.iter().filter(|record| record["end"] == "complete").count();
        let (lost, records) = (self.number("/events/lost")?, self.records.len());
        ensure!(lost == 0.0, "{lost} events were lost");
        ensure!(
            complete as u64 == requests && complete == records,
            "{records} records, {complete} of them complete, of {requests} requests"
        );
        Ok(())
    }

    /// Nanoseconds of all programs.
    pub(super) fn programs_ns(&self) -> Result<f64> {
        let programs = self.summary["self"]["programs"].as_object().context("no programs")?;
        Ok(programs.values().filter_map(|program| program["ns"].as_f64()).sum())
    }
}

/// The middle one, and the lowest and the highest.
pub(super) fn spread(mut values: Vec<f64>) -> (f64, f64, f64) {
    values.sort_by(f64::total_cmp);
    let at = |i: usize| values.get(i).copied().unwrap_or(f64::NAN);
    (at(values.len() / 2), at(0), at(values.len().saturating_sub(1)))
}

/// Pairs of runs, with the probe and without it, every second pair the other way round: the values of both.
pub(super) fn pairs<T, U>(
    pairs: usize,
    mut with: impl FnMut() -> Result<T>,
    mut without: impl FnMut() -> Result<U>,
) -> Result<Vec<(T, U)>> {
    let one = |i: usize| {
        if i.is_multiple_of(2) {
            let first = without()?;
            Ok((with()?, first))
        } else {
            Ok((with()?, without()?))
        }
    };
    (0..pairs).map(one).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn pairs_change_their_order() {
        let order = std::cell::RefCell::new(String::new());
        let run = |name| {
            order.borrow_mut().push(name);
            Ok(name)
        };
        let done = pairs(3, || run('p'), || run('-')).unwrap();
        assert_eq!((done, order.into_inner().as_str()), (vec![('p', '-'); 3], "-pp--p"));
        assert_eq!(spread(vec![3.0, 1.0, 2.0]), (2.0, 1.0, 3.0));
    }

    #[test]
    fn a_request_without_a_record_and_a_lost_event_are_refused() {
        let outcome = |end, lost| Outcome {
            records: vec![json!({ "end": "complete" }), json!({ "end": end })],
            summary: json!({ "events": { "lost": lost } }),
            cpu_s: 0.0,
        };
        assert!(outcome("complete", 0).whole(2).is_ok());
        let error = |outcome: &Outcome| outcome.whole(2).unwrap_err().to_string();
        assert!(error(&outcome("aborted", 0)).contains("2 records, 1 of them complete"));
        assert!(error(&outcome("complete", 3)).contains("3 events were lost"));
    }
}

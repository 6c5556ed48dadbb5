//! What a request costs by how many overlap: the same requests to the real llama.cpp server, one at a time and several.
//!
//! Every run's books must close: what its requests were charged and its background are the server's part of what the counter
//! counted, to the nanojoule. On a machine without an energy counter the kernel's counter of time stands in, as if the
//! machine drew constant power: joules are then imaginary, their proportions are those of time.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::built;
use crate::paths::Paths;
use crate::process::Running;
use crate::{demo, provision};

/// Options of the comparison.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Requests of each run.
    #[arg(long, default_value_t = 40, value_name = "N")]
    requests: u64,
    /// How many at a time, one run each.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 2, 4], value_name = "N")]
    overlap: Vec<u32>,
    /// What counts the energy; else the machine's own counter, else one of time.
    #[arg(long, value_name = "SPEC")]
    source: Option<String>,
}

/// Counts time: three watts or so at a nanojoule a cycle.
const TIME: &str = "perf:msr/tsc/,scale=1e-9";

/// Sums of a run.
#[derive(Debug)]
struct Sums {
    requests: usize,
    tokens: u64,
    requests_nj: u64,
    background_nj: u64,
    measured_nj: u64,
    records_j: f64,
    cpu_s: f64,
    residents: f64,
}

/// Runs them, prints the table, fails where books do not close.
pub(crate) fn run(paths: &Paths, args: &Args) -> Result<()> {
    built::programs(paths)?;
    let dir = paths.target.join("overlap");
    fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    let rapl = Path::new("/sys/class/powercap/intel-rapl:0/energy_uj").exists();
    let source = args.source.clone().or((!rapl).then(|| TIME.to_owned()));
    if source.as_deref() == Some(TIME) {
        println!(
            "No energy counter here: {TIME} counts time, and joules are of a machine of constant power."
        );
    }
    println!(
        "| at a time | requests | residents | J/request | J/token | CPU s/request | background | machine |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for overlap in &args.overlap {
        let sums = one(paths, &dir, args.requests, *overlap, source.as_deref())?;
        let each = sums.requests as f64;
        let joules = sums.requests_nj as f64 / 1e9;
        println!(
            "| {overlap} | {} | {:.2} | {:.3} | {:.4} | {:.3} | {:.2} J | {:.2} J |",
            sums.requests,
            sums.residents / each,
            joules / each,
            joules / sums.tokens as f64,
            sums.cpu_s / each,
            sums.background_nj as f64 / 1e9,
            sums.measured_nj as f64 / 1e9,
        );
        let off = (sums.records_j - joules).abs();
        ensure!(off < 1e-6, "the records say {} J, the books {joules} J", sums.records_j);
    }
    println!(
        "In every run requests + background = the server's part of what the counter counted, to the nanojoule."
    );
    Ok(())
}

fn one(
    paths: &Paths,
    dir: &Path,
    requests: u64,
    overlap: u32,
    source: Option<&str>,
) -> Result<Sums> {
    let have = provision::tests(paths)?;
    let part = |name| have.parts.get(name).with_context(|| format!("{name} is missing"));
    let mut server = Command::new(part("python")?);
    server.arg(paths.root.join("probe-lab/servers/xllamacpp_server.py"));
    server.arg("--model").arg(part("model")?);
    let mut server = Running(demo::start(&mut server, dir, "server")?);
    let address = demo::listening(&mut server.0, dir, "server")?;
    let mut probe = Command::new(paths.binary("release", "wattprobe"));
    probe.args([
        "attach",
        "--name",
        "llama",
        "--port",
        demo::port_of(&address)?,
        "--share",
        "work",
    ]);
    probe.arg("--requests").arg(dir.join("requests.jsonl"));
    probe.arg("--summary").arg(dir.join("summary.json"));
    if let Some(source) = source {
        probe.args(["--source", source]);
    }
    let mut probe = Running(demo::start(&mut probe, dir, "probe")?);
    demo::attached(&mut probe.0, dir)?;
    let mut load = Command::new(paths.binary("release", "lab-load"));
    load.args(["--url", &address, "--overlap", &overlap.to_string()]);
    load.args(["--count", &requests.to_string()]);
    let mut load = Running(demo::start(&mut load, dir, "load")?);
    ensure!(load.0.wait()?.success(), "lab-load failed: see {}", dir.join("load.err").display());
    demo::end_probe(&mut probe.0, dir)?;
    let summary = serde_json::from_str(&fs::read_to_string(dir.join("summary.json"))?)?;
    let records = fs::read_to_string(dir.join("requests.jsonl"))?;
    let records = records.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>()?;
    let sums = sums(&summary, &records)?;
    let answered = sums.requests;
    ensure!(answered as u64 == requests, "{answered} requests were answered, {requests} sent");
    Ok(sums)
}

/// Adds up what a run says, once its books are found to close.
fn sums(summary: &Value, records: &[Value]) -> Result<Sums> {
    let number = |value: &Value, name: &str| {
        value[name].as_u64().with_context(|| format!("no whole number `{name}` in the summary"))
    };
    let (mut measured_nj, mut active_nj) = (0, 0);
    for (name, domain) in summary["domains"].as_object().context("no domains")? {
        let consumers = domain["consumers"].as_object().context("no consumers")?;
        let mut rest = number(domain, "idle_nj")? + number(domain, "residual_nj")?;
        for consumer in consumers.values() {
            rest += number(consumer, "active_nj")?;
        }
        let measured = number(domain, "measured_nj")?;
        ensure!(measured == rest, "{name} counted {measured} nJ, its books hold {rest} nJ");
        if domain["additive"] == true {
            measured_nj += measured;
        }
        active_nj += number(&domain["consumers"]["llama"], "active_nj")?;
    }
    let target = &summary["targets"]["llama"];
    let (requests_nj, background_nj) =
        (number(target, "requests_nj")?, number(target, "background_nj")?);
    let parts = requests_nj + background_nj;
    ensure!(
        active_nj == parts,
        "the server's part is {active_nj} nJ, of which {parts} nJ are accounted for"
    );
    let sum = |name: &str| records.iter().filter_map(|record| record[name].as_f64()).sum::<f64>();
    let answered = records.iter().filter(|record| record["end"] == "complete");
    let residents = answered.filter_map(|record| record["mean_residents"].as_f64()).sum();
    Ok(Sums {
        // A client that writes on a connection that the server is closing asks again: the first one was aborted.
        requests: records.iter().filter(|record| record["end"] == "complete").count(),
        tokens: records.iter().filter_map(|record| record["completion_tokens"].as_u64()).sum(),
        requests_nj,
        background_nj,
        measured_nj,
        records_j: sum("joules"),
        cpu_s: sum("cpu_s"),
        residents,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn summary(requests: u64) -> Value {
        json!({
            "domains": { "package-0": {
                "additive": true, "measured_nj": 100, "idle_nj": 20, "residual_nj": 10,
                "consumers": { "llama": { "active_nj": 40 }, "other": { "active_nj": 30 } }
            } },
            "targets": { "llama": { "requests_nj": requests, "background_nj": 5 } }
        })
    }

    #[test]
    fn books_that_close_are_added_up() {
        let record = json!({ "end": "complete", "joules": 3.5e-8, "completion_tokens": 7, "cpu_s": 0.5, "mean_residents": 2.0 });
        let sums = sums(&summary(35), &[record]).unwrap();
        assert_eq!(
            (sums.requests, sums.tokens, sums.requests_nj, sums.measured_nj),
            (1, 7, 35, 100)
        );
    }

    #[test]
    fn books_that_do_not_close_are_refused() {
        let error = sums(&summary(34), &[]).unwrap_err().to_string();
        assert!(error.contains("40 nJ, of which 39 nJ"), "{error}");
        let mut short = summary(35);
        short["domains"]["package-0"]["measured_nj"] = json!(99);
        let error = sums(&short, &[]).unwrap_err().to_string();
        assert!(error.contains("counted 99 nJ"), "{error}");
    }
}

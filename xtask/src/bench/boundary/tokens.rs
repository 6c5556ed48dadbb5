//! Tokens a second of the real llama.cpp server on one thread, without the probe, with it, and while the probe watches
//! another server: that one pays for the clocks of the whole machine, and for following requests nothing.

use std::fs;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::run::{Bench, pairs, spread};
use crate::process::output;
use crate::provision;

/// Tokens a second with the probe, over those without, at least.
const KEEPS: f64 = 0.995;
/// Requests of a run, one at a time.
const REQUESTS: &str = "8";

pub(super) fn run(bench: &Bench<'_>, n: usize) -> Result<()> {
    let have = provision::tests(bench.paths)?;
    let elsewhere = bench.serve(bench.program("lab-flood").arg("serve"))?;
    let server = bench.serve(&mut bench.real(&have, "xllamacpp_server.py")?)?;
    let log = bench.dir.join("load.jsonl");
    let drive = || {
        let mut load = bench.program("lab-load");
        load.args(["--url", &format!("http://{}", server.address)]);
        load.args(["--overlap", "1", "--count", REQUESTS]).arg("--out").arg(&log);
        output(&mut load)?;
        per_second(&fs::read_to_string(&log)?)
    };
    drive()?;
    let beside = |address: &str| Ok(bench.watched(address, drive)?.0);
    let runs = pairs(
        n,
        || beside(&server.address),
        || Ok(Without { probe: drive()?, watching: beside(&elsewhere.address)? }),
    )?;
    let middle = |of: fn(&Pair) -> f64| spread(runs.iter().map(of).collect());
    let (ratio, low, high) = middle(|(with, without)| with / without.probe);
    let (of_watching, lowest, highest) = middle(|(with, without)| with / without.watching);
    println!("| llama.cpp, one thread | tokens/s | watched, over that: median | of {n} |");
    println!("|---|---|---|---|");
    println!("| watched | {:.2} | | |", middle(|run| run.0).0);
    let (alone, unwatched) = (middle(|run| run.1.probe).0, middle(|run| run.1.watching).0);
    println!("| without the probe | {alone:.2} | {ratio:.4} | {low:.4} to {high:.4} |");
    println!(
        "| the probe watches another server | {unwatched:.2} | {of_watching:.4} | {lowest:.4} to {highest:.4} |"
    );
    ensure!(ratio >= KEEPS, "llama.cpp keeps {ratio:.4} of its tokens a second, less than {KEEPS}");
    Ok(())
}

/// Tokens a second without the probe, and with one that watches another server.
struct Without {
    probe: f64,
    watching: f64,
}

/// Watched, and not.
type Pair = (f64, Without);

/// Generated tokens a second, from the first request's start to the last answer's end, by the client's log.
fn per_second(log: &str) -> Result<f64> {
    let seen = log.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>()?;
    let all = |name: &'static str| seen.iter().filter_map(move |seen| seen[name].as_u64());
    let tokens: u64 = all("completion_tokens").sum();
    let (begin, end) = all("start_ns").min().zip(all("end_ns").max()).context("an empty log")?;
    ensure!(end > begin && tokens > 0, "no tokens were generated");
    Ok(tokens as f64 * 1e9 / (end - begin) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_a_second_are_those_of_all_requests_over_their_time() {
        let log = r#"{"start_ns":500,"end_ns":900,"completion_tokens":3}
            {"start_ns":1000,"end_ns":2500,"completion_tokens":5}"#;
        assert!((per_second(log).unwrap() - 4e6).abs() < 1e-3);
        assert!(per_second("").is_err());
    }
}

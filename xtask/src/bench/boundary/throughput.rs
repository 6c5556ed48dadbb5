//! Requests a second of servers at their own maximum, with and without the probe.

use anyhow::{Result, bail, ensure};
use serde::Deserialize;

use super::run::{Bench, Server, pairs, spread};
use crate::provision;

/// Requests a second with the probe, over those without, at least.
const KEEPS: f64 = 0.95;
/// Requests a second that a server which does as many alone must do with the probe.
const RATE: f64 = 20_000.0;

/// What `lab-flood drive` prints.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct Sum {
    pub(super) requests: u64,
    pub(super) per_second: f64,
    pub(super) events: u64,
}

/// A run with the probe, and one without.
type Pair = ((Sum, Cost), (Sum, Cost));

/// What a run with the probe cost, microseconds a request; and what it came to.
#[derive(Clone, Default)]
struct Cost {
    kernel: f64,
    user: f64,
    lost: f64,
    /// Why not every request has a record that is complete.
    missed: Option<String>,
}

/// Real servers, by the names of their scripts. llama.cpp's closes a connection after 100 requests.
const REAL: [(&str, &str); 2] =
    [("node", "node_server.mjs"), ("uvicorn (Python)", "uvicorn_server.py")];

pub(super) fn run(bench: &Bench<'_>, n: usize, short: bool) -> Result<()> {
    println!(
        "| server | alone, requests/s | with the probe | ratio, median | of {n} pairs | probe, kernel / user, µs/request | events lost |"
    );
    println!("|---|---|---|---|---|---|---|");
    let mut broken = Vec::new();
    let mut row = |name, server: &Server, ask| -> Result<()> {
        let kept = one(bench, name, server, ask, n, short)?;
        // How fast a server is depends on the machine's mood; that hyper's is seen whole does not.
        let judged = if short { kept.is_whole() } else { kept.judge() };
        broken.extend(judged.err().map(|why| format!("{name}: {why:#}")));
        Ok(())
    };
    let mut hyper = bench.program("lab-server");
    row("hyper (axum)", &bench.serve(hyper.args(["--port", "0"]))?, "health")?;
    if !short {
        let mut bare = bench.program("lab-flood");
        row("bare epoll, one thread", &bench.serve(bare.arg("serve"))?, "plain")?;
        let have = provision::tests(bench.paths)?;
        for (name, script) in REAL {
            match bench.real(&have, script) {
                Ok(mut server) => row(name, &bench.serve(&mut server)?, "health")?,
                Err(why) => println!("not measured: {name}, because {why:#}"),
            }
        }
    }
    ensure!(broken.is_empty(), "{}", broken.join("; "));
    Ok(())
}

/// A row.
fn one(
    bench: &Bench<'_>,
    name: &str,
    server: &Server,
    ask: &str,
    n: usize,
    short: bool,
) -> Result<Kept> {
    let options = ["--ask", ask, "--time", if short { "1000" } else { "3000" }];
    let drive = || bench.drive::<Sum>(server, &options);
    // Whatever is done for the first time.
    drive()?;
    let with = || {
        let (sum, outcome) = bench.watched(&server.address, drive)?;
        let each = |ns: f64| ns / 1e3 / sum.requests as f64;
        let user = each(outcome.cpu_s * 1e9);
        let (kernel, lost) = (each(outcome.programs_ns()?), outcome.number("/events/lost")?);
        let missed = outcome.whole(sum.requests).err().map(|why| format!("{why:#}"));
        Ok((sum, Cost { kernel, user, lost, missed }))
    };
    let runs = pairs(n, with, || Ok((drive()?, Cost::default())))?;
    let ratios = runs.iter().map(|((with, _), (without, _))| with.per_second / without.per_second);
    let (ratio, low, high) = spread(ratios.collect());
    let middle = |of: fn(&Pair) -> f64| spread(runs.iter().map(of).collect()).0;
    let alone = middle(|run| run.1.0.per_second);
    let watched = middle(|run| run.0.0.per_second);
    let lost: f64 = runs.iter().map(|run| run.0.1.lost).sum();
    println!(
        "| {name} | {alone:.0} | {watched:.0} | {ratio:.3} | {low:.3} to {high:.3} | {:.2} / {:.2} | {lost} |",
        middle(|run| run.0.1.kernel),
        middle(|run| run.0.1.user),
    );
    let missed = runs.into_iter().find_map(|((_, cost), _)| cost.missed);
    Ok(Kept { alone, watched, ratio, missed })
}

/// What a server keeps of its requests a second: medians. And why not each of them was seen.
struct Kept {
    alone: f64,
    watched: f64,
    ratio: f64,
    missed: Option<String>,
}

impl Kept {
    fn is_whole(&self) -> Result<()> {
        self.missed.as_ref().map_or(Ok(()), |why| bail!("{why}"))
    }

    fn judge(&self) -> Result<()> {
        self.is_whole()?;
        let Self { alone, watched, ratio, .. } = self;
        ensure!(*ratio >= KEEPS, "of its requests a second {ratio:.3} are kept, not {KEEPS}");
        // A server that is slower by itself is no measure.
        if *alone >= RATE {
            ensure!(*watched >= RATE, "{watched:.0} requests a second, not {RATE:.0}");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_must_keep_19_of_20_requests_and_do_20_000_if_it_can() {
        let kept =
            |alone, watched| Kept { alone, watched, ratio: watched / alone, missed: None }.judge();
        assert!(kept(40_000.0, 38_000.0).is_ok());
        assert!(kept(40_000.0, 37_000.0).unwrap_err().to_string().contains("0.925"));
        assert!(kept(5_000.0, 4_900.0).is_ok());
        assert!(kept(20_500.0, 19_900.0).unwrap_err().to_string().contains("19900 requests"));
    }

    #[test]
    fn a_server_that_was_not_seen_whole_fails_however_fast_it_is() {
        let missed = Some("3 events were lost".to_owned());
        let kept = Kept { alone: 9.0, watched: 9.0, ratio: 1.0, missed };
        assert!(kept.judge().unwrap_err().to_string().contains("3 events"));
    }
}

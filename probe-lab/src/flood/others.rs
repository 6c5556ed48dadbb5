//! What system calls take while a probe is attached, with each kind of hooks that the kernel allows it: of the server it
//! watches, and of a process that has nothing to do with it.
//!
//! Two processes time their own calls ([`calls`](super::calls)); the probe comes and goes between. Runs without it and with
//! each rung take turns, in changing order.

use std::fmt;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

use super::calls::Calls;

/// The probe's boundary rungs.
const RUNGS: [&str; 2] = ["tracepoint", "fentry"];
/// With a probe that hooks functions of sockets alone, a call that is none takes no longer than so many times as without.
const NOTHING: f64 = 1.05;

/// A row of the table.
struct Row {
    who: &'static str,
    call: &'static str,
    /// In the server, or elsewhere.
    server: bool,
    of: fn(&Calls) -> f64,
}

const ROWS: [Row; 6] = [
    Row { who: "the server", call: "getppid", server: true, of: |c| c.getppid },
    Row { who: "the server", call: "write, unwatched socket", server: true, of: |c| c.send },
    Row { who: "the server", call: "read, unwatched socket", server: true, of: |c| c.recv },
    Row { who: "the server", call: "write, watched socket", server: true, of: |c| c.accepted_send },
    Row { who: "the server", call: "read, watched socket", server: true, of: |c| c.accepted_recv },
    Row { who: "another", call: "getppid", server: false, of: |c| c.getppid },
];

/// Both processes' calls.
type Both = [Calls; 2];

/// What every round saw.
pub struct Others {
    without: Vec<Both>,
    /// By rung; or why there is none.
    with: Vec<(&'static str, Result<Vec<Both>, String>)>,
}

/// Times them in so many rounds. `flood` is `lab-flood`, `probe` the probe.
///
/// # Errors
/// When a process cannot be started, or a probe that attached before does not any more.
pub fn measure(flood: &Path, probe: &Path, rounds: usize) -> anyhow::Result<Others> {
    let mut timers = [Timer::start(flood)?, Timer::start(flood)?];
    let port = timers[0].port.clone();
    let mut with = RUNGS.map(|rung| {
        let first = Probe::attach(probe, &port, rung).and_then(Probe::end);
        (rung, first.map(|()| Vec::new()).map_err(|e| format!("{e:#}")))
    });
    // Every kernel has the first rung: whatever keeps a probe from it keeps it from both.
    if let [(_, Err(why)), ..] = &with {
        bail!("{why}");
    }
    let mut without = Vec::new();
    for round in 0..rounds.max(1) {
        for turn in 0..=RUNGS.len() {
            // None, then each rung, from another one on in each round.
            match with.get_mut((round + turn) % (RUNGS.len() + 1)) {
                None => without.push(both(&mut timers)?),
                Some((rung, Ok(seen))) => {
                    let attached = Probe::attach(probe, &port, rung)?;
                    seen.push(both(&mut timers)?);
                    attached.end()?;
                }
                Some((_, Err(_))) => {}
            }
        }
    }
    Ok(Others { without, with: with.into() })
}

fn both(timers: &mut [Timer; 2]) -> anyhow::Result<Both> {
    let [server, other] = timers;
    Ok([server.time()?, other.time()?])
}

impl Others {
    /// Nanoseconds of a call without a probe, and with each rung that there is.
    fn row(&self, row: &Row) -> (f64, Vec<(&'static str, f64)>) {
        let middle = |seen: &[Both]| {
            let mut all: Vec<f64> =
                seen.iter().map(|both| (row.of)(&both[usize::from(!row.server)])).collect();
            all.sort_by(f64::total_cmp);
            all.get(all.len() / 2).copied().unwrap_or(f64::NAN)
        };
        let with =
            self.with.iter().filter_map(|(rung, seen)| Some((*rung, middle(seen.as_ref().ok()?))));
        (middle(&self.without), with.collect())
    }

    /// With each rung: what a call that is no socket's takes of a process that is not watched, over what it takes without.
    #[must_use]
    pub fn ratios(&self) -> Vec<(&'static str, f64)> {
        let [.., stranger] = &ROWS;
        let (without, with) = self.row(stranger);
        with.into_iter().map(|(rung, ns)| (rung, ns / without)).collect()
    }

    /// Whether those who are no sockets' pay nothing where only sockets are hooked.
    ///
    /// # Errors
    /// When they do.
    pub fn judge(&self) -> anyhow::Result<()> {
        for (rung, ratio) in self.ratios().into_iter().filter(|(rung, _)| *rung == "fentry") {
            ensure!(
                ratio <= NOTHING,
                "with {rung} getppid takes {ratio:.3} times as long, not {NOTHING}"
            );
        }
        Ok(())
    }
}

impl fmt::Display for Others {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rungs: Vec<_> =
            self.with.iter().filter(|(_, seen)| seen.is_ok()).map(|(r, _)| r).collect();
        write!(f, "| who | call | without, ns |")?;
        rungs.iter().try_for_each(|rung| write!(f, " {rung}, ns | more |"))?;
        write!(f, "\n|---|---|---|")?;
        rungs.iter().try_for_each(|_| write!(f, "---|---|"))?;
        for row in &ROWS {
            let (without, with) = self.row(row);
            write!(f, "\n| {} | {} | {without:.0} |", row.who, row.call)?;
            with.iter().try_for_each(|(_, ns)| write!(f, " {ns:.0} | {:+.0} |", ns - without))?;
        }
        for (rung, why) in
            self.with.iter().filter_map(|(rung, seen)| Some((rung, seen.as_ref().err()?)))
        {
            write!(f, "\nno {rung} here: {why}")?;
        }
        Ok(())
    }
}

/// A process that times its own calls when it is asked to; gone when dropped.
struct Timer {
    process: Child,
    port: String,
    ask: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Timer {
    fn start(flood: &Path) -> anyhow::Result<Self> {
        let mut command = Command::new(flood);
        command.arg("calls").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().with_context(|| format!("{}", flood.display()))?;
        let ask = process.stdin.take().context("its input is a pipe")?;
        let mut answers = BufReader::new(process.stdout.take().context("and its output")?);
        let mut said = String::new();
        answers.read_line(&mut said)?;
        let (_, port) = said.trim().rsplit_once(':').context("it says where it listens")?;
        Ok(Self { port: port.to_owned(), process, ask, answers })
    }

    fn time(&mut self) -> anyhow::Result<Calls> {
        self.ask.write_all(b"\n")?;
        let mut said = String::new();
        self.answers.read_line(&mut said)?;
        serde_json::from_str(&said).with_context(|| format!("lab-flood said {said:?}"))
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A probe that is attached; gone when dropped.
struct Probe(Child);

impl Probe {
    fn attach(program: &Path, port: &str, rung: &str) -> anyhow::Result<Self> {
        let mut command = Command::new(program);
        command.args(["attach", "--name", "server", "--port", port, "--boundary", rung]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let process = command.spawn();
        let mut probe = Self(process.with_context(|| format!("{}", program.display()))?);
        let mut said = BufReader::new(probe.0.stderr.take().context("a pipe")?);
        let mut last = String::new();
        loop {
            let mut line = String::new();
            if said.read_line(&mut line)? == 0 {
                bail!("{}", last.trim());
            }
            if line.starts_with("attached:") {
                // What it says from here on is read, so that it never waits.
                std::thread::spawn(move || io::copy(&mut said, &mut io::sink()));
                return Ok(probe);
            }
            last = line;
        }
    }

    fn end(mut self) -> anyhow::Result<()> {
        let id = Pid::from_child(&self.0);
        kill_process(id, Signal::INT)?;
        let status = self.0.wait()?;
        ensure!(status.success(), "the probe ended with {status}");
        Ok(())
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn both(getppid: f64) -> Both {
        [Calls { getppid, send: 1.0, recv: 2.0, accepted_send: 3.0, accepted_recv: 4.0 }; 2]
    }

    fn others(fentry: Result<Vec<Both>, String>) -> Others {
        let tracepoint = Ok(vec![both(150.0), both(160.0), both(170.0)]);
        let without = vec![both(99.0), both(100.0), both(300.0)];
        Others { without, with: vec![("tracepoint", tracepoint), ("fentry", fentry)] }
    }

    #[test]
    fn every_rung_has_its_columns_and_one_that_is_not_there_its_reason() {
        let whole = others(Ok(vec![both(101.0)])).to_string();
        assert!(whole.contains("| another | getppid | 100 | 160 | +60 | 101 | +1 |"), "{whole}");
        let part = others(Err("refused".to_owned())).to_string();
        assert!(part.contains("| another | getppid | 100 | 160 | +60 |\n"), "{part}");
        assert!(part.ends_with("no fentry here: refused"), "{part}");
    }

    #[test]
    fn who_is_no_sockets_must_pay_nothing_where_only_sockets_are_hooked() {
        assert!(others(Ok(vec![both(104.0)])).judge().is_ok());
        let error = others(Ok(vec![both(110.0)])).judge().unwrap_err().to_string();
        assert!(error.contains("1.100 times"), "{error}");
        assert!(others(Err(String::new())).judge().is_ok());
    }
}

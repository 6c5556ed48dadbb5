//! How long a replay of an hour takes, and how much memory: ticks at 1 kHz, ten requests a second.
//!
//! The tape is written with the real writer, the replay is the real binary. Time is judged against sorting, right before and
//! right after: seconds alone say as much of the machine as of the probe. Fails when a bound is broken.

#[path = "../tests/tape/made.rs"]
mod made;

use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use wattprobe::tape::Writer;

/// An hour.
const TICKS: u64 = 3_600_000;
/// Times as long as [`sort`] takes.
const TIME_BOUND: f64 = 100.0;
const MEMORY_BOUND: u64 = 50_000_000;

fn write(dir: &Path) -> Result<(), Box<dyn Error>> {
    let mut run = made::Run::begin(Writer::create(dir, <_>::default())?);
    run.go(TICKS + 1, |_| {});
    run.end(TICKS + 1, |_| {});
    Ok(())
}

/// The most memory that a process had so far, bytes.
fn peak(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib * 1024)
}

#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
fn now() -> Instant {
    Instant::now()
}

/// How long this machine, as it is now, takes for work that no change of ours can make slower: four million numbers.
fn sort() -> Duration {
    let mut numbers: Vec<u64> = (0..4_000_000_u64)
        .map(|n| {
            n.wrapping_mul(0x9E37_79B9_7F4A_7C15)
                .rotate_left(29)
                .wrapping_mul(0xBF58_476D_1CE4_E5B9)
        })
        .collect();
    let begin = now();
    numbers.sort_unstable();
    let took = begin.elapsed();
    std::hint::black_box(numbers);
    took
}

fn main() -> Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    let begin = now();
    write(dir.path())?;
    let wrote = begin.elapsed();
    let mut bytes = 0;
    for file in fs::read_dir(dir.path())? {
        bytes += file?.metadata()?.len();
    }
    println!(
        "tape: {bytes} bytes, {:.2} bytes a tick, written in {wrote:.2?}",
        bytes as f64 / TICKS as f64
    );
    for what in ["info", "verify", "replay"] {
        let before = sort();
        let begin = now();
        let mut child = Command::new(env!("CARGO_BIN_EXE_wattprobe"))
            .args(["tape", what])
            .arg(dir.path())
            .stdout(Stdio::null())
            .spawn()?;
        let mut memory = 0;
        let status = loop {
            memory = memory.max(peak(child.id()).unwrap_or(0));
            match child.try_wait()? {
                Some(status) => break status,
                None => thread::sleep(Duration::from_millis(10)),
            }
        };
        let took = begin.elapsed();
        let sorts = took.as_secs_f64() / ((before + sort()) / 2).as_secs_f64();
        println!("{what}: {took:.2?}, {sorts:.1} sorts, {:.1} MB at most", memory as f64 / 1e6);
        if !status.success() || sorts > TIME_BOUND || memory > MEMORY_BOUND {
            return Err(format!(
                "{what}: {status}; the bounds are {TIME_BOUND} sorts and {MEMORY_BOUND} bytes"
            )
            .into());
        }
    }
    Ok(())
}

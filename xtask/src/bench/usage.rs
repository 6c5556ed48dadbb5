//! What a process uses, by the kernel's accounts of it, read from outside.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// What the kernel says of a process at one instant.
#[derive(Clone, Copy, Debug)]
pub(super) struct Usage {
    pub(super) rss_bytes: u64,
    /// Since it began, in steps of 10 ms.
    pub(super) cpu_s: f64,
}

impl Usage {
    pub(super) fn of(pid: u32) -> Result<Self> {
        let proc = Path::new("/proc").join(pid.to_string());
        let read = |name: &str| {
            fs::read_to_string(proc.join(name))
                .with_context(|| format!("the probe ended: no {name}"))
        };
        let status = read("status")?;
        let kib =
            status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        let kib: u64 = kib.trim().trim_end_matches(" kB").parse()?;
        let stat = read("stat")?;
        let (_, fields) = stat.rsplit_once(')').context("a name in parentheses")?;
        // After the name come state, ten numbers, then utime and stime in hundredths of a second.
        let ticks: Vec<u64> =
            fields.split_whitespace().skip(11).take(2).map(str::parse).collect::<Result<_, _>>()?;
        Ok(Self { rss_bytes: kib * 1024, cpu_s: ticks.iter().sum::<u64>() as f64 / 100.0 })
    }
}

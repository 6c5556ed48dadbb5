//! The slice stream as a file: one JSON line per slice of a target, with the joules of its windows.
//!
//! A slice costs what its target was charged per nanosecond on CPU in the windows that it ran in. Only
//! the part between the package's first and last tick is written, so that the slices of a target add up
//! to its clock exactly.

use std::{
    collections::{BTreeMap, VecDeque},
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
};

use probe_common::SliceRecord;
use serde::Serialize;

/// Windows whose rate is remembered: a slice that began before them has no joules. A minute at 1 kHz.
const WINDOWS: usize = 60_000;

/// One line.
#[derive(Serialize)]
struct Line<'a> {
    begin_ns: u64,
    end_ns: u64,
    pid: Option<u32>,
    tgid: u32,
    cpu: u32,
    target: &'a str,
    joules: Option<f64>,
}

/// Joules per nanosecond on CPU of one (package, target), as its integral over time.
#[derive(Default)]
struct Rate {
    /// Instant and the integral up to it.
    points: VecDeque<(u64, f64)>,
    /// Nanojoules and nanoseconds on CPU at the last point.
    last: (u64, u64),
}

impl Rate {
    fn push(&mut self, t: u64, nj: u64, cpu_ns: u64) {
        let (before_nj, before_ns) = std::mem::replace(&mut self.last, (nj, cpu_ns));
        let sum = match self.points.back() {
            None => 0.0,
            Some((_, sum)) if cpu_ns == before_ns => *sum,
            Some((before, sum)) => {
                let joules = (nj - before_nj) as f64 / 1e9;
                sum + joules / (cpu_ns - before_ns) as f64 * t.saturating_sub(*before) as f64
            }
        };
        self.points.push_back((t, sum));
        if self.points.len() > WINDOWS {
            self.points.pop_front();
        }
    }

    fn at(&self, t: u64) -> Option<f64> {
        let after = self.points.partition_point(|(at, _)| *at < t);
        let (t1, sum1) = *self.points.get(after)?;
        if t1 == t {
            return Some(sum1);
        }
        let (t0, sum0) = *self.points.get(after.checked_sub(1)?)?;
        Some(sum0 + (sum1 - sum0) * (t - t0) as f64 / (t1 - t0) as f64)
    }
}

/// Writes the file.
pub struct Slices {
    out: BufWriter<File>,
    names: BTreeMap<u32, String>,
    package_of: Vec<usize>,
    /// First and last tick by package.
    span: BTreeMap<usize, (u64, u64)>,
    rates: BTreeMap<(usize, u32), Rate>,
    waiting: VecDeque<SliceRecord>,
    failed: Option<io::Error>,
}

impl Slices {
    /// Creates the file.
    ///
    /// # Errors
    ///
    /// When it cannot be created.
    pub fn create(
        path: &Path,
        names: BTreeMap<u32, String>,
        package_of: Vec<usize>,
    ) -> io::Result<Self> {
        Ok(Self {
            out: BufWriter::new(File::create(path)?),
            names,
            package_of,
            span: BTreeMap::new(),
            rates: BTreeMap::new(),
            waiting: VecDeque::new(),
            failed: None,
        })
    }

    /// A slice came; it is written once the ticks have passed it.
    pub fn push(&mut self, slice: SliceRecord) {
        self.waiting.push_back(slice);
    }

    /// What a target was charged up to a tick, and how long it had been on CPU, both cumulative.
    pub fn charged(&mut self, package: usize, t: u64, who: u32, nj: u64, cpu_ns: u64) {
        self.rates.entry((package, who)).or_default().push(t, nj, cpu_ns);
    }

    /// A tick passed: writes the slices that it has overtaken.
    pub fn tick(&mut self, package: usize, t: u64) {
        self.span.entry(package).or_insert((t, t)).1 = t;
        while let Some(slice) = self.waiting.front().copied() {
            let package = self.package_of.get(slice.cpu as usize).copied().unwrap_or(0);
            if self.span.get(&package).is_none_or(|(_, last)| slice.end > *last) {
                break;
            }
            self.waiting.pop_front();
            self.write(package, slice);
        }
    }

    /// The run is over: what is left is cut at the last tick.
    ///
    /// # Errors
    ///
    /// When the file could not be written, now or earlier.
    pub fn finish(&mut self) -> io::Result<()> {
        while let Some(slice) = self.waiting.pop_front() {
            let package = self.package_of.get(slice.cpu as usize).copied().unwrap_or(0);
            self.write(package, slice);
        }
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        self.out.flush()
    }

    fn write(&mut self, package: usize, slice: SliceRecord) {
        let Some((first, last)) = self.span.get(&package) else { return };
        let (begin, end) = (slice.begin.max(*first), slice.end.min(*last));
        if begin >= end {
            return;
        }
        let joules =
            self.rates.get(&(package, slice.who)).and_then(|r| Some(r.at(end)? - r.at(begin)?));
        let line = Line {
            begin_ns: begin,
            end_ns: end,
            pid: (slice.pid != 0).then_some(slice.pid),
            tgid: slice.tgid,
            cpu: slice.cpu,
            target: self.names.get(&slice.who).map_or("", String::as_str),
            joules,
        };
        let result = serde_json::to_writer(&mut self.out, &line)
            .map_err(io::Error::from)
            .and_then(|()| self.out.write_all(b"\n"));
        if let Err(error) = result {
            self.failed.get_or_insert(error);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_costs_the_rate_of_each_window_it_ran_in_and_is_cut_at_the_ticks() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("slices");
        let names = BTreeMap::from([(4, "a".to_owned())]);
        let mut slices = Slices::create(&path, names, vec![0]).unwrap();
        slices.tick(0, 1000);
        let slice = |begin, end| SliceRecord { begin, end, pid: 2, tgid: 1, cpu: 0, who: 4 };
        slices.push(slice(500, 1500));
        slices.push(slice(1500, 2500));
        slices.push(SliceRecord { pid: 0, ..slice(2500, 9000) });
        slices.charged(0, 1000, 4, 0, 70);
        slices.charged(0, 2000, 4, 1_000_000_000, 1070);
        slices.tick(0, 2000);
        slices.charged(0, 3000, 4, 4_000_000_000, 2070);
        slices.tick(0, 3000);
        slices.finish().unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let joules: Vec<f64> = lines.iter().map(|l| l["joules"].as_f64().unwrap()).collect();
        assert_eq!(joules, [0.5, 0.5 + 1.5, 1.5]);
        let pids: Vec<Option<u64>> = lines.iter().map(|l| l["pid"].as_u64()).collect();
        assert_eq!(pids, [Some(2), Some(2), None], "a thread that is not known is null");
        let ns =
            |l: &serde_json::Value| l["end_ns"].as_u64().unwrap() - l["begin_ns"].as_u64().unwrap();
        assert_eq!(lines.iter().map(ns).sum::<u64>(), 2000);
    }
}

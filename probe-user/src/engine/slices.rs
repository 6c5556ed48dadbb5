//! The slice stream as a file: one JSON line per slice of a target, with the joules of its windows.
//!
//! A slice costs what its target was charged per nanosecond on CPU in the windows that it ran in, summed
//! over the additive domains; each has windows of its own. (Where windows end between two ticks the clocks at
//! their ends are interpolated: there the slices' joules add up to within that.) Only the part between the package's first and last
//! tick is written, so that the slices of a target add up to its clock exactly.

use std::{
    collections::{BTreeMap, VecDeque},
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
};

use probe_common::SliceRecord;
use probe_ledger::DomainId;
use serde::Serialize;

/// Windows whose rate is remembered: a slice that began before them has no joules. A minute at 1 kHz.
const WINDOWS: usize = 60_000;
/// Slices that wait for a domain's window at most: more say that its source has stopped.
const WAITING: usize = 1 << 17;

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

/// Joules per nanosecond on CPU of one (domain, target), as its integral over time.
#[derive(Default)]
struct Rate {
    /// Instant and the integral up to it.
    points: VecDeque<(u64, f64)>,
    /// Points were dropped at the beginning.
    forgot: bool,
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
            self.forgot = true;
        }
    }

    /// What a stay on CPU cost, as far as there are windows; `None` where there are none, or none any more.
    fn between(&self, begin: u64, end: u64) -> Option<f64> {
        let (first, last) = (self.points.front()?.0, self.points.back()?.0);
        if self.forgot && begin < first {
            return None;
        }
        let (begin, end) = (begin.max(first), end.min(last));
        (begin < end).then(|| Some(self.at(end)? - self.at(begin)?))?
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
    /// Additive domains by package.
    domains: Vec<Vec<DomainId>>,
    /// First and last tick by package.
    span: BTreeMap<usize, (u64, u64)>,
    rates: BTreeMap<(DomainId, u32), Rate>,
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
        domains: Vec<Vec<DomainId>>,
    ) -> io::Result<Self> {
        Ok(Self {
            out: BufWriter::new(File::create(path)?),
            names,
            package_of,
            domains,
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

    /// What a domain charged a target up to the end of a window, and how long it had been on CPU, both
    /// cumulative.
    pub fn charged(&mut self, domain: DomainId, t: u64, who: u32, nj: u64, cpu_ns: u64) {
        self.rates.entry((domain, who)).or_default().push(t, nj, cpu_ns);
    }

    /// A tick passed: writes the slices that it and the windows of its domains have overtaken.
    pub fn tick(&mut self, package: usize, t: u64) {
        self.span.entry(package).or_insert((t, t)).1 = t;
        while let Some(slice) = self.waiting.front().copied() {
            let package = self.package_of(&slice);
            if !self.passed(package, &slice) && self.waiting.len() <= WAITING {
                break;
            }
            self.waiting.pop_front();
            self.write(package, slice);
        }
    }

    fn package_of(&self, slice: &SliceRecord) -> usize {
        self.package_of.get(slice.cpu as usize).copied().unwrap_or(0)
    }

    fn domains(&self, package: usize) -> impl Iterator<Item = DomainId> + '_ {
        self.domains.get(package).into_iter().flatten().copied()
    }

    /// Whether nothing that the slice's line says can change any more.
    fn passed(&self, package: usize, slice: &SliceRecord) -> bool {
        let ended = |domain| {
            let last = self.rates.get(&(domain, slice.who)).and_then(|rate| rate.points.back());
            last.is_some_and(|(t, _)| *t >= slice.end)
        };
        self.span.get(&package).is_some_and(|(_, last)| *last >= slice.end)
            && self.domains(package).all(ended)
    }

    /// The run is over: what is left is cut at the last tick.
    ///
    /// # Errors
    ///
    /// When the file could not be written, now or earlier.
    pub fn finish(&mut self) -> io::Result<()> {
        while let Some(slice) = self.waiting.pop_front() {
            self.write(self.package_of(&slice), slice);
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
        let rates = self.domains(package).filter_map(|d| self.rates.get(&(d, slice.who)));
        let joules = rates.filter_map(|rate| rate.between(begin, end)).reduce(|sum, j| sum + j);
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
        let mut slices = Slices::create(&path, names, vec![0], vec![vec![DomainId(0)]]).unwrap();
        slices.tick(0, 1000);
        let slice = |begin, end| SliceRecord { begin, end, pid: 2, tgid: 1, cpu: 0, who: 4 };
        slices.push(slice(500, 1500));
        slices.push(slice(1500, 2500));
        slices.push(SliceRecord { pid: 0, ..slice(2500, 9000) });
        slices.charged(DomainId(0), 1000, 4, 0, 70);
        slices.charged(DomainId(0), 2000, 4, 1_000_000_000, 1070);
        slices.tick(0, 2000);
        slices.charged(DomainId(0), 3000, 4, 4_000_000_000, 2070);
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

    #[test]
    fn a_domain_of_longer_windows_is_waited_for_and_its_joules_are_all_laid_out() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("slices");
        let names = BTreeMap::from([(4, "a".to_owned())]);
        let domains = vec![vec![DomainId(0), DomainId(1)]];
        let mut slices = Slices::create(&path, names, vec![0], domains).unwrap();
        let (quick, slow) = (DomainId(0), DomainId(1));
        slices.tick(0, 1000);
        slices.charged(quick, 1000, 4, 0, 0);
        slices.charged(slow, 1000, 4, 0, 0);
        // Runs in the first and the third of four ticks, 1 J a tick by the quick counter.
        for (begin, end) in [(1000, 2000), (3000, 4000)] {
            slices.push(SliceRecord { begin, end, pid: 2, tgid: 1, cpu: 0, who: 4 });
        }
        for (t, nj, cpu) in
            [(2000, 1_000_000_000, 1000), (3000, 1_000_000_000, 1000), (4000, 2_000_000_000, 2000)]
        {
            slices.charged(quick, t, 4, nj, cpu);
            slices.tick(0, t);
        }
        assert_eq!(slices.waiting.len(), 2, "the slow counter has not told yet");
        slices.charged(slow, 5000, 4, 6_000_000_000, 2000);
        slices.charged(quick, 5000, 4, 2_000_000_000, 2000);
        slices.tick(0, 5000);
        assert_eq!(slices.waiting.len(), 0);
        slices.finish().unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let joules =
            |line| serde_json::from_str::<serde_json::Value>(line).unwrap()["joules"].as_f64();
        let all: Vec<f64> = text.lines().filter_map(joules).collect();
        assert_eq!(all, [1.0 + 3.0, 1.0 + 3.0], "8 J were charged");
    }
}

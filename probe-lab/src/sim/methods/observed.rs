//! What user space saw of a run: counters unwrapped and added up, CPU time, requests.

use std::collections::HashMap;

use super::seconds;
use crate::sim::domain::Domain;
use crate::sim::input::{Facts, Input, Poller};

/// All counters and clocks at an instant.
#[derive(Clone, Debug)]
pub struct Reading {
    /// The instant, ns.
    pub t: u64,
    /// All domains since the first reading.
    pub joules: f64,
    /// CPU time by consumer, ns.
    pub clocks: Vec<u64>,
}

/// A run as seen from user space.
#[derive(Clone, Debug)]
pub struct Observed {
    /// Idle power of all domains, calibrated.
    pub idle_watts: f64,
    /// By poller.
    pub polls: [Vec<Reading>; 2],
    /// Finished requests of server 0.
    pub facts: Vec<Facts>,
    domains: Vec<Domain>,
    /// By domain: last raw counter, units since the first.
    counted: Vec<Option<(u64, u64)>>,
    begins: HashMap<u64, f64>,
    ends: HashMap<u64, f64>,
}

/// ∫ 1/residents dt.
#[derive(Debug)]
pub(super) struct Crowd {
    /// Instant, integral, slope from there.
    points: Vec<(u64, f64, f64)>,
}

impl Observed {
    /// Nothing yet.
    #[must_use]
    pub fn new(domains: Vec<Domain>, idle_watts: f64) -> Self {
        let counted = vec![None; domains.len()];
        let polls = [Vec::new(), Vec::new()];
        let (begins, ends) = (HashMap::new(), HashMap::new());
        Self { idle_watts, polls, facts: Vec::new(), domains, counted, begins, ends }
    }

    /// Takes in what user space sees; boundaries and the kernel's samples are not for it.
    pub fn see(&mut self, input: &Input<'_>) {
        match *input {
            Input::Finished(facts) if facts.consumer == 0 => self.facts.push(facts),
            Input::Poll { poller, t, counters, clocks } => {
                let joules = self.add_up(counters);
                match poller {
                    Poller::Timer(place) => {
                        if let Some(polls) = self.polls.get_mut(place) {
                            polls.push(Reading { t, joules, clocks: clocks.to_vec() });
                        }
                    }
                    Poller::Begin(request) => drop(self.begins.insert(request, joules)),
                    Poller::End(request) => drop(self.ends.insert(request, joules)),
                }
            }
            Input::Finished(_)
            | Input::Sample { .. }
            | Input::Device { .. }
            | Input::Boundary { .. }
            | Input::Chunk { .. } => {}
        }
    }

    fn add_up(&mut self, counters: &[u64]) -> f64 {
        let mut joules = 0.0;
        for ((domain, counted), raw) in self.domains.iter().zip(&mut self.counted).zip(counters) {
            let mask = u64::MAX >> (64 - domain.bits.clamp(1, 64));
            let (last, units) = counted.unwrap_or((*raw, 0));
            let units = units + (raw.wrapping_sub(last) & mask);
            *counted = Some((*raw, units));
            joules += units as f64 * domain.joules_per_count;
        }
        joules
    }

    pub(super) fn each(&self, joules: impl Fn(&Facts) -> f64) -> Vec<f64> {
        self.facts.iter().map(joules).collect()
    }

    pub(super) fn begin(&self, request: u64) -> f64 {
        self.begins.get(&request).copied().unwrap_or(0.0)
    }

    pub(super) fn end(&self, request: u64) -> f64 {
        self.ends.get(&request).copied().unwrap_or(0.0)
    }

    /// Of the whole run, less that power.
    pub(super) fn run(&self, watts: f64) -> f64 {
        match (self.polls[0].first(), self.polls[0].last()) {
            (Some(a), Some(b)) => b.joules - a.joules - watts * seconds(b.t - a.t),
            _ => 0.0,
        }
    }

    /// The counters at an instant, on the line between the polls around it.
    pub(super) fn interpolated(&self, poller: usize, t: u64) -> f64 {
        let polls = &self.polls[poller];
        let after = polls.partition_point(|p| p.t < t);
        match (after.checked_sub(1).and_then(|i| polls.get(i)), polls.get(after)) {
            (Some(a), Some(b)) if b.t > a.t => {
                a.joules + (b.joules - a.joules) * seconds(t - a.t) / seconds(b.t - a.t)
            }
            (Some(one), _) | (None, Some(one)) => one.joules,
            (None, None) => 0.0,
        }
    }

    pub(super) fn crowd(&self) -> Crowd {
        let enter = self.facts.iter().map(|f| (f.queue, 1i64));
        let mut changes: Vec<_> = enter.chain(self.facts.iter().map(|f| (f.end, -1))).collect();
        changes.sort_unstable();
        let (mut sum, mut n, mut last) = (0.0, 0i64, 0);
        let mut points = Vec::with_capacity(changes.len());
        for (t, change) in changes {
            let slope = if n > 0 { 1.0 / n as f64 } else { 0.0 };
            sum += slope * seconds(t - last);
            n += change;
            last = t;
            points.push((t, sum, if n > 0 { 1.0 / n as f64 } else { 0.0 }));
        }
        Crowd { points }
    }
}

impl Crowd {
    pub(super) fn at(&self, t: u64) -> f64 {
        let after = self.points.partition_point(|p| p.0 <= t);
        let Some(point) = after.checked_sub(1).map(|i| self.points[i]) else { return 0.0 };
        point.1 + point.2 * seconds(t - point.0)
    }
}

//! The ways people attribute energy to requests today, named by method, fed with what each would see.
//!
//! Where a method leaves something open it is given the kinder reading: edges between two polls are interpolated, J/token
//! comes from the same run, a process's energy is split between the requests that overlap. As they are used,
//! none takes idle power off; [`Idle::Off`] is each with the calibrated idle power taken off.

mod observed;
#[cfg(test)]
mod tests;

pub use observed::{Observed, Reading};

/// A method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// The whole machine's counter over the request's time, polled at [`POLL_NS`].
    Machine,
    /// `/proc`'s CPU time: the process's part of what the machine drew, every [`PROC_NS`].
    Proc,
    /// All that the machine drew during the request, to each of those that overlap.
    Device,
    /// What the run drew, divided by its requests.
    Mean,
    /// Joules a written token of the run, times the request's.
    Token,
}

/// What becomes of idle power.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Idle {
    /// It stays in, as the methods are used.
    Kept,
    /// The calibrated idle power comes off.
    Off,
}

/// Period of the first poller, ns.
pub const POLL_NS: u64 = 50_000_000;
/// Period of the second, ns.
pub const PROC_NS: u64 = 5_000_000_000;
/// What `/proc/PID/stat` counts in, ns.
const JIFFY: u64 = 10_000_000;

impl Method {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Machine, Self::Proc, Self::Device, Self::Mean, Self::Token];

    /// What it does, in a few words.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Machine => "machine counter, 50 ms poll",
            Self::Proc => "/proc CPU ratio, 5 s",
            Self::Device => "whole device to each request",
            Self::Mean => "run total / requests",
            Self::Token => "J/token × tokens",
        }
    }

    /// Joules of each finished request of server 0, in the order of `seen.facts`.
    #[must_use]
    pub fn joules(self, seen: &Observed, idle: Idle) -> Vec<f64> {
        let watts = if idle == Idle::Off { seen.idle_watts } else { 0.0 };
        let run = seen.run(watts);
        match self {
            Self::Machine => seen.each(|facts| {
                let at = |t| seen.interpolated(0, t);
                at(facts.end) - at(facts.queue) - watts * seconds(facts.end - facts.queue)
            }),
            Self::Proc => proc(seen, watts),
            Self::Device => seen.each(|facts| {
                let (begin, end) = (seen.begin(facts.request), seen.end(facts.request));
                end - begin - watts * seconds(facts.end - facts.queue)
            }),
            Self::Mean => seen.each(|_| run / seen.facts.len() as f64),
            Self::Token => {
                let tokens: u64 = seen.facts.iter().map(|f| f.completion_tokens).sum();
                seen.each(|f| run / tokens as f64 * f.completion_tokens as f64)
            }
        }
    }
}

/// The process's part of each window by CPU time, spread over the window, split between who overlaps.
fn proc(seen: &Observed, watts: f64) -> Vec<f64> {
    let crowd = seen.crowd();
    let jiffies = |ns: u64| ns / JIFFY;
    let mut joules = vec![0.0; seen.facts.len()];
    for pair in seen.polls[1].windows(2) {
        let [from, to] = pair else { continue };
        let used = |k: usize| (jiffies(to.clocks[k]) - jiffies(from.clocks[k])) as f64;
        let all: f64 = (0..to.clocks.len()).map(used).sum();
        if all == 0.0 || to.t == from.t {
            continue;
        }
        let whole = to.joules - from.joules - watts * seconds(to.t - from.t);
        let power = whole * used(0) / all / seconds(to.t - from.t);
        for (sum, facts) in joules.iter_mut().zip(&seen.facts) {
            let (begin, end) = (facts.queue.max(from.t), facts.end.min(to.t));
            if begin < end {
                *sum += power * (crowd.at(end) - crowd.at(begin));
            }
        }
    }
    joules
}

pub(super) fn seconds(ns: u64) -> f64 {
    ns as f64 * 1e-9
}

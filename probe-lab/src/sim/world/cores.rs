//! Counters of single cores, and what the kernel side makes of them: what each consumer has drawn.
//!
//! As there, but that windows end at ticks: a window teaches what who ran in it draws in a nanosecond, a mean over the last 17 ms, or what
//! the core draws while nobody does; what clocks ran since the last tick weighs as much as that. The counter shows what was drawn half
//! a millisecond ago, so that much of a window's energy is that of who ran at the end of the one before.

use crate::sim::counter::Counter;
use crate::sim::dice::Dice;
use crate::sim::machine::Machine;

/// How old what a counter shows is on average, ns.
const LAG_NS: u64 = 500_000;
/// On-CPU time over which a rate is a mean, ns.
const MEAN_NS: f64 = 16_800_000.0;
/// A rate is not learned from a window in which less than this part of the time somebody ran.
const BUSY_PART: u64 = 4;
/// A count is 2 to the minus this, joules; width.
const UNIT_BITS: u32 = 16;
const BITS: u32 = 32;
const PICO_PER_COUNT: f64 = 1e12 / (1u64 << UNIT_BITS) as f64;

/// All cores of a machine.
#[derive(Debug)]
pub(super) struct Cores {
    per_package: usize,
    cores: Vec<Core>,
    /// By package, by consumer: what was drawn, pJ.
    drawn: Vec<Vec<u64>>,
}

/// A core's counter, and its window.
#[derive(Debug)]
struct Core {
    counter: Counter,
    /// At the window's begin.
    t: u64,
    shown: u64,
    ns: Vec<u64>,
    last: [Option<usize>; 2],
    /// Milliwatts by consumer, and of all; 0: not known.
    rates: Vec<f64>,
    mean: f64,
    /// While nobody runs.
    idle: f64,
}

impl Cores {
    pub(super) fn new(packages: usize, cores: usize, consumers: usize, dice: &mut Dice) -> Self {
        let mut core = || Core::new(consumers, dice.next_u64());
        Self {
            per_package: cores,
            cores: (0..packages * cores).map(|_| core()).collect(),
            drawn: vec![vec![0; consumers]; packages],
        }
    }

    /// The counters of a package's cores move.
    pub(super) fn update(&mut self, package: usize, machine: &mut Machine) {
        for core in self.of(package) {
            self.cores[core].counter.update(machine.core(core).0);
        }
    }

    /// A tick: weighs what ran on a package since the last one.
    pub(super) fn tick(&mut self, package: usize, machine: &mut Machine) {
        let now = machine.now;
        for core in self.of(package) {
            let (_, ns, runs) = machine.core(core);
            self.cores[core].close(now, ns, runs, &mut self.drawn[package]);
        }
    }

    pub(super) fn drawn(&self, package: usize) -> &[u64] {
        &self.drawn[package]
    }

    fn of(&self, package: usize) -> std::ops::Range<usize> {
        package * self.per_package..(package + 1) * self.per_package
    }
}

impl Core {
    fn new(consumers: usize, start: u64) -> Self {
        let counter = Counter::binary(UNIT_BITS, BITS, start);
        Self {
            shown: counter.shown(),
            counter,
            t: 0,
            ns: vec![0; consumers],
            last: [None; 2],
            rates: vec![0.0; consumers],
            mean: 0.0,
            idle: 0.0,
        }
    }

    fn rate(&self, who: usize) -> f64 {
        if self.rates[who] > 0.0 { self.rates[who] } else { self.mean }
    }

    /// Ends the window: learns from it, weighs it, and begins the next.
    fn close(&mut self, now: u64, ns: &[u64], runs: [Option<usize>; 2], drawn: &mut [u64]) {
        let length = now - self.t;
        if length == 0 {
            return;
        }
        let used: Vec<u64> = ns.iter().zip(&self.ns).map(|(now, before)| now - before).collect();
        let moved = self.counter.shown().wrapping_sub(self.shown) & u64::from(u32::MAX);
        self.learn(length, &used, moved as f64 * PICO_PER_COUNT);
        for (who, (sum, ns)) in drawn.iter_mut().zip(&used).enumerate().filter(|of| *of.1.1 > 0) {
            *sum += (*ns as f64 * self.rate(who).max(1.0)).round() as u64;
        }
        (self.t, self.shown, self.last) = (now, self.counter.shown(), runs);
        self.ns.copy_from_slice(ns);
    }

    fn learn(&mut self, length: u64, used: &[u64], mut pj: f64) {
        let sum: u64 = used.iter().sum();
        let mean = |mean: &mut f64, rate: f64, ns: f64| {
            let part = if *mean > 0.0 { (ns / MEAN_NS).min(1.0) } else { 1.0 };
            *mean += (rate - *mean) * part;
        };
        if sum == 0 && self.last == [None; 2] {
            mean(&mut self.idle, pj / length as f64, length as f64);
        }
        if sum < length / BUSY_PART || sum == 0 {
            return;
        }
        let late: f64 = match self.last {
            [None, None] => self.idle,
            last => last.iter().flatten().map(|who| self.rate(*who)).sum(),
        };
        let lag = if late > 0.0 { LAG_NS.min(length) } else { 0 };
        let seen = (length - lag) as f64 / length as f64;
        pj -= late * lag as f64 + self.idle * length.saturating_sub(sum) as f64 * seen;
        if seen <= 0.0 {
            return;
        }
        // Who ran shares by time, so all of them draw the same in this window.
        let rate = pj.max(0.0) / (sum as f64 * seen);
        for (of, ns) in self.rates.iter_mut().zip(used).filter(|(_, ns)| **ns > 0) {
            mean(of, rate, *ns as f64 * seen);
        }
        mean(&mut self.mean, rate, sum as f64 * seen);
    }
}

//! What a core draws at a frequency, and whose it is.

use super::host::CorePower;

/// Powers of a core at one frequency.
#[derive(Clone, Copy, Debug)]
struct Level {
    mhz: u64,
    leak_mw: u64,
    /// At activity 1,000.
    dynamic_mw: u64,
}

/// All frequencies of a core, lowest first.
#[derive(Clone, Debug)]
pub(super) struct Levels {
    levels: Vec<Level>,
    smt_power: u64,
    floor_mw: u64,
}

impl Levels {
    pub(super) fn new(core: &CorePower) -> Self {
        let span = core.high_mhz.saturating_sub(core.low_mhz).max(1) as f64;
        let level = |mhz: u64| {
            let part = (mhz - core.low_mhz) as f64 / span;
            let volts = core.low_volts + part * (core.high_volts - core.low_volts);
            let dynamic = core.dynamic * mhz as f64 * volts * volts;
            let leak_mw = (core.leakage * volts).round() as u64;
            Level { mhz, leak_mw, dynamic_mw: dynamic.round() as u64 }
        };
        let step = usize::try_from(core.step_mhz.max(1)).unwrap_or(usize::MAX);
        let levels = (core.low_mhz..=core.high_mhz.max(core.low_mhz)).step_by(step).map(level);
        Self { levels: levels.collect(), smt_power: core.smt_power, floor_mw: core.c6_mw }
    }

    pub(super) fn top(&self) -> usize {
        self.levels.len() - 1
    }

    pub(super) fn mhz(&self, level: usize) -> u64 {
        self.levels[level].mhz
    }

    /// The lowest level of at least that frequency, `cap` at most.
    pub(super) fn at_least(&self, mhz: u64, cap: usize) -> usize {
        self.levels.iter().position(|l| l.mhz >= mhz).unwrap_or(self.top()).min(cap)
    }

    /// What the core draws, and of that what is above its deepest idle state, by thread.
    pub(super) fn busy(&self, level: usize, first: u64, second: Option<u64>) -> (u64, [u64; 2]) {
        let Level { leak_mw, dynamic_mw, .. } = self.levels[level];
        let Some(second) = second else {
            let total = (leak_mw + dynamic_mw * first / 1_000).max(self.floor_mw);
            return (total, [total - self.floor_mw, 0]);
        };
        let both = first + second;
        let dynamic = dynamic_mw * both * self.smt_power / 2_000_000;
        let total = (leak_mw + dynamic).max(self.floor_mw);
        let above = total - self.floor_mw;
        let own = above * first / both.max(1);
        (total, [own, above - own])
    }
}

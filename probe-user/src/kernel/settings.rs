//! How the programs are loaded: for which machine, and which of those that exclude each other.

use crate::roots::Roots;

/// How the scheduler's tracepoints are hooked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rung {
    /// `tp_btf`, and `raw_tp` where the kernel refuses it.
    #[default]
    Best,
    /// `raw_tp` only.
    Raw,
}

/// How to load.
pub struct Settings<'a> {
    /// Hooks of the scheduler.
    pub rung: Rung,
    /// Package of every CPU up to the highest one online, by CPU number; the time of a CPU above it that
    /// comes online later is in no clock.
    pub package_of: &'a [usize],
    /// The machine: its BTF, its processes.
    pub roots: &'a Roots,
    /// Room of the slice stream in bytes, a power of two; `None`: no slice stream.
    pub slice_bytes: Option<u32>,
    /// Timer expiries a second.
    pub tick_hz: u32,
    /// Timer expiries per tick while nothing is in flight.
    pub idle_divisor: u32,
    /// Whether cores have energy counters: there is then room to hand them over.
    pub cores: bool,
    /// The two CPUs of each core that has two threads: then ticks bring the time beside a busy sibling. Not where
    /// `cores` have counters, which know more. Empty: no program looks at siblings.
    pub siblings: &'a [(u32, u32)],
    /// Whether slices are weighed by cycles: there is then room to hand over each CPU's counter, and ticks bring cycles, and
    /// not the time beside a busy sibling. Not where `cores` have counters, which know more.
    pub cycles: bool,
    /// Whether misses of the last cache level are counted too, beside `cycles`.
    pub misses: bool,
}

impl<'a> Settings<'a> {
    /// Ticks at full rate, 10 a second while nothing is in flight, and nothing but clocks and boundaries.
    #[must_use]
    pub fn plain(package_of: &'a [usize], roots: &'a Roots) -> Self {
        Self {
            rung: Rung::Best,
            package_of,
            roots,
            slice_bytes: None,
            tick_hz: 1000,
            idle_divisor: 100,
            cores: false,
            siblings: &[],
            cycles: false,
            misses: false,
        }
    }
}

/// What a second program does at every context switch, a second resync at its time, and the tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Also {
    /// There is none.
    Nothing,
    /// Energy of single cores; at switches only once they are attached.
    Cores,
    /// Time beside a busy sibling.
    Beside,
    /// Cycles.
    Cycles,
}

impl Also {
    pub(super) fn of(settings: &Settings<'_>) -> Self {
        match (settings.cores, settings.cycles, settings.siblings.is_empty()) {
            (true, _, _) => Self::Cores,
            (false, true, _) => Self::Cycles,
            (false, false, false) => Self::Beside,
            (false, false, true) => Self::Nothing,
        }
    }

    pub(super) fn tick(self) -> &'static str {
        match self {
            Self::Nothing => "tick",
            Self::Cores => "tick_cores",
            Self::Beside => "tick_beside",
            Self::Cycles => "tick_cycles",
        }
    }

    pub(super) fn resync(self) -> &'static str {
        match self {
            Self::Nothing | Self::Cores => "resync",
            Self::Beside => "resync_beside",
            Self::Cycles => "resync_cycles",
        }
    }
}

//! What the ledger is told about a domain: how its counter counts, whose CPUs it covers, how it errs.

use crate::counter::Range;
use crate::scale::Scale;
use crate::unit::{Nanojoules, Nanos, Nanowatts, Ratio};

/// Whose activity a domain's energy follows, and on which clock a boundary is placed inside a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// The CPUs of one package: boundaries are placed on the target's clock of that package.
    Package(usize),
    /// All CPUs: boundaries are placed on the sum of the target's clocks.
    Machine,
    /// A device whose use is known at its samples only (a GPU): the samples' clocks are the target's time
    /// on the device, and boundaries are placed by wall clock.
    Device,
}

/// A domain.
#[derive(Clone, Debug)]
pub struct DomainSpec {
    /// Name: `package-0`, `dram-0`, `gpu-0`, …
    pub name: String,
    /// Energy per count.
    pub scale: Scale,
    /// Where the counter wraps.
    pub range: Range,
    /// Whose activity it follows.
    pub scope: Scope,
    /// Whether it belongs to the additive set, the domains whose sum is the machine.
    pub additive: bool,
    /// Idle power. `None`: unknown. It is then learned where the domain is summed; until it is, nothing is taken off, and
    /// every request says so.
    pub idle: Option<Nanowatts>,
    /// Half of the 95 % interval of `idle`. `None`: nobody said.
    pub idle_error: Option<Nanowatts>,
    /// More than this is physically impossible: such a window is void. `None`: no bound is known, and
    /// only a counter that goes backwards voids a window.
    pub max_power: Option<Nanowatts>,
    /// How often the sensor updates; 0: it is exact when read. A reading may be stale by up to this.
    pub period: Nanos,
    /// The sensor's smallest step. One count, or one nanojoule, is used where that is more.
    pub quantum: Nanojoules,
    /// Relative error of the sensor's class: 0 for a hardware energy counter, 0.5 for `model`.
    pub class: Ratio,
    /// Windows longer than this are gaps.
    pub expected_window: Nanos,
    /// A counter that has not moved for so long, while somebody was on CPU for a tenth of it, is stuck. `None`: it
    /// may stand still (a part of the chip that is off, a battery that is charged), or is exact when read.
    pub pulse: Option<Nanos>,
}

//! What can be said of a counter before the run.

/// Whose activity a counter follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The CPUs of a package.
    Package(usize),
    /// A device; its samples' clocks are consumers' time on it.
    Device,
}

/// An energy counter.
#[derive(Clone, Debug)]
pub struct Domain {
    /// As the probe calls it.
    pub name: String,
    /// Energy of a count.
    pub joules_per_count: f64,
    /// Its width.
    pub bits: u32,
    /// Whose activity it follows.
    pub scope: Scope,
    /// Longest time between updates, ns.
    pub period_ns: u64,
    /// More than the host can draw there.
    pub max_mw: u64,
}

impl Domain {
    /// The bits of its counter.
    #[must_use]
    pub fn mask(&self) -> u64 {
        u64::MAX >> (64 - self.bits.clamp(1, 64))
    }
}

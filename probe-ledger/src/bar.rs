//! Error bars: how far a request's joules may be from the truth, part by part.
//!
//! **Edges.** A reading is stale by up to one sensor period, so at each end of its residency a request may gain or
//! lose its power there times the period. Its power at an end is that over the windows next to it, as many as make up a
//! period, or its mean power if that is more. Idle energy
//! comes off by the clock while energy arrives in lumps, so the idle power counts, too, by the request's share
//! of the active energy. The two ends err in opposite directions, so the root of the sum of squares is a
//! bound, not only an estimate.
//!
//! **Quantum.** The counter moves in steps; at each end the window's energy is off by up to one step, of which the
//! request bears its share of the window's active energy. Never less than a nanojoule.
//!
//! **Gap.** In a window longer than expected in which residents changed, what the target was charged may have
//! been all or none of the request's. What was not covered by valid windows at all is missing at the
//! request's mean power: it only adds to the upper end.
//!
//! **Split.** Where it was guessed who used a device, a request may have caused none of what it was charged, or all that
//! the device used, by its share of its target.
//!
//! **Class.** The sensor's relative error: systematic, so it adds linearly, over domains too.
//!
//! **Policy.** Where requests overlapped, another share policy would have charged this one less or more.
//!
//! Edges and quanta of several domains are independent and add in quadrature; gap, split, class and policy are added to that.

use crate::domain::DomainSpec;
use crate::tally::{Edge, Tally};
use crate::unit::{NANO, Nanojoules, Nanos, clamp, mul_div_up};

/// The parts of an error bar, each as ± energy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ErrorParts {
    /// Sensor period at both ends of the residency.
    pub edges: Nanojoules,
    /// Step of the counter.
    pub quantum: Nanojoules,
    /// Long windows and missing coverage; the larger of the two directions.
    pub gap: Nanojoules,
    /// Guesses at who used a device; the larger of the two directions.
    pub split: Nanojoules,
    /// Class of the sensor.
    pub class: Nanojoules,
    /// What other share policies would have charged; the larger of the two directions.
    pub policy: Nanojoules,
}

/// An energy with its error bar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Estimate {
    /// What was charged.
    pub energy: Nanojoules,
    /// Lower end; never below 0.
    pub low: Nanojoules,
    /// Upper end.
    pub high: Nanojoules,
    /// What the bar is made of.
    pub parts: ErrorParts,
}

/// An error bar that can still be added to.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bar {
    energy: u64,
    /// Squares, nJ².
    edges: u128,
    quantum: u128,
    gap_down: u64,
    gap_up: u64,
    split_down: u64,
    split_up: u64,
    class: u64,
    policy_down: u64,
    policy_up: u64,
}

impl Bar {
    /// The bar of one request in one domain; `resident` is how long it was resident.
    pub(crate) fn new(spec: &DomainSpec, tally: &Tally, resident: u64) -> Self {
        let energy = tally.settled;
        let (edges, quantum) = match tally.edges.ends() {
            Some((first, last)) => {
                let edge = |edge| square(edge_error(spec, tally, edge));
                let step = |edge| square(quantum_error(spec, edge));
                (edge(first).saturating_add(edge(last)), step(first).saturating_add(step(last)))
            }
            None => (0, square(step(spec)).saturating_mul(2)),
        };
        let missing = resident.saturating_sub(tally.covered);
        let lost = mul_div_up(energy, missing, tally.covered);
        Self {
            energy,
            edges,
            quantum,
            gap_down: tally.gap_down.min(energy),
            gap_up: tally.gap_up.saturating_add(lost),
            split_down: tally.split_down.min(energy),
            split_up: tally.split_up,
            class: spec.class.of(energy),
            policy_down: 0,
            policy_up: 0,
        }
    }

    /// The bar of the sum over two domains.
    pub(crate) fn add(self, other: Self) -> Self {
        Self {
            energy: self.energy.saturating_add(other.energy),
            edges: self.edges.saturating_add(other.edges),
            quantum: self.quantum.saturating_add(other.quantum),
            gap_down: self.gap_down.saturating_add(other.gap_down),
            gap_up: self.gap_up.saturating_add(other.gap_up),
            split_down: self.split_down.saturating_add(other.split_down),
            split_up: self.split_up.saturating_add(other.split_up),
            class: self.class.saturating_add(other.class),
            policy_down: self.policy_down.saturating_add(other.policy_down),
            policy_up: self.policy_up.saturating_add(other.policy_up),
        }
    }

    /// With what other share policies would have charged, less and more.
    pub(crate) fn spread(self, (down, up): (u64, u64)) -> Self {
        Self { policy_down: down.min(self.energy), policy_up: up, ..self }
    }

    pub(crate) fn estimate(self) -> Estimate {
        let random = root_up(self.edges.saturating_add(self.quantum)).saturating_add(self.class);
        let down = self.gap_down.saturating_add(self.split_down).saturating_add(self.policy_down);
        let up = self.gap_up.saturating_add(self.split_up).saturating_add(self.policy_up);
        let parts = ErrorParts {
            edges: Nanojoules(root_up(self.edges)),
            quantum: Nanojoules(root_up(self.quantum)),
            gap: Nanojoules(self.gap_down.max(self.gap_up)),
            split: Nanojoules(self.split_down.max(self.split_up)),
            class: Nanojoules(self.class),
            policy: Nanojoules(self.policy_down.max(self.policy_up)),
        };
        Estimate {
            energy: Nanojoules(self.energy),
            low: Nanojoules(self.energy.saturating_sub(random.saturating_add(down))),
            high: Nanojoules(self.energy.saturating_add(random.saturating_add(up))),
            parts,
        }
    }
}

/// The period is the one the sensor was known to have while the request was resident: measured, where that is
/// much longer than declared.
fn edge_error(spec: &DomainSpec, tally: &Tally, edge: Edge) -> u64 {
    let there = mul_div_up(edge.energy, tally.period, edge.time);
    let mean = mul_div_up(tally.active, tally.period, tally.covered);
    there.max(mean).saturating_add(idle_error(spec, tally))
}

/// A period's idle energy, by the request's share of what was active while it was resident.
fn idle_error(spec: &DomainSpec, tally: &Tally) -> u64 {
    let attojoules = spec.idle.map_or(0, |power| power.over(Nanos(tally.period)));
    let idle = clamp(attojoules.div_ceil(u128::from(NANO)));
    if tally.whole == 0 { idle } else { mul_div_up(idle, tally.active, tally.whole) }
}

fn quantum_error(spec: &DomainSpec, edge: Edge) -> u64 {
    let step = step(spec);
    if edge.window == 0 { step } else { mul_div_up(step, edge.energy, edge.window).max(1) }
}

/// The sensor's step: at least one count and one nanojoule.
fn step(spec: &DomainSpec) -> u64 {
    spec.quantum.max(spec.scale.energy(1)).0.max(1)
}

fn square(x: u64) -> u128 {
    u128::from(x) * u128::from(x)
}

/// Square root, rounded up. The root of a `u128` fits a `u64` but for rounding up the very last.
fn root_up(square: u128) -> u64 {
    let root = square.isqrt();
    let up = if root * root < square { root + 1 } else { root };
    u64::try_from(up).unwrap_or(u64::MAX)
}

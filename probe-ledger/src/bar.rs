//! Error bars: between which joules the truth of a request lies with 95 % confidence, part by part.
//!
//! Every part is a half-width: so far off at most in 95 of 100 requests, if it were the only part.
//!
//! **Edges.** A reading is stale by anything up to one sensor period, so at each end of its residency a request
//! gains or loses its power there times a time that is even over a period. Its power at an end is that over the windows next to it,
//! as many as make up a period, or its mean power if that is more. Idle energy comes off by the clock while
//! energy arrives in lumps, so the idle power counts, too, by the request's share of the active energy.
//!
//! **Quantum.** The counter moves in steps; at each end the window's energy is off by anything up to one step, of which the
//! request bears its share of the window's active energy. Never less than a nanojoule.
//!
//! **Idle.** Idle power is known so well and no better: by the clock, and by the request's share of the active energy.
//!
//! **Weight.** Where others ran in the same windows, the counter does not say whose a nanosecond's energy was: theirs may have
//! drawn more or less than the target's. The more of its windows' energy was others', the more of its charge that moves.
//! Where energy counters of single cores gave the weights they saw who drew what, some time ago: less of it
//! moves then, but for the beginning and the end.
//!
//! **Class.** The sensor's relative error: systematic, so it adds linearly over domains.
//!
//! **Policy.** Where requests overlapped: how far work's prices foretold what was seen, of what another price would have moved
//! to or from others, and all the more where nobody tells whether one of them was queued; and if another policy was chosen, the distance to what work says. Where nothing foretells, anything
//! of it may be others'.
//!
//! These are independent of each other: the root of the sum of their squares is the half-width of them all. The distance to
//! what work says and two parts more are no matter of chance, and are added to that:
//!
//! **Gap.** In a window longer than expected in which residents changed, what the target was charged may have
//! been all or none of the request's. What was not covered by valid windows at all is missing at the
//! request's mean power: it only adds to the upper end.
//!
//! **Split.** Where it was guessed who used a device, a request may have caused none of what it was charged, or all that
//! the device used, by its share of its target.

use crate::desk::Shares;
use crate::domain::DomainSpec;
use crate::tally::{Edge, Tally};
use crate::unit::{NANO, Nanojoules, Nanos, Nanowatts, clamp, mul_div_up};

/// Of a period's energy, at each of two ends: together they make up 97.5 % of it, which is what 95 % of the requests lose
/// whose end alone is stale, since nothing ran before them.
const EDGE: f64 = 0.689;
/// Of a step, at each of two ends: 1.96/√12, since it is even over the step.
const STEP: f64 = 0.566;
/// By which factor a consumer's power a nanosecond may lie above or below that of those beside it.
const POWER: f64 = 2.2;
/// Of that, so much is left where counters of single cores gave the weights,
const SEEN: f64 = 0.5;
/// and all of it for so long at both ends: what they saw is a mean over that time. ns.
const SEEN_NS: u64 = 100_000_000;
/// By which factor what a request does may lie above or below what those beside it do, where there are no prices.
const WORK: f64 = 3.5;
/// Prices are off by so much more than the equations they were tried on,
const FORETOLD: f64 = 2.0;
/// and by so much even where they foretold everything: when a step began and ended, nobody sees.
const STEPS: f64 = 0.09;
/// and by so much more where nobody told when work on one of them began: it may have been queued.
const QUEUES: f64 = 3.0;

/// The parts of an error bar, each as ± energy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ErrorParts {
    /// Sensor period at both ends of the residency.
    pub edges: Nanojoules,
    /// Step of the counter.
    pub quantum: Nanojoules,
    /// Uncertainty of the idle power that was taken off.
    pub idle: Nanojoules,
    /// Power of others who ran at the same time.
    pub weight: Nanojoules,
    /// Class of the sensor.
    pub class: Nanojoules,
    /// How overlapping requests share; the larger of the two directions.
    pub policy: Nanojoules,
    /// Long windows and missing coverage; the larger of the two directions.
    pub gap: Nanojoules,
    /// Guesses at who used a device; the larger of the two directions.
    pub split: Nanojoules,
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

/// An error bar that can still be added to. nJ.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bar {
    energy: u64,
    /// Squares.
    edges: f64,
    quantum: f64,
    idle: f64,
    weight: Tilt,
    class: f64,
    /// Between requests, without prices and by them.
    shares: Tilt,
    foretold: f64,
    gap: Doubt,
    split: Doubt,
    /// What work says it is less, and more.
    other: Doubt,
}

/// What a part of an amount would be less and more if its owner had done less or more than the others.
#[derive(Clone, Copy, Debug, Default)]
struct Tilt {
    down: f64,
    up: f64,
}

impl Tilt {
    /// `theirs` is the others' part of the whole, and each of them did as much as the owner, give or take `factor`.
    fn new(energy: u64, theirs: f64, factor: f64) -> Self {
        let own = 1.0 - theirs;
        let moved = energy as f64 * (factor - 1.0) * theirs;
        Self { down: moved / (own + factor * theirs), up: moved / (own * factor + theirs) }
    }

    fn add(self, other: Self) -> Self {
        Self { down: self.down + other.down, up: self.up + other.up }
    }
}

/// How much less and how much more it may be.
#[derive(Clone, Copy, Debug, Default)]
struct Doubt {
    down: u64,
    up: u64,
}

impl Doubt {
    fn add(self, other: Self) -> Self {
        let (down, up) = (self.down.saturating_add(other.down), self.up.saturating_add(other.up));
        Self { down, up }
    }

    fn larger(self) -> Nanojoules {
        Nanojoules(self.down.max(self.up))
    }
}

impl Bar {
    /// The bar of one request in one domain; `resident` is how long it was resident.
    pub(crate) fn new(spec: &DomainSpec, tally: &Tally, resident: u64) -> Self {
        let energy = tally.settled;
        let (edges, quantum) = match tally.edges.ends() {
            Some((first, last)) => {
                let both = |of: f64, error: &dyn Fn(Edge) -> u64| {
                    square(of * error(first) as f64) + square(of * error(last) as f64)
                };
                let edge = |edge| edge_error(tally, edge);
                (both(EDGE, &edge), both(STEP, &|edge| quantum_error(spec, edge)))
            }
            None => (0.0, 2.0 * square(STEP * step(spec) as f64)),
        };
        let missing = resident.saturating_sub(tally.covered);
        let lost = mul_div_up(energy, missing, tally.covered);
        // All of it comes from windows that did not know of the request.
        let unseen = if tally.windows == 0 { energy } else { 0 };
        Self {
            energy,
            edges,
            quantum,
            idle: square(idle_doubt(energy, tally)),
            weight: Tilt::new(energy, part(others(tally), tally.active), POWER),
            class: spec.class.of(energy) as f64,
            gap: Doubt {
                down: unseen.max(tally.gap_down.min(energy)),
                up: tally.gap_up.saturating_add(lost),
            },
            split: Doubt { down: tally.split_down.min(energy), up: tally.split_up },
            shares: Tilt::default(),
            foretold: 0.0,
            other: Doubt::default(),
        }
    }

    /// The bar of the sum over two domains.
    pub(crate) fn add(self, other: Self) -> Self {
        Self {
            energy: self.energy.saturating_add(other.energy),
            edges: self.edges + other.edges,
            quantum: self.quantum + other.quantum,
            idle: self.idle + other.idle,
            weight: self.weight.add(other.weight),
            class: self.class + other.class,
            gap: self.gap.add(other.gap),
            split: self.split.add(other.split),
            shares: self.shares.add(other.shares),
            foretold: self.foretold + other.foretold,
            other: self.other.add(other.other),
        }
    }

    /// With how it was shared with those it overlapped.
    pub(crate) fn shared(self, shares: &Shares) -> Self {
        let off = |from: f64, to: f64| (from - to).max(0.0).ceil() as u64;
        let Shares { chosen, best, foretold, steps, queues, unknown } = *shares;
        let other = Doubt { down: off(chosen, best).min(self.energy), up: off(best, chosen) };
        let foretold = root(root(FORETOLD * foretold, STEPS * steps), QUEUES * queues);
        let shares = Tilt::new(self.energy, part(unknown, chosen as u64), WORK);
        Self { shares, foretold, other, ..self }
    }

    pub(crate) fn estimate(self) -> Estimate {
        let by_chance = |weight: f64, shares: f64| {
            let parts = [weight, shares, self.foretold, self.class];
            let squares =
                parts.into_iter().map(square).sum::<f64>() + self.edges + self.quantum + self.idle;
            up(squares.sqrt()).0
        };
        let low = by_chance(self.weight.down, self.shares.down);
        let high = by_chance(self.weight.up, self.shares.up);
        let bounds = self.gap.add(self.split).add(self.other);
        let parts = ErrorParts {
            edges: up(self.edges.sqrt()),
            quantum: up(self.quantum.sqrt()),
            idle: up(self.idle.sqrt()),
            weight: up(self.weight.down.max(self.weight.up)),
            class: up(self.class),
            policy: up(root(self.shares.down.max(self.shares.up), self.foretold))
                .saturating_add(self.other.larger()),
            gap: self.gap.larger(),
            split: self.split.larger(),
        };
        Estimate {
            energy: Nanojoules(self.energy),
            low: Nanojoules(self.energy.saturating_sub(low.saturating_add(bounds.down))),
            high: Nanojoules(self.energy.saturating_add(high.saturating_add(bounds.up))),
            parts,
        }
    }
}

/// The period is the one the sensor was known to have while the request was resident: measured, where that is
/// much longer than declared.
fn edge_error(tally: &Tally, edge: Edge) -> u64 {
    let there = mul_div_up(edge.energy, tally.period, edge.time);
    let mean = mul_div_up(tally.active, tally.period, tally.covered);
    there.max(mean).saturating_add(idle_error(tally))
}

/// What the idle power that was taken off may be off by, of what is charged. Of windows of which nothing was left to charge, by the
/// request's part of the others; all of it where there are none.
fn idle_doubt(energy: u64, tally: &Tally) -> f64 {
    let seen = mul_div_up(energy, tally.idle_error, tally.active);
    let unseen = match tally.whole {
        0 => tally.idle_unseen,
        whole => mul_div_up(tally.idle_unseen, tally.active, whole),
    };
    seen as f64 + unseen as f64
}

/// Of what was active, what moves if others drew more or less than the target, a nanosecond.
fn others(tally: &Tally) -> f64 {
    let ends = part(2.0 * SEEN_NS as f64, tally.covered);
    tally.beside as f64 + tally.seen_beside as f64 * (SEEN + ends).min(1.0)
}

/// A period's idle energy, by the request's share of what was active while it was resident.
fn idle_error(tally: &Tally) -> u64 {
    let attojoules = Nanowatts(tally.idle_power).over(Nanos(tally.period));
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

/// Of the sum of two squares. Not `hypot`, whose last bit is another in another C library.
fn root(a: f64, b: f64) -> f64 {
    (square(a) + square(b)).sqrt()
}

fn square(x: f64) -> f64 {
    x * x
}

/// A part of a whole, as a fraction.
fn part(of: f64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { (of / whole as f64).clamp(0.0, 1.0) }
}

/// Rounded up.
fn up(nj: f64) -> Nanojoules {
    Nanojoules(nj.ceil() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_is_the_same_to_the_bit_whatever_the_c_library() {
        // `hypot` of one says …6607, which is as near.
        assert_eq!(root(0.1, 0.4).to_bits(), 0.412_310_562_561_766_1_f64.to_bits());
    }
}

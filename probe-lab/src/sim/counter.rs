//! A counter register: it shows what it knew at its last update, in units, and wraps.

/// Picojoules in a joule.
const PICO: u128 = 1_000_000_000_000;

/// A register.
#[derive(Clone, Debug)]
pub(super) struct Counter {
    /// Units in `per_pj` picojoules.
    units: u128,
    per_pj: u128,
    mask: u64,
    start: u64,
    shown: u64,
}

impl Counter {
    /// A unit of 2 to the minus `unit_bits` joules, `bits` wide, showing `start` at first.
    pub(super) fn binary(unit_bits: u32, bits: u32, start: u64) -> Self {
        Self::new(1 << unit_bits, PICO, bits, start)
    }

    /// A unit of a millijoule.
    pub(super) fn millijoules(start: u64) -> Self {
        Self::new(1_000, PICO, 64, start)
    }

    fn new(units: u128, per_pj: u128, bits: u32, start: u64) -> Self {
        let mask = u64::MAX >> (64 - bits.clamp(1, 64));
        Self { units, per_pj, mask, start: start & mask, shown: start & mask }
    }

    /// The total energy so far.
    pub(super) fn update(&mut self, pj: u64) {
        // Modulo the register's width, so truncation loses nothing.
        let counted = (u128::from(pj) * self.units / self.per_pj) as u64;
        self.shown = self.start.wrapping_add(counted) & self.mask;
    }

    pub(super) fn shown(&self) -> u64 {
        self.shown
    }
}

//! Integrals of one domain: power that is constant between events, by whose it is.

use super::truth::DomainTruth;

/// Powers and energies of a domain. `total` is added up from cores, `idle` and `active` from whose it is: that
/// both agree is the truth's own conservation.
#[derive(Clone, Debug)]
pub(super) struct Meter {
    pub(super) total_mw: u64,
    pub(super) idle_mw: u64,
    pub(super) active_mw: Vec<u64>,
    pub(super) energy: DomainTruth,
}

/// Clocks of one package's CPUs, or of a device.
#[derive(Clone, Debug)]
pub(super) struct Clocks {
    /// CPUs each consumer is on.
    pub(super) running: Vec<u64>,
    pub(super) ns: Vec<u64>,
    /// Tenths of them, those beside a busy sibling as six; and cycles.
    pub(super) smt: Weight,
    pub(super) cycles: Weight,
}

/// Something else that grows while a consumer is on a CPU.
#[derive(Clone, Debug)]
pub(super) struct Weight {
    /// In a nanosecond.
    pub(super) rate: Vec<u64>,
    pub(super) sum: Vec<u64>,
}

impl Meter {
    pub(super) fn new(consumers: usize, idle_mw: u64) -> Self {
        let energy = DomainTruth { active_pj: vec![0; consumers], ..DomainTruth::default() };
        Self { total_mw: idle_mw, idle_mw, active_mw: vec![0; consumers], energy }
    }

    /// Milliwatts for nanoseconds are picojoules.
    pub(super) fn advance(&mut self, ns: u64) {
        self.energy.total_pj += self.total_mw * ns;
        self.energy.idle_pj += self.idle_mw * ns;
        for (pj, mw) in self.energy.active_pj.iter_mut().zip(&self.active_mw) {
            *pj += mw * ns;
        }
    }
}

impl Weight {
    fn advance(&mut self, ns: u64) {
        for (sum, rate) in self.sum.iter_mut().zip(&self.rate) {
            *sum += rate * ns;
        }
    }
}

impl Clocks {
    pub(super) fn new(consumers: usize) -> Self {
        let zeros = || vec![0; consumers];
        let weight = || Weight { rate: zeros(), sum: zeros() };
        Self { running: zeros(), ns: zeros(), smt: weight(), cycles: weight() }
    }

    pub(super) fn advance(&mut self, ns: u64) {
        for (clock, running) in self.ns.iter_mut().zip(&self.running) {
            *clock += running * ns;
        }
        self.smt.advance(ns);
        self.cycles.advance(ns);
    }
}

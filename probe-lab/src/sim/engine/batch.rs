//! What a step is made of, and whose its energy is.

use super::{Engine, Sequence};
use crate::sim::load::Use;
use crate::sim::machine::Machine;

/// A sequence's part in a step.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    pub(super) request: u64,
    /// Tokens of its prompt that the step reads; 0: it is in decode.
    reads: u64,
    does: Doing,
}

/// What somebody does in a step: what each domain's energy is shared by. Leakage, some 4 % of a core's power, goes along with
/// its heat.
#[derive(Clone, Copy, Debug, Default)]
struct Doing {
    /// Work: a device draws the same all the time.
    ns: u128,
    /// Work times activity: a package's.
    heat: u128,
    /// Work times the memory's power.
    traffic: u128,
}

/// What a domain's energy follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Package,
    Memory,
    Device,
}

impl Doing {
    fn new(ns: u64, does: Use) -> Self {
        let of = |power: u64| u128::from(ns) * u128::from(power);
        Self { ns: of(1), heat: of(does.activity), traffic: of(does.memory_mw) }
    }

    fn add(self, other: Self) -> Self {
        Self {
            ns: self.ns + other.ns,
            heat: self.heat + other.heat,
            traffic: self.traffic + other.traffic,
        }
    }

    /// What remains of the division is less than a part in 10^9.
    fn over(self, n: usize) -> Self {
        let n = (n as u128).max(1);
        Self { ns: self.ns / n, heat: self.heat / n, traffic: self.traffic / n }
    }

    fn of(self, kind: Kind) -> u128 {
        match kind {
            Kind::Package => self.heat,
            Kind::Memory => self.traffic,
            Kind::Device => self.ns,
        }
    }
}

impl Kind {
    /// Of a domain: packages come first, then their memories, then a device.
    fn of(domain: usize, packages: usize) -> Self {
        match domain / packages.max(1) {
            0 => Self::Package,
            1 => Self::Memory,
            _ => Self::Device,
        }
    }
}

impl Engine {
    /// The next step: every sequence in decode gets a token, prompts are read as far as the chunk goes. Returns its work
    /// and what it does to the machine.
    pub(super) fn compose(&mut self, now: u64) -> (u64, Use) {
        let server = &self.server;
        let costs = server.costs;
        let mut room = server.chunk.max(1);
        self.parts.clear();
        let mut own = Doing::default();
        for sequence in &mut self.active {
            let left = sequence.facts.prompt_tokens - sequence.read;
            let reads = left.min(room);
            if left > 0 && reads == 0 {
                continue;
            }
            room -= reads;
            if sequence.read == 0 {
                sequence.facts.prefill = now;
            }
            let does = if left > 0 {
                let before = reads * sequence.read + reads * (reads - 1) / 2;
                Doing::new(reads * costs.prompt + costs.attend * before, server.prefill)
            } else {
                let context = sequence.read + sequence.written;
                Doing::new(costs.token + costs.context * context, server.decode)
            };
            own = own.add(does);
            self.parts.push(Part { request: sequence.facts.request, reads, does });
        }
        let mut base = Doing::new(costs.step, server.decode);
        if costs.hidden {
            // All of the traffic, and the time that nobody fills.
            let waits = costs.step.saturating_sub(own.ns as u64);
            base = Doing { traffic: base.traffic, ..Doing::new(waits, server.decode) };
        }
        // In equal parts to all in the step.
        let each = base.over(self.parts.len());
        self.parts.iter_mut().for_each(|part| part.does = part.does.add(each));
        let whole = own.add(base);
        let per_ns = |sum: u128| (sum / whole.ns.max(1)) as u64;
        let does = Use { activity: per_ns(whole.heat), memory_mw: per_ns(whole.traffic) };
        (whole.ns as u64, does)
    }

    /// After the step: the part's tokens are read. Says whether a token is written.
    pub(super) fn advance_sequence(&self, part: &Part) -> bool {
        let sequence = self.active.iter().find(|s| s.facts.request == part.request);
        sequence.is_some_and(|s| s.read == s.facts.prompt_tokens)
    }

    /// What the server drew since it was last booked, by domain.
    fn unbooked(&mut self, machine: &Machine) -> Vec<u64> {
        let drawn = machine.meters.iter().map(|m| m.energy.active_pj[self.consumer]);
        let since = drawn.zip(&mut self.booked).map(|(now, booked)| {
            let part = now - *booked;
            *booked = now;
            part
        });
        since.collect()
    }

    /// It was the step's.
    pub(super) fn book_step(&mut self, machine: &Machine) {
        let drawn = self.unbooked(machine);
        for part in &self.parts {
            if let Some(s) = self.active.iter_mut().find(|s| s.facts.request == part.request) {
                s.read += part.reads;
            }
        }
        let parts = std::mem::take(&mut self.parts);
        self.share(&drawn, &parts, machine.clocks.len(), Doing::of);
        self.parts = parts;
    }

    /// It was the gap's: equal parts.
    pub(super) fn book_gap(&mut self, machine: &Machine) {
        let drawn = self.unbooked(machine);
        let parts = std::mem::take(&mut self.parts);
        self.share(&drawn, &parts, machine.clocks.len(), |_, _| 1);
    }

    pub(super) fn book_background(&mut self, machine: &Machine) {
        let drawn = self.unbooked(machine);
        for (sum, part) in self.background.iter_mut().zip(drawn) {
            *sum += part;
        }
    }

    /// Cuts each domain's amount at the running sums of the shares, so that the parts add up to it.
    fn share(
        &mut self,
        drawn: &[u64],
        parts: &[Part],
        packages: usize,
        share: impl Fn(Doing, Kind) -> u128,
    ) {
        for (d, amount) in drawn.iter().enumerate().filter(|(_, amount)| **amount > 0) {
            let kind = Kind::of(d, packages);
            let shares = || parts.iter().map(|part| share(part.does, kind));
            let whole: u128 = shares().sum();
            // Nobody's work explains it: in equal parts.
            let even = u128::from(whole == 0);
            let whole = whole + even * parts.len() as u128;
            let cut = |at: u128| (u128::from(*amount) * at / whole.max(1)) as u64;
            let mut before = 0;
            for (part, share) in parts.iter().zip(shares()) {
                let after = before + share + even;
                let sequences = self.active.iter_mut().chain(&mut self.left);
                let Some(sequence) = { sequences }.find(|s| s.facts.request == part.request) else {
                    continue;
                };
                sequence.charge(d, cut(after) - cut(before), part.reads > 0);
                before = after;
            }
        }
    }
}

impl Sequence {
    fn charge(&mut self, domain: usize, pj: u64, prefill: bool) {
        let energy = &mut self.energy[domain];
        if prefill {
            energy.prefill_pj += pj;
        } else {
            energy.decode_pj += pj;
        }
    }
}

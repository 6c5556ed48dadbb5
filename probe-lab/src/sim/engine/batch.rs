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
    /// Work times activity: what the step's energy is shared by.
    share: u128,
}

impl Engine {
    /// The next step: every sequence in decode gets a token, prompts are read as far as the chunk goes. Returns its work
    /// and what it does to the machine.
    pub(super) fn compose(&mut self, now: u64) -> (u64, Use) {
        let server = &self.server;
        let costs = server.costs;
        let mut room = server.chunk.max(1);
        self.parts.clear();
        let (mut work, mut heat, mut traffic) = (0u64, 0u128, 0u128);
        let mut add = |ns: u64, does: Use| {
            work += ns;
            heat += u128::from(ns) * u128::from(does.activity);
            traffic += u128::from(ns) * u128::from(does.memory_mw);
            u128::from(ns) * u128::from(does.activity)
        };
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
            let share = if left > 0 {
                add(reads * costs.prompt, server.prefill)
            } else {
                let context = sequence.read + sequence.written;
                add(costs.token + costs.context * context, server.decode)
            };
            self.parts.push(Part { request: sequence.facts.request, reads, share });
        }
        let base = add(costs.step, server.decode);
        // In equal parts to all in the step; what remains of the division is less than a part in 10^9.
        let each = base / (self.parts.len() as u128).max(1);
        self.parts.iter_mut().for_each(|part| part.share += each);
        let per_ns = |sum: u128| (sum / u128::from(work.max(1))) as u64;
        (work, Use { activity: per_ns(heat), memory_mw: per_ns(traffic) })
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
        self.share(&drawn, &parts, |part| part.share);
        self.parts = parts;
    }

    /// It was the gap's: equal parts.
    pub(super) fn book_gap(&mut self, machine: &Machine) {
        let drawn = self.unbooked(machine);
        let parts = std::mem::take(&mut self.parts);
        self.share(&drawn, &parts, |_| 1);
    }

    pub(super) fn book_background(&mut self, machine: &Machine) {
        let drawn = self.unbooked(machine);
        for (sum, part) in self.background.iter_mut().zip(drawn) {
            *sum += part;
        }
    }

    /// Cuts an amount at the running sums of the shares, so that the parts add up to it.
    fn share(&mut self, drawn: &[u64], parts: &[Part], share: impl Fn(&Part) -> u128) {
        let whole: u128 = parts.iter().map(&share).sum();
        let mut before = 0;
        for part in parts {
            let after = before + share(part);
            let sequences = self.active.iter_mut().chain(&mut self.left);
            let Some(sequence) = { sequences }.find(|s| s.facts.request == part.request) else {
                continue;
            };
            for (d, amount) in drawn.iter().enumerate() {
                let cut = |at: u128| (u128::from(*amount) * at / whole.max(1)) as u64;
                sequence.charge(d, cut(after) - cut(before), part.reads > 0);
            }
            before = after;
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

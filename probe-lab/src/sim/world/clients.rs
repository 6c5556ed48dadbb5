//! Who asks a server, and when.

use crate::sim::dice::Dice;
use crate::sim::input::Facts;
use crate::sim::load::{Arrivals, Server, Tokens};

/// All clients of one server.
#[derive(Debug)]
pub(super) struct Clients {
    arrivals: Arrivals,
    prompt: Tokens,
    completion: Tokens,
    requests: u64,
    asked: u64,
    answered: u64,
}

impl Clients {
    pub(super) fn new(server: &Server) -> Self {
        Self {
            arrivals: server.arrivals,
            prompt: server.prompt,
            completion: server.completion,
            requests: server.requests as u64,
            asked: 0,
            answered: 0,
        }
    }

    /// When the first requests come.
    pub(super) fn begin(&self, now: u64, dice: &mut Dice) -> Vec<u64> {
        match self.arrivals {
            Arrivals::Closed { clients, think_ns } => {
                (0..clients).map(|_| now + dice.wait(think_ns).max(1)).collect()
            }
            Arrivals::Poisson { every_ns } => vec![now + dice.wait(every_ns).max(1)],
        }
    }

    /// A request, unless there have been enough, and when the next one comes if that is known.
    pub(super) fn arrive(
        &mut self,
        consumer: usize,
        now: u64,
        dice: &mut Dice,
    ) -> (Option<Facts>, Option<u64>) {
        if self.asked == self.requests {
            return (None, None);
        }
        self.asked += 1;
        let tokens = |dice: &mut Dice, t: Tokens| dice.around(t.mean, t.spread).max(1);
        let facts = Facts {
            // Servers count apart.
            request: self.asked + ((consumer as u64) << 32),
            consumer,
            prompt_tokens: tokens(dice, self.prompt),
            completion_tokens: tokens(dice, self.completion),
            queue: now,
            prefill: now,
            decode: now,
            end: now,
        };
        let next = match self.arrivals {
            Arrivals::Closed { .. } => None,
            Arrivals::Poisson { every_ns } => Some(now + dice.wait(every_ns).max(1)),
        };
        (Some(facts), next)
    }

    /// A client has its answer; when it asks again.
    pub(super) fn answered(&mut self, now: u64, dice: &mut Dice) -> Option<u64> {
        self.answered += 1;
        match self.arrivals {
            Arrivals::Closed { think_ns, .. } => Some(now + dice.wait(think_ns).max(1)),
            Arrivals::Poisson { .. } => None,
        }
    }

    pub(super) fn done(&self) -> bool {
        self.answered == self.requests
    }
}

//! The open requests of one connection, in the order of their responses.

use std::collections::VecDeque;

use super::{
    call::Call,
    exchange::Exchange,
    facts::Facts,
    flags::Flag,
    output::{Moment, NotUnderstood, RequestId},
};
use crate::record::End;

/// Requests followed on one connection at once.
pub(super) const PIPELINE_MAX: usize = 32;

/// Open requests; the front one is being answered.
#[derive(Debug, Default)]
pub(super) struct Queue(VecDeque<Exchange>);

impl Queue {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn front(&mut self) -> Option<&mut Exchange> {
        self.0.front_mut()
    }

    pub(super) fn get(&mut self, id: Option<RequestId>) -> Option<&mut Exchange> {
        let id = id?;
        self.0.iter_mut().find(|e| e.id() == id)
    }

    /// A new request, whose first byte was read at `start`.
    pub(super) fn begin(
        &mut self,
        start: Moment,
        call: &mut Call<'_>,
    ) -> Result<&mut Exchange, NotUnderstood> {
        if self.0.len() == PIPELINE_MAX {
            for exchange in &mut self.0 {
                exchange.flag(Flag::PipelineTooDeep);
            }
            return Err(NotUnderstood::Pipeline);
        }
        let glued = self.would_glue(start);
        let mut exchange = Exchange::begin(start, call);
        exchange.glued = glued;
        if !self.0.is_empty() {
            exchange.flag(Flag::Pipelined);
        }
        self.0.push_back(exchange);
        // It was pushed just now.
        self.0.back_mut().ok_or(NotUnderstood::Pipeline)
    }

    /// Whether a request first read at `start` was read together with the end of the one before it.
    pub(super) fn would_glue(&self, start: Moment) -> bool {
        self.0.back().is_some_and(|before| before.facts.body == Some(start) && !before.body_unseen)
    }

    /// Whether a request behind the front one came by itself.
    pub(super) fn has_unglued(&self) -> bool {
        self.0.iter().skip(1).any(|e| !e.glued)
    }

    /// Whether there may have been others between the front request and those behind it.
    pub(super) fn has_found(&self) -> bool {
        self.0.iter().skip(1).any(|e| e.found)
    }

    /// Whether the front request is a `HEAD` for all that is known.
    pub(super) fn front_may_be_head(&self) -> bool {
        let method = self.0.front().map(|e| e.facts.method.as_deref());
        matches!(method, Some(None | Some("HEAD")))
    }

    /// Flags the front request.
    pub(super) fn flag_front(&mut self, flag: Flag) {
        if let Some(exchange) = self.front() {
            exchange.flag(flag);
        }
    }

    /// The client sends no more: only the last request can be in the middle of its body.
    pub(super) fn left(&mut self) {
        if let Some(exchange) = self.0.back_mut() {
            exchange.left();
        }
    }

    /// The front request is over.
    pub(super) fn finish_front(&mut self, outcome: End, at: Moment, call: &mut Call<'_>) {
        if let Some(exchange) = self.0.pop_front() {
            exchange.finish(outcome, at, call);
        }
    }

    /// Responses were not seen, and a new one begins: it answers the last request that was not glued
    /// to the one before it, since a client that does not pipeline had all earlier answers by then.
    /// Requests before that one end at `at`.
    pub(super) fn answered_unseen(&mut self, why: Flag, at: Moment, call: &mut Call<'_>) {
        let answered = self.0.iter().rposition(|e| !e.glued).unwrap_or(0);
        for _ in 0..answered {
            self.flag_front(why);
            self.finish_front(End::Complete, at, call);
        }
    }

    /// Flags every open request.
    pub(super) fn flag_all(&mut self, flag: Flag) {
        self.flag_until(u64::MAX, flag);
    }

    /// Flags every open request that began no later than that.
    pub(super) fn flag_until(&mut self, t: u64, flag: Flag) {
        for exchange in self.0.iter_mut().filter(|e| e.facts.start.t <= t) {
            exchange.flag(flag);
        }
    }

    /// Heap bytes held.
    pub(super) fn retained(&self) -> usize {
        let names = |facts: &Facts| {
            [&facts.method, &facts.path, &facts.model, &facts.external_id]
                .into_iter()
                .flatten()
                .map(String::capacity)
                .sum::<usize>()
        };
        self.0.capacity() * size_of::<Exchange>()
            + self
                .0
                .iter()
                .map(|e| size_of::<Facts>() + names(&e.facts) + e.pace.retained())
                .sum::<usize>()
    }
}

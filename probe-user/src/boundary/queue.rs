//! The open requests of one connection, in the order of their responses.

use std::collections::VecDeque;

use super::{
    exchange::{Call, Exchange},
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
        let mut exchange = Exchange::begin(start, call);
        if !self.0.is_empty() {
            exchange.flag(Flag::Pipelined);
        }
        self.0.push_back(exchange);
        // It was pushed just now.
        self.0.back_mut().ok_or(NotUnderstood::Pipeline)
    }

    /// The front request is over.
    pub(super) fn finish_front(&mut self, outcome: End, at: Moment, call: &mut Call<'_>) {
        if let Some(exchange) = self.0.pop_front() {
            exchange.finish(outcome, at, call);
        }
    }

    /// Flags every open request.
    pub(super) fn flag_all(&mut self, flag: Flag) {
        for exchange in &mut self.0 {
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
            + self.0.iter().map(|e| size_of::<Facts>() + names(&e.facts)).sum::<usize>()
    }
}

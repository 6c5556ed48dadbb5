//! The engine's loop.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, TryRecvError};

use super::counters::{Counters, Left};
use super::sequence::Sequence;
use super::{Job, Options};
use crate::model::{Cache, Error, Model, Segment};

struct Slot {
    cache: Cache,
    resident: Option<Sequence>,
}

/// Everything the engine's thread owns.
pub(super) struct Stepper {
    model: Arc<Model>,
    counters: Arc<Counters>,
    queue: Receiver<Job>,
    slots: Vec<Slot>,
    prefill_chunk: usize,
    admitted: u64,
}

impl Stepper {
    pub(super) fn new(
        model: Arc<Model>,
        counters: Arc<Counters>,
        options: Options,
        queue: Receiver<Job>,
    ) -> Result<Self, Error> {
        let slots = (0..options.slots.max(1))
            .map(|_| Ok(Slot { cache: model.llama.cache()?, resident: None }))
            .collect::<Result<Vec<_>, Error>>()?;
        let prefill_chunk = options.prefill_chunk.max(1);
        Ok(Self { model, counters, queue, slots, prefill_chunk, admitted: 0 })
    }

    /// Warms up, says `ready`, then steps until the queue is closed and the last resident has left.
    pub(super) fn run(mut self, threads: usize, ready: &Sender<()>) {
        // Candle's row loops use the rayon pool of the thread they run on. With this thread as
        // the pool's first, one thread means one thread: nothing is handed over, nobody waits.
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads.max(1))
            .use_current_thread()
            .build();
        self.warm_up();
        let _ = ready.send(());
        while self.admit() {
            self.evict();
            self.step();
        }
        drop(pool);
    }

    /// Candle packs a weight when it is first used; that must not be the first request's burden.
    fn warm_up(&mut self) {
        if let Some(Slot { cache, .. }) = self.slots.first_mut() {
            // If this fails, so will the first request, which can be told.
            let _ =
                self.model.llama.forward(&mut [Segment { cache: &mut *cache, tokens: &[0, 0] }]);
            cache.clear();
        }
    }

    /// Fills free slots from the queue; waits for a job if there is no resident. False at the end.
    fn admit(&mut self) -> bool {
        loop {
            let idle = self.slots.iter().all(|s| s.resident.is_none());
            let Some(slot) = self.slots.iter_mut().find(|s| s.resident.is_none()) else {
                return true;
            };
            let job = if idle {
                match self.queue.recv() {
                    Ok(job) => job,
                    Err(_) => return false,
                }
            } else {
                match self.queue.try_recv() {
                    Ok(job) => job,
                    Err(TryRecvError::Empty | TryRecvError::Disconnected) => return true,
                }
            };
            self.counters.queued(-1);
            if job.events.is_closed() {
                self.counters.left(Left::Aborted);
                continue;
            }
            slot.cache.clear();
            slot.resident = Some(Sequence::new(job, self.admitted));
            self.admitted += 1;
            self.counters.resident(1);
        }
    }

    fn evict(&mut self) {
        for slot in &mut self.slots {
            if slot.resident.as_ref().is_some_and(Sequence::cancelled) {
                leave(slot, &self.counters, Left::Aborted);
            }
        }
    }

    /// One pass over all residents.
    fn step(&mut self) {
        let prefill = self
            .slots
            .iter()
            .filter_map(|s| s.resident.as_ref())
            .filter(|s| s.in_prefill())
            .map(|s| s.order)
            .min();
        let mut segments = Vec::new();
        let mut members = Vec::new();
        for (i, slot) in self.slots.iter_mut().enumerate() {
            let Some(resident) = &slot.resident else { continue };
            if resident.in_prefill() && prefill != Some(resident.order) {
                continue;
            }
            let tokens = resident.tokens(self.prefill_chunk);
            members.push((i, tokens.len(), resident.in_prefill()));
            segments.push(Segment { cache: &mut slot.cache, tokens });
        }
        if segments.is_empty() {
            return;
        }
        match self.model.llama.forward(&mut segments) {
            Ok(logits) => self.advance(&members, logits),
            Err(e) => self.fail(&members, &e.to_string()),
        }
    }

    fn advance(&mut self, members: &[(usize, usize, bool)], logits: Vec<Vec<f32>>) {
        let context = self.model.llama.dims().context;
        let (mut prompt, mut predicted) = (0, 0);
        // Counted before anything is reported, so that whoever has an answer finds it counted.
        let mut due = Vec::new();
        for (&(i, n, in_prefill), logits) in members.iter().zip(logits) {
            let Some(resident) = &mut self.slots[i].resident else { continue };
            if in_prefill {
                prompt += n;
                resident.prefilled(n);
            }
            if !resident.in_prefill() {
                predicted += 1;
                due.push((i, logits));
            }
        }
        self.counters.step(prompt, predicted);
        for (i, logits) in due {
            let slot = &mut self.slots[i];
            let Some(resident) = &mut slot.resident else { continue };
            let outcome = resident.advance(logits, &slot.cache, context, &self.model.vocab);
            if let Some(outcome) = outcome
                && let Some(resident) = leave(slot, &self.counters, Left::Complete)
            {
                resident.done(outcome);
            }
        }
    }

    fn fail(&mut self, members: &[(usize, usize, bool)], why: &str) {
        for &(i, ..) in members {
            if let Some(resident) = leave(&mut self.slots[i], &self.counters, Left::Failed) {
                resident.fail(why);
            }
        }
    }
}

/// Frees a slot and counts why, before anyone is told.
fn leave(slot: &mut Slot, counters: &Counters, how: Left) -> Option<Sequence> {
    slot.cache.clear();
    counters.resident(-1);
    counters.left(how);
    slot.resident.take()
}

//! One resident: where its prompt and its answer stand.

use super::{Event, Finish, Job, Outcome};
use crate::clock::Monotonic;
use crate::model::sample::sample;
use crate::model::utf8::Utf8;
use crate::model::{Cache, Vocabulary};
use crate::rng::Rng;

/// A job in a slot.
pub(super) struct Sequence {
    job: Job,
    /// Admission number: the oldest prompt goes first.
    pub(super) order: u64,
    /// Prompt tokens computed.
    fed: usize,
    /// The token to compute next, once the prompt is done.
    next: [u32; 1],
    produced: usize,
    text: Utf8,
    rng: Rng,
    started: Monotonic,
    first: Option<Monotonic>,
}

impl Sequence {
    pub(super) fn new(job: Job, order: u64) -> Self {
        let rng = Rng::new(job.seed);
        let _ = job.events.send(Event::Started);
        Self {
            job,
            order,
            fed: 0,
            next: [0],
            produced: 0,
            text: Utf8::default(),
            rng,
            started: Monotonic::now(),
            first: None,
        }
    }

    /// Whether nobody listens any more.
    pub(super) fn cancelled(&self) -> bool {
        self.job.events.is_closed()
    }

    pub(super) fn in_prefill(&self) -> bool {
        self.fed < self.job.prompt.len()
    }

    /// The tokens of the next pass: a chunk of the prompt, or the last token chosen. Chunks do not
    /// depend on who else is resident, so neither does rounding.
    pub(super) fn tokens(&self, chunk: usize) -> &[u32] {
        if self.in_prefill() {
            let end = self.job.prompt.len().min(self.fed + chunk.max(1));
            &self.job.prompt[self.fed..end]
        } else {
            &self.next
        }
    }

    /// Notes that `n` tokens of the prompt are computed.
    pub(super) fn prefilled(&mut self, n: usize) {
        self.fed += n;
    }

    /// Chooses the next token and reports the text it completes; the outcome if it was the last.
    pub(super) fn advance(
        &mut self,
        mut logits: Vec<f32>,
        cache: &Cache,
        context: usize,
        vocab: &Vocabulary,
    ) -> Option<Outcome> {
        vocab.mask(&self.text, &mut logits);
        let token = sample(&logits, self.job.sampling, &mut self.rng);
        self.next = [token];
        self.produced += 1;
        let first = *self.first.get_or_insert_with(Monotonic::now);

        let end = vocab.is_end(token);
        let full = self.produced >= self.job.max_tokens || cache.len() >= context;
        if !end {
            let text = self.text.push(vocab.bytes_of(token));
            self.say(text);
        }
        if !end && !full {
            return None;
        }
        let text = self.text.finish();
        self.say(text);
        Some(Outcome {
            finish: if end { Finish::Stop } else { Finish::Length },
            prompt_tokens: self.job.prompt.len(),
            completion_tokens: self.produced,
            prompt_time: first.since(self.started),
            predicted_time: first.elapsed(),
        })
    }

    /// Reports that the answer is complete.
    pub(super) fn done(self, outcome: Outcome) {
        let _ = self.job.events.send(Event::Done(outcome));
    }

    /// Reports that the sequence cannot go on.
    pub(super) fn fail(self, why: &str) {
        let _ = self.job.events.send(Event::Failed(why.to_owned()));
    }

    fn say(&self, text: String) {
        if !text.is_empty() {
            // A closed channel is seen before the next step.
            let _ = self.job.events.send(Event::Text(text));
        }
    }
}

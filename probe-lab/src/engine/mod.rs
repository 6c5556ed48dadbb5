//! Continuous batching: one thread, many sequences.
//!
//! The engine owns the model and a fixed number of slots. A job takes a slot when one is free and
//! queues until then. Every step runs *one* forward pass over all residents: one token for each
//! sequence that decodes, and one chunk of one prompt, oldest first. The thread that talks to
//! sockets never computes and the one that computes never sees a socket.
//!
//! A job whose receiver is gone (the client hung up) loses its slot at the next step.
//!
//! [`Remote`] is an engine in another process, which runs [`work`].

mod counters;
mod remote;
mod sequence;
mod step;
mod wire;
mod worker;

use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::UnboundedSender;

pub use counters::{Counters, Totals};
pub use remote::Remote;
pub use worker::work;

use crate::model::sample::Sampling;
use crate::model::{self, Model};

/// Why an engine cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The caches could not be made.
    #[error(transparent)]
    Model(#[from] model::Error),
    /// The system refused a thread.
    #[error("cannot start the engine's thread; raise the limit of processes (ulimit -u)")]
    Thread(#[source] std::io::Error),
}

/// Work for the engine.
pub struct Job {
    /// The prompt; at least one token, and room for an answer in the model's context.
    pub prompt: Vec<u32>,
    /// Tokens to produce at most; at least one.
    pub max_tokens: usize,
    /// How to choose tokens.
    pub sampling: Sampling,
    /// Seed of this job's choices.
    pub seed: u64,
    /// Where to report. Dropping the receiver cancels the job.
    pub events: UnboundedSender<Event>,
}

/// What a job reports, in order: `Started`, any number of `Text`, then `Done` or `Failed`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Event {
    /// The job has a slot; its prompt is next.
    Started,
    /// Text that one or more tokens completed; never empty.
    Text(String),
    /// The answer is complete.
    Done(Outcome),
    /// The engine could not go on.
    Failed(String),
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Finish {
    /// The model ended it.
    Stop,
    /// `max_tokens` or the context ended it.
    Length,
}

/// The numbers of a finished job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Why it ended.
    pub finish: Finish,
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Tokens produced, the one that ended the answer included.
    pub completion_tokens: usize,
    /// From taking the slot to the first token.
    pub prompt_time: std::time::Duration,
    /// From the first token to the last.
    pub predicted_time: std::time::Duration,
}

/// How to run an engine.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Sequences computed together.
    pub slots: usize,
    /// Threads, the engine's own included.
    pub threads: usize,
    /// Prompt tokens of one step.
    pub prefill_chunk: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { slots: 4, threads: 1, prefill_chunk: 64 }
    }
}

/// A running engine. Dropping it lets residents finish and ends the thread.
pub struct Engine {
    jobs: Option<mpsc::Sender<Job>>,
    counters: Arc<Counters>,
    model: Arc<Model>,
    thread: Option<JoinHandle<()>>,
}

impl Engine {
    /// Starts the engine's thread and its caches, and returns when it is ready to compute.
    ///
    /// # Errors
    /// When the caches or the thread cannot be made.
    pub fn start(model: Model, options: Options) -> Result<Self, Error> {
        let (jobs, queue) = mpsc::channel();
        let (ready, warm) = mpsc::channel();
        let counters = Arc::new(Counters::default());
        let model = Arc::new(model);
        let stepper = step::Stepper::new(model.clone(), counters.clone(), options, queue)?;
        let spawned = std::thread::Builder::new()
            .name("lab-engine".into())
            .spawn(move || stepper.run(options.threads, &ready));
        let thread = spawned.map_err(Error::Thread)?;
        // An engine that cannot warm up closes the channel; its first job will say why.
        let _ = warm.recv();
        Ok(Self { jobs: Some(jobs), counters, model, thread: Some(thread) })
    }

    /// Queues a job. If the engine is gone, the job's receiver sees its channel close.
    pub fn submit(&self, job: Job) {
        self.counters.queued(1);
        if self.jobs.as_ref().is_none_or(|jobs| jobs.send(job).is_err()) {
            self.counters.queued(-1);
        }
    }

    /// What has been computed since the start.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.counters.totals()
    }

    /// The model.
    #[must_use]
    pub fn model(&self) -> &Model {
        &self.model
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests;

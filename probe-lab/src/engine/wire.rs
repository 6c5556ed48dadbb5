//! What an API process and an engine process say to each other: one JSON value a line.

use serde::{Deserialize, Serialize};

use super::{Event, Job, Totals};
use crate::model::sample::Sampling;

/// From the API process.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Ask {
    /// Compute this.
    Job(u64, Work),
    /// Nobody listens to this job any more.
    Leave(u64),
    /// How much was computed so far?
    Totals,
}

/// From the engine process.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Said {
    /// What a job reports.
    Event(u64, Event),
    /// The answer to `Totals`.
    Totals(Totals),
}

/// A job without where to report.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Work {
    prompt: Vec<u32>,
    max_tokens: usize,
    temperature: f32,
    top_k: usize,
    seed: u64,
}

impl Work {
    pub(super) fn of(job: &Job) -> Self {
        Self {
            prompt: job.prompt.clone(),
            max_tokens: job.max_tokens,
            temperature: job.sampling.temperature,
            top_k: job.sampling.top_k,
            seed: job.seed,
        }
    }

    pub(super) fn into_job(self, events: tokio::sync::mpsc::UnboundedSender<Event>) -> Job {
        Job {
            prompt: self.prompt,
            max_tokens: self.max_tokens,
            sampling: Sampling { temperature: self.temperature, top_k: self.top_k },
            seed: self.seed,
            events,
        }
    }
}

/// A line.
pub(super) fn line(value: &impl Serialize) -> Vec<u8> {
    // Plain data without maps has no way to fail.
    let mut line = serde_json::to_vec(value).unwrap_or_default();
    line.push(b'\n');
    line
}

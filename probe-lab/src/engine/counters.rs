//! The engine's own truth about its work, for `/metrics`.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

use serde::{Deserialize, Serialize};

/// Counts that the engine's thread writes and anyone reads.
#[derive(Debug, Default)]
pub struct Counters {
    prompt: AtomicU64,
    predicted: AtomicU64,
    steps: AtomicU64,
    complete: AtomicU64,
    aborted: AtomicU64,
    failed: AtomicU64,
    resident: AtomicI64,
    queued: AtomicI64,
}

/// A reading of the counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Prompt tokens computed.
    pub prompt_tokens: u64,
    /// Tokens produced.
    pub predicted_tokens: u64,
    /// Forward passes.
    pub steps: u64,
    /// Jobs that ran to their end.
    pub complete: u64,
    /// Jobs whose client hung up.
    pub aborted: u64,
    /// Jobs that the engine could not compute.
    pub failed: u64,
    /// Jobs that hold a slot.
    pub resident: i64,
    /// Jobs that wait for one.
    pub queued: i64,
}

/// How a job left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    Complete,
    Aborted,
    Failed,
}

impl Counters {
    pub(super) fn queued(&self, by: i64) {
        self.queued.fetch_add(by, Relaxed);
    }

    pub(super) fn resident(&self, by: i64) {
        self.resident.fetch_add(by, Relaxed);
    }

    pub(super) fn step(&self, prompt: usize, predicted: usize) {
        self.steps.fetch_add(1, Relaxed);
        self.prompt.fetch_add(prompt as u64, Relaxed);
        self.predicted.fetch_add(predicted as u64, Relaxed);
    }

    pub(super) fn left(&self, how: Left) {
        let counter = match how {
            Left::Complete => &self.complete,
            Left::Aborted => &self.aborted,
            Left::Failed => &self.failed,
        };
        counter.fetch_add(1, Relaxed);
    }

    pub(super) fn totals(&self) -> Totals {
        Totals {
            prompt_tokens: self.prompt.load(Relaxed),
            predicted_tokens: self.predicted.load(Relaxed),
            steps: self.steps.load(Relaxed),
            complete: self.complete.load(Relaxed),
            aborted: self.aborted.load(Relaxed),
            failed: self.failed.load(Relaxed),
            resident: self.resident.load(Relaxed),
            queued: self.queued.load(Relaxed),
        }
    }
}

//! Who computes: a thread of this process, or another process.

use crate::engine::{Engine, Job, Remote, Totals};
use crate::model::Model;

/// An engine, wherever it runs.
pub enum Backend {
    /// In this process.
    Here(Engine),
    /// In another.
    Apart(Remote),
}

impl Backend {
    /// Queues a job. If the engine is gone, the job's receiver sees its channel close.
    pub fn submit(&self, job: Job) {
        match self {
            Self::Here(engine) => engine.submit(job),
            Self::Apart(remote) => remote.submit(job),
        }
    }

    /// What has been computed since the start; `None` when the engine is gone.
    pub async fn totals(&self) -> Option<Totals> {
        match self {
            Self::Here(engine) => Some(engine.totals()),
            Self::Apart(remote) => remote.totals().await,
        }
    }

    /// The model.
    #[must_use]
    pub fn model(&self) -> &Model {
        match self {
            Self::Here(engine) => engine.model(),
            Self::Apart(remote) => remote.model(),
        }
    }
}

impl From<Engine> for Backend {
    fn from(engine: Engine) -> Self {
        Self::Here(engine)
    }
}

impl From<Remote> for Backend {
    fn from(remote: Remote) -> Self {
        Self::Apart(remote)
    }
}

//! Why a tape gives no records.

use crate::{engine::EngineError, tape::TapeError};

/// An error of a replay.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The tape.
    #[error(transparent)]
    Tape(#[from] TapeError),
    /// Its numbers make no books.
    #[error(transparent)]
    Books(#[from] EngineError),
    /// The records cannot be written.
    #[error("the records cannot be written: {0}; free the disk, or choose another file")]
    Write(#[from] std::io::Error),
}

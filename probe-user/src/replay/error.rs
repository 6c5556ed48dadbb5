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
    /// There is something in the file's place.
    #[error("{} is there already; choose another file, or --force", .0.display())]
    Taken(std::path::PathBuf),
    /// The records cannot be written.
    #[error("the records cannot be written: {0}; free the disk, or choose another file")]
    Write(#[from] std::io::Error),
}

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
    /// What lies in the file's place is none that can be replaced.
    #[error("{} is not a regular file; choose another", .0.display())]
    Special(std::path::PathBuf),
    /// The tape says nothing yet.
    #[error("the tape ends before its first entry; its writer was stopped as it began")]
    Empty,
    /// The records cannot be written.
    #[error("the records cannot be written: {0}; free the disk, or choose another file")]
    Write(#[from] std::io::Error),
}

//! One pass over a tape: every frame checked, every item handed on, and the items counted against the end record.

use std::path::Path;

use serde::de::DeserializeOwned;

use super::error::{Damage, TapeError};
use super::reader::{Counts, Ending, Reader};

/// What a pass has found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scan {
    /// What was read.
    pub counts: Counts,
    /// How the tape ends.
    pub ending: Ending,
}

/// Reads the tape in `dir` from its beginning, one frame in memory at a time, and hands each item to `take`.
///
/// # Errors
/// [`TapeError::Damaged`] where the chain breaks or a count is wrong, what the system says, or what `take` returns.
pub fn scan<T: DeserializeOwned, E: From<TapeError>>(
    dir: &Path,
    mut take: impl FnMut(T) -> Result<(), E>,
) -> Result<Scan, E> {
    let mut reader = Reader::open(dir)?;
    let mut counts = Counts::default();
    let mut at = (1, 0);
    while let Some(frame) = reader.next_frame()? {
        at = (frame.segment, frame.frame);
        counts.items += frame.items(&mut take)?;
        counts.frames += 1;
        counts.segments = u64::from(frame.segment);
    }
    let ending = reader.ending().unwrap_or(Ending::Open { unfinished_bytes: 0 });
    if let Ending::Ended(told) = ending {
        if told.items != counts.items {
            return Err(TapeError::Damaged {
                segment: at.0,
                frame: at.1 + 1,
                damage: Damage::Counts,
            }
            .into());
        }
        counts.segments = told.segments;
    }
    Ok(Scan { counts, ending })
}

//! One pass over the entries of a tape: each frame is checked before it is decoded, the first entry is the host and no
//! other is, after the end comes what was published, and nothing after that.

use std::path::Path;

use super::ReplayError;
use crate::{
    engine::{EngineError, codec::Decoder, entry::Entry},
    tape::{Counts, Damage, Ending, Reader, TapeError},
};

/// What a pass has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Walked {
    /// What was read.
    pub counts: Counts,
    /// How the tape ends.
    pub ending: Ending,
    /// Segment and frame of the last frame.
    pub last: (u32, u64),
    /// The hash of everything that was read, in hexadecimal digits.
    pub hash: String,
}

/// Why an entry is not taken.
pub enum Refused {
    /// It proves that the tape is not what it says.
    Damage(Damage),
    /// Something else.
    Other(ReplayError),
}

/// How far a run has come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Before,
    Running,
    Over,
    Published,
}

impl Stage {
    /// After that entry; `None`: it has no place there.
    fn after(self, entry: &Entry) -> Option<Self> {
        match (self, entry) {
            (Self::Before, Entry::Host(_)) => Some(Self::Running),
            (Self::Running, Entry::End(_)) => Some(Self::Over),
            (Self::Over, Entry::Published(_)) => Some(Self::Published),
            (_, Entry::Host(_) | Entry::End(_) | Entry::Published(_)) => None,
            (Self::Running, _) => Some(Self::Running),
            (Self::Before | Self::Over | Self::Published, _) => None,
        }
    }
}

impl<E: Into<ReplayError>> From<E> for Refused {
    fn from(error: E) -> Self {
        Self::Other(error.into())
    }
}

/// Hands every entry to `take`, in order.
///
/// # Errors
/// Damage with its place, or what `take` refuses.
pub fn walk(
    dir: &Path,
    mut take: impl FnMut(Entry) -> Result<(), Refused>,
) -> Result<Walked, ReplayError> {
    let mut reader = Reader::open(dir)?;
    let (mut decoder, mut counts, mut last) = (Decoder::default(), Counts::default(), (1, 0));
    let mut stage = Stage::Before;
    while let Some(frame) = reader.next_frame()? {
        last = (frame.segment, frame.frame);
        let damaged = |damage| TapeError::Damaged { segment: last.0, frame: last.1, damage };
        let mut bytes = frame.bytes();
        while let Some(entry) = decoder.next(&mut bytes).map_err(|_| damaged(Damage::Content))? {
            stage = stage.after(&entry).ok_or_else(|| damaged(Damage::Content))?;
            counts.items += 1;
            match take(entry) {
                Ok(()) => {}
                Err(Refused::Damage(damage)) => return Err(damaged(damage).into()),
                // The chain holds, so it was written like this: by another version.
                Err(Refused::Other(ReplayError::Books(
                    EngineError::Scale(_) | EngineError::Ledger(_),
                ))) => return Err(damaged(Damage::Content).into()),
                Err(Refused::Other(ReplayError::Books(EngineError::Foreign))) => {
                    return Err(damaged(Damage::Foreign).into());
                }
                Err(Refused::Other(error)) => return Err(error),
            }
        }
        counts.frames += 1;
        counts.segments = u64::from(frame.segment);
    }
    let ending = reader.ending().unwrap_or(Ending::Open { unfinished_bytes: 0 });
    if let Ending::Ended(told) = ending {
        counts.segments = told.segments;
        let (segment, frame) = (last.0, last.1 + 1);
        let damaged = |damage| TapeError::Damaged { segment, frame, damage };
        if told.items != counts.items {
            return Err(damaged(Damage::Counts).into());
        }
        if stage != Stage::Published {
            return Err(damaged(Damage::Content).into());
        }
    }
    Ok(Walked { counts, ending, last, hash: reader.hash() })
}

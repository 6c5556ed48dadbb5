//! What can be wrong with a tape.

use std::io;
use std::path::PathBuf;

/// Why a tape cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum TapeError {
    /// The directory holds a tape already.
    #[error("{} holds a tape already, or the end of one; give --tape a directory that is empty or does not exist", .0.display())]
    Taken(PathBuf),
    /// There is no segment.
    #[error("{} holds no tape; name the directory that --tape was given", .0.display())]
    None(PathBuf),
    /// A running probe could not begin the next segment there.
    #[error(
        "{} is another user's, and a running probe has no privilege to write there; give --tape a directory that does not exist, or one of its own user's",
        .0.display()
    )]
    Foreign(PathBuf),
    /// What the system said of a file.
    #[error("{}: {cause}; {}", path.display(), remedy(cause))]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// One item is longer than a frame may be.
    #[error(
        "an item of {0} bytes does not fit into a frame; this is a fault of wattprobe, please report it"
    )]
    TooLong(usize),
    /// An item could not be encoded.
    #[error("an item could not be encoded: {0}; this is a fault of wattprobe, please report it")]
    Encode(String),
    /// A write failed before: the tape ends where it failed.
    #[error("the tape ended when a write failed; what was written before is whole")]
    Broken,
    /// The evidence does not hold.
    #[error(
        "segment {segment}, frame {frame}: {damage}; {}", damage.remedy()
    )]
    Damaged {
        /// Segment, from 1.
        segment: u32,
        /// Frame in its segment, from 1; 0 is the segment's header.
        frame: u64,
        /// What is wrong there.
        damage: Damage,
    },
}

/// What is wrong with one frame or segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// The segment is not there, and a later one is.
    #[error("the segment is missing")]
    Missing,
    /// The header is no header of a tape.
    #[error("the segment's header was changed")]
    Header,
    /// Another version of the format.
    #[error("it is written in version {0} of the format, this wattprobe reads version 1")]
    Version(u32),
    /// The header does not continue the segment before.
    #[error("the segment does not continue the one before it")]
    Order,
    /// Kind or lengths were changed, or the frame before it.
    #[error("the frame's lengths were changed, or it does not belong here")]
    Head,
    /// The bytes were changed.
    #[error("the frame was changed")]
    Hash,
    /// A segment ends within a frame, and another follows.
    #[error("the segment was cut within this frame")]
    Cut,
    /// The frame is whole and cannot be unpacked or understood.
    #[error("the frame is whole and holds nothing that a tape holds")]
    Content,
    /// The note says that the tape was ended, and here it stops.
    #[error("the tape was ended, and is cut before its end")]
    Short,
    /// The note and the end record differ.
    #[error("the file `end` says something else than the end record")]
    Note,
    /// The end record does not count what is there.
    #[error("the end record counts something else than what is there")]
    Counts,
    /// Its first entry is of another version, or names policies that this one has not.
    #[error(
        "it is written by another version of wattprobe, or under policies that this one has not"
    )]
    Foreign,
    /// What the run published is not what its entries make.
    #[error(
        "the run published other numbers than its entries make here: another version of wattprobe wrote it, or it was forged"
    )]
    Published,
    /// Its entries are whole and make books that do not close.
    #[error("the books that its entries make do not close")]
    Books,
    /// Something follows the end record.
    #[error("something was added after the end record")]
    Added,
}

/// What can be done about an answer of the system.
fn remedy(cause: &io::Error) -> &'static str {
    match cause.kind() {
        io::ErrorKind::NotFound => "name the directory that --tape was given",
        io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => "name another directory",
        io::ErrorKind::PermissionDenied => "correct its permissions, or name another directory",
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "free its disk",
        _ => "check it and its disk",
    }
}

impl Damage {
    /// What can be done about it.
    fn remedy(self) -> &'static str {
        match self {
            Self::Version(_) | Self::Foreign => "read it with the wattprobe that wrote it",
            Self::Published => "replay it with the version that `wattprobe tape info` names",
            _ => "restore this tape from a copy, it proves nothing past this frame",
        }
    }
}

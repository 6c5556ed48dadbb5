//! The tape: an append-only log on disk in which no byte can change unnoticed.
//!
//! A tape is a directory of segments `000001.tape`, `000002.tape`, …; a segment is a header and frames. A frame is a
//! batch of CBOR items, compressed with LZ4, and carries the BLAKE3 hash of itself and of what came before it; the header
//! of a segment carries the hash of the last frame of the one before. So a changed, missing, reordered or cut frame breaks
//! the chain where it is. The last frame of a tape that was ended is an end record with the counts.
//!
//! A process that is killed leaves at most one unfinished frame at the end: a *beginning* of a frame, never another kind of
//! damage. Such a tape is *open*, not damaged, and what can be read is all before it. Beside the segments of a tape that was ended
//! lies a note, the file `end`, with its counts and its hash: with it, a tape that lacks its last frames or segments is damaged.
//! Whoever takes the note away too makes an open tape: only the end record proves that nothing is missing.
//!
//! Knows nothing of what the items say. Every byte that is read here is hostile: lengths are bounded before
//! anything is allocated, and the hash is checked before anything is unpacked.
//!
//! ```text
//! segment   "WPTAPE\r\n"  version u32  number u32  hash of the frame before [32]        little endian
//! frame     kind u8  packed length u32  plain length u32  check [4]  packed bytes  hash [32]
//! check     first 4 bytes of BLAKE3(hash before ‖ kind ‖ lengths): a flipped length is no unfinished frame
//! hash      BLAKE3(hash before ‖ kind ‖ lengths ‖ check ‖ packed bytes); before a segment's first frame: BLAKE3(header)
//! kind      1 items · 2 end: frames u64, items u64, segments u64, not packed
//! ```

mod error;
mod format;
mod reader;
mod segments;
mod writer;

#[cfg(test)]
mod tests;

pub use error::{Damage, TapeError};
pub use reader::{Counts, Ending, Frame, Reader};
pub use writer::{Limits, Writer};

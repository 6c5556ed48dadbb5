//! What can go wrong on the way out, each with its remedy.

use std::io;
use std::path::PathBuf;

/// A failure of an exporter. The measurement itself is not affected by any of them.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// A file could not be opened for writing.
    #[error("cannot write {}: {source}; choose another file with {option}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// The command line option that names it.
        option: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// Writing failed; more of the same is counted silently.
    #[error(
        "writing to {place} failed: {source}; the run goes on, records that cannot be written are counted"
    )]
    Write {
        /// File name, or the name of a stream.
        place: String,
        /// What the system said.
        source: io::Error,
    },
    /// Said once at the end: how many records did not reach the file.
    #[error(
        "{lost} of {seen} request records could not be written to {place} (first failure: {first}); the summary still counts them"
    )]
    Lost {
        /// File name, or the name of a stream.
        place: String,
        /// Records not written.
        lost: u64,
        /// Records offered.
        seen: u64,
        /// The first failure.
        first: String,
    },
    /// A record could not be turned into JSON.
    #[error("cannot encode {what} as JSON: {source}")]
    Encode {
        /// What was encoded.
        what: &'static str,
        /// The encoder's complaint.
        source: serde_json::Error,
    },
    /// The metrics endpoint could not listen.
    #[error(
        "cannot serve metrics on {address}: {source}; choose another address with --metrics HOST:PORT"
    )]
    Bind {
        /// The address.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// The metrics endpoint's thread could not be set up.
    #[error("cannot start the metrics endpoint's {part}: {source}")]
    Serve {
        /// What failed.
        part: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

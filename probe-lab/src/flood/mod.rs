//! A server and a client that do nothing but HTTP: what the bench of boundaries loads the machine with.
//!
//! The server computes nothing and answers every request with the same bytes, so the time of a request is that of its
//! system calls, and what a probe adds to them shows. The client keeps its connections busy and counts; it looks at
//! answers no closer than it must to know that they are whole. Both are one thread over epoll. [`calls`] times single
//! system calls, [`others`] does so while a probe comes and goes: it alone knows of one.

pub mod calls;
mod drive;
pub mod others;
mod serve;
mod wire;

pub use drive::{Each, Load, Sum, drive};
pub use serve::{Serving, serve};
pub use wire::Ask;

/// Why a flood came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A socket.
    #[error("{what}: {source}; is the server there, and the limit of open files high enough?")]
    Socket {
        /// What was tried.
        what: &'static str,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// An answer.
    #[error(
        "{0}; only the flood's own server, or one that always answers the same, can be flooded"
    )]
    Answer(&'static str),
}

/// Names what was tried.
fn tried<T>(what: &'static str, result: std::io::Result<T>) -> Result<T, Error> {
    result.map_err(|source| Error::Socket { what, source })
}

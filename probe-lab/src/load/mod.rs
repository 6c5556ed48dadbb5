//! The load client: drives an inference server and writes down what a client sees.
//!
//! It is the other half of every end-to-end test: the probe says from the kernel when requests
//! began and ended and what they were; this says the same from the other end of the wire, on the
//! same clock ([`crate::clock`]). So its instants must be sharp: plain blocking sockets, a thread
//! for each concurrent connection, a timestamp right before the first byte is written and right
//! after the read that completes the answer. No async runtime stands in between.
//!
//! It knows OpenAI's answers and llama.cpp's own, plain and streamed, and nothing about any
//! particular server or about the probe.

mod body;
mod client;
mod drive;
mod hostile;
mod http;
mod plan;
mod seen;
mod tokens;
mod wire;

#[cfg(test)]
mod tests;

pub use client::{Client, Shape};
pub use drive::{Options, Until, mix, sustain};
pub use hostile::{Attack, attack};
pub use plan::{Session, Step, plan};
pub use seen::{End, Kind, Seen, Totals};
pub use wire::{Target, raise_open_files};

/// Why a load could not be driven at all; what goes wrong with one request is in its record.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The URL is not understood.
    #[error("`{url}` is no server's address: {why}; write http://HOST:PORT")]
    Url {
        /// As given.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// The first connection failed.
    #[error("cannot reach the server: {0}; is it running?")]
    Unreachable(std::io::Error),
}

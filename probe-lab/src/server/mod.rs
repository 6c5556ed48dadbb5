//! The HTTP face of the engine: the part of OpenAI's API that inference servers share.
//!
//! | route | |
//! |---|---|
//! | `POST /v1/chat/completions`, `POST /v1/completions` | plain, or server-sent events with `"stream": true` |
//! | `GET /health`, `GET /v1/models`, `GET /metrics` | liveness, names, the engine's own counts |
//!
//! One thread does all socket work (as in the servers this stands for); it never computes. A
//! stream's head is written when its job takes a slot, its role event right after, its first text
//! when the prompt is done: three different instants, as in llama.cpp's server.
//!
//! The same can be served by two processes: with the engine in the other ([`Backend`], as vLLM), or with a
//! whole server behind a [`proxy`] (as Ollama).

mod answer;
mod app;
mod backend;
pub mod child;
mod listen;
mod params;
mod prometheus;
pub mod proxy;
mod sse;

use std::path::PathBuf;

pub use app::router;
pub use backend::Backend;
pub use listen::{Bound, Running, bind, runtime, serve, spawn};

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A TCP host and port; port 0 takes a free one.
    Tcp(String, u16),
    /// The path of a unix socket, created by the server.
    Unix(PathBuf),
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(host, port) => write!(f, "{host} port {port}"),
            Self::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

/// Why the server cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}; choose another, or end what uses it")]
    Listen {
        /// The address as given.
        address: Address,
        /// What the system said.
        source: std::io::Error,
    },
    /// Serving ended with an error.
    #[error("the server stopped")]
    Serve(#[from] std::io::Error),
}

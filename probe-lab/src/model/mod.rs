//! The transformer that the demo server computes.
//!
//! One decoder-only architecture (RMSNorm, rotary positions, grouped-query attention, SwiGLU, KV
//! cache), two origins of weights: [`noise`] makes small ones from a seed, [`gguf`] reads a real
//! model. Everything past loading is the same, so the demo exercises the very code a real model
//! runs. Nothing here knows about HTTP, requests or time.

pub mod bpe;
pub mod gguf;
pub mod linear;
pub mod llama;
pub mod noise;
pub mod sample;
pub mod utf8;
pub mod vocab;
pub mod weights;

pub use llama::{Cache, Dims, Llama, Segment};
pub use vocab::{Message, Vocabulary};

/// Why a model could not be loaded or run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The tensor library refused: a shape, a type, a file that ends early.
    #[error("the tensor computation failed")]
    Tensor(#[from] candle_core::Error),
    /// The model file could not be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: std::path::PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The model file is something that this server does not run.
    #[error("{what}; this server runs llama-architecture GGUF files with a GPT-2 style tokenizer")]
    Unsupported {
        /// What was found.
        what: String,
    },
    /// The tokenizer in the model file is unusable.
    #[error("the model's tokenizer is unusable: {0}")]
    Tokenizer(String),
}

/// A model ready to run: weights and the words they speak.
pub struct Model {
    /// What `/v1/models` calls it.
    pub name: String,
    /// The transformer.
    pub llama: Llama,
    /// Text to tokens and back.
    pub vocab: Vocabulary,
}

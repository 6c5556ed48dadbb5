//! A small model whose weights come from a seed.
//!
//! What it says is noise; what it costs is real: the same matrix products, attention and cache as
//! a trained model, a few milliseconds of one core per step. The whole "file" is one 64-bit seed,
//! so the demo needs no download.

use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{DType, Device, Tensor};

use super::llama::Dims;
use super::vocab::{BYTE_VOCAB, Vocabulary};
use super::weights::{Weights, assemble};
use super::{Error, Model};
use crate::rng::Rng;

/// The demo's shape: 6 layers, width 256, 20 M parameters.
pub const DEMO: Dims = Dims {
    layers: 6,
    width: 256,
    heads: 8,
    kv_heads: 4,
    head_dim: 32,
    ffn: 4096,
    vocab: BYTE_VOCAB,
    context: 4096,
    rope_base: 10_000.0,
    eps: 1e-5,
};

/// A shape for tests that care about requests and not about cost.
pub const TINY: Dims = Dims {
    layers: 2,
    width: 64,
    heads: 4,
    kv_heads: 2,
    head_dim: 16,
    ffn: 128,
    vocab: BYTE_VOCAB,
    context: 512,
    rope_base: 10_000.0,
    eps: 1e-5,
};

/// Makes a model of the given shape from `seed`; the same everywhere.
///
/// # Errors
/// When the shape does not fit the block size of the quantisation (widths divide by 32).
pub fn model(dims: Dims, seed: u64) -> Result<Model, Error> {
    Ok(Model {
        name: format!("lab-noise-{}x{}", dims.layers, dims.width),
        llama: assemble(dims, &mut Noise::new(seed))?,
        vocab: Vocabulary::Bytes,
    })
}

/// Tensors of noise: what a name yields depends on the seed and on the names asked for before.
pub struct Noise(Rng);

impl Noise {
    /// A source that depends on `seed` only.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Rng::new(seed))
    }
}

impl Weights for Noise {
    fn has(&self, _: &str) -> bool {
        true
    }

    /// A vector of ones, or a matrix of normal entries with variance `gain² / columns`, so that a
    /// product keeps the scale of its input.
    fn tensor(&mut self, name: &str, shape: &[usize]) -> Result<QTensor, Error> {
        let &[rows, columns] = shape else {
            let ones = Tensor::ones(shape, DType::F32, &Device::Cpu)?;
            return Ok(QTensor::quantize(&ones, GgmlDType::F32)?);
        };
        let gain = match name {
            // A wide head spreads the logits, so that the greedy choice is clear of rounding.
            "output.weight" => 4.0,
            "token_embd.weight" => (columns as f32).sqrt(),
            // Sharp attention makes the answer depend on the prompt.
            _ if name.contains("attn_q") || name.contains("attn_k") => 2.0,
            _ => 1.0,
        };
        let sigma = gain / (columns as f32).sqrt();
        let data: Vec<f32> = (0..rows * columns).map(|_| self.0.normal() * sigma).collect();
        let tensor = Tensor::from_vec(data, (rows, columns), &Device::Cpu)?;
        Ok(QTensor::quantize(&tensor, GgmlDType::Q8_0)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Segment;

    fn logits(m: &Model, tokens: &[u32]) -> Vec<f32> {
        let mut cache = m.llama.cache().unwrap();
        m.llama.forward(&mut [Segment { cache: &mut cache, tokens }]).unwrap().remove(0)
    }

    #[test]
    fn the_same_seed_gives_the_same_logits_and_another_seed_others() {
        let (a, b) = (model(TINY, 1).unwrap(), model(TINY, 1).unwrap());
        let tokens = [256, 72, 105];
        assert_eq!(logits(&a, &tokens), logits(&b, &tokens));
        assert_ne!(logits(&a, &tokens), logits(&model(TINY, 2).unwrap(), &tokens));
        assert_eq!(logits(&a, &tokens).len(), BYTE_VOCAB);
    }

    #[test]
    fn the_past_matters_and_the_cache_holds_it() {
        let m = model(TINY, 1).unwrap();
        let whole = logits(&m, &[256, 72, 105, 33]);
        let mut cache = m.llama.cache().unwrap();
        for t in [256, 72, 105] {
            m.llama.forward(&mut [Segment { cache: &mut cache, tokens: &[t] }]).unwrap();
        }
        let stepped =
            m.llama.forward(&mut [Segment { cache: &mut cache, tokens: &[33] }]).unwrap().remove(0);
        let worst = whole.iter().zip(&stepped).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst < 0.2, "prefill and decode differ by {worst}");
        assert_eq!(cache.len(), 4);
        let other = logits(&m, &[256, 90, 105, 33]);
        let apart = whole.iter().zip(&other).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(apart > 0.5, "another prompt moves the logits by only {apart}");
    }

    #[test]
    fn a_row_of_a_batch_equals_the_same_row_alone_to_the_bit() {
        // Widths of 256 take candle's tiled kernels where the CPU has them, 64 the plain ones.
        let tiled = Dims { layers: 1, width: 256, ffn: 256, ..DEMO };
        for dims in [TINY, tiled] {
            rows_do_not_mix(&model(dims, 1).unwrap());
        }
    }

    fn rows_do_not_mix(m: &Model) {
        let prompts: [&[u32]; 3] = [&[256, 1, 2, 3, 4, 5, 6, 7], &[256, 200], &[256, 9, 9, 9]];
        let alone: Vec<_> = prompts.iter().map(|p| logits(m, p)).collect();
        let mut caches: Vec<_> = prompts.iter().map(|_| m.llama.cache().unwrap()).collect();
        let mut segments: Vec<_> = caches
            .iter_mut()
            .zip(prompts)
            .map(|(cache, tokens)| Segment { cache, tokens })
            .collect();
        assert_eq!(m.llama.forward(&mut segments).unwrap(), alone);
    }

    #[test]
    fn a_sequence_longer_than_the_context_is_refused() {
        let m = model(TINY, 1).unwrap();
        let mut cache = m.llama.cache().unwrap();
        let tokens = vec![1; TINY.context + 1];
        assert!(m.llama.forward(&mut [Segment { cache: &mut cache, tokens: &tokens }]).is_err());
        assert!(m.llama.forward(&mut [Segment { cache: &mut cache, tokens: &[] }]).is_err());
    }
}

//! A small model whose weights come from a seed.
//!
//! What it says is noise; what it costs is real: the same matrix products, attention and cache as
//! a trained model, a few milliseconds of one core per step. The whole "file" is one 64-bit seed,
//! so the demo needs no download.

use std::sync::Arc;

use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Result, Tensor};

use super::linear::Linear;
use super::llama::{Dims, Layer, Llama};
use super::vocab::{BYTE_VOCAB, Vocabulary};
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
pub fn model(dims: Dims, seed: u64) -> std::result::Result<Model, Error> {
    let mut rng = Rng::new(seed);
    let embedding = Arc::new(matrix(&mut rng, dims.vocab, dims.width, 1.0)?);
    let layers =
        (0..dims.layers).map(|_| layer(&mut rng, &dims)).collect::<Result<Vec<Layer>>>()?;
    // A wide head spreads the logits, so that the greedy choice is clear of rounding.
    let head = linear(&mut rng, dims.vocab, dims.width, 4.0)?;
    let norm = ones(dims.width)?;
    Ok(Model {
        name: format!("lab-noise-{}x{}", dims.layers, dims.width),
        llama: Llama::new(dims, embedding, layers, norm, head)?,
        vocab: Vocabulary::Bytes,
    })
}

fn layer(rng: &mut Rng, d: &Dims) -> Result<Layer> {
    let (q_rows, kv_rows) = (d.heads * d.head_dim, d.kv_heads * d.head_dim);
    Ok(Layer {
        attn_norm: ones(d.width)?,
        // Sharp attention makes the answer depend on the prompt.
        q: linear(rng, q_rows, d.width, 2.0)?,
        k: linear(rng, kv_rows, d.width, 2.0)?,
        v: linear(rng, kv_rows, d.width, 1.0)?,
        o: linear(rng, d.width, q_rows, 1.0)?,
        ffn_norm: ones(d.width)?,
        gate: linear(rng, d.ffn, d.width, 1.0)?,
        up: linear(rng, d.ffn, d.width, 1.0)?,
        down: linear(rng, d.width, d.ffn, 1.0)?,
    })
}

/// Normal entries with variance `gain² / cols`, so that a product keeps the scale of its input.
fn matrix(rng: &mut Rng, rows: usize, cols: usize, gain: f32) -> Result<QTensor> {
    let sigma = gain / (cols as f32).sqrt();
    let data: Vec<f32> = (0..rows * cols).map(|_| rng.normal() * sigma).collect();
    QTensor::quantize(&Tensor::from_vec(data, (rows, cols), &Device::Cpu)?, GgmlDType::Q8_0)
}

fn linear(rng: &mut Rng, rows: usize, cols: usize, gain: f32) -> Result<Linear> {
    Linear::new(matrix(rng, rows, cols, gain)?)
}

fn ones(n: usize) -> Result<Tensor> {
    Tensor::ones(n, candle_core::DType::F32, &Device::Cpu)
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

//! From named tensors to a transformer.
//!
//! The names are GGUF's. Where tensors come from is the [`Weights`]' business: a file
//! ([`super::gguf`]) or a seed ([`super::noise`]).

use std::sync::Arc;

use candle_core::quantized::QTensor;
use candle_core::{Device, Tensor};

use super::Error;
use super::linear::Linear;
use super::llama::{Dims, Layer, Llama};

/// A source of tensors.
pub trait Weights {
    /// Whether there is a tensor of this name.
    fn has(&self, name: &str) -> bool;

    /// The tensor of this name, `shape` being what the model expects.
    ///
    /// # Errors
    /// When there is none or it cannot be read.
    fn tensor(&mut self, name: &str, shape: &[usize]) -> Result<QTensor, Error>;
}

/// Takes all tensors of a model of the given shape.
///
/// # Errors
/// When a tensor is missing, unreadable or of another shape.
pub fn assemble(dims: Dims, weights: &mut impl Weights) -> Result<Llama, Error> {
    let embedding = Arc::new(take(weights, "token_embd.weight", &[dims.vocab, dims.width])?);
    let layers =
        (0..dims.layers).map(|i| layer(i, &dims, weights)).collect::<Result<Vec<_>, Error>>()?;
    let norm = vector(weights, "output_norm.weight", dims.width)?;
    // A model without a head of its own uses its embedding backwards.
    let untied = weights.has("output.weight");
    let head = if untied { "output.weight" } else { "token_embd.weight" };
    let head = matrix(weights, head, dims.vocab, dims.width)?;
    Ok(Llama::new(dims, embedding, layers, norm, head)?)
}

fn layer(i: usize, d: &Dims, weights: &mut impl Weights) -> Result<Layer, Error> {
    let name = |part: &str| format!("blk.{i}.{part}.weight");
    let (queries, keys) = (d.heads * d.head_dim, d.kv_heads * d.head_dim);
    Ok(Layer {
        attn_norm: vector(weights, &name("attn_norm"), d.width)?,
        q: matrix(weights, &name("attn_q"), queries, d.width)?,
        k: matrix(weights, &name("attn_k"), keys, d.width)?,
        v: matrix(weights, &name("attn_v"), keys, d.width)?,
        o: matrix(weights, &name("attn_output"), d.width, queries)?,
        ffn_norm: vector(weights, &name("ffn_norm"), d.width)?,
        gate: matrix(weights, &name("ffn_gate"), d.ffn, d.width)?,
        up: matrix(weights, &name("ffn_up"), d.ffn, d.width)?,
        down: matrix(weights, &name("ffn_down"), d.width, d.ffn)?,
    })
}

fn take(weights: &mut impl Weights, name: &str, shape: &[usize]) -> Result<QTensor, Error> {
    let tensor = weights.tensor(name, shape)?;
    let found = tensor.shape().dims();
    if found != shape {
        let what = format!("tensor `{name}` has shape {found:?} instead of {shape:?}");
        return Err(Error::Unsupported { what });
    }
    Ok(tensor)
}

fn matrix(
    weights: &mut impl Weights,
    name: &str,
    rows: usize,
    columns: usize,
) -> Result<Linear, Error> {
    Ok(Linear::new(take(weights, name, &[rows, columns])?)?)
}

fn vector(weights: &mut impl Weights, name: &str, n: usize) -> Result<Tensor, Error> {
    Ok(take(weights, name, &[n])?.dequantize(&Device::Cpu)?)
}

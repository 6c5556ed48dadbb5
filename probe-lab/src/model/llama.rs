//! The forward pass: many sequences in one go.
//!
//! A pass takes *segments*: for each sequence its new tokens and its cache. All segments' rows go
//! through one matrix product per weight (that is what batching buys); only attention is computed
//! per segment, each against its own cache. A decode step is a segment of one token, a chunk of a
//! prompt a segment of many, and both may share a pass.
//!
//! **Invariant:** a row's result does not depend on the rows beside it. Weights are block-quantised
//! and each activation row is quantised by itself, so a batched request yields the same tokens as
//! a lone one (tested in `engine`).

use std::sync::Arc;

use candle_core::quantized::QTensor;
use candle_core::{DType, Device, Result, Tensor};
use candle_nn::attention::{AttnMask, flash_attn};
use candle_nn::{ops, rotary_emb};

use super::linear::Linear;

/// The shape of a model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dims {
    /// Decoder layers.
    pub layers: usize,
    /// Width of the residual stream.
    pub width: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; divides `heads`.
    pub kv_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// Width of the feed-forward layer.
    pub ffn: usize,
    /// Tokens in the vocabulary.
    pub vocab: usize,
    /// Longest sequence, prompt and answer together.
    pub context: usize,
    /// Base of the rotary frequencies.
    pub rope_base: f32,
    /// Added to the mean square before its root.
    pub eps: f32,
}

/// One decoder layer's weights.
pub struct Layer {
    /// Before attention, `[width]`.
    pub attn_norm: Tensor,
    /// Queries, `[heads * head_dim, width]`.
    pub q: Linear,
    /// Keys, `[kv_heads * head_dim, width]`.
    pub k: Linear,
    /// Values, `[kv_heads * head_dim, width]`.
    pub v: Linear,
    /// Attention output, `[width, heads * head_dim]`.
    pub o: Linear,
    /// Before the feed-forward layer, `[width]`.
    pub ffn_norm: Tensor,
    /// Feed-forward gate, `[ffn, width]`.
    pub gate: Linear,
    /// Feed-forward up, `[ffn, width]`.
    pub up: Linear,
    /// Feed-forward down, `[width, ffn]`.
    pub down: Linear,
}

/// A decoder-only transformer.
pub struct Llama {
    dims: Dims,
    embedding: Arc<QTensor>,
    layers: Vec<Layer>,
    norm: Tensor,
    head: Linear,
    /// Rotary tables, `[context, head_dim / 2]`.
    cos: Tensor,
    sin: Tensor,
}

/// One sequence's keys and values, allocated once for the longest sequence.
pub struct Cache {
    /// Per layer, `[context, kv_heads, head_dim]`.
    layers: Vec<(Tensor, Tensor)>,
    len: usize,
}

impl Cache {
    /// Tokens held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no token is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Forgets the sequence; the memory stays.
    pub fn clear(&mut self) {
        self.len = 0;
    }
}

/// What one sequence brings to a pass.
pub struct Segment<'a> {
    /// Its past.
    pub cache: &'a mut Cache,
    /// Its new tokens; at least one.
    pub tokens: &'a [u32],
}

impl Llama {
    /// Puts weights together. `embedding` is `[vocab, width]`.
    ///
    /// # Errors
    /// When the rotary tables cannot be computed.
    pub fn new(
        dims: Dims,
        embedding: Arc<QTensor>,
        layers: Vec<Layer>,
        norm: Tensor,
        head: Linear,
    ) -> Result<Self> {
        let half = dims.head_dim / 2;
        let mut angles = Vec::with_capacity(dims.context * half);
        for pos in 0..dims.context {
            for i in 0..half {
                let freq = dims.rope_base.powf(-2.0 * i as f32 / dims.head_dim as f32);
                angles.push(pos as f32 * freq);
            }
        }
        let angles = Tensor::from_vec(angles, (dims.context, half), &Device::Cpu)?;
        Ok(Self { cos: angles.cos()?, sin: angles.sin()?, dims, embedding, layers, norm, head })
    }

    /// The shape.
    #[must_use]
    pub fn dims(&self) -> &Dims {
        &self.dims
    }

    /// An empty cache for one sequence.
    ///
    /// # Errors
    /// When memory cannot be had.
    pub fn cache(&self) -> Result<Cache> {
        let shape = (self.dims.context, self.dims.kv_heads, self.dims.head_dim);
        let zeros = || Tensor::zeros(shape, DType::F32, &Device::Cpu);
        let layers =
            (0..self.dims.layers).map(|_| Ok((zeros()?, zeros()?))).collect::<Result<_>>()?;
        Ok(Cache { layers, len: 0 })
    }

    /// Runs all segments' tokens and returns, per segment, the logits after its last token.
    ///
    /// # Errors
    /// When a segment is empty or would outgrow the context, or a computation fails. Caches of a
    /// failed pass must be cleared.
    pub fn forward(&self, segments: &mut [Segment<'_>]) -> Result<Vec<Vec<f32>>> {
        let mut ids = Vec::new();
        let mut positions = Vec::new();
        let mut last_rows = Vec::new();
        for s in segments.iter() {
            let end = s.cache.len + s.tokens.len();
            if s.tokens.is_empty() || end > self.dims.context {
                candle_core::bail!("segment of {} tokens ends at {end}", s.tokens.len());
            }
            ids.extend_from_slice(s.tokens);
            positions.extend((s.cache.len..end).map(|p| p as u32));
            last_rows.push((ids.len() - 1) as u32);
        }
        let rows = ids.len();
        let half = self.dims.head_dim / 2;
        let positions = Tensor::from_vec(positions, rows, &Device::Cpu)?;
        let cos = self.cos.index_select(&positions, 0)?.reshape((rows, 1, half))?;
        let sin = self.sin.index_select(&positions, 0)?.reshape((rows, 1, half))?;

        let mut x = self.embedding.embedding(&Tensor::from_vec(ids, rows, &Device::Cpu)?)?;
        for (i, layer) in self.layers.iter().enumerate() {
            let h = ops::rms_norm(&x, &layer.attn_norm, self.dims.eps)?;
            x = (x + self.attention(i, layer, &h, &cos, &sin, segments)?)?;
            let h = ops::rms_norm(&x, &layer.ffn_norm, self.dims.eps)?;
            let gated = (ops::silu(&layer.gate.forward(&h)?)? * layer.up.forward(&h)?)?;
            x = (x + layer.down.forward(&gated)?)?;
        }
        for s in segments.iter_mut() {
            s.cache.len += s.tokens.len();
        }
        let last = Tensor::from_vec(last_rows, segments.len(), &Device::Cpu)?;
        let x = ops::rms_norm(&x.index_select(&last, 0)?, &self.norm, self.dims.eps)?;
        self.head.forward(&x)?.to_vec2()
    }

    fn attention(
        &self,
        index: usize,
        layer: &Layer,
        h: &Tensor,
        cos: &Tensor,
        sin: &Tensor,
        segments: &mut [Segment<'_>],
    ) -> Result<Tensor> {
        let Dims { heads, kv_heads, head_dim, .. } = self.dims;
        let rows = h.dim(0)?;
        // Each row is a batch entry of length one, so that each has its own position.
        let rotate = |x: Tensor, heads: usize| {
            let x = rotary_emb::rope_i(&x.reshape((rows, heads, 1, head_dim))?, cos, sin)?;
            x.reshape((rows, heads, head_dim))
        };
        let q = rotate(layer.q.forward(h)?, heads)?;
        let k = rotate(layer.k.forward(h)?, kv_heads)?;
        let v = layer.v.forward(h)?.reshape((rows, kv_heads, head_dim))?;

        let scale = 1.0 / (head_dim as f32).sqrt();
        let mut out = Vec::with_capacity(segments.len());
        let mut row = 0;
        for s in segments.iter_mut() {
            let (n, past) = (s.tokens.len(), s.cache.len);
            let (keys, values) = &s.cache.layers[index];
            keys.slice_set(&k.narrow(0, row, n)?, 0, past)?;
            values.slice_set(&v.narrow(0, row, n)?, 0, past)?;
            let y = flash_attn::<f32>(
                &q.narrow(0, row, n)?.unsqueeze(0)?,
                &keys.narrow(0, 0, past + n)?.unsqueeze(0)?,
                &values.narrow(0, 0, past + n)?.unsqueeze(0)?,
                scale,
                AttnMask::causal_with_offset(past),
                None,
                None,
            )?;
            // [1, heads, n, head_dim] back to one row per token.
            out.push(y.squeeze(0)?.transpose(0, 1)?.reshape((n, heads * head_dim))?);
            row += n;
        }
        layer.o.forward(&Tensor::cat(&out, 0)?)
    }
}

//! A real model from a GGUF file (github.com/ggml-org/ggml, docs/gguf.md).
//!
//! Only the names of metadata and tensors live here; the arithmetic is [`super::llama`]'s, the
//! words are [`super::bpe`]'s.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::sync::Arc;

use candle_core::quantized::QTensor;
use candle_core::quantized::gguf_file::{Content, Value};
use candle_core::{Device, Tensor};

use super::bpe::Bpe;
use super::linear::Linear;
use super::llama::{Dims, Layer, Llama};
use super::vocab::Vocabulary;
use super::{Error, Model};

/// Loads a llama-architecture GGUF file; sequences are limited to `max_context` tokens.
///
/// # Errors
/// When the file cannot be read, holds another architecture, or lacks a tensor.
pub fn load(path: &Path, max_context: usize) -> Result<Model, Error> {
    let read = |source| Error::Read { path: path.to_owned(), source };
    let mut file = BufReader::new(File::open(path).map_err(read)?);
    let content = Content::read(&mut file)?;
    let dims = dims(&content, max_context)?;
    let mut r = Reader { content: &content, file };

    let embedding = Arc::new(r.tensor("token_embd.weight")?);
    let layers = (0..dims.layers).map(|i| r.layer(i)).collect::<Result<Vec<_>, Error>>()?;
    let norm = r.vector("output_norm.weight")?;
    let untied = content.tensor_infos.contains_key("output.weight");
    let head = r.matrix(if untied { "output.weight" } else { "token_embd.weight" })?;
    let name = path.file_stem().map_or_else(|| "model".into(), |n| n.to_string_lossy().into());
    Ok(Model {
        name,
        llama: Llama::new(dims, embedding, layers, norm, head)?,
        vocab: Vocabulary::Bpe(Box::new(Bpe::from_gguf(&content)?)),
    })
}

fn dims(content: &Content, max_context: usize) -> Result<Dims, Error> {
    let get = |key: &str| {
        content.metadata.get(key).ok_or_else(|| Error::Unsupported { what: format!("no `{key}`") })
    };
    let architecture = get("general.architecture")?.to_string()?;
    if architecture != "llama" {
        return Err(Error::Unsupported { what: format!("architecture `{architecture}`") });
    }
    let count = |key: &str| -> Result<usize, Error> { Ok(get(key)?.to_u32()? as usize) };
    let (width, heads) =
        (count("llama.embedding_length")?, count("llama.attention.head_count")?.max(1));
    let head_dim = count("llama.rope.dimension_count").unwrap_or(width / heads);
    if head_dim * heads != width {
        return Err(Error::Unsupported { what: format!("{heads} heads of {head_dim} in {width}") });
    }
    let embedding = content.tensor_infos.get("token_embd.weight");
    let vocab = embedding.map_or(0, |t| t.shape.dims()[0]);
    Ok(Dims {
        layers: count("llama.block_count")?,
        width,
        heads,
        kv_heads: count("llama.attention.head_count_kv").unwrap_or(heads),
        head_dim,
        ffn: count("llama.feed_forward_length")?,
        vocab,
        context: count("llama.context_length")?.min(max_context),
        rope_base: get("llama.rope.freq_base").map_or(Ok(10_000.0), Value::to_f32)?,
        eps: get("llama.attention.layer_norm_rms_epsilon")?.to_f32()?,
    })
}

struct Reader<'a> {
    content: &'a Content,
    file: BufReader<File>,
}

impl Reader<'_> {
    fn layer(&mut self, i: usize) -> Result<Layer, Error> {
        let name = |part: &str| format!("blk.{i}.{part}.weight");
        Ok(Layer {
            attn_norm: self.vector(&name("attn_norm"))?,
            q: self.matrix(&name("attn_q"))?,
            k: self.matrix(&name("attn_k"))?,
            v: self.matrix(&name("attn_v"))?,
            o: self.matrix(&name("attn_output"))?,
            ffn_norm: self.vector(&name("ffn_norm"))?,
            gate: self.matrix(&name("ffn_gate"))?,
            up: self.matrix(&name("ffn_up"))?,
            down: self.matrix(&name("ffn_down"))?,
        })
    }

    fn tensor(&mut self, name: &str) -> Result<QTensor, Error> {
        Ok(self.content.tensor(&mut self.file, name, &Device::Cpu)?)
    }

    fn vector(&mut self, name: &str) -> Result<Tensor, Error> {
        Ok(self.tensor(name)?.dequantize(&Device::Cpu)?)
    }

    fn matrix(&mut self, name: &str) -> Result<Linear, Error> {
        Ok(Linear::new(self.tensor(name)?)?)
    }
}

//! A real model from a GGUF file (github.com/ggml-org/ggml, docs/gguf.md).
//!
//! Only the names of metadata and tensors live here; the arithmetic is [`super::llama`]'s, the
//! words are [`super::bpe`]'s.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use candle_core::Device;
use candle_core::quantized::QTensor;
use candle_core::quantized::gguf_file::{Content, Value};

use super::bpe::Bpe;
use super::llama::Dims;
use super::vocab::Vocabulary;
use super::weights::{Weights, assemble};
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
    let llama = assemble(dims, &mut Reader { content: &content, file })?;
    let name = path.file_stem().map_or_else(|| "model".into(), |n| n.to_string_lossy().into());
    Ok(Model { name, llama, vocab: Vocabulary::Bpe(Box::new(Bpe::from_gguf(&content)?)) })
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

impl Weights for Reader<'_> {
    fn has(&self, name: &str) -> bool {
        self.content.tensor_infos.contains_key(name)
    }

    fn tensor(&mut self, name: &str, _: &[usize]) -> Result<QTensor, Error> {
        Ok(self.content.tensor(&mut self.file, name, &Device::Cpu)?)
    }
}

#[cfg(test)]
mod tests;

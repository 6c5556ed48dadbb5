use candle_core::quantized::gguf_file;

use super::*;
use crate::model::noise::{self, Noise, TINY};
use crate::model::{Message, Segment};

/// Hands out noise and keeps what it handed out.
struct Recorder {
    noise: Noise,
    tensors: Vec<(String, QTensor)>,
}

impl Weights for Recorder {
    fn has(&self, _: &str) -> bool {
        true
    }

    fn tensor(&mut self, name: &str, shape: &[usize]) -> Result<QTensor, Error> {
        let tensor = self.noise.tensor(name, shape)?;
        let copy = QTensor::quantize(&tensor.dequantize(&Device::Cpu)?, tensor.dtype())?;
        self.tensors.push((name.to_owned(), tensor));
        Ok(copy)
    }
}

/// Writes the tiny noise model as a GGUF file, with the changes that a test wants.
fn write(path: &Path, change: impl FnOnce(&mut Vec<(&str, Value)>, &mut Vec<(String, QTensor)>)) {
    let mut recorder = Recorder { noise: Noise::new(1), tensors: Vec::new() };
    assemble(TINY, &mut recorder).unwrap();
    let number = |n: usize| Value::U32(u32::try_from(n).unwrap());
    let text = |t: &str| Value::String(t.to_owned());
    // GPT-2's names of the bytes, then merged pairs, then control tokens, as real files have them.
    let mut names: Vec<String> =
        ('!'..='~').chain('¡'..='¬').chain('®'..='ÿ').map(String::from).collect();
    names.extend(('\u{100}'..='\u{143}').map(String::from));
    assert_eq!(names.len(), 256);
    names.extend(["he", "llo", "ll", "<|im_start|>", "<|im_end|>"].map(String::from));
    let kinds = names.iter().map(|n| Value::I32(if n.starts_with("<|") { 3 } else { 1 })).collect();
    let merges = ["h e", "l l", "ll o"].map(text).to_vec();
    let mut metadata = vec![
        ("general.architecture", text("llama")),
        ("llama.block_count", number(TINY.layers)),
        ("llama.context_length", number(TINY.context)),
        ("llama.embedding_length", number(TINY.width)),
        ("llama.feed_forward_length", number(TINY.ffn)),
        ("llama.attention.head_count", number(TINY.heads)),
        ("llama.attention.head_count_kv", number(TINY.kv_heads)),
        ("llama.rope.dimension_count", number(TINY.head_dim)),
        ("llama.attention.layer_norm_rms_epsilon", Value::F32(TINY.eps)),
        ("tokenizer.ggml.model", text("gpt2")),
        ("tokenizer.ggml.pre", text("smollm")),
        ("tokenizer.ggml.tokens", Value::Array(names.iter().map(|n| text(n)).collect())),
        ("tokenizer.ggml.token_type", Value::Array(kinds)),
        ("tokenizer.ggml.merges", Value::Array(merges)),
        ("tokenizer.ggml.eos_token_id", number(260)),
    ];
    change(&mut metadata, &mut recorder.tensors);
    let metadata: Vec<(&str, &Value)> = metadata.iter().map(|(k, v)| (*k, v)).collect();
    let tensors: Vec<(&str, &QTensor)> =
        recorder.tensors.iter().map(|(n, t)| (n.as_str(), t)).collect();
    gguf_file::write(&mut File::create(path).unwrap(), &metadata, &tensors).unwrap();
}

fn logits(m: &Model, tokens: &[u32]) -> Vec<f32> {
    let mut cache = m.llama.cache().unwrap();
    m.llama.forward(&mut [Segment { cache: &mut cache, tokens }]).unwrap().remove(0)
}

#[test]
fn a_model_read_from_a_file_computes_what_it_computed_before_it_was_written() {
    let file = tempfile::NamedTempFile::new().unwrap();
    write(file.path(), |_, _| {});
    let model = load(file.path(), 4096).unwrap();
    assert_eq!(*model.llama.dims(), TINY);
    let original = noise::model(TINY, 1).unwrap();
    assert_eq!(logits(&model, &[1, 2, 3]), logits(&original, &[1, 2, 3]));
    assert_eq!(load(file.path(), 100).unwrap().llama.dims().context, 100);
}

#[test]
fn its_vocabulary_merges_pairs_and_wraps_chats_in_chatml() {
    let file = tempfile::NamedTempFile::new().unwrap();
    write(file.path(), |_, _| {});
    let vocab = load(file.path(), 4096).unwrap().vocab;
    assert_eq!(vocab.text("hello").unwrap(), [256, 257]);
    let spelled: Vec<u8> =
        vocab.text("é 12\n").unwrap().iter().flat_map(|&t| vocab.bytes_of(t).to_vec()).collect();
    assert_eq!(spelled, "é 12\n".as_bytes());
    let chat = vocab.chat(&[Message { role: "u".into(), content: "hello".into() }]).unwrap();
    let (start, end) = (259, 260);
    let id = |c: &str| vocab.text(c).unwrap()[0];
    assert_eq!(chat[..6], [start, id("u"), id("\n"), 256, 257, end]);
    assert_eq!(chat[6..9], [id("\n"), start, id("a")]);
    assert!(vocab.is_end(end) && !vocab.is_end(start));
    // A client cannot spell a control token.
    assert!(!vocab.text("<|im_end|>").unwrap().contains(&end));
    assert_eq!(vocab.bytes_of(end), [0u8; 0]);
}

#[test]
fn a_model_without_a_head_uses_its_embedding() {
    let file = tempfile::NamedTempFile::new().unwrap();
    write(file.path(), |_, tensors| tensors.retain(|t| t.0 != "output.weight"));
    assert_eq!(logits(&load(file.path(), 4096).unwrap(), &[1]).len(), TINY.vocab);
}

#[test]
fn what_it_does_not_run_is_refused_with_the_reason() {
    type Change = fn(&mut Vec<(&str, Value)>, &mut Vec<(String, QTensor)>);
    let cases: [(Change, &str); 5] = [
        (|m, _| m[0].1 = Value::String("qwen2".into()), "architecture `qwen2`"),
        (|m, _| m[3].1 = Value::U32(128), "4 heads of 16 in 128"),
        (|m, _| m[4].1 = Value::U32(160), "instead of [160, 64]"),
        (|m, _| m[9].1 = Value::String("llama".into()), "unsupported tokenizer"),
        (
            |m, _| {
                m.remove(8);
            },
            "no `llama.attention.layer_norm_rms_epsilon`",
        ),
    ];
    for (change, says) in cases {
        let file = tempfile::NamedTempFile::new().unwrap();
        write(file.path(), change);
        let error = load(file.path(), 4096).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
    let error = load(Path::new("/nonexistent"), 1).map(|_| ()).unwrap_err();
    assert!(matches!(error, Error::Read { .. }));
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "GGUF, or so it says").unwrap();
    assert!(matches!(load(file.path(), 1).map(|_| ()), Err(Error::Tensor(_))));
}

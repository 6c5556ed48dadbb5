//! A trained model's vocabulary, from its GGUF metadata.
//!
//! Byte-pair merging is the `tokenizers` crate's (candle brings it anyway); what is here is what a
//! GGUF file leaves to the reader: the pre-tokenizer that its name stands for, the bytes behind a
//! token, the control tokens, and the ChatML template.

use std::collections::HashMap;

use candle_core::quantized::gguf_file::{Content, Value};
use candle_core::quantized::tokenizer::TokenizerFromGguf;
use tokenizers::Tokenizer;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;

use super::Error;
use super::vocab::Message;

/// A byte-pair encoding with its control tokens.
pub struct Bpe {
    tokenizer: Tokenizer,
    /// Per token, the bytes it stands for; empty for control tokens.
    bytes: Vec<Vec<u8>>,
    /// Tokens that end an answer.
    ends: Vec<u32>,
    /// `<|im_start|>` and `<|im_end|>`, if the model knows ChatML.
    turn: Option<(u32, u32)>,
    /// What the model's template says if a chat has no system message.
    default_system: Option<String>,
    bos: Option<u32>,
}

impl Bpe {
    /// Reads the vocabulary from a GGUF file's metadata.
    ///
    /// # Errors
    /// When the metadata lack the tokens or the merges, or hold another kind of tokenizer.
    pub fn from_gguf(content: &Content) -> Result<Self, Error> {
        let mut tokenizer =
            Tokenizer::from_gguf(content).map_err(|e| Error::Tokenizer(e.to_string()))?;
        // A GGUF file names its pre-tokenizer; these two are GPT-2's, with and without digits
        // split off. Neither puts a space before the text.
        let gpt2 = ByteLevel::new(false, false, true);
        match string(content, "tokenizer.ggml.pre").unwrap_or("gpt-2") {
            "smollm" | "starcoder" | "refact" | "command-r" | "codeshell" => {
                let steps = vec![Digits::new(true).into(), gpt2.into()];
                tokenizer.with_pre_tokenizer(Some(Sequence::new(steps)));
            }
            "gpt-2" | "gpt2" | "default" => {
                tokenizer.with_pre_tokenizer(Some(gpt2));
            }
            _ => {} // candle knows the rest
        }
        // Text from a client must not be able to spell control tokens.
        tokenizer.set_encode_special_tokens(true);

        let tokens = strings(content, "tokenizer.ggml.tokens")?;
        let kinds = content.metadata.get("tokenizer.ggml.token_type").and_then(|v| v.to_vec().ok());
        let is_control = |i: usize| {
            kinds
                .and_then(|k| k.get(i))
                .and_then(|k| k.to_i32().ok())
                .is_some_and(|k| k == CONTROL || k == UNKNOWN)
        };
        let alphabet = byte_of_char();
        let bytes = tokens
            .iter()
            .enumerate()
            .map(|(i, t)| if is_control(i) { Vec::new() } else { token_bytes(t, &alphabet) })
            .collect();
        let id = |text: &str| tokens.iter().position(|t| *t == text).map(|i| i as u32);
        let known = |key: &str| content.metadata.get(key).and_then(|v| v.to_u32().ok());
        let turn = id("<|im_start|>").zip(id("<|im_end|>"));
        let mut ends: Vec<u32> = [
            known("tokenizer.ggml.eos_token_id"),
            known("tokenizer.ggml.eot_token_id"),
            id("<|endoftext|>"),
            turn.map(|t| t.1),
        ]
        .into_iter()
        .flatten()
        .collect();
        ends.sort_unstable();
        ends.dedup();
        let add_bos =
            matches!(content.metadata.get("tokenizer.ggml.add_bos_token"), Some(Value::Bool(true)));
        Ok(Self {
            tokenizer,
            bytes,
            ends,
            turn,
            default_system: string(content, "tokenizer.chat_template").and_then(system_of),
            bos: known("tokenizer.ggml.bos_token_id").filter(|_| add_bos),
        })
    }

    /// Tokens of a plain text.
    ///
    /// # Errors
    /// When the tokenizer refuses the text.
    pub fn text(&self, text: &str) -> Result<Vec<u32>, Error> {
        let mut ids: Vec<u32> = self.bos.into_iter().collect();
        ids.extend(self.encode(text)?);
        // A model cannot start from nothing.
        if ids.is_empty() {
            ids.push(self.ends.first().copied().unwrap_or(0));
        }
        Ok(ids)
    }

    /// Tokens of a chat in ChatML, up to where the assistant speaks; a plain transcript if the
    /// model does not know ChatML.
    ///
    /// # Errors
    /// When the tokenizer refuses the text.
    pub fn chat(&self, messages: &[Message]) -> Result<Vec<u32>, Error> {
        let Some((start, end)) = self.turn else {
            let lines: Vec<_> =
                messages.iter().map(|m| format!("{}: {}\n", m.role, m.content)).collect();
            return self.text(&format!("{}assistant:", lines.concat()));
        };
        let mut ids: Vec<u32> = self.bos.into_iter().collect();
        let mut turn = |role: &str, content: &str| -> Result<(), Error> {
            ids.push(start);
            ids.extend(self.encode(&format!("{role}\n{content}"))?);
            ids.push(end);
            ids.extend(self.encode("\n")?);
            Ok(())
        };
        if messages.first().is_none_or(|m| m.role != "system")
            && let Some(system) = &self.default_system
        {
            turn("system", system)?;
        }
        for m in messages {
            turn(&m.role, &m.content)?;
        }
        ids.push(start);
        ids.extend(self.encode("assistant\n")?);
        Ok(ids)
    }

    /// The bytes of a token.
    #[must_use]
    pub fn bytes_of(&self, token: u32) -> &[u8] {
        self.bytes.get(token as usize).map_or(&[], Vec::as_slice)
    }

    /// Whether the token ends an answer.
    #[must_use]
    pub fn is_end(&self, token: u32) -> bool {
        self.ends.contains(&token)
    }

    fn encode(&self, text: &str) -> Result<Vec<u32>, Error> {
        let encoding =
            self.tokenizer.encode_fast(text, false).map_err(|e| Error::Tokenizer(e.to_string()))?;
        Ok(encoding.get_ids().to_vec())
    }
}

/// `tokenizer.ggml.token_type` of unknown and control tokens (gguf.md, "Token types").
const UNKNOWN: i32 = 2;
const CONTROL: i32 = 3;

/// The system message that a ChatML template inserts by itself, if it is plain text.
fn system_of(template: &str) -> Option<String> {
    let (_, after) = template.split_once("<|im_start|>system\n")?;
    let (system, _) = after.split_once("<|im_end|>")?;
    (!system.contains(['{', '}', '\''])).then(|| system.to_owned())
}

/// GPT-2 writes a byte that is not printable Latin-1 as a character from U+0100 on, in order.
fn byte_of_char() -> HashMap<char, u8> {
    let mut next = 0x100;
    (0..=255u8)
        .map(|b| match b {
            b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff => (char::from(b), b),
            _ => {
                next += 1;
                (char::from_u32(next - 1).unwrap_or(char::REPLACEMENT_CHARACTER), b)
            }
        })
        .collect()
}

fn token_bytes(token: &str, alphabet: &HashMap<char, u8>) -> Vec<u8> {
    let bytes: Option<Vec<u8>> = token.chars().map(|c| alphabet.get(&c).copied()).collect();
    bytes.unwrap_or_else(|| token.as_bytes().to_vec())
}

fn string<'a>(content: &'a Content, key: &str) -> Option<&'a str> {
    content.metadata.get(key).and_then(|v| v.to_string().ok()).map(String::as_str)
}

fn strings<'a>(content: &'a Content, key: &str) -> Result<Vec<&'a str>, Error> {
    let missing = || Error::Tokenizer(format!("`{key}` is missing or no list of strings"));
    let list = content.metadata.get(key).and_then(|v| v.to_vec().ok()).ok_or_else(missing)?;
    list.iter().map(|v| v.to_string().map(String::as_str).map_err(|_| missing())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gpt2s_alphabet_spells_space_and_newline_and_every_byte_once() {
        let a = byte_of_char();
        assert_eq!(a.len(), 256);
        assert_eq!(token_bytes("Ġhi", &a), b" hi");
        assert_eq!(token_bytes("Ċ", &a), b"\n");
        assert_eq!(token_bytes("Ã©", &a), "é".as_bytes());
        assert_eq!(token_bytes("<✓>", &a), "<✓>".as_bytes());
    }

    #[test]
    fn a_templates_own_system_message_is_found_unless_it_is_computed() {
        let t = "{% if x %}{{ '<|im_start|>system\nYou help.<|im_end|>\n' }}{% endif %}";
        assert_eq!(system_of(t).as_deref(), Some("You help."));
        assert_eq!(system_of("<|im_start|>system\n' + m + '<|im_end|>"), None);
        assert_eq!(system_of("nothing"), None);
    }
}

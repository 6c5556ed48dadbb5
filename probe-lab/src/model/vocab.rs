//! Text to tokens and back.
//!
//! Two vocabularies: bytes, for the model made of noise, and a trained model's own
//! ([`crate::model::bpe`]).

use super::Error;
use super::bpe::Bpe;
use super::utf8::Utf8;

/// Tokens of the byte vocabulary: 256 bytes, then [`BOS`], then unused ones that round the count
/// up to the quantisation's tile.
pub const BYTE_VOCAB: usize = 272;
/// Starts every sequence of the byte vocabulary.
pub const BOS: u32 = 256;

/// One message of a chat.
#[derive(Clone, Debug)]
pub struct Message {
    /// `system`, `user`, `assistant`.
    pub role: String,
    /// Its text.
    pub content: String,
}

/// A vocabulary.
pub enum Vocabulary {
    /// One token a byte.
    Bytes,
    /// A trained model's byte-pair encoding.
    Bpe(Box<Bpe>),
}

impl Vocabulary {
    /// The tokens of a chat, ready for the assistant's answer.
    ///
    /// # Errors
    /// When the tokenizer refuses the text.
    pub fn chat(&self, messages: &[Message]) -> Result<Vec<u32>, Error> {
        match self {
            Self::Bytes => {
                let mut text = String::new();
                for m in messages {
                    text.extend([&m.role, ": ", &m.content, "\n"]);
                }
                text.push_str("assistant: ");
                Ok(bytes(&text))
            }
            Self::Bpe(bpe) => bpe.chat(messages),
        }
    }

    /// The tokens of a plain text.
    ///
    /// # Errors
    /// When the tokenizer refuses the text.
    pub fn text(&self, text: &str) -> Result<Vec<u32>, Error> {
        match self {
            Self::Bytes => Ok(bytes(text)),
            Self::Bpe(bpe) => bpe.text(text),
        }
    }

    /// The bytes that a token stands for; none for control tokens.
    #[must_use]
    pub fn bytes_of(&self, token: u32) -> &[u8] {
        match self {
            Self::Bytes => ALL_BYTES.get(token as usize..=token as usize).unwrap_or(&[]),
            Self::Bpe(bpe) => bpe.bytes_of(token),
        }
    }

    /// Whether the token ends the answer.
    #[must_use]
    pub fn is_end(&self, token: u32) -> bool {
        match self {
            Self::Bytes => false,
            Self::Bpe(bpe) => bpe.is_end(token),
        }
    }

    /// Removes tokens that may not come next. Noise would mostly be malformed UTF-8, so the byte
    /// vocabulary allows printable ASCII, and two- and three-byte characters of Latin-1 and kana.
    pub fn mask(&self, so_far: &Utf8, logits: &mut [f32]) {
        if matches!(self, Self::Bpe(_)) {
            return;
        }
        let inside = so_far.missing() > 0;
        for (token, logit) in logits.iter_mut().enumerate() {
            let legal = match token {
                0x80..=0xbf => inside,
                0x20..=0x7e | 0xc3 | 0xe3 => !inside,
                _ => false,
            };
            if !legal {
                *logit = f32::NEG_INFINITY;
            }
        }
    }
}

const ALL_BYTES: &[u8; 256] = &{
    let mut all = [0; 256];
    let mut i = 0;
    while i < 256 {
        all[i] = i as u8;
        i += 1;
    }
    all
};

fn bytes(text: &str) -> Vec<u32> {
    std::iter::once(BOS).chain(text.bytes().map(u32::from)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_is_a_token_and_control_tokens_have_no_text() {
        let v = Vocabulary::Bytes;
        assert_eq!(v.text("hé").unwrap(), [BOS, 104, 0xc3, 0xa9]);
        assert_eq!(v.bytes_of(0xc3), [0xc3]);
        assert_eq!(v.bytes_of(BOS), [0u8; 0]);
        let m = [Message { role: "user".into(), content: "hi".into() }];
        assert_eq!(v.chat(&m).unwrap().len(), 1 + "user: hi\nassistant: ".len());
    }

    #[test]
    fn the_mask_lets_only_well_formed_text_through() {
        let v = Vocabulary::Bytes;
        let legal = |u: &Utf8| {
            let mut l = vec![0.0; BYTE_VOCAB];
            v.mask(u, &mut l);
            l.iter().filter(|x| x.is_finite()).count()
        };
        let mut u = Utf8::default();
        assert_eq!(legal(&u), 95 + 2);
        u.push(&[0xe3]);
        assert_eq!(legal(&u), 64);
    }
}

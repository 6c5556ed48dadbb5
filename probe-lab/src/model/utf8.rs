//! Bytes to text, one token at a time.
//!
//! A token may end in the middle of a character. What a client gets must be text, so bytes wait
//! here until their character is complete: this is why a stream has fewer events than tokens.

/// Holds the bytes of an unfinished character.
#[derive(Clone, Debug, Default)]
pub struct Utf8 {
    pending: Vec<u8>,
}

impl Utf8 {
    /// Adds a token's bytes and returns the text that they complete; malformed sequences become
    /// U+FFFD.
    pub fn push(&mut self, bytes: &[u8]) -> String {
        self.pending.extend_from_slice(bytes);
        let mut text = String::new();
        let mut rest = std::mem::take(&mut self.pending);
        loop {
            match std::str::from_utf8(&rest) {
                Ok(s) => {
                    text.push_str(s);
                    return text;
                }
                Err(e) => {
                    let (good, bad) = rest.split_at(e.valid_up_to());
                    text.push_str(&String::from_utf8_lossy(good));
                    let Some(n) = e.error_len() else {
                        self.pending = bad.to_vec();
                        return text;
                    };
                    text.push(char::REPLACEMENT_CHARACTER);
                    rest = bad[n..].to_vec();
                }
            }
        }
    }

    /// Text for what is left at the end: nothing, or U+FFFD for a character cut short.
    pub fn finish(&mut self) -> String {
        String::from_utf8_lossy(&std::mem::take(&mut self.pending)).into_owned()
    }

    /// Bytes still needed to complete the current character; 0 between characters.
    #[must_use]
    pub fn missing(&self) -> usize {
        let len = match self.pending.first() {
            None => return 0,
            Some(0xc0..=0xdf) => 2,
            Some(0xe0..=0xef) => 3,
            Some(_) => 4,
        };
        usize::saturating_sub(len, self.pending.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_character_in_three_tokens_comes_out_with_the_third() {
        let mut u = Utf8::default();
        assert_eq!(u.push(&[0xe3]), "");
        assert_eq!(u.missing(), 2);
        assert_eq!(u.push(&[0x81]), "");
        assert_eq!(u.push(&[0x82, b'x']), "あx");
        assert_eq!(u.missing(), 0);
    }

    #[test]
    fn garbage_becomes_the_replacement_character_and_the_rest_survives() {
        let mut u = Utf8::default();
        assert_eq!(u.push(&[0xff, b'a', 0xc3, b'b']), "\u{fffd}a\u{fffd}b");
        assert_eq!(u.push(&[0xf0, 0x9f]), "");
        assert_eq!(u.finish(), "\u{fffd}");
        assert_eq!(u.finish(), "");
    }
}

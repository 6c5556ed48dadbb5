//! What a request's JSON body asks for: `model` and `stream`, nothing else.
//!
//! Clients put `messages` first, so both may stand behind 100 KB of prompt.

use super::{
    bounded,
    document::Document,
    json_key::Key,
    json_scan::{KEPT, Visitor},
};

/// What was found so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) model: Option<String>,
    pub(super) stream: Option<bool>,
    /// The body was a JSON object read to its end: what is missing is not there.
    pub(super) whole: bool,
}

impl Visitor for Asked {
    fn keeps(&self, path: &[Key], key: Key) -> bool {
        path.is_empty() && key == Key::Model
    }

    fn kept(&mut self, _: &[Key], _: Key, text: &[u8]) {
        self.model = bounded::name(text, KEPT);
    }

    fn atom(&mut self, path: &[Key], key: Key, text: &[u8]) {
        if path.is_empty() && key == Key::Stream {
            self.stream = match text {
                b"true" => Some(true),
                b"false" => Some(false),
                _ => self.stream,
            };
        }
    }
}

/// The scan of one request body.
#[derive(Clone, Debug, Default)]
pub(super) struct RequestScan {
    document: Document,
    asked: Asked,
    /// The body is compressed: its bytes say nothing.
    blind: bool,
}

impl RequestScan {
    /// A scan that reads nothing where the body is `compressed`.
    pub(super) fn new(compressed: bool) -> Self {
        Self { blind: compressed, ..Self::default() }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        if !self.blind {
            self.document.push(bytes, &mut self.asked);
        }
    }

    pub(super) fn gap(&mut self) {
        if !self.blind {
            self.document.gap();
        }
    }

    /// What is known, if the body ends here.
    pub(super) fn asked(&self) -> Asked {
        let mut asked = self.asked.clone();
        asked.whole = self.document.finish(&mut asked);
        asked
    }

    /// Heap bytes held.
    pub(super) fn retained(&self) -> usize {
        self.document.retained()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(parts: &[Option<&[u8]>]) -> Asked {
        let mut scan = RequestScan::default();
        for part in parts {
            match part {
                Some(bytes) => scan.push(bytes),
                None => scan.gap(),
            }
        }
        scan.asked()
    }

    #[test]
    fn keys_behind_a_long_prompt_are_read_when_nothing_is_missing() {
        let prompt = "x".repeat(100_000);
        let body =
            format!(r#"{{"messages":[{{"content":"{prompt}"}}],"model":"m","stream":true}}"#);
        let asked = scan(&[Some(body.as_bytes())]);
        assert_eq!(
            (asked.model.as_deref(), asked.stream, asked.whole),
            (Some("m"), Some(true), true)
        );
    }

    #[test]
    fn keys_after_a_gap_are_read_from_the_end() {
        let asked = scan(&[
            Some(br#"{"messages":[{"content":"begin"#),
            None,
            Some(br#" \"model\":\"wrong\","}],"model":"right","stream":true}"#),
        ]);
        assert_eq!(
            (asked.model.as_deref(), asked.stream, asked.whole),
            (Some("right"), Some(true), false)
        );
    }

    #[test]
    fn a_key_before_the_gap_survives_a_tail_that_says_nothing() {
        let asked = scan(&[Some(br#"{"model":"m","prompt":"aa"#), None, Some(b"bb\"}"), None]);
        assert_eq!((asked.model.as_deref(), asked.stream), (Some("m"), None));
    }

    #[test]
    fn nested_keys_are_not_the_request_s() {
        let asked = scan(&[Some(br#"{"metadata":{"model":"no","stream":true}}"#)]);
        assert_eq!((asked.model, asked.stream, asked.whole), (None, None, true));
    }
}

//! What an answer says about itself: text or not, and token counts.
//!
//! Counts come from OpenAI's `usage`, llama.cpp's `timings`, or llama.cpp's native fields; what a
//! server does not report stays unknown.

use serde_json::Value;

/// Token counts as reported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tokens {
    pub(super) prompt: Option<u64>,
    pub(super) completion: Option<u64>,
}

impl Tokens {
    /// Takes the counts of an answer or event, if it has any.
    pub(super) fn note(&mut self, body: &Value) {
        let at = |object: &str, field: &str| body.get(object)?.get(field)?.as_u64();
        let top = |field: &str| body.get(field)?.as_u64();
        let prompt = at("usage", "prompt_tokens")
            .or_else(|| at("usage", "input_tokens"))
            .or_else(|| Some(at("timings", "prompt_n")? + at("timings", "cache_n").unwrap_or(0)))
            .or_else(|| top("tokens_evaluated"));
        let completion = at("usage", "completion_tokens")
            .or_else(|| at("usage", "output_tokens"))
            .or_else(|| at("timings", "predicted_n"))
            .or_else(|| top("tokens_predicted").filter(|_| body["stop"] == true));
        self.prompt = prompt.or(self.prompt);
        self.completion = completion.or(self.completion);
    }
}

/// Whether an event carries text: OpenAI's chat and text completions, llama.cpp's native events.
fn has_text(event: &Value) -> bool {
    let choice = &event["choices"][0];
    [&choice["delta"]["content"], &choice["text"], &event["content"]]
        .into_iter()
        .any(|text| text.as_str().is_some_and(|t| !t.is_empty()))
}

/// Splits a stream into events, however its bytes are cut.
#[derive(Debug, Default)]
pub(super) struct Events {
    line: Vec<u8>,
    /// Counts seen so far.
    pub(super) tokens: Tokens,
    /// Events with text so far.
    pub(super) with_text: u64,
}

impl Events {
    /// Takes the next bytes of the stream.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            if byte != b'\n' {
                self.line.push(byte);
                continue;
            }
            let line = std::mem::take(&mut self.line);
            let Some(data) = line.strip_prefix(b"data:") else { continue };
            // `[DONE]` is no JSON and carries nothing.
            if let Ok(event) = serde_json::from_slice::<Value>(data) {
                self.with_text += u64::from(has_text(&event));
                self.tokens.note(&event);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_told_from_role_usage_and_pings_however_the_bytes_are_cut() {
        let stream = "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":null}}]}\n\n\
            :\n\n\
            data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\r\n\r\n\
            data: {\"choices\":[{\"text\":\"b\"}]}\n\n\
            data: {\"content\":\"c\",\"stop\":false,\"tokens_predicted\":1}\n\n\
            data: {\"choices\":[{\"delta\":{}}],\"timings\":{\"prompt_n\":1,\"cache_n\":9,\"predicted_n\":5}}\n\n\
            data: [DONE]\n\n";
        for step in [1, 2, 7, 1000] {
            let mut events = Events::default();
            stream.as_bytes().chunks(step).for_each(|part| events.push(part));
            assert_eq!(events.with_text, 3);
            assert_eq!(events.tokens, Tokens { prompt: Some(10), completion: Some(5) });
        }
    }

    #[test]
    fn usage_wins_over_timings_and_silence_stays_unknown() {
        let mut t = Tokens::default();
        t.note(&serde_json::json!({"choices": []}));
        assert_eq!(t, Tokens::default());
        t.note(&serde_json::json!({
            "usage": {"prompt_tokens": 7, "completion_tokens": 0},
            "timings": {"prompt_n": 1, "predicted_n": 9},
        }));
        assert_eq!(t, Tokens { prompt: Some(7), completion: Some(0) });
    }
}

//! Token counts and durations as servers report them, and which of them to believe.
//!
//! Chunks are not tokens: five chunks have carried sixteen tokens of emoji. So a server's own count
//! wins over counted events, and `usage` over llama.cpp's `timings` and the native fields.
//!
//! A prompt's count is of all its tokens, those taken from a cache and those written to one included. OpenAI's
//! `prompt_tokens`, `input_tokens` of its responses, and llama.cpp's `tokens_evaluated` are that; Anthropic's `input_tokens`
//! leaves both out and tells them beside, `timings` leaves out those taken.

use std::time::Duration;

use super::facts::ServerTimings;
use crate::record::TokenSource;

/// Everything a response said about its tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// `prompt_tokens`.
    pub(super) usage_prompt: Option<u64>,
    /// `input_tokens`.
    pub(super) usage_input: Option<u64>,
    /// Anthropic's, beside its `input_tokens`.
    pub(super) cache_read: Option<u64>,
    pub(super) cache_created: Option<u64>,
    pub(super) usage_completion: Option<u64>,
    pub(super) usage_cached: Option<u64>,
    /// llama.cpp's `tokens_evaluated`, Ollama's `prompt_eval_count`, TGI's `input_length`.
    pub(super) native_prompt: Option<u64>,
    /// llama.cpp's `tokens_predicted`, Ollama's `eval_count`, TGI's `generated_tokens`.
    pub(super) native_completion: Option<u64>,
    pub(super) prompt_n: Option<u64>,
    pub(super) predicted_n: Option<u64>,
    pub(super) cache_n: Option<u64>,
    pub(super) timings: ServerTimings,
}

/// The counts a request is recorded with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tokens {
    pub(super) prompt: Option<u64>,
    pub(super) completion: Option<u64>,
    pub(super) source: TokenSource,
}

impl Counts {
    /// Chooses; `events` are a stream's counted content events.
    pub(super) fn settle(&self, events: Option<u64>) -> Tokens {
        let by_timings = self.prompt_n.map(|n| n.saturating_add(self.cache_n.unwrap_or(0)));
        let native_prompt = self.native_prompt.or(by_timings);
        let native_completion = self.native_completion.or(self.predicted_n);
        let chunks = events.filter(|n| *n > 0);
        let candidates = [
            (self.usage_completion, TokenSource::Usage),
            (native_completion, TokenSource::Timings),
            (chunks, TokenSource::Chunks),
        ];
        let usage_prompt = self.usage_prompt();
        let prompt = usage_prompt.or(native_prompt);
        match candidates.into_iter().find(|(count, _)| count.is_some()) {
            Some((completion, source)) => Tokens { prompt, completion, source },
            None => Tokens {
                prompt,
                completion: None,
                source: match (usage_prompt, native_prompt) {
                    (Some(_), _) => TokenSource::Usage,
                    (None, Some(_)) => TokenSource::Timings,
                    (None, None) => TokenSource::None,
                },
            },
        }
    }

    /// Adds what another answer of the same response counted; their phases ran beside each other.
    pub(super) fn add(&mut self, other: &Self) {
        let add = |sum: &mut Option<u64>, n: Option<u64>| {
            *sum = sum.map_or(n, |sum| Some(sum.saturating_add(n.unwrap_or(0))));
        };
        add(&mut self.usage_prompt, other.usage_prompt);
        add(&mut self.usage_input, other.usage_input);
        add(&mut self.cache_read, other.cache_read);
        add(&mut self.cache_created, other.cache_created);
        add(&mut self.usage_completion, other.usage_completion);
        add(&mut self.usage_cached, other.usage_cached);
        add(&mut self.native_prompt, other.native_prompt);
        add(&mut self.native_completion, other.native_completion);
        add(&mut self.prompt_n, other.prompt_n);
        add(&mut self.predicted_n, other.predicted_n);
        add(&mut self.cache_n, other.cache_n);
        let (sum, other) = (&mut self.timings, &other.timings);
        sum.prompt = sum.prompt.max(other.prompt);
        sum.predicted = sum.predicted.max(other.predicted);
        sum.load = sum.load.max(other.load);
        sum.total = sum.total.max(other.total);
    }

    /// These of a prompt, and those of what was generated.
    pub(super) fn with_answers_of(self, answers: &Self) -> Self {
        let Self { usage_completion, native_completion, predicted_n, timings, .. } = *answers;
        Self { usage_completion, native_completion, predicted_n, timings, ..self }
    }

    /// Prompt tokens taken from a cache.
    pub(super) fn cached(&self) -> Option<u64> {
        self.cache_n.or(self.usage_cached).or(self.cache_read)
    }

    fn usage_prompt(&self) -> Option<u64> {
        let beside = [self.cache_read, self.cache_created].into_iter().flatten();
        let input = self.usage_input.map(|n| beside.fold(n, u64::saturating_add));
        self.usage_prompt.or(input)
    }
}

/// A count: digits only.
pub(super) fn count(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    str::from_utf8(text).ok()?.parse().ok()
}

/// A duration in milliseconds, as a decimal number.
pub(super) fn millis(text: &[u8]) -> Option<Duration> {
    let ms: f64 = str::from_utf8(text).ok()?.trim().parse().ok()?;
    Duration::try_from_secs_f64(ms / 1e3).ok()
}

/// A duration in nanoseconds.
pub(super) fn nanos(text: &[u8]) -> Option<Duration> {
    count(text).map(Duration::from_nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_wins_over_timings_and_timings_over_chunks() {
        let mut counts = Counts::default();
        let nothing = Tokens { prompt: None, completion: None, source: TokenSource::None };
        assert_eq!(counts.settle(None), nothing);
        assert_eq!(counts.settle(Some(0)), nothing);
        let chunks = counts.settle(Some(5));
        assert_eq!((chunks.completion, chunks.source), (Some(5), TokenSource::Chunks));
        counts.prompt_n = Some(1);
        counts.cache_n = Some(30);
        counts.predicted_n = Some(16);
        let timings = counts.settle(Some(5));
        assert_eq!((timings.prompt, timings.completion), (Some(31), Some(16)));
        assert_eq!((timings.source, counts.cached()), (TokenSource::Timings, Some(30)));
        counts.usage_prompt = Some(32);
        counts.usage_completion = Some(17);
        let usage = counts.settle(Some(5));
        assert_eq!((usage.prompt, usage.completion), (Some(32), Some(17)));
        assert_eq!(usage.source, TokenSource::Usage);
    }

    #[test]
    fn a_prompt_count_alone_does_not_hide_counted_chunks() {
        let counts = Counts { usage_prompt: Some(9), ..Counts::default() };
        let streamed = counts.settle(Some(4));
        assert_eq!((streamed.prompt, streamed.completion), (Some(9), Some(4)));
        assert_eq!(streamed.source, TokenSource::Chunks);
        assert_eq!(counts.settle(None).source, TokenSource::Usage);
    }

    #[test]
    fn cached_tokens_are_part_of_the_prompt_whoever_counts() {
        let anthropic = Counts {
            usage_input: Some(5),
            cache_read: Some(100),
            cache_created: Some(20),
            ..Counts::default()
        };
        assert_eq!((anthropic.settle(None).prompt, anthropic.cached()), (Some(125), Some(100)));
        let responses =
            Counts { usage_input: Some(125), usage_cached: Some(100), ..Counts::default() };
        assert_eq!((responses.settle(None).prompt, responses.cached()), (Some(125), Some(100)));
        // A proxy tells both ways: OpenAI's count is whole already.
        let both = Counts { usage_prompt: Some(125), cache_read: Some(100), ..anthropic };
        assert_eq!(both.settle(None).prompt, Some(125));
        let timings = Counts { prompt_n: Some(25), cache_n: Some(100), ..Counts::default() };
        assert_eq!((timings.settle(None).prompt, timings.cached()), (Some(125), Some(100)));
    }

    #[test]
    fn numbers_that_are_none_are_refused() {
        assert_eq!(count(b"42"), Some(42));
        for bad in [&b""[..], b"-1", b"1.5", b"null", b"99999999999999999999999"] {
            assert_eq!(count(bad), None);
        }
        assert_eq!(millis(b"12.5"), Some(Duration::from_micros(12_500)));
        for bad in [&b"-1"[..], b"NaN", b"inf", b"1e300", b"\xff"] {
            assert_eq!(millis(bad), None);
        }
    }
}

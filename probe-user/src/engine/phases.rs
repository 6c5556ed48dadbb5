//! What a request did and when, from everything that is known of it at its end: the server's own durations place queue,
//! prefill and decode of a plain answer backwards from its last byte; in a stream the first content tells where
//! prefill ended.

use std::time::Duration;

use probe_ledger::{Nanos, Work};

use crate::boundary::Facts;

/// For the ledger, before the request leaves.
#[must_use]
pub fn work(facts: &Facts) -> Work {
    let before = |t: u64, duration: Duration| {
        t.saturating_sub(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
    };
    let timings = &facts.timings;
    // Only in a stream is the first content not the last.
    let streamed = facts.content_events.and(facts.first).map(|first| first.t);
    let first = streamed.or_else(|| timings.predicted.map(|d| before(facts.end.t, d)));
    let begin = first.zip(timings.prompt).map(|(first, prompt)| before(first, prompt));
    let cached = facts.prompt_cached.unwrap_or(0);
    let prompt =
        facts.prompt_processed.or_else(|| facts.prompt_tokens.map(|n| n.saturating_sub(cached)));
    // What counts by its prompt alone (embeddings) has generated nothing.
    let completion = facts.completion_tokens.or(prompt.and(Some(0)));
    Work {
        begin: begin.map(Nanos),
        first: first.map(Nanos),
        last: None,
        prompt,
        cached,
        completion,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::{
        boundary::{Flags, Moment, RequestId, ServerTimings},
        event::ConnId,
        record::{End, TokenSource},
    };

    const MS: u64 = 1_000_000;

    pub(in crate::engine) fn facts() -> Facts {
        let at = |ms: u64| Moment { t: ms * MS, clock: [0; 8] };
        Facts {
            request: RequestId(1),
            conn: ConnId(1),
            tgid: 7,
            who: 4,
            method: None,
            path: None,
            status: Some(200),
            model: None,
            stream: None,
            prompt_tokens: Some(120),
            completion_tokens: Some(40),
            token_source: TokenSource::Usage,
            prompt_processed: None,
            prompt_cached: None,
            timings: ServerTimings::default(),
            start: at(100),
            body: Some(at(110)),
            head: None,
            first: Some(at(900)),
            end: at(1_000),
            outcome: End::Complete,
            external_id: None,
            bytes_in: 1,
            bytes_out: 1,
            content_events: None,
            flags: Flags::default(),
        }
    }

    #[test]
    fn a_streams_first_content_is_where_prefill_ended() {
        let mut stream = facts();
        stream.content_events = Some(39);
        let found = work(&stream);
        assert_eq!((found.begin, found.first), (None, Some(Nanos(900 * MS))));
        assert_eq!((found.prompt, found.cached, found.completion), (Some(120), 0, Some(40)));
        stream.timings.prompt = Some(Duration::from_millis(300));
        assert_eq!(work(&stream).begin, Some(Nanos(600 * MS)));
    }

    #[test]
    fn a_plain_answers_phases_are_reckoned_back_from_its_last_byte() {
        let mut plain = facts();
        assert_eq!((work(&plain).begin, work(&plain).first), (None, None));
        plain.timings.predicted = Some(Duration::from_millis(500));
        plain.timings.prompt = Some(Duration::from_millis(200));
        plain.prompt_cached = Some(20);
        let found = work(&plain);
        assert_eq!((found.begin, found.first), (Some(Nanos(300 * MS)), Some(Nanos(500 * MS))));
        assert_eq!((found.prompt, found.cached), (Some(100), 20));
        plain.prompt_processed = Some(99);
        assert_eq!(work(&plain).prompt, Some(99));
    }

    #[test]
    fn durations_longer_than_the_machine_runs_do_not_wrap() {
        let mut odd = facts();
        odd.timings.predicted = Some(Duration::MAX);
        assert_eq!(work(&odd).first, Some(Nanos(0)));
    }

    #[test]
    fn what_has_no_tokens_has_no_work() {
        let mut plain = facts();
        (plain.prompt_tokens, plain.completion_tokens) = (None, None);
        assert_eq!((work(&plain).prompt, work(&plain).completion), (None, None));
        plain.prompt_tokens = Some(7);
        assert_eq!(work(&plain).completion, Some(0));
    }
}

//! What a request did and when, from everything that is known of it at its end: the server's own durations place queue,
//! prefill and decode of a plain answer backwards from its last byte; in a stream the first content tells where
//! prefill ended.

use std::time::Duration;

use probe_ledger::{Nanos, Work};

use crate::boundary::Facts;

/// Two instants of a request, ns, where they are known.
#[derive(Clone, Copy)]
struct Turns {
    /// Work on it began.
    begin: Option<u64>,
    /// Its prompt was read and its answer begun.
    first: Option<u64>,
}

fn turns(facts: &Facts) -> Turns {
    let before = |t: u64, duration: Duration| t.saturating_sub(ns(duration));
    let timings = &facts.timings;
    // Only in a stream is the first content not the last.
    let streamed = facts.content_events.and(facts.first).map(|first| first.t);
    let first = streamed.or_else(|| timings.predicted.map(|d| before(facts.end.t, d)));
    let begin = first.zip(timings.prompt).map(|(first, prompt)| before(first, prompt));
    Turns { begin, first }
}

fn ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// How long a request waited, was read and was answered, ns. Where all three are known they are what lies between its
/// body and its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spans {
    /// Request fully read to the beginning of work. A model that is loaded for it counts as waiting.
    pub queue: Option<u64>,
    /// From there to the first content. Where nobody tells when work began, waiting and reading are not told apart.
    pub prefill: Option<u64>,
    /// First content to the last byte.
    pub decode: Option<u64>,
}

/// For the record.
#[must_use]
pub fn spans(facts: &Facts) -> Spans {
    let Turns { begin, first } = turns(facts);
    let (body, end) = (facts.body.map(|body| body.t), facts.end.t);
    let whole = end.saturating_sub(body.unwrap_or(facts.start.t));
    // A server's clock may lead a little: it did not begin before it had read the request, nor answer before it began.
    let first = first.map(|first| first.max(body.unwrap_or(0)));
    let begin = body.zip(begin).map(|(body, begin)| begin.max(body));
    Spans {
        queue: body
            .zip(begin)
            .map(|(body, begin)| begin - body)
            // What a server says of a time when nobody watched can be no longer than the request.
            .or_else(|| facts.timings.queue.map(ns).filter(|queue| *queue <= whole)),
        prefill: begin.zip(first).map(|(begin, first)| first.saturating_sub(begin)),
        decode: first.map(|first| end.saturating_sub(first)),
    }
}

/// For the ledger, before the request leaves.
#[must_use]
pub fn work(facts: &Facts) -> Work {
    let Turns { begin, first } = turns(facts);
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
            arrived: None,
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
            gaps: None,
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

    fn told(facts: &Facts) -> [Option<u64>; 3] {
        let spans = spans(facts);
        [spans.queue, spans.prefill, spans.decode].map(|ns| ns.map(|ns| ns / MS))
    }

    #[test]
    fn queue_prefill_and_decode_fill_the_time_from_body_to_end() {
        let mut plain = facts();
        assert_eq!(told(&plain), [None; 3], "the first byte of a plain answer tells nothing");
        plain.timings.predicted = Some(Duration::from_millis(500));
        assert_eq!(told(&plain), [None, None, Some(500)], "waiting and reading are one");
        plain.timings.prompt = Some(Duration::from_millis(200));
        assert_eq!(told(&plain), [Some(190), Some(200), Some(500)]);
        let mut stream = facts();
        stream.content_events = Some(39);
        assert_eq!(told(&stream), [None, None, Some(100)]);
        stream.timings.prompt = Some(Duration::from_millis(300));
        assert_eq!(told(&stream), [Some(490), Some(300), Some(100)]);
        stream.timings.prompt = Some(Duration::from_millis(795));
        assert_eq!(told(&stream), [Some(0), Some(790), Some(100)], "not before it was read");
    }

    #[test]
    fn a_wait_that_only_the_server_tells_is_taken_from_it() {
        let mut plain = facts();
        plain.timings.queue = Some(Duration::from_millis(7));
        assert_eq!(told(&plain), [Some(7), None, None]);
        plain.timings.queue = Some(Duration::from_secs(60));
        assert_eq!(told(&plain), [None, None, None], "longer than the request");
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

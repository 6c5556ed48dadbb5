//! Several answers in one response: to a list of prompts, or `n` to one. llama.cpp counts each of them apart, by `index`, and
//! they come interleaved; others count them together.

use wattprobe::{boundary::Facts, record::TokenSource};

use crate::feed::*;

/// What was counted: prompt, completion and cached tokens.
fn counted(facts: &Facts) -> (Option<u64>, Option<u64>, Option<u64>) {
    (facts.prompt_tokens, facts.completion_tokens, facts.prompt_cached)
}

fn streamed(path: &str, events: &[&str]) -> Facts {
    let mut feed = Feed::new();
    feed.recv(post(path, r#"{"prompt":["hello there","a b c d e f g"],"stream":true}"#));
    feed.send(STREAM_HEAD);
    events.iter().for_each(|event| feed.send(chunk(&format!("data: {event}\n\n"))));
    feed.send("0\r\n\r\n");
    feed.only()
}

/// `timings` as llama.cpp writes them.
fn timings(cache: u64, prompt: u64, predicted: u64, ms: u64) -> String {
    format!(
        r#""timings":{{"cache_n":{cache},"prompt_n":{prompt},"prompt_ms":{ms},"predicted_n":{predicted},"predicted_ms":{ms}}}"#
    )
}

#[test]
fn llama_cpp_s_native_stream_ends_once_for_each_prompt() {
    let last = |index: u64, predicted: u64, evaluated: u64, ms: u64| {
        let timings = timings(0, evaluated, predicted, ms);
        format!(
            r#"{{"index":{index},"content":"","stop":true,"model":"m","tokens_predicted":{predicted},"tokens_evaluated":{evaluated},{timings}}}"#
        )
    };
    let facts = streamed(
        "/completion",
        &[
            r#"{"index":1,"content":" h","stop":false,"tokens_predicted":1,"tokens_evaluated":7}"#,
            r#"{"index":0,"content":" is","stop":false,"tokens_predicted":1,"tokens_evaluated":2}"#,
            r#"{"index":1,"content":" i","stop":false,"tokens_predicted":2,"tokens_evaluated":7}"#,
            &last(1, 2, 7, 120),
            r#"{"index":0,"content":" no","stop":false,"tokens_predicted":2,"tokens_evaluated":2}"#,
            &last(0, 5, 2, 90),
        ],
    );
    assert_eq!(counted(&facts), (Some(9), Some(7), Some(0)));
    assert_eq!((facts.token_source, facts.content_events), (TokenSource::Timings, Some(4)));
    assert_eq!(facts.timings.predicted.map(|d| d.as_millis()), Some(120), "beside each other");
}

#[test]
fn llama_cpp_s_native_answers_stand_in_one_array() {
    let one = |index: u64, predicted: u64, evaluated: u64, cached: u64| {
        let timings = timings(cached, evaluated - cached, predicted, 10);
        format!(
            r#"{{"index":{index},"content":"x","stop":true,"model":"m","tokens_predicted":{predicted},"tokens_evaluated":{evaluated},{timings}}}"#
        )
    };
    let answers = |list: &[String]| {
        let mut feed = Feed::new();
        feed.recv(post("/completion", r#"{"prompt":["hello there","a b c d e f g"]}"#));
        feed.send(plain("200 OK", &format!("[{}]", list.join(","))));
        feed.only()
    };
    let facts = answers(&[one(0, 5, 2, 1), one(1, 4, 7, 6)]);
    assert_eq!(counted(&facts), (Some(9), Some(9), Some(7)));
    assert_eq!((facts.prompt_processed, facts.model.as_deref()), (Some(2), Some("m")));
    assert_eq!(counted(&answers(&[one(0, 5, 2, 1)])), (Some(2), Some(5), Some(1)), "a list of one");
}

#[test]
fn llama_cpp_s_usage_of_each_answer_is_summed() {
    let usage = |index: u64, prompt: u64, cached: u64| {
        let timings = timings(cached, prompt - cached, 5, 10);
        format!(
            r#"{{"choices":[{{"text":"","index":{index},"finish_reason":"length"}}],"usage":{{"completion_tokens":5,"prompt_tokens":{prompt},"prompt_tokens_details":{{"cached_tokens":{cached}}}}},{timings}}}"#
        )
    };
    let facts = streamed("/v1/completions", &[&usage(1, 7, 6), &usage(0, 2, 1), "[DONE]"]);
    assert_eq!(counted(&facts), (Some(9), Some(10), Some(7)));
    assert_eq!(facts.token_source, TokenSource::Usage);

    // The counts stand behind the last pieces, in events without a choice.
    let over = |index: u64| {
        format!(r#"{{"choices":[{{"finish_reason":"length","index":{index},"delta":{{}}}}]}}"#)
    };
    let count = |prompt: u64| {
        let timings = timings(prompt - 1, 1, 5, 10);
        format!(
            r#"{{"choices":[],"usage":{{"completion_tokens":5,"prompt_tokens":{prompt}}},{timings}}}"#
        )
    };
    let events = [over(1), count(31), over(0), count(31), "[DONE]".to_owned()];
    let events: Vec<_> = events.iter().map(String::as_str).collect();
    let chat = streamed("/v1/chat/completions", &events);
    assert_eq!(counted(&chat), (Some(31), Some(10), Some(30)), "to one prompt");
}

#[test]
fn one_answer_whose_counts_are_told_again_and_again_is_counted_once() {
    let told = |predicted: u64, reason: &str| {
        let timings = timings(0, 31, predicted, 10);
        format!(
            r#"{{"choices":[{{"index":0,"delta":{{"content":"x"}},"finish_reason":{reason}}}],{timings}}}"#
        )
    };
    let last = format!(r#"{{"choices":[],{}}}"#, timings(0, 31, 3, 10));
    let events = [&told(1, "null"), &told(2, "null"), &told(3, r#""stop""#), &last];
    let facts = streamed("/v1/chat/completions", &events.map(String::as_str));
    assert_eq!(counted(&facts), (Some(31), Some(3), Some(0)));
}

#[test]
fn a_server_that_counts_all_answers_together_is_believed() {
    // vLLM with `n` of 2 and its counts in every event.
    let told = |index: u64, completion: u64, reason: &str| {
        format!(
            r#"{{"choices":[{{"index":{index},"delta":{{"content":"x"}},"finish_reason":{reason}}}],"usage":{{"prompt_tokens":9,"completion_tokens":{completion}}}}}"#
        )
    };
    let last = r#"{"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":4}}"#;
    let stop = r#""stop""#;
    let events =
        [told(0, 1, "null"), told(1, 2, "null"), told(0, 3, stop), told(1, 4, stop), last.into()];
    let events: Vec<_> = events.iter().map(String::as_str).collect();
    assert_eq!(counted(&streamed("/v1/chat/completions", &events)), (Some(9), Some(4), None));
}

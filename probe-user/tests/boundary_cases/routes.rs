//! Whole exchanges of every route that is understood, as its servers write them: what each request was for, and its tokens.
//!
//! `prompt` is every token of the prompt, those taken from a cache included, whoever counts; `cached` is those.

use wattprobe::{
    boundary::Facts,
    record::{Kind, TokenSource},
};

use crate::feed::*;

/// What must be seen of an exchange.
#[derive(Debug, PartialEq)]
struct Seen {
    kind: Kind,
    model: Option<String>,
    stream: Option<bool>,
    prompt: Option<u64>,
    completion: Option<u64>,
    cached: Option<u64>,
    source: TokenSource,
    /// Content events of a stream.
    events: Option<u64>,
}

impl Seen {
    fn of(facts: &Facts) -> Self {
        Self {
            kind: facts.kind(),
            model: facts.model.clone(),
            stream: facts.stream,
            prompt: facts.prompt_tokens,
            completion: facts.completion_tokens,
            cached: facts.prompt_cached,
            source: facts.token_source,
            events: facts.content_events,
        }
    }
}

/// One exchange: the request, the server's writes, and what must be seen.
struct Case {
    path: &'static str,
    request: String,
    writes: Vec<String>,
    /// The write that holds the first content.
    first: Option<usize>,
    seen: Seen,
}

impl Case {
    fn new(path: &'static str, body: &str, writes: Vec<String>) -> Self {
        let seen = Seen {
            kind: Kind::Inference,
            model: Some("m".to_owned()),
            stream: Some(false),
            prompt: None,
            completion: None,
            cached: None,
            source: TokenSource::None,
            events: None,
        };
        Self { path, request: post(path, body), writes, first: Some(0), seen }
    }

    /// Prompt, completion and cached tokens, and who counted.
    fn tokens(
        mut self,
        prompt: impl Into<Option<u64>>,
        completion: impl Into<Option<u64>>,
        cached: impl Into<Option<u64>>,
        source: TokenSource,
    ) -> Self {
        let seen = &mut self.seen;
        (seen.prompt, seen.completion) = (prompt.into(), completion.into());
        (seen.cached, seen.source) = (cached.into(), source);
        self
    }

    fn streamed(mut self, events: u64, first: usize) -> Self {
        (self.seen.stream, self.seen.events, self.first) = (Some(true), Some(events), Some(first));
        self
    }

    /// Of a kind, without a model.
    fn plain(mut self, kind: Kind) -> Self {
        (self.seen.kind, self.seen.model) = (kind, None);
        self
    }
}

/// A stream of events, a write each behind that of the head.
fn events(events: &[&str]) -> Vec<String> {
    stream("text/event-stream", events.iter().map(|event| format!("data: {event}\n\n")))
}

/// Anthropic and OpenAI's responses name their events, too.
fn named(events: &[&str]) -> Vec<String> {
    let event = |event: &&str| {
        let name = event.split('"').nth(3).unwrap_or_default();
        format!("event: {name}\ndata: {event}\n\n")
    };
    stream("text/event-stream", events.iter().map(event))
}

/// Lines of JSON.
fn lines(lines: &[&str]) -> Vec<String> {
    stream("application/x-ndjson", lines.iter().map(|line| format!("{line}\n")))
}

fn stream(content_type: &str, parts: impl Iterator<Item = String>) -> Vec<String> {
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    let last = "0\r\n\r\n".to_owned();
    [head].into_iter().chain(parts.map(|part| chunk(&part))).chain([last]).collect()
}

fn answer(body: &str) -> Vec<String> {
    vec![plain("200 OK", body)]
}

use TokenSource::{Chunks, None as Nothing, Timings, Usage};

fn openai() -> Vec<Case> {
    let ask = r#"{"model":"m","messages":[{"role":"user","content":"q"}]}"#;
    let asked =
        r#"{"model":"m","messages":[],"stream":true,"stream_options":{"include_usage":true}}"#;
    vec![
        Case::new(
            "/v1/chat/completions",
            ask,
            answer(r#"{"id":"c","object":"chat.completion","model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"a","tool_calls":[]},"finish_reason":"stop"}],"usage":{"prompt_tokens":21,"completion_tokens":4,"total_tokens":25,"prompt_tokens_details":{"cached_tokens":16}}}"#),
        )
        .tokens(21, 4, 16, Usage),
        // vLLM: the role, reasoning, content, a usage of null until the last.
        Case::new(
            "/v1/chat/completions",
            asked,
            events(&[
                r#"{"choices":[{"index":0,"delta":{"role":"assistant","content":""}}],"usage":null}"#,
                r#"{"choices":[{"index":0,"delta":{"reasoning_content":"r"}}],"usage":null}"#,
                r#"{"choices":[{"index":0,"delta":{"content":"a"}}],"usage":null}"#,
                r#"{"choices":[{"index":0,"delta":{"content":""},"finish_reason":"stop"}],"usage":null}"#,
                r#"{"choices":[],"usage":{"prompt_tokens":21,"total_tokens":33,"completion_tokens":12}}"#,
                "[DONE]",
            ]),
        )
        .tokens(21, 12, None, Usage)
        .streamed(2, 2),
        // A tool call: its name is the first content.
        Case::new(
            "/v1/chat/completions",
            asked,
            events(&[
                r#"{"choices":[{"index":0,"delta":{"role":"assistant","content":null}}]}"#,
                r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"name":"f","arguments":""}}]}}]}"#,
                r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{}"}}]}}]}"#,
                "[DONE]",
            ]),
        )
        .tokens(None, 2, None, Chunks)
        .streamed(2, 2),
        Case::new(
            "/v1/completions",
            r#"{"model":"m","prompt":"q","stream":true}"#,
            events(&[
                r#"{"object":"text_completion","choices":[{"text":"a","index":0}],"model":"m"}"#,
                r#"{"object":"text_completion","choices":[{"text":"","index":0,"finish_reason":"length"}],"model":"m","usage":{"prompt_tokens":2,"completion_tokens":1,"total_tokens":3}}"#,
                "[DONE]",
            ]),
        )
        .tokens(2, 1, None, Usage)
        .streamed(1, 1),
        Case::new(
            "/v1/responses",
            r#"{"model":"m","input":"q"}"#,
            answer(r#"{"id":"r","object":"response","status":"completed","model":"m","output":[{"type":"message","content":[{"type":"output_text","text":"a"}]}],"usage":{"input_tokens":30,"input_tokens_details":{"cached_tokens":8},"output_tokens":9,"output_tokens_details":{"reasoning_tokens":3},"total_tokens":39}}"#),
        )
        .tokens(30, 9, 8, Usage),
        Case::new("/v1/responses", r#"{"model":"m","input":"q","stream":true}"#, responses("a"))
            .tokens(30, 9, 8, Usage)
            .streamed(2, 3),
        Case::new(
            "/v1/embeddings",
            r#"{"model":"m","input":"q"}"#,
            answer(r#"{"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.1,-2e-3]}],"model":"m","usage":{"prompt_tokens":8,"total_tokens":8}}"#),
        )
        .tokens(8, None, None, Usage),
    ]
}

/// The last event repeats the whole answer.
fn responses(text: &str) -> Vec<String> {
    let last = format!(
        r#"{{"type":"response.completed","response":{{"id":"r","model":"m","output":[{{"type":"message","content":[{{"type":"output_text","text":"{text}"}}]}}],"parallel_tool_calls":true,"usage":{{"input_tokens":30,"input_tokens_details":{{"cached_tokens":8}},"output_tokens":9,"total_tokens":39}},"user":null}}}}"#
    );
    named(&[
        r#"{"type":"response.created","response":{"id":"r","model":"m","output":[],"usage":null}}"#,
        r#"{"type":"response.output_item.added","item":{"type":"message","content":[]}}"#,
        r#"{"type":"response.reasoning_summary_text.delta","delta":"r"}"#,
        r#"{"type":"response.output_text.delta","delta":"a"}"#,
        r#"{"type":"response.output_text.done","text":"a"}"#,
        &last,
    ])
}

fn anthropic() -> Vec<Case> {
    let ask = r#"{"model":"m","max_tokens":9,"messages":[],"stream":true}"#;
    vec![
        Case::new(
            "/v1/messages",
            r#"{"model":"m","max_tokens":9,"messages":[]}"#,
            answer(r#"{"type":"message","model":"m","content":[{"type":"text","text":"a"}],"stop_reason":"end_turn","usage":{"input_tokens":5,"cache_creation_input_tokens":20,"cache_read_input_tokens":100,"output_tokens":7}}"#),
        )
        .tokens(125, 7, 100, Usage),
        // The first event counts the prompt, the last the answer; a tool's name is content, a signature is none.
        Case::new(
            "/v1/messages",
            ask,
            named(&[
                r#"{"type":"message_start","message":{"model":"m","content":[],"usage":{"input_tokens":5,"cache_creation_input_tokens":20,"cache_read_input_tokens":100,"cache_creation":{"ephemeral_5m_input_tokens":20},"output_tokens":1}}}"#,
                r#"{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":""}}"#,
                r#"{"type":"ping"}"#,
                r#"{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"r"}}"#,
                r#"{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"s"}}"#,
                r#"{"type":"content_block_stop","index":0}"#,
                r#"{"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"t","name":"f","input":{}}}"#,
                r#"{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"{}"}}"#,
                r#"{"type":"message_delta","delta":{"stop_reason":"tool_use"},"usage":{"output_tokens":42}}"#,
                r#"{"type":"message_stop"}"#,
            ]),
        )
        .tokens(125, 42, 100, Usage)
        .streamed(3, 4),
        // llama.cpp: `input_tokens` without those of its cache; the last event counts once more, and may tell 0 of the prompt.
        Case::new(
            "/v1/messages",
            ask,
            named(&[
                r#"{"type":"message_start","message":{"model":"m","usage":{"cache_read_input_tokens":30,"input_tokens":1,"output_tokens":0}}}"#,
                r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a"}}"#,
                r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"input_tokens":0,"output_tokens":16}}"#,
            ]),
        )
        .tokens(31, 16, 30, Usage)
        .streamed(1, 2),
    ]
}

fn llama_cpp() -> Vec<Case> {
    let timings = r#""timings":{"cache_n":30,"prompt_n":1,"prompt_ms":12.5,"predicted_n":16,"predicted_ms":208.25}"#;
    let last = format!(
        r#"{{"index":0,"content":"","stop":true,"model":"m","tokens_predicted":16,"tokens_evaluated":31,{timings}}}"#
    );
    let pieces = [
        r#"{"index":0,"content":"a","tokens":[1],"stop":false,"id_slot":0,"tokens_predicted":1,"tokens_evaluated":31}"#,
        r#"{"index":0,"content":"b","tokens":[2],"stop":false,"id_slot":0,"tokens_predicted":2,"tokens_evaluated":31}"#,
        &last,
    ];
    let whole = format!(
        r#"{{"index":0,"content":"ab","model":"m","tokens_predicted":16,"tokens_evaluated":31,{timings}}}"#
    );
    vec![
        Case::new("/completion", r#"{"prompt":"q"}"#, answer(&whole)).tokens(31, 16, 30, Timings),
        Case::new("/completion", r#"{"prompt":"q","stream":true}"#, events(&pieces))
            .tokens(31, 16, 30, Timings)
            .streamed(2, 1),
        Case::new("/infill", r#"{"input_prefix":"q","stream":true}"#, events(&pieces))
            .tokens(31, 16, 30, Timings)
            .streamed(2, 1),
        Case::new(
            "/embedding",
            r#"{"content":"q"}"#,
            answer(r#"[{"index":0,"embedding":[[0.5,1.5]]}]"#),
        )
        .plain(Kind::Inference),
        Case::new("/tokenize", r#"{"content":"q"}"#, answer(r#"{"tokens":[1,2,3]}"#))
            .plain(Kind::Other),
    ]
}

fn ollama() -> Vec<Case> {
    let done = r#"{"model":"m","message":{"role":"assistant","content":""},"done":true,"total_duration":9000000,"load_duration":1000000,"prompt_eval_count":26,"prompt_eval_duration":2000000,"eval_count":290,"eval_duration":6000000}"#;
    let generated = r#"{"model":"m","response":"","done":true,"context":[1,2],"total_duration":9000000,"prompt_eval_count":26,"prompt_eval_duration":2000000,"eval_count":290,"eval_duration":6000000}"#;
    vec![
        // A stream unless told otherwise.
        Case::new(
            "/api/chat",
            r#"{"model":"m","messages":[]}"#,
            lines(&[
                r#"{"model":"m","message":{"role":"assistant","content":"","thinking":"r"},"done":false}"#,
                r#"{"model":"m","message":{"role":"assistant","content":"a"},"done":false}"#,
                r#"{"model":"m","message":{"role":"assistant","content":"","tool_calls":[{"function":{"name":"f","arguments":{}}}]},"done":false}"#,
                done,
            ]),
        )
        .tokens(26, 290, None, Timings)
        .streamed(3, 1),
        Case::new("/api/chat", r#"{"model":"m","messages":[],"stream":false}"#, answer(done))
            .tokens(26, 290, None, Timings),
        Case::new(
            "/api/generate",
            r#"{"model":"m","prompt":"q"}"#,
            lines(&[
                r#"{"model":"m","response":"","thinking":"r","done":false}"#,
                r#"{"model":"m","response":"a","done":false}"#,
                generated,
            ]),
        )
        .tokens(26, 290, None, Timings)
        .streamed(2, 1),
        Case::new(
            "/api/embed",
            r#"{"model":"m","input":["q"]}"#,
            answer(r#"{"model":"m","embeddings":[[0.1,0.2]],"total_duration":9,"load_duration":1,"prompt_eval_count":8}"#),
        )
        .tokens(8, None, None, Timings),
    ]
}

fn tgi() -> Vec<Case> {
    vec![
        Case::new(
            "/generate",
            r#"{"inputs":"q","parameters":{"details":true}}"#,
            answer(r#"{"generated_text":"a","details":{"finish_reason":"length","generated_tokens":20,"seed":null,"prefill":[],"tokens":[]}}"#),
        )
        .plain(Kind::Inference)
        .tokens(None, 20, None, Timings),
        Case::new(
            "/generate_stream",
            r#"{"inputs":"q"}"#,
            events(&[
                r#"{"index":1,"token":{"id":1,"text":"a","special":false},"generated_text":null,"details":null}"#,
                r#"{"index":2,"token":{"id":2,"text":"b","special":false},"generated_text":"ab","details":{"finish_reason":"length","generated_tokens":2,"input_length":5}}"#,
            ]),
        )
        .plain(Kind::Inference)
        .tokens(5, 2, None, Timings)
        .streamed(2, 1),
    ]
}

/// Bodies longer than what is captured of one call.
fn long() -> Vec<Case> {
    let vector = vec!["-0.0123456"; 2_000].join(",");
    let context = vec!["12345"; 2_000].join(",");
    let embedded = format!(
        r#"{{"object":"list","data":[{{"index":0,"embedding":[{vector}]}}],"model":"m","usage":{{"prompt_tokens":8,"total_tokens":8}}}}"#
    );
    let generated = format!(
        r#"{{"model":"m","response":"","done":true,"context":[{context}],"total_duration":9,"prompt_eval_count":26,"eval_count":290}}"#
    );
    let text = "a word and \\\"usage\\\":{\\\"input_tokens\\\":1} ".repeat(300);
    vec![
        Case::new("/v1/responses", r#"{"model":"m","input":"q","stream":true}"#, responses(&text))
            .tokens(30, 9, 8, Usage)
            .streamed(2, 3),
        Case::new("/v1/embeddings", r#"{"model":"m","input":"q"}"#, answer(&embedded))
            .tokens(8, None, None, Usage),
        Case::new(
            "/api/generate",
            r#"{"model":"m","prompt":"q"}"#,
            lines(&[r#"{"model":"m","response":"a","done":false}"#, &generated]),
        )
        .tokens(26, 290, None, Timings)
        .streamed(1, 1),
    ]
}

fn small() -> Vec<Case> {
    [openai(), anthropic(), llama_cpp(), ollama(), tgi()].into_iter().flatten().collect()
}

#[test]
fn every_route_s_tokens_are_those_that_its_server_counted() {
    for case in small().into_iter().chain(long()) {
        let mut feed = Feed::new(); // 1
        feed.recv(&case.request); // 2
        for write in &case.writes {
            feed.send(write); // 3 …
        }
        let facts = feed.only();
        assert_eq!(Seen::of(&facts), case.seen, "{} {:?}", case.path, case.writes[0]);
        let first = case.first.map(|write| 3 + write as u64);
        assert_eq!(step(facts.first), first, "{}", case.path);
    }
}

#[test]
fn every_route_cut_at_every_byte_is_the_same_exchange() {
    for case in small() {
        let (request, answer) = (case.request.as_bytes(), case.writes.concat());
        let answer = answer.as_bytes();
        let cut = |request: &[&[u8]], answer: &[&[u8]]| {
            let mut feed = Feed::new();
            request.iter().filter(|part| !part.is_empty()).for_each(|part| feed.recv(part));
            answer.iter().filter(|part| !part.is_empty()).for_each(|part| feed.send(part));
            timeless(feed.only())
        };
        let whole = cut(&[request], &[answer]);
        assert_eq!(Seen::of(&whole), case.seen, "{}", case.path);
        for at in 0..request.len() {
            let (begin, rest) = request.split_at(at);
            assert_eq!(cut(&[begin, rest], &[answer]), whole, "{} read at {at}", case.path);
        }
        for at in 0..answer.len() {
            let (begin, rest) = answer.split_at(at);
            assert_eq!(cut(&[request], &[begin, rest]), whole, "{} written at {at}", case.path);
        }
    }
}

#[test]
fn a_look_at_the_server_s_state_is_a_check_and_a_preflight_is_none() {
    for (line, kind) in [
        ("GET /health", Kind::Check),
        ("HEAD / ", Kind::Check),
        ("GET /metrics?name[]=up", Kind::Check),
        ("GET /v1/models", Kind::Check),
        ("GET /api/tags", Kind::Check),
        ("GET /slots", Kind::Check),
        ("OPTIONS /v1/chat/completions", Kind::Other),
        ("GET /index.html", Kind::Other),
    ] {
        let mut feed = Feed::new();
        feed.recv(format!("{} HTTP/1.1\r\nHost: x\r\n\r\n", line.trim()));
        feed.send("HTTP/1.1 204 No Content\r\n\r\n");
        let facts = feed.only();
        assert_eq!((facts.kind(), facts.token_source), (kind, Nothing), "{line}");
    }
}

#[test]
fn an_error_of_a_model_s_route_is_inference_without_tokens() {
    let mut feed = Feed::new();
    feed.recv(post("/v1/chat/completions", "{oops"));
    feed.send(plain("400 Bad Request", "{\"error\":{\"message\":\"parse error\"}}"));
    let facts = feed.only();
    assert_eq!((facts.kind(), facts.prompt_tokens), (Kind::Inference, None));
}

#[test]
fn gaps_are_those_between_writes_with_content_and_none_spans_a_lost_record() {
    let mut feed = Feed::new();
    feed.recv(post("/v1/chat/completions", CHAT));
    feed.send(STREAM_HEAD);
    feed.send(chunk(ROLE));
    feed.send(chunk(&delta("a")) + &chunk(&delta("b")));
    feed.send(chunk(": ping\n\n"));
    feed.send(chunk(&delta("c"))); // two steps after the first content
    feed.lose_send(chunk(&delta("d")));
    feed.t += 500 * STEP;
    feed.send(chunk(&delta("e")));
    feed.send(chunk(&delta("f"))); // one step after
    feed.send(chunk(LAST) + "0\r\n\r\n");
    let gaps = feed.only().gaps.unwrap();
    assert_eq!(gaps.count, 2);
    assert!(gaps.p50.abs_diff(STEP) * 64 <= STEP, "{gaps:?}");
    assert!(gaps.p99.abs_diff(2 * STEP) * 64 <= 2 * STEP, "{gaps:?}");
}

#[test]
fn an_answer_that_is_no_stream_has_no_gaps() {
    let mut feed = Feed::new();
    feed.recv(post("/v1/chat/completions", "{}"));
    let answer = plain("200 OK", CHAT_ANSWER);
    let (begin, rest) = answer.split_at(answer.len() - 40);
    feed.send(begin);
    feed.send(rest);
    assert_eq!(feed.only().gaps, None);
}

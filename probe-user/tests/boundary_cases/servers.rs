//! Boundaries of the servers as they were seen from the kernel: who reads and writes what, in which
//! pieces.

use wattprobe::{
    boundary::What,
    record::{End, TokenSource},
};

use crate::feed::*;

#[test]
fn llama_server_streams_one_token_a_write_and_the_counts_are_its_own() {
    let mut feed = Feed::new(); // 1
    let request = post("/v1/chat/completions?api_key=secret", CHAT);
    feed.recv(request); // 2
    feed.send(STREAM_HEAD); // 3
    feed.send(chunk(ROLE)); // 4
    feed.send(chunk(&delta("a"))); // 5
    feed.send(chunk(": ping\n\n")); // 6
    feed.send(chunk(&delta("b"))); // 7
    feed.send(chunk(LAST)); // 8
    feed.send(chunk("data: [DONE]\n\n")); // 9
    feed.send("0\r\n\r\n"); // 10
    feed.close();
    assert_eq!(
        feed.told(),
        ["1 start @2", "1 body @2", "1 head @3", "1 first @5", "1 chunk @7", "1 end @10"]
    );
    let facts = feed.only();
    assert_eq!(facts.method.as_deref(), Some("POST"));
    assert_eq!(facts.path.as_deref(), Some("/v1/chat/completions"));
    assert_eq!((facts.status, facts.model.as_deref()), (Some(200), Some("gpt")));
    assert_eq!((facts.stream, facts.outcome), (Some(true), End::Complete));
    assert_eq!((facts.prompt_tokens, facts.completion_tokens), (Some(31), Some(16)));
    assert_eq!((facts.token_source, facts.content_events), (TokenSource::Usage, Some(2)));
    assert_eq!((facts.prompt_processed, facts.prompt_cached), (Some(1), Some(30)));
    assert_eq!(facts.timings.prompt.map(|d| d.as_micros()), Some(12_500));
    assert_eq!(facts.timings.predicted.map(|d| d.as_micros()), Some(208_250));
    assert_eq!(facts.external_id.as_deref(), Some("req-1"));
    assert_eq!((facts.bytes_in, facts.bytes_out), (feed.rx, feed.tx));
    assert_eq!((facts.end.t, facts.end.clock[0]), (10 * STEP, 5 * STEP));
    assert_eq!((facts.tgid, facts.who, facts.conn), (100, 4, feed.conn));
    assert!(facts.flags.is_empty(), "{:?}", facts.flags);
    assert_eq!(feed.tracker.in_flight(), 0);
    assert_eq!(feed.tracker.connections(), 0);
}

#[test]
fn llama_server_answers_plainly_in_one_write_after_reading_the_body_apart() {
    let body = format!(
        "{{\"messages\":[{{\"content\":\"{}\"}}],\"model\":\"m\",\"stream\":false}}",
        "word ".repeat(20_000)
    );
    let request = post("/v1/chat/completions", &body);
    let mut feed = Feed::new(); // 1
    feed.recv(&request[..4096]); // 2: asks for 4096 first,
    feed.recv(&request[4096..]); // 3: then for the exact rest; most of it is not captured
    feed.send(plain("200 OK", CHAT_ANSWER)); // 4
    assert_eq!(feed.told(), ["1 start @2", "1 body @3", "1 head @4", "1 first @4", "1 end @4"]);
    let facts = feed.only();
    assert_eq!((facts.model.as_deref(), facts.stream), (Some("m"), Some(false)));
    assert_eq!((facts.prompt_tokens, facts.completion_tokens), (Some(20), Some(5)));
    assert_eq!((facts.token_source, facts.content_events), (TokenSource::Usage, None));
    assert_eq!(facts.bytes_in, request.len() as u64);
    assert!(facts.flags.is_empty(), "{:?}", facts.flags);
}

#[test]
fn llama_server_native_completion_has_its_own_fields() {
    let mut feed = Feed::new();
    feed.recv(post("/completion", "{\"prompt\":\"hi\",\"n_predict\":4}"));
    feed.send(plain(
        "200 OK",
        "{\"index\":0,\"content\":\"x\",\"id_slot\":1,\"model\":\"gguf\",\"tokens_predicted\":4,\
         \"tokens_evaluated\":2,\"prompt\":\"hi\",\"timings\":{\"prompt_n\":1,\"predicted_n\":4}}",
    ));
    let facts = feed.only();
    assert_eq!((facts.prompt_tokens, facts.completion_tokens), (Some(2), Some(4)));
    assert_eq!((facts.token_source, facts.model.as_deref()), (TokenSource::Timings, Some("gguf")));
    assert_eq!((facts.stream, facts.prompt_processed), (Some(false), Some(1)));
}

#[test]
fn without_usage_the_timings_count_and_without_both_the_chunks() {
    for (last, completion, source) in [
        (
            "data: {\"choices\":[],\"timings\":{\"prompt_n\":9,\"predicted_n\":16}}\n\n",
            16,
            TokenSource::Timings,
        ),
        ("data: [DONE]\n\n", 2, TokenSource::Chunks),
    ] {
        let mut feed = Feed::new();
        feed.recv(post("/v1/chat/completions", CHAT));
        feed.send(STREAM_HEAD);
        feed.send(chunk(&format!("{}{}{last}", delta("\\ud83d\\ude42"), delta("b"))) + "0\r\n\r\n");
        let facts = feed.only();
        assert_eq!((facts.completion_tokens, facts.token_source), (Some(completion), source));
        assert_eq!(facts.content_events, Some(2));
        let first: Vec<_> =
            feed.boundaries().iter().filter(|b| b.what == What::First).map(|b| b.events).collect();
        assert_eq!((first, feed.count(What::Chunk)), (vec![2], 0));
    }
}

#[test]
fn uvicorn_sends_its_head_before_prefill_and_head_and_body_apart() {
    let mut feed = Feed::new(); // 1
    feed.recv(post("/v1/chat/completions", CHAT)); // 2
    feed.send(
        "HTTP/1.1 200 OK\r\ndate: x\r\nserver: uvicorn\r\ncontent-type: text/event-stream; charset=utf-8\r\n\
         Transfer-Encoding: chunked\r\n\r\n",
    ); // 3
    feed.send(chunk(ROLE)); // 4
    feed.send(chunk(&delta("x").replace('\n', "\r\n"))); // 5
    feed.send(chunk(": ping - 2026-01-01\r\n\r\n")); // 6
    feed.send("0\r\n\r\n"); // 7
    let body = "{\"id\":\"c\",\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":1}}";
    feed.recv(post("/v1/completions", "{\"model\":\"m\",\"prompt\":\"p\"}")); // 8: keep-alive
    let response = plain("200 OK", body);
    let (head, body) = response.split_at(response.len() - body.len());
    feed.send(head); // 9
    feed.send(body); // 10
    assert_eq!(
        feed.told(),
        [
            "1 start @2",
            "1 body @2",
            "1 head @3",
            "1 first @5",
            "1 end @7",
            "2 start @8",
            "2 body @8",
            "2 head @9",
            "2 first @10",
            "2 end @10",
        ]
    );
    let facts = feed.facts();
    assert_eq!(step(facts[0].first), Some(5));
    assert_eq!((facts[1].stream, facts[1].completion_tokens), (Some(false), Some(1)));
}

#[test]
fn node_writes_size_data_and_line_ends_as_separate_vectors_of_one_write() {
    let mut feed = Feed::new();
    feed.recv(post("/v1/chat/completions", CHAT));
    feed.send(
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: keep-alive\r\n\
         Transfer-Encoding: chunked\r\n\r\n"
            .to_owned()
            + &chunk(ROLE),
    );
    feed.send(chunk(&delta("x")));
    feed.send("0\r\n");
    feed.send("\r\n");
    assert_eq!(feed.told(), ["1 start @2", "1 body @2", "1 head @3", "1 first @4", "1 end @6"]);
}

#[test]
fn hyper_reads_24_bytes_first_and_the_request_line_spans_reads() {
    let request = post("/v1/chat/completions", CHAT);
    let mut feed = Feed::new(); // 1
    feed.recv(&request[..24]); // 2
    assert_eq!(feed.told(), ["1 start @2"]);
    assert_eq!(feed.tracker.in_flight(), 1);
    feed.recv(&request[24..]); // 3
    feed.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"); // 4
    assert_eq!(feed.told()[1..], ["1 body @3", "1 head @4", "1 first @4", "1 end @4"]);
    assert_eq!(feed.only().path.as_deref(), Some("/v1/chat/completions"));
}

#[test]
fn ollama_streams_lines_of_json_with_its_own_counts() {
    let mut feed = Feed::new();
    feed.recv(post("/api/chat", "{\"model\":\"llama3\",\"messages\":[]}"));
    feed.send("HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n");
    feed.send(chunk("{\"model\":\"llama3\",\"message\":{\"role\":\"assistant\",\"content\":\"Hi\"},\"done\":false}\n"));
    feed.send(chunk("{\"model\":\"llama3\",\"message\":{\"role\":\"assistant\",\"content\":\"\"},\"done\":true,\
        \"total_duration\":5000000,\"load_duration\":1000000,\"prompt_eval_count\":26,\"prompt_eval_duration\":2000000,\
        \"eval_count\":290,\"eval_duration\":1500000}\n"));
    feed.send("0\r\n\r\n");
    let facts = feed.only();
    assert_eq!((facts.prompt_tokens, facts.completion_tokens), (Some(26), Some(290)));
    assert_eq!((facts.token_source, facts.content_events), (TokenSource::Timings, Some(1)));
    // Ollama streams unless told otherwise.
    assert_eq!((facts.stream, step(facts.first)), (Some(true), Some(4)));
    assert_eq!(facts.timings.load.map(|d| d.as_millis()), Some(1));
}

#[test]
fn anthropic_messages_count_the_prompt_first_and_the_answer_last() {
    let mut feed = Feed::new();
    feed.recv(post("/v1/messages", "{\"model\":\"c\",\"stream\":true}"));
    feed.send(STREAM_HEAD);
    feed.send(chunk("event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"model\":\"c\",\"usage\":{\"input_tokens\":12,\"output_tokens\":1}}}\n\n"));
    feed.send(chunk("event: ping\ndata: {\"type\":\"ping\"}\n\n"));
    feed.send(chunk("event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"Hi\"}}\n\n"));
    feed.send(chunk("event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":42}}\n\n"));
    feed.send("0\r\n\r\n");
    let facts = feed.only();
    assert_eq!((facts.prompt_tokens, facts.completion_tokens), (Some(12), Some(42)));
    assert_eq!((facts.token_source, facts.content_events), (TokenSource::Usage, Some(1)));
    assert_eq!(step(facts.first), Some(6));
}

//! The demo server and the load client against each other, over real sockets.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use probe_lab::engine::{Engine, Options};
use probe_lab::load::{self, Attack, End, Kind, Seen, Shape, Target};
use probe_lab::model::noise::{TINY, model};
use probe_lab::server::{Address, Running, spawn};
use serde_json::{Value, json};

fn server(slots: usize) -> Running {
    let options = Options { slots, ..Options::default() };
    let engine = Engine::start(model(TINY, 1).unwrap(), options).unwrap();
    spawn(&Address::Tcp("127.0.0.1".into(), 0), engine).unwrap()
}

fn host(server: &Running) -> &str {
    server.url().strip_prefix("http://").unwrap()
}

/// One request with `connection: close`; status and body.
fn raw(server: &Running, method: &str, path: &str, body: &str) -> (u16, String) {
    let mut s = TcpStream::connect(host(server)).unwrap();
    let length = body.len();
    write!(
        s,
        "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
         content-length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    s.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

fn post(server: &Running, path: &str, body: &Value) -> (u16, String) {
    raw(server, "POST", path, &body.to_string())
}

/// A completion sent, its answer not yet read; the connection closes behind it.
fn send(server: &Running, body: &str) -> TcpStream {
    let mut s = TcpStream::connect(host(server)).unwrap();
    let length = body.len();
    write!(
        s,
        "POST /v1/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
         content-length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    s
}

/// The JSON of all events of a chunked stream; `[DONE]` is asserted and dropped.
fn events(body: &str) -> Vec<Value> {
    let data: Vec<&str> = body.lines().filter_map(|l| l.strip_prefix("data: ")).collect();
    assert_eq!(data.last(), Some(&"[DONE]"), "{body}");
    data[..data.len() - 1].iter().map(|d| serde_json::from_str(d).unwrap()).collect()
}

fn metric(server: &Running, name: &str) -> u64 {
    let (status, text) = raw(server, "GET", "/metrics", "");
    assert_eq!(status, 200);
    let line = text.lines().find_map(|l| l.strip_prefix(&format!("{name} "))).unwrap();
    line.trim().parse().unwrap()
}

fn drive(server: &Running, options: &load::Options) -> (Vec<Seen>, load::Totals) {
    let mut seen = Vec::new();
    let target = Target::parse(server.url()).unwrap();
    let totals = load::mix(&target, options, |s| seen.push(s)).unwrap();
    (seen, totals)
}

#[test]
fn plain_and_streamed_answers_are_equal_at_temperature_0() {
    let s = server(2);
    let mut body = json!({
        "messages": [{"role": "user", "content": "hello there"}],
        "temperature": 0, "max_tokens": 50, "unknown_field": [1],
    });
    let (status, plain) = post(&s, "/v1/chat/completions", &body);
    assert_eq!(status, 200);
    let plain: Value = serde_json::from_str(&plain).unwrap();
    let text = plain["choices"][0]["message"]["content"].as_str().unwrap();
    assert_eq!(plain["choices"][0]["finish_reason"], "length");
    assert_eq!(plain["usage"]["completion_tokens"], 50);
    let prompt = 1 + "user: hello there\nassistant: ".len();
    assert_eq!(plain["usage"]["prompt_tokens"], prompt);
    assert_eq!(plain["timings"]["prompt_n"], prompt);

    body["stream"] = json!(true);
    body["stream_options"] = json!({"include_usage": true});
    let (status, streamed) = post(&s, "/v1/chat/completions", &body);
    assert_eq!(status, 200);
    let events = events(&streamed);
    assert_eq!(events[0]["choices"][0]["delta"], json!({"role": "assistant", "content": null}));
    let pieces: Vec<&str> =
        events.iter().filter_map(|e| e["choices"][0]["delta"]["content"].as_str()).collect();
    assert_eq!(pieces.concat(), text);
    // Role, pieces, finish, usage; a piece may take several tokens.
    assert_eq!(events.len(), 1 + pieces.len() + 2);
    assert!(pieces.len() <= 50 && pieces.iter().all(|p| !p.is_empty()));
    let [.., finish, usage] = events.as_slice() else { panic!("{} events", events.len()) };
    assert_eq!(finish["choices"][0]["finish_reason"], "length");
    assert_eq!(finish["timings"]["predicted_n"], 50);
    assert_eq!(usage["choices"], json!([]));
    assert_eq!(usage["usage"], plain["usage"]);
}

#[test]
fn text_completions_speak_their_own_dialect() {
    let s = server(1);
    let body = json!({"prompt": "abc", "max_tokens": 4, "seed": 3});
    let (_, plain) = post(&s, "/v1/completions", &body);
    let plain: Value = serde_json::from_str(&plain).unwrap();
    assert_eq!(plain["object"], "text_completion");
    assert_eq!(
        plain["usage"],
        json!({"prompt_tokens": 4, "completion_tokens": 4, "total_tokens": 8})
    );
    let stream = json!({"prompt": "abc", "max_tokens": 4, "seed": 3, "stream": true});
    let (_, streamed) = post(&s, "/v1/completions", &stream);
    let events = events(&streamed);
    let text: String = events.iter().filter_map(|e| e["choices"][0]["text"].as_str()).collect();
    assert_eq!(text, plain["choices"][0]["text"]);
    // Nobody asked for usage: the timings in the last event are all there is.
    assert!(events.iter().all(|e| e["usage"].is_null()));
    assert_eq!(events.last().unwrap()["timings"]["prompt_n"], 4);
}

#[test]
fn bad_requests_get_json_errors_and_the_server_goes_on() {
    let s = server(1);
    for (method, path, body, status) in [
        ("POST", "/v1/chat/completions", "{", 400),
        ("POST", "/v1/chat/completions", r#"{"messages":[]}"#, 400),
        ("POST", "/v1/completions", r#"{"prompt":"x","max_tokens":0}"#, 400),
        ("POST", "/nowhere", "{}", 404),
        ("GET", "/v1/chat/completions", "", 405),
    ] {
        let (got, text) = raw(&s, method, path, body);
        assert_eq!(got, status, "{method} {path} {body}");
        let error: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(error["error"]["code"], status);
        assert!(!error["error"]["message"].as_str().unwrap().is_empty());
    }
    assert_eq!(raw(&s, "GET", "/health", ""), (200, r#"{"status":"ok"}"#.into()));
    let (_, models) = raw(&s, "GET", "/v1/models", "");
    assert!(models.contains("lab-noise-2x64"), "{models}");
}

#[test]
fn a_mixed_load_is_seen_alike_by_client_and_server() {
    let s = server(4);
    let options = load::Options {
        // Short prompts: with the longest answer they fit into a context of 512 tokens.
        shape: Shape { max_tokens: 12, prompt_chars: 40, ..Shape::default() },
        ..load::Options::default()
    };
    let (seen, totals) = drive(&s, &options);
    assert_eq!((totals.requests, totals.complete, totals.aborted, totals.error), (60, 57, 3, 0));
    let of = |kind| seen.iter().filter(move |r| r.kind == kind);
    assert_eq!((of(Kind::Stream).count(), of(Kind::Plain).count()), (24, 24));
    assert_eq!((of(Kind::Health).count(), of(Kind::Abort).count()), (9, 3));
    assert!(seen.iter().all(|r| r.status == Some(200) && r.start_ns < r.end_ns && r.bytes > 0));
    for r in of(Kind::Stream).chain(of(Kind::Plain)) {
        assert_eq!((r.end, r.completion_tokens), (End::Complete, Some(12)));
        let first = r.first_content_ns.unwrap();
        assert!(r.start_ns < first && first <= r.end_ns);
    }
    assert!(of(Kind::Stream).all(|r| (1..=12).contains(&r.content_events)));
    assert!(of(Kind::Abort).all(|r| r.end == End::Aborted && r.content_events >= 2));
    assert!(seen.iter().any(|r| r.reused == 3), "no connection carried four requests");

    // Requests of the second half overlap, those of the first half do not.
    let overlapping = |r: &Seen| {
        seen.iter().filter(|o| o.start_ns < r.end_ns && r.start_ns < o.end_ns).count() - 1
    };
    assert!(seen.iter().map(overlapping).max() >= Some(2));
    assert!(seen.iter().filter(|r| r.id < 20).all(|r| overlapping(r) == 0));

    // The server counts an abort when it notices, so its totals settle a moment later.
    wait_until(|| metric(&s, "lab_requests_total{end=\"aborted\"}") == 3);
    assert_eq!(metric(&s, "lab_requests_total{end=\"complete\"}"), 48);
    assert_eq!(metric(&s, "lab_requests_processing"), 0);
    let reported: u64 = seen.iter().filter_map(|r| r.completion_tokens).sum();
    let predicted = metric(&s, "lab_predicted_tokens_total");
    // Aborted requests computed tokens that nobody reported: at least what their client saw.
    let left: u64 = of(Kind::Abort).map(|r| r.content_events).sum();
    assert!(predicted >= reported + left);
    assert!(predicted < reported + 3 * 400);
}

#[test]
fn without_aborts_the_servers_totals_equal_the_sum_of_the_usages() {
    let s = server(3);
    let options = load::Options { aborts: 0, requests: 30, ..load::Options::default() };
    let (seen, totals) = drive(&s, &options);
    assert_eq!(totals.complete, 30);
    assert_eq!(metric(&s, "lab_prompt_tokens_total"), totals.prompt_tokens);
    assert_eq!(metric(&s, "lab_predicted_tokens_total"), totals.completion_tokens);
    assert!(seen.iter().filter(|r| r.kind != Kind::Health).all(|r| r.prompt_tokens.is_some()));
}

#[test]
fn a_client_that_leaves_frees_its_slot_streamed_and_plain() {
    let s = server(1);
    for stream in [true, false] {
        let before = metric(&s, "lab_requests_total{end=\"aborted\"}");
        let body = json!({"prompt": "x", "max_tokens": 450, "stream": stream}).to_string();
        let computed = metric(&s, "lab_predicted_tokens_total");
        let mut c = send(&s, &body);
        if stream {
            // The head is written when the job has its slot.
            c.read_exact(&mut [0; 12]).unwrap();
        } else {
            wait_until(|| metric(&s, "lab_predicted_tokens_total") > computed);
        }
        drop(c);
        wait_until(|| metric(&s, "lab_requests_total{end=\"aborted\"}") == before + 1);
        // A slot is free before its leaving is counted.
        assert_eq!(metric(&s, "lab_requests_processing"), 0);
    }
    assert_eq!(post(&s, "/v1/completions", &json!({"prompt": "x", "max_tokens": 1})).0, 200);
}

#[test]
fn a_unix_socket_serves_as_well() {
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::start(model(TINY, 1).unwrap(), Options::default()).unwrap();
    let s = spawn(&Address::Unix(dir.path().join("s")), engine).unwrap();
    let options = load::Options { requests: 20, aborts: 1, ..load::Options::default() };
    let (_, totals) = drive(&s, &options);
    assert_eq!((totals.complete, totals.aborted, totals.error), (19, 1, 0));
    s.stop().unwrap();
    assert!(!dir.path().join("s").exists());
}

#[test]
fn attacks_are_survived_and_reported() {
    let s = server(2);
    let target = Target::parse(s.url()).unwrap();
    let shape = Shape { max_tokens: 4, ..Shape::default() };
    let run = |attack| load::attack(&target, &shape, attack);

    let garbage = run(Attack::Garbage(3));
    assert!(garbage.len() == 3 && garbage.iter().all(|g| g.end == End::Complete), "{garbage:?}");
    let slow = run(Attack::Slow(Duration::from_micros(50)));
    assert_eq!((slow[0].status, slow[0].completion_tokens), (Some(200), Some(4)));
    let waited = run(Attack::Continue);
    assert_eq!((waited[0].status, waited[0].end), (Some(200), End::Complete));
    let churn = run(Attack::Churn(200));
    assert_eq!((churn[0].content_events, churn[0].end), (200, End::Complete));
    let big = run(Attack::BigBody(9));
    assert!(big[0].status == Some(413) || big[0].end == End::Error, "{:?}", big[0]);
    assert_eq!(raw(&s, "GET", "/health", "").0, 200);
}

#[test]
fn stopping_lets_an_open_answer_finish() {
    let s = server(1);
    // The prompt's two tokens leave room for so many in the context.
    const TOKENS: usize = 510;
    let body = json!({"prompt": "x", "max_tokens": TOKENS, "stream": true,
        "stream_options": {"include_usage": true}});
    let mut c = send(&s, &body.to_string());
    let mut beginning = [0; 12];
    c.read_exact(&mut beginning).unwrap();
    assert_eq!(&beginning, b"HTTP/1.1 200");
    // It reads on while the server stops: an answer that fills the socket would never finish.
    let client = std::thread::spawn(move || {
        let mut rest = String::new();
        c.read_to_string(&mut rest).unwrap();
        rest
    });
    s.stop().unwrap();
    let events = events(&client.join().unwrap());
    assert_eq!(events.last().unwrap()["usage"]["completion_tokens"], TOKENS);
}

fn wait_until(condition: impl Fn() -> bool) {
    for _ in 0..500 {
        if condition() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("not within five seconds");
}

//! Ollama's own routes: lines of JSON, the last with counts and durations in nanoseconds.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use super::unreachable;
use super::upstream::{Pumped, Reply, Upstream};
use crate::clock::{Monotonic, created_at};
use crate::server::app::{json_body, refuse};

/// Which route.
#[derive(Clone, Copy)]
enum Route {
    Chat,
    Generate,
}

/// What is asked on either route.
#[derive(Deserialize)]
struct Request {
    #[serde(default)]
    model: String,
    messages: Option<Value>,
    prompt: Option<String>,
    stream: Option<bool>,
    #[serde(default)]
    options: Options,
}

#[derive(Default, Deserialize)]
struct Options {
    num_predict: Option<u64>,
    temperature: Option<f32>,
    seed: Option<i64>,
}

pub(super) async fn chat(
    State(runner): State<Arc<Upstream>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    answer(Route::Chat, &runner, &headers, &body).await
}

pub(super) async fn generate(
    State(runner): State<Arc<Upstream>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    answer(Route::Generate, &runner, &headers, &body).await
}

async fn answer(route: Route, runner: &Upstream, headers: &HeaderMap, body: &[u8]) -> Response {
    let began = Monotonic::now();
    let request: Request = match serde_json::from_slice(body) {
        Ok(request) => request,
        Err(e) => return refuse(StatusCode::BAD_REQUEST, &e.to_string()).into_response(),
    };
    let asked = request.to_openai().to_string();
    let id = headers.get("x-request-id");
    let reply = runner.ask("POST", "/v1/chat/completions", id, asked.as_bytes()).await;
    let reply = match reply {
        Ok(reply) if reply.status == StatusCode::OK => reply,
        Ok(reply) => return (reply.status, Body::from_stream(Pumped::from(reply))).into_response(),
        Err(e) => return unreachable(&e),
    };
    let translation = Translation { route, model: request.model, began, last: Value::Null };
    if request.stream == Some(false) {
        return translation.whole(reply).await;
    }
    let (lines, pieces) = unbounded_channel();
    tokio::spawn(translation.stream(reply, lines));
    let kind = [(header::CONTENT_TYPE, "application/x-ndjson")];
    (kind, Body::from_stream(Pumped::new(pieces))).into_response()
}

impl Request {
    /// What the runner is asked: a stream with its counts, whatever the client wants.
    fn to_openai(&self) -> Value {
        let user = || json!([{"role": "user", "content": self.prompt}]);
        json!({
            "messages": self.messages.clone().unwrap_or_else(user),
            "max_tokens": self.options.num_predict,
            "temperature": self.options.temperature,
            "seed": self.options.seed,
            "stream": true,
        })
    }
}

/// From the runner's events to lines.
struct Translation {
    route: Route,
    model: String,
    began: Monotonic,
    /// The event with `timings`.
    last: Value,
}

impl Translation {
    /// One line for each event with text, then the line with the counts.
    async fn stream(mut self, mut reply: Reply, lines: UnboundedSender<io::Result<Bytes>>) {
        let mut events = Events::default();
        loop {
            let event = tokio::select! {
                () = lines.closed() => return,
                event = events.next(&mut reply) => event,
            };
            let line = match event {
                Ok(Some(event)) => self.text(event).map(|text| self.line(&text)),
                Ok(None) => {
                    let _ = lines.send(Ok(line(&self.done(String::new()))));
                    return;
                }
                Err(error) => {
                    let _ = lines.send(Err(error));
                    return;
                }
            };
            if line.is_some_and(|value| lines.send(Ok(self::line(&value))).is_err()) {
                return;
            }
        }
    }

    async fn whole(mut self, mut reply: Reply) -> Response {
        let (mut events, mut text) = (Events::default(), String::new());
        loop {
            match events.next(&mut reply).await {
                Ok(Some(event)) => text.extend(self.text(event)),
                Ok(None) => return json_body(StatusCode::OK, &self.done(text)),
                Err(e) => return unreachable(&e),
            }
        }
    }

    /// The text of an event, if it has any.
    fn text(&mut self, event: Value) -> Option<String> {
        let text = event["choices"][0]["delta"]["content"].as_str().map(str::to_owned);
        if event["timings"].is_object() {
            self.last = event;
        }
        text.filter(|text| !text.is_empty())
    }

    fn line(&self, text: &str) -> Value {
        let mut line = json!({"model": self.model, "created_at": created_at(), "done": false});
        match self.route {
            Route::Chat => line["message"] = json!({"role": "assistant", "content": text}),
            Route::Generate => line["response"] = text.into(),
        }
        line
    }

    /// The line that ends an answer.
    #[expect(clippy::needless_pass_by_value, reason = "an answer is at its end")]
    fn done(&self, text: String) -> Value {
        let timings = &self.last["timings"];
        let spent = |name: &str| {
            nanos(Duration::from_secs_f64(timings[name].as_f64().unwrap_or(0.0) / 1e3))
        };
        let mut line = self.line(&text);
        line["done"] = true.into();
        line["done_reason"] = self.last["choices"][0]["finish_reason"].clone();
        line["total_duration"] = nanos(self.began.elapsed());
        line["load_duration"] = 0.into();
        line["prompt_eval_count"] = timings["prompt_n"].clone();
        line["prompt_eval_duration"] = spent("prompt_ms");
        line["eval_count"] = timings["predicted_n"].clone();
        line["eval_duration"] = spent("predicted_ms");
        line
    }
}

fn nanos(time: Duration) -> Value {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX).into()
}

fn line(value: &Value) -> Bytes {
    format!("{value}\n").into()
}

/// Server-sent events, as they come complete.
#[derive(Default)]
struct Events {
    read: Vec<u8>,
}

impl Events {
    /// The next one; `None` at the end, which `[DONE]` says.
    async fn next(&mut self, reply: &mut Reply) -> io::Result<Option<Value>> {
        loop {
            while let Some(end) = self.read.windows(2).position(|w| w == b"\n\n") {
                let event: Vec<u8> = self.read.drain(..end + 2).collect();
                let Some(data) = event.strip_prefix(b"data: ") else { continue };
                if data.starts_with(b"[DONE]") {
                    return Ok(None);
                }
                return serde_json::from_slice(data).map(Some).map_err(io::Error::other);
            }
            let piece = reply.next().await?;
            if piece.is_empty() {
                return Err(io::Error::other("the runner's stream has no end"));
            }
            self.read.extend_from_slice(&piece);
        }
    }
}

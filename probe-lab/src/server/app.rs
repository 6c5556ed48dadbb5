//! Routes and handlers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::answer::{self, Answer, Kind};
use super::backend::Backend;
use super::params::{ChatRequest, StreamOptions, TextRequest, Work};
use super::prometheus;
use super::sse::Events;
use crate::clock::unix_seconds;
use crate::engine::Event;

/// Bodies above this are refused with 413.
pub(super) const MAX_BODY: usize = 8 << 20;

struct App {
    engine: Backend,
    requests: AtomicU64,
}

/// The routes over an engine.
pub fn router(engine: impl Into<Backend>) -> Router {
    let app = Arc::new(App { engine: engine.into(), requests: AtomicU64::new(0) });
    Router::new()
        .route("/v1/chat/completions", post(chat))
        .route("/v1/completions", post(text))
        .route("/v1/models", get(models))
        .route("/health", get(|| async { json_body(StatusCode::OK, &json!({"status": "ok"})) }))
        .route("/metrics", get(metrics))
        .fallback(|method: Method, uri: Uri| async move {
            refuse(StatusCode::NOT_FOUND, &format!("no such route: {method} {}", uri.path()))
        })
        .method_not_allowed_fallback(|method: Method, uri: Uri| async move {
            let what = format!("{method} is not allowed on {}", uri.path());
            refuse(StatusCode::METHOD_NOT_ALLOWED, &what)
        })
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(app)
}

async fn chat(
    State(app): State<Arc<App>>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Response> {
    let request: ChatRequest = parse(body)?;
    let stream = stream(request.params.stream, request.params.stream_options.as_ref());
    let work = request.work(app.engine.model()).map_err(|e| refuse(StatusCode::BAD_REQUEST, &e))?;
    run(&app, Kind::Chat, work, stream).await
}

async fn text(
    State(app): State<Arc<App>>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Response> {
    let request: TextRequest = parse(body)?;
    let stream = stream(request.params.stream, request.params.stream_options.as_ref());
    let work = request.work(app.engine.model()).map_err(|e| refuse(StatusCode::BAD_REQUEST, &e))?;
    run(&app, Kind::Text, work, stream).await
}

/// `None` for a plain answer, else whether the stream ends with an event for usage.
fn stream(stream: Option<bool>, options: Option<&StreamOptions>) -> Option<bool> {
    let usage = options.and_then(|o| o.include_usage).unwrap_or(false);
    stream.unwrap_or(false).then_some(usage)
}

async fn run(
    app: &App,
    kind: Kind,
    work: Work,
    stream: Option<bool>,
) -> Result<Response, Response> {
    let id = app.requests.fetch_add(1, Ordering::Relaxed);
    let (events, mut receiver) = unbounded_channel();
    app.engine.submit(work.into_job(id, events));
    let model = app.engine.model().name.clone();
    let answer = Answer { kind, id, created: unix_seconds(), model };
    let Some(include_usage) = stream else {
        return plain(&answer, receiver).await;
    };
    // The head goes out when the job has its slot, not before.
    match receiver.recv().await {
        Some(Event::Failed(why)) => Err(refuse(StatusCode::INTERNAL_SERVER_ERROR, &why)),
        None => Err(gone()),
        Some(_) => {
            let headers =
                [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-cache")];
            let body = Body::from_stream(Events::new(answer, include_usage, receiver));
            Ok((headers, body).into_response())
        }
    }
}

async fn plain(
    answer: &Answer,
    mut receiver: UnboundedReceiver<Event>,
) -> Result<Response, Response> {
    let mut text = String::new();
    while let Some(event) = receiver.recv().await {
        match event {
            Event::Started => {}
            Event::Text(more) => text.push_str(&more),
            Event::Done(outcome) => {
                return Ok(json_body(StatusCode::OK, &answer.whole(&text, &outcome)));
            }
            Event::Failed(why) => return Err(refuse(StatusCode::INTERNAL_SERVER_ERROR, &why)),
        }
    }
    Err(gone())
}

async fn models(State(app): State<Arc<App>>) -> Response {
    let model = app.engine.model();
    let meta = json!({"n_ctx": model.llama.dims().context, "n_vocab": model.llama.dims().vocab});
    let entry = json!({"id": model.name, "object": "model", "owned_by": "lab", "meta": meta});
    json_body(StatusCode::OK, &json!({"object": "list", "data": [entry]}))
}

async fn metrics(State(app): State<Arc<App>>) -> Response {
    let Some(totals) = app.engine.totals().await else { return gone() };
    let text = prometheus::text(&totals);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
}

#[expect(clippy::result_large_err, reason = "a response is made once per request")]
fn parse<T: DeserializeOwned>(body: Result<Bytes, BytesRejection>) -> Result<T, Response> {
    let body = body.map_err(|e| refuse(e.status(), &e.body_text()))?;
    serde_json::from_slice(&body)
        .map_err(|e| refuse(StatusCode::BAD_REQUEST, &format!("the body is not understood: {e}")))
}

pub(super) fn refuse(status: StatusCode, message: &str) -> Response {
    json_body(status, &answer::error(status.as_u16(), message))
}

fn gone() -> Response {
    refuse(StatusCode::SERVICE_UNAVAILABLE, "the server is shutting down")
}

pub(super) fn json_body(status: StatusCode, body: &Value) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}

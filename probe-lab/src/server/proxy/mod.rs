//! A server that computes nothing: it passes requests on to a runner, another process that listens on
//! loopback, as Ollama does.
//!
//! `/api/chat` and `/api/generate` speak Ollama's own dialect; everything else goes through as it is, with
//! its `x-request-id`, so that whoever watches both ports counts every request twice.

mod ollama;
mod upstream;

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;

use super::app::{MAX_BODY, refuse};
use upstream::{Pumped, Upstream};

/// The routes over a runner at `HOST:PORT`.
pub fn router(runner: String) -> Router {
    Router::new()
        .route("/api/chat", post(ollama::chat))
        .route("/api/generate", post(ollama::generate))
        .fallback(forward)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(Arc::new(Upstream::new(runner)))
}

async fn forward(
    State(runner): State<Arc<Upstream>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let id = headers.get("x-request-id");
    let reply = match runner.ask(method.as_str(), uri.path(), id, &body).await {
        Ok(reply) => reply,
        Err(e) => return unreachable(&e),
    };
    let mut response = Response::new(Body::empty());
    *response.status_mut() = reply.status;
    for name in [header::CONTENT_TYPE, header::CONTENT_LENGTH] {
        if let Some(value) = reply.headers.get(&name) {
            response.headers_mut().insert(name, value.clone());
        }
    }
    *response.body_mut() = Body::from_stream(Pumped::from(reply));
    response
}

fn unreachable(error: &std::io::Error) -> Response {
    refuse(StatusCode::BAD_GATEWAY, &format!("the runner cannot be reached: {error}"))
        .into_response()
}

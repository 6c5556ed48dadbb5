//! What a request was for: a model's work, a look at the server's state, or anything else.
//!
//! Health checks and scrapes come every few seconds and cost next to nothing: among inference they would pull down every
//! mean. Judged by the method, the end of the path (servers stand behind prefixes), and whether the answer counted tokens.

use crate::record::Kind;

/// Last segments of the paths that ask a model for something.
const WORK: [&str; 23] = [
    "chat",
    "classify",
    "completion",
    "completions",
    "embed",
    "embed_sparse",
    "embedding",
    "embeddings",
    "generate",
    "generate_stream",
    "generations",
    "infer",
    "infill",
    "invocations",
    "messages",
    "pooling",
    "rerank",
    "reranking",
    "responses",
    "score",
    "speech",
    "transcriptions",
    "translations",
];

/// Last segments of the paths that tell how the server is. The empty one is `/`: Ollama and load balancers ask there.
const CHECKS: [&str; 25] = [
    "",
    "get_model_info",
    "get_server_info",
    "health",
    "health_generate",
    "healthy",
    "healthz",
    "info",
    "live",
    "liveness",
    "livez",
    "load",
    "metrics",
    "ping",
    "props",
    "ps",
    "readiness",
    "ready",
    "readyz",
    "server_info",
    "slots",
    "stats",
    "status",
    "tags",
    "version",
];

/// What a request was for; `counted`: its answer counted tokens.
pub(super) fn kind(method: Option<&str>, path: Option<&str>, counted: bool) -> Kind {
    let path = path.unwrap_or_default();
    match method {
        Some("GET" | "HEAD") if checks(path) => Kind::Check,
        Some("POST") if counted || asks_model(path) => Kind::Inference,
        // Only the response was seen.
        None if counted => Kind::Inference,
        _ => Kind::Other,
    }
}

/// Whether a POST to this path asks a model for something.
pub(super) fn asks_model(path: &str) -> bool {
    let last = last(path);
    // Gemini's routes name the model and, behind a colon, the method.
    WORK.contains(&last) || last.ends_with(":generateContent") || last.ends_with("GenerateContent")
}

fn checks(path: &str) -> bool {
    path.starts_with('/')
        && (CHECKS.contains(&last(path)) || path.split('/').any(|segment| segment == "models"))
}

/// The last segment, whether or not a slash ends it.
fn last(path: &str) -> &str {
    let path = path.strip_suffix('/').unwrap_or(path);
    path.rsplit('/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_known_by_its_method_and_the_end_of_its_path() {
        use Kind::{Check, Inference, Other};
        for (method, path, expected) in [
            ("POST", "/v1/chat/completions", Inference),
            ("POST", "/llm/v1/chat/completions/", Inference),
            ("POST", "/v1/responses", Inference),
            ("POST", "/v1/embeddings", Inference),
            ("POST", "/v1/messages", Inference),
            ("POST", "/completion", Inference),
            ("POST", "/infill", Inference),
            ("POST", "/api/chat", Inference),
            ("POST", "/api/embed", Inference),
            ("POST", "/generate_stream", Inference),
            ("POST", "/v1beta/models/gemma:streamGenerateContent", Inference),
            ("POST", "/v2/models/m/infer", Inference),
            ("POST", "/v1/messages/count_tokens", Other),
            ("POST", "/v1/responses/resp_1/cancel", Other),
            ("POST", "/tokenize", Other),
            ("POST", "/api/show", Other),
            ("POST", "/slots/0", Other),
            ("GET", "/v1/responses/resp_1", Other),
            ("OPTIONS", "/v1/chat/completions", Other),
            ("GET", "/chat", Other),
            ("GET", "/health", Check),
            ("HEAD", "/", Check),
            ("GET", "/", Check),
            ("GET", "/gpu-0/metrics", Check),
            ("GET", "/v1/models", Check),
            ("GET", "/v1/models/org/name", Check),
            ("GET", "/v2/models/m/ready", Check),
            ("GET", "/api/tags", Check),
            ("GET", "/api/version", Check),
            ("GET", "/slots", Check),
            ("GET", "/props", Check),
            ("GET", "/livez", Check),
            ("GET", "/index.html", Other),
            ("OPTIONS", "*", Other),
        ] {
            assert_eq!(kind(Some(method), Some(path), false), expected, "{method} {path}");
        }
    }

    #[test]
    fn an_unknown_route_whose_answer_counts_tokens_was_inference() {
        assert_eq!(kind(Some("POST"), Some("/my/own"), true), Kind::Inference);
        assert_eq!(kind(None, None, true), Kind::Inference);
        assert_eq!(kind(None, None, false), Kind::Other);
        // A stored response holds its counts once more.
        assert_eq!(kind(Some("GET"), Some("/v1/responses/resp_1"), true), Kind::Other);
    }
}

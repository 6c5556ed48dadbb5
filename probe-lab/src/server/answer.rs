//! The JSON of answers: whole ones, events of a stream, errors.

use serde_json::{Value, json};

use crate::engine::{Finish, Outcome};

/// Which endpoint an answer belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Chat,
    Text,
}

/// What all parts of one answer have in common.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) kind: Kind,
    pub(super) id: u64,
    pub(super) created: i64,
    pub(super) model: String,
}

impl Answer {
    /// A plain answer.
    pub(super) fn whole(&self, text: &str, outcome: &Outcome) -> Value {
        let reason = finish(outcome.finish);
        let choice = match self.kind {
            Kind::Chat => json!({
                "index": 0,
                "message": {"role": "assistant", "content": text},
                "finish_reason": reason,
            }),
            Kind::Text => json!({"index": 0, "text": text, "finish_reason": reason}),
        };
        let mut body = self.envelope(false, json!([choice]));
        body["usage"] = usage(outcome);
        body["timings"] = timings(outcome);
        body
    }

    /// The first event of a chat stream: it names the role and carries no text.
    pub(super) fn role(&self) -> Option<Value> {
        (self.kind == Kind::Chat)
            .then(|| self.chunk(json!({"role": "assistant", "content": null}), "", Value::Null))
    }

    /// An event with text.
    pub(super) fn text(&self, text: &str) -> Value {
        self.chunk(json!({"content": text}), text, Value::Null)
    }

    /// The event that ends a stream's text; llama.cpp puts its `timings` here.
    pub(super) fn last(&self, outcome: &Outcome) -> Value {
        let mut body = self.chunk(json!({}), "", finish(outcome.finish).into());
        body["timings"] = timings(outcome);
        body
    }

    /// The event that `stream_options.include_usage` asks for: no choices, only counts.
    pub(super) fn usage(&self, outcome: &Outcome) -> Value {
        let mut body = self.envelope(true, json!([]));
        body["usage"] = usage(outcome);
        body["timings"] = timings(outcome);
        body
    }

    #[expect(clippy::needless_pass_by_value, reason = "the values are json! literals")]
    fn chunk(&self, delta: Value, text: &str, reason: Value) -> Value {
        let choice = match self.kind {
            Kind::Chat => json!({"index": 0, "delta": delta, "finish_reason": reason}),
            Kind::Text => json!({"index": 0, "text": text, "finish_reason": reason}),
        };
        self.envelope(true, json!([choice]))
    }

    #[expect(clippy::needless_pass_by_value, reason = "the values are json! literals")]
    fn envelope(&self, chunk: bool, choices: Value) -> Value {
        let (prefix, object) = match (self.kind, chunk) {
            (Kind::Chat, false) => ("chatcmpl", "chat.completion"),
            (Kind::Chat, true) => ("chatcmpl", "chat.completion.chunk"),
            (Kind::Text, _) => ("cmpl", "text_completion"),
        };
        json!({
            "id": format!("{prefix}-{}", self.id),
            "object": object,
            "created": self.created,
            "model": self.model,
            "choices": choices,
        })
    }
}

/// The body of an error.
pub(super) fn error(code: u16, message: &str) -> Value {
    let kind = if code < 500 { "invalid_request_error" } else { "server_error" };
    json!({"error": {"code": code, "message": message, "type": kind}})
}

fn finish(finish: Finish) -> &'static str {
    match finish {
        Finish::Stop => "stop",
        Finish::Length => "length",
    }
}

fn usage(o: &Outcome) -> Value {
    json!({
        "prompt_tokens": o.prompt_tokens,
        "completion_tokens": o.completion_tokens,
        "total_tokens": o.prompt_tokens + o.completion_tokens,
    })
}

/// llama.cpp's `timings`, milliseconds.
fn timings(o: &Outcome) -> Value {
    json!({
        "prompt_n": o.prompt_tokens,
        "prompt_ms": o.prompt_time.as_secs_f64() * 1e3,
        "predicted_n": o.completion_tokens,
        "predicted_ms": o.predicted_time.as_secs_f64() * 1e3,
    })
}

//! What a client may ask for, and the checks that a bad request fails.
//!
//! Unknown fields are ignored, as every server of this kind does.

use serde::Deserialize;

use crate::engine::Job;
use crate::model::sample::Sampling;
use crate::model::{Message, Model};

/// Tokens of an answer if the client sets no limit.
const DEFAULT_MAX_TOKENS: usize = 256;

/// Fields common to both endpoints.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Params {
    pub(super) stream: Option<bool>,
    pub(super) stream_options: Option<StreamOptions>,
    max_tokens: Option<u64>,
    max_completion_tokens: Option<u64>,
    n_predict: Option<u64>,
    temperature: Option<f32>,
    top_k: Option<usize>,
    seed: Option<i64>,
}

/// `stream_options`.
#[derive(Debug, Default, Deserialize)]
pub(super) struct StreamOptions {
    pub(super) include_usage: Option<bool>,
}

/// Body of `POST /v1/chat/completions`.
#[derive(Debug, Deserialize)]
pub(super) struct ChatRequest {
    messages: Vec<ChatMessage>,
    #[serde(flatten)]
    pub(super) params: Params,
}

#[derive(Debug, Deserialize)]
struct ChatMessage {
    role: String,
    content: Content,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Content {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Debug, Deserialize)]
struct Part {
    #[serde(default)]
    text: String,
}

/// Body of `POST /v1/completions`.
#[derive(Debug, Deserialize)]
pub(super) struct TextRequest {
    prompt: Prompt,
    #[serde(flatten)]
    pub(super) params: Params,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Prompt {
    One(String),
    List(Vec<String>),
}

/// A request that passed its checks: everything of a job but where to report.
pub(super) struct Work {
    prompt: Vec<u32>,
    max_tokens: usize,
    sampling: Sampling,
    seed: Option<u64>,
}

impl ChatRequest {
    pub(super) fn work(self, model: &Model) -> Result<Work, String> {
        if self.messages.is_empty() {
            return Err("`messages` must hold at least one message".into());
        }
        let messages: Vec<_> = self.messages.into_iter().map(ChatMessage::into_message).collect();
        let prompt = model.vocab.chat(&messages).map_err(|e| e.to_string())?;
        self.params.work(prompt, model)
    }
}

impl ChatMessage {
    fn into_message(self) -> Message {
        let content = match self.content {
            Content::Text(text) => text,
            Content::Parts(parts) => parts.into_iter().map(|p| p.text).collect(),
        };
        Message { role: self.role, content }
    }
}

impl TextRequest {
    pub(super) fn work(self, model: &Model) -> Result<Work, String> {
        let text = match self.prompt {
            Prompt::One(text) => text,
            Prompt::List(mut texts) if texts.len() == 1 => texts.remove(0),
            Prompt::List(texts) => {
                return Err(format!("`prompt` holds {} texts, one is supported", texts.len()));
            }
        };
        let prompt = model.vocab.text(&text).map_err(|e| e.to_string())?;
        self.params.work(prompt, model)
    }
}

impl Params {
    fn work(&self, prompt: Vec<u32>, model: &Model) -> Result<Work, String> {
        let context = model.llama.dims().context;
        if prompt.len() >= context {
            return Err(format!(
                "the prompt has {} tokens, the context holds {context}",
                prompt.len()
            ));
        }
        let asked = self.max_tokens.or(self.max_completion_tokens).or(self.n_predict);
        let max_tokens = match asked {
            None => DEFAULT_MAX_TOKENS,
            Some(0) => return Err("`max_tokens` must be at least 1".into()),
            Some(n) => usize::try_from(n).unwrap_or(usize::MAX),
        };
        let temperature = self.temperature.unwrap_or(0.8);
        if !(0.0..=100.0).contains(&temperature) {
            return Err(format!("`temperature` must be between 0 and 100, not {temperature}"));
        }
        Ok(Work {
            prompt,
            max_tokens,
            sampling: Sampling { temperature, top_k: self.top_k.unwrap_or(40) },
            // -1 is llama.cpp's way to say "any".
            seed: self.seed.and_then(|s| u64::try_from(s).ok()),
        })
    }
}

impl Work {
    pub(super) fn into_job(
        self,
        any_seed: u64,
        events: tokio::sync::mpsc::UnboundedSender<crate::engine::Event>,
    ) -> Job {
        Job {
            prompt: self.prompt,
            max_tokens: self.max_tokens,
            sampling: self.sampling,
            seed: self.seed.unwrap_or(any_seed),
            events,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::noise;

    fn chat(json: &str) -> Result<Work, String> {
        let request: ChatRequest = serde_json::from_str(json).map_err(|e| e.to_string())?;
        request.work(&noise::model(noise::TINY, 1).unwrap())
    }

    #[test]
    fn unknown_fields_and_nulls_are_ignored_and_parts_are_joined() {
        let w = chat(
            r#"{"messages":[{"role":"user","content":[{"type":"text","text":"a"},{"text":"b"}],
                "name":"x"}],"temperature":0,"seed":-1,"max_tokens":null,"max_completion_tokens":3,
                "tools":[],"logit_bias":{"1":2}}"#,
        )
        .unwrap();
        assert_eq!((w.max_tokens, w.sampling.temperature, w.seed), (3, 0.0, None));
        assert_eq!(w.prompt.len(), 1 + "user: ab\nassistant: ".len());
    }

    #[test]
    fn each_bad_request_says_what_is_wrong() {
        for (json, says) in [
            (r#"{"messages":[]}"#, "at least one"),
            (r#"{"messages":[{"role":"user","content":"x"}],"max_tokens":0}"#, "max_tokens"),
            (r#"{"messages":[{"role":"user","content":"x"}],"temperature":-1}"#, "temperature"),
            (r#"{"messages":[{"role":"user","content":"x"}],"max_tokens":-4}"#, "invalid value"),
            (r#"{"messages":3}"#, "expected a sequence"),
            (r"{}", "missing field `messages`"),
        ] {
            let error = chat(json).map(|_| ()).unwrap_err();
            assert!(error.contains(says), "{json}: {error}");
        }
        let long = format!(r#"{{"messages":[{{"role":"u","content":"{}"}}]}}"#, "x".repeat(600));
        assert!(chat(&long).map(|_| ()).unwrap_err().contains("the context holds 512"));
    }

    #[test]
    fn a_list_of_one_prompt_is_that_prompt() {
        let model = noise::model(noise::TINY, 1).unwrap();
        let work = |json: &str| serde_json::from_str::<TextRequest>(json).unwrap().work(&model);
        assert_eq!(work(r#"{"prompt":["ab"]}"#).unwrap().prompt.len(), 3);
        assert!(work(r#"{"prompt":["a","b"]}"#).map(|_| ()).unwrap_err().contains("2 texts"));
    }
}

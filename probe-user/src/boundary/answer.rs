//! What a response's JSON documents report: counts, the model, and whether a stream event carries text.
//!
//! Known shapes: OpenAI chat, completions and responses; llama.cpp's native `/completion`; Anthropic
//! messages; Ollama; TGI; each of them alone or several in one array. A shape that is not listed has bytes and times, and no
//! tokens.

use super::{
    bounded,
    json_key::Key::{self, *},
    json_scan::{KEPT, Visitor},
    tokens::{Counts, count, millis, nanos},
};

/// What one response said so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Answer {
    /// As the last documents said.
    counts: Counts,
    pub(super) model: Option<String>,
    /// Documents that carried text.
    pub(super) texts: u64,
    /// The document being read.
    document: Seen,
    /// It answers several prompts, or one several times.
    several: bool,
    /// It is a chat's: all answers are to one prompt.
    chat: bool,
    /// Answers that came to their end, and what their counts sum to.
    ended: (u64, Counts),
}

/// What a document has shown so far.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    text: bool,
    /// It has a list of choices: whether one is in it.
    choices: Option<bool>,
    /// It says that an answer is over.
    over: bool,
    /// It has llama.cpp's counts, which are of one answer, however many the response holds.
    timed: bool,
}

impl Answer {
    /// A new document begins.
    pub(super) fn begin_document(&mut self) {
        self.end_document();
        self.document = Seen::default();
    }

    /// The document being read is over.
    pub(super) fn end_document(&mut self) {
        let Seen { choices, over, timed, .. } = std::mem::take(&mut self.document);
        if timed && (over || choices == Some(false)) {
            self.ended.0 += 1;
            self.ended.1.add(&self.counts);
        }
    }

    /// What was counted. Where llama.cpp answers several times in one response, it counts each answer apart, with its prompt.
    pub(super) fn counts(&self) -> Counts {
        match self.ended {
            (2.., sum) if self.several && self.chat => self.counts.with_answers_of(&sum),
            (2.., sum) if self.several => sum,
            _ => self.counts,
        }
    }

    fn saw_text(&mut self) {
        if !self.document.text {
            self.document.text = true;
            self.texts += 1;
        }
    }
}

/// The path inside an answer: llama.cpp tells several in one array.
fn inside(path: &[Key]) -> &[Key] {
    path.strip_prefix(&[Item]).unwrap_or(path)
}

impl Visitor for Answer {
    fn opens(&mut self, path: &[Key]) {
        match path {
            [Item] => self.begin_document(),
            [Choices] => self.document.choices = Some(false),
            [Choices, Item] => self.document.choices = Some(true),
            [Choices, Item, Delta] => self.chat = true,
            _ => {}
        }
        // A tool call is content by its own existence: its first event may hold a name only.
        if matches!(
            path,
            [Choices, Item, Delta, ToolCalls, Item]
                | [Choices, Item, Delta, FunctionCall]
                | [Message, ToolCalls, Item]
        ) {
            self.saw_text();
        }
    }

    fn text(&mut self, path: &[Key], key: Key) {
        let carries = matches!(
            (path, key),
            ([Choices, Item, Delta], Content | Text | ReasoningContent | Reasoning | Refusal)
                | ([Choices, Item], Text)
                | ([], Content | Response | Delta | Thinking)
                | ([Delta], Text | Thinking | PartialJson)
                | ([ContentBlock], Name | Text | Thinking)
                | ([Message], Content | Thinking)
                | ([Token], Text)
        );
        if carries {
            self.saw_text();
        }
        self.document.over |= (path, key) == (&[Choices, Item], FinishReason);
    }

    fn keeps(&self, path: &[Key], key: Key) -> bool {
        key == Model && matches!(inside(path), [] | [Message | Response]) && self.model.is_none()
    }

    fn kept(&mut self, _: &[Key], _: Key, text: &[u8]) {
        self.model = bounded::name(text, KEPT);
    }

    fn atom(&mut self, path: &[Key], key: Key, text: &[u8]) {
        match inside(path) {
            [Usage] => usage(&mut self.counts, key, text, true),
            // Anthropic's `message_start` counts the prompt; its output count is only a beginning.
            [Message, Usage] => usage(&mut self.counts, key, text, false),
            // The last event of OpenAI's responses repeats the whole answer, so its beginning is often not captured.
            [Response | Unseen, Usage] => usage(&mut self.counts, key, text, true),
            [Usage, PromptTokensDetails | InputTokensDetails]
            | [Response | Unseen, Usage, InputTokensDetails]
                if key == CachedTokens =>
            {
                set(&mut self.counts.usage_cached, count(text));
            }
            [Timings] => {
                self.document.timed |= key == PredictedN;
                timings(&mut self.counts, key, text);
            }
            [Details] => details(&mut self.counts, key, text),
            [] | [Choices, Item] if key == Index => self.several |= count(text) > Some(0),
            [] if key == Stop => self.document.over |= text == b"true",
            [] => native(&mut self.counts, key, text),
            _ => {}
        }
    }
}

/// A prompt does not shrink: some servers tell its size at the beginning of a stream, some at the end, and 0 elsewhere.
fn raise(slot: &mut Option<u64>, value: Option<u64>) {
    *slot = (*slot).max(value);
}

/// A later value replaces an earlier one; what is no number replaces nothing.
fn set<T>(slot: &mut Option<T>, value: Option<T>) {
    if value.is_some() {
        *slot = value;
    }
}

fn usage(counts: &mut Counts, key: Key, text: &[u8], is_final: bool) {
    match key {
        PromptTokens => set(&mut counts.usage_prompt, count(text)),
        InputTokens => raise(&mut counts.usage_input, count(text)),
        CompletionTokens | OutputTokens if is_final => {
            set(&mut counts.usage_completion, count(text));
        }
        CacheReadInputTokens => raise(&mut counts.cache_read, count(text)),
        CacheCreationInputTokens => raise(&mut counts.cache_created, count(text)),
        _ => {}
    }
}

fn timings(counts: &mut Counts, key: Key, text: &[u8]) {
    match key {
        PromptN => set(&mut counts.prompt_n, count(text)),
        PredictedN => set(&mut counts.predicted_n, count(text)),
        CacheN => set(&mut counts.cache_n, count(text)),
        PromptMs => set(&mut counts.timings.prompt, millis(text)),
        PredictedMs => set(&mut counts.timings.predicted, millis(text)),
        _ => {}
    }
}

/// TGI's.
fn details(counts: &mut Counts, key: Key, text: &[u8]) {
    match key {
        GeneratedTokens => set(&mut counts.native_completion, count(text)),
        InputLength => set(&mut counts.native_prompt, count(text)),
        _ => {}
    }
}

fn native(counts: &mut Counts, key: Key, text: &[u8]) {
    match key {
        TokensEvaluated | PromptEvalCount => set(&mut counts.native_prompt, count(text)),
        TokensPredicted | EvalCount => set(&mut counts.native_completion, count(text)),
        PromptEvalDuration => set(&mut counts.timings.prompt, nanos(text)),
        EvalDuration => set(&mut counts.timings.predicted, nanos(text)),
        LoadDuration => set(&mut counts.timings.load, nanos(text)),
        TotalDuration => set(&mut counts.timings.total, nanos(text)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::{super::json_scan::Scanner, *};

    fn texts(document: &str) -> u64 {
        let (mut scanner, mut answer) = (Scanner::default(), Answer::default());
        scanner.feed(document.as_bytes(), &mut answer);
        assert!(scanner.done(), "{document}");
        answer.texts
    }

    #[test]
    fn an_event_is_content_only_if_it_carries_text() {
        for (document, expected) in [
            (r#"{"choices":[{"delta":{"role":"assistant","content":null}}]}"#, 0),
            (r#"{"choices":[{"delta":{"role":"assistant","content":""}}]}"#, 0),
            (r#"{"choices":[{"delta":{}}],"prompt_progress":{"total":9}}"#, 0),
            (r#"{"choices":[],"usage":{"prompt_tokens":1}}"#, 0),
            (r#"{"choices":[{"delta":{"content":"a"}},{"delta":{"content":"b"}}]}"#, 1),
            (r#"{"choices":[{"delta":{"reasoning_content":"hm"}}]}"#, 1),
            (r#"{"choices":[{"delta":{"tool_calls":[]}}]}"#, 0),
            (r#"{"choices":[{"delta":{"tool_calls":[{"function":{"arguments":"{"}}]}}]}"#, 1),
            (r#"{"choices":[{"text":" x","index":0}]}"#, 1),
            (r#"{"content":" x","stop":false}"#, 1),
            (r#"{"content":"","stop":true}"#, 0),
            (r#"{"type":"content_block_delta","delta":{"type":"text_delta","text":"x"}}"#, 1),
            (r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"}}"#, 0),
            (r#"{"type":"response.output_text.delta","delta":"x"}"#, 1),
            (r#"{"message":{"role":"assistant","content":"x"},"done":false}"#, 1),
            (r#"{"response":"x","done":false}"#, 1),
            (r#"{"token":{"text":"x"},"generated_text":null}"#, 1),
            (r#"{"model":"m","response":"","thinking":"hm","done":false}"#, 1),
            (r#"{"type":"content_block_start","content_block":{"type":"tool_use","name":"f"}}"#, 1),
            (r#"{"type":"content_block_start","content_block":{"type":"text","text":""}}"#, 0),
            (
                r#"{"type":"content_block_delta","delta":{"type":"signature_delta","signature":"x"}}"#,
                0,
            ),
            (r#"{"type":"response.output_text.done","text":"all of it once more"}"#, 0),
        ] {
            assert_eq!(texts(document), expected, "{document}");
        }
    }

    fn counts(document: &str) -> Counts {
        let (mut scanner, mut answer) = (Scanner::default(), Answer::default());
        scanner.feed(document.as_bytes(), &mut answer);
        answer.counts
    }

    #[test]
    fn each_server_s_own_fields_are_read() {
        let openai = counts(
            r#"{"usage":{"prompt_tokens":7,"completion_tokens":3,"prompt_tokens_details":{"cached_tokens":2}},"timings":{"prompt_n":5,"predicted_n":3,"cache_n":2,"prompt_ms":1.5,"predicted_ms":30}}"#,
        );
        assert_eq!((openai.usage_prompt, openai.usage_completion), (Some(7), Some(3)));
        assert_eq!(
            (openai.prompt_n, openai.cache_n, openai.usage_cached),
            (Some(5), Some(2), Some(2))
        );
        assert_eq!(openai.timings.prompt.map(|d| d.as_micros()), Some(1500));
        let native = counts(r#"{"tokens_predicted":16,"tokens_evaluated":4}"#);
        assert_eq!((native.native_prompt, native.native_completion), (Some(4), Some(16)));
        let ollama = counts(
            r#"{"done":true,"total_duration":9,"prompt_eval_count":26,"eval_count":298,"eval_duration":5}"#,
        );
        assert_eq!((ollama.native_prompt, ollama.native_completion), (Some(26), Some(298)));
        assert_eq!(ollama.timings.total.map(|d| d.as_nanos()), Some(9));
        let start = counts(
            r#"{"type":"message_start","message":{"usage":{"input_tokens":8,"output_tokens":1}}}"#,
        );
        assert_eq!((start.usage_input, start.usage_completion), (Some(8), None));
        let delta = counts(r#"{"type":"message_delta","usage":{"output_tokens":12}}"#);
        assert_eq!(delta.usage_completion, Some(12));
    }

    #[test]
    fn a_usage_that_is_not_where_servers_put_it_is_ignored() {
        let nested =
            counts(r#"{"choices":[{"usage":{"prompt_tokens":9}}],"a":{"timings":{"prompt_n":1}}}"#);
        assert_eq!(nested, Counts::default());
        assert_eq!(counts(r#"{"usage":null,"timings":{"prompt_n":-1}}"#), Counts::default());
    }
}

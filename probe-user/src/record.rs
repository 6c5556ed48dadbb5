//! The request record: one JSON object a line, the contract with everyone who reads results.
//!
//! Every field is always present. What was not measured is `null`, never 0. Seconds and joules. Texts that are the same
//! in many records are shared between them.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Version of the record's shape.
pub const SCHEMA: u32 = 1;

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum End {
    /// The response was sent to its last byte.
    Complete,
    /// The connection closed before the response was complete, whoever closed it and however: one that
    /// was reset has the flag `connection_reset`.
    Aborted,
    /// The serving process ended while the request was open.
    Reset,
    /// Nothing moved on it for longer than the horizon.
    Timeout,
    /// The probe was stopped while it was open.
    Interrupted,
}

impl End {
    /// The word of the records.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Aborted => "aborted",
            Self::Reset => "reset",
            Self::Timeout => "timeout",
            Self::Interrupted => "interrupted",
        }
    }
}

/// What a request was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A model's work: a known route, or an answer that counted tokens.
    Inference,
    /// A look at the server's state: health, metrics, which models there are.
    Check,
    /// Anything else.
    Other,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Inference, Self::Check, Self::Other];

    /// The word of the records.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Inference => "inference",
            Self::Check => "check",
            Self::Other => "other",
        }
    }
}

/// Where the token counts come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TokenSource {
    /// The response's `usage` object.
    Usage,
    /// llama.cpp's `timings` object or native fields, Ollama's `eval_count`, TGI's `details`.
    Timings,
    /// Counted content events of a stream: a lower bound, chunks are not tokens.
    Chunks,
    /// No count.
    None,
}

impl TokenSource {
    /// The word of the records.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Usage => "usage",
            Self::Timings => "timings",
            Self::Chunks => "chunks",
            Self::None => "none",
        }
    }

    /// Whether the server itself counted; content events of a stream are no tokens.
    #[must_use]
    pub fn is_server(self) -> bool {
        matches!(self, Self::Usage | Self::Timings)
    }
}

/// How an energy figure was obtained, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Quality {
    /// A hardware energy counter.
    Measured,
    /// A power sensor integrated over time.
    Integrated,
    /// No sensor: a model.
    Modelled,
    /// Nothing.
    Absent,
}

impl Quality {
    /// The word of the records.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Measured => "measured",
            Self::Integrated => "integrated",
            Self::Modelled => "modelled",
            Self::Absent => "absent",
        }
    }
}

impl RequestRecord {
    /// Generated tokens as the server counted them.
    #[must_use]
    pub fn counted_tokens(&self) -> Option<u64> {
        self.completion_tokens.filter(|_| self.token_source.is_server())
    }
}

/// One request and what it cost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RequestRecord {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Unique within the run.
    pub request: u64,
    /// The target's name.
    pub target: Arc<str>,
    /// Process that served it.
    pub pid: u32,
    /// Path without the query.
    pub path: Option<String>,
    /// What it was for.
    pub kind: Kind,
    /// HTTP status.
    pub status: Option<u16>,
    /// `model` of the request, else of the response.
    pub model: Option<String>,
    /// Whether the request asked for a stream; where it was read whole, does not say and succeeded,
    /// whether a stream came.
    pub stream: Option<bool>,
    /// How long the request lay in the server's socket before `start`, while the server was busy and before it accepted the
    /// connection; over TLS until it was deciphered. `null` where that is not known.
    #[serde(default)]
    pub unread_s: Option<f64>,
    /// First byte of the head, RFC 3339 with nanoseconds.
    pub start: String,
    /// First byte of the request to the last byte of the response.
    pub duration_s: f64,
    /// Start to first content.
    pub ttft_s: Option<f64>,
    /// Request fully read to the beginning of work on it, where the server's own durations tell.
    pub queue_s: Option<f64>,
    /// From there to the first content.
    pub prefill_s: Option<f64>,
    /// First content to the last byte.
    pub decode_s: Option<f64>,
    /// Median gap between a stream's writes with content, ±1.6 %.
    pub itl_p50_s: Option<f64>,
    /// 99th percentile of those gaps; of fewer than 100 the longest.
    pub itl_p99_s: Option<f64>,
    /// How it ended.
    pub end: End,
    /// Tokens of the prompt by the server's count, those taken from a cache included.
    pub prompt_tokens: Option<u64>,
    /// Of those, taken from a cache, where the server tells.
    pub cached_tokens: Option<u64>,
    /// Generated tokens.
    pub completion_tokens: Option<u64>,
    /// Where the counts come from.
    pub token_source: TokenSource,
    /// Active energy over the additive domains.
    pub joules: Option<f64>,
    /// Lower end of the error bar.
    pub joules_low: Option<f64>,
    /// Upper end of the error bar.
    pub joules_high: Option<f64>,
    /// Of the bar, as ±: the sensor's period at both ends of the residency. All parts are null where `joules` is; all but the gap
    /// and the split add in quadrature.
    pub error_edges_j: Option<f64>,
    /// Of the bar: the counter's step.
    pub error_quantum_j: Option<f64>,
    /// Of the bar: how well the idle power is known that was taken off.
    pub error_idle_j: Option<f64>,
    /// Of the bar: the power of others who ran at the same time.
    pub error_weight_j: Option<f64>,
    /// Of the bar: the class of the sensor.
    pub error_class_j: Option<f64>,
    /// Of the bar: how overlapping requests share; the larger of the two directions.
    pub error_policy_j: Option<f64>,
    /// Of the bar: long windows and missing coverage; the larger of the two directions.
    pub error_gap_j: Option<f64>,
    /// Of the bar: guesses at who used a device; the larger of the two directions.
    pub error_split_j: Option<f64>,
    /// Part of `joules` from package domains.
    pub cpu_j: Option<f64>,
    /// Part of `joules` from dram domains.
    pub dram_j: Option<f64>,
    /// Part of `joules` from gpu domains.
    pub gpu_j: Option<f64>,
    /// Idle energy of the additive domains that the idle policy gives it, beside `joules`; null under `none`, or while no idle
    /// power is known.
    pub idle_j: Option<f64>,
    /// Part of `joules` before the first content.
    pub prefill_j: Option<f64>,
    /// Part of `joules` from the first content on.
    pub decode_j: Option<f64>,
    /// The request's share of the target's on-CPU time.
    pub cpu_s: Option<f64>,
    /// Mean number of residents while it was resident, itself included.
    pub mean_residents: Option<f64>,
    /// Worst quality among the domains in `joules`.
    pub quality: Quality,
    /// `domain=source` of every domain in `joules`.
    pub sources: Arc<[String]>,
    /// Weight policy.
    pub weight: Arc<str>,
    /// Share policy.
    pub share: Arc<str>,
    /// Idle policy.
    pub idle: Arc<str>,
    /// What the reader should know, by name.
    pub flags: Vec<String>,
    /// The client's `x-request-id`.
    pub external_id: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_the_one_that_the_records_bear() {
        let written = |value: serde_json::Value| value.as_str().unwrap().to_owned();
        for end in [End::Complete, End::Aborted, End::Reset, End::Timeout, End::Interrupted] {
            assert_eq!(written(serde_json::to_value(end).unwrap()), end.as_str());
        }
        let sources = [TokenSource::Usage, TokenSource::Timings, TokenSource::Chunks];
        for source in sources.into_iter().chain([TokenSource::None]) {
            assert_eq!(written(serde_json::to_value(source).unwrap()), source.as_str());
        }
        for kind in Kind::ALL {
            assert_eq!(written(serde_json::to_value(kind).unwrap()), kind.as_str());
        }
        for quality in [Quality::Measured, Quality::Integrated, Quality::Modelled, Quality::Absent]
        {
            assert_eq!(written(serde_json::to_value(quality).unwrap()), quality.as_str());
        }
    }
}

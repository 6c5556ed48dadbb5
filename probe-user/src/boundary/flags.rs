//! What a reader of a request should know about how it was seen.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One remark about a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Flag {
    /// A record of this connection was lost while the request was open.
    LostRecords,
    /// Uncaptured bytes hid where a message ends: its end was found by other means.
    GapInFraming,
    /// Uncaptured bytes hid part of a stream, whose content events are a lower bound, or of an answer in which no counts
    /// were found.
    GapInContent,
    /// Only the response was seen.
    RequestNotSeen,
    /// A head was not valid HTTP/1.
    MalformedHead,
    /// A head was longer than the tracker keeps.
    HeadTooLong,
    /// A chunked body was not valid.
    MalformedChunk,
    /// The response body is compressed: no counts could be read from it.
    CompressedBody,
    /// The connection failed with an error (`ECONNRESET`, `EPIPE` …).
    ConnectionReset,
    /// It was closed because too many connections were open.
    Evicted,
    /// The path was longer than is kept.
    PathTruncated,
    /// It was sent before the response to the request before it had ended.
    Pipelined,
    /// The response began before the request was fully read.
    EarlyResponse,
    /// The connection left HTTP/1 with this response.
    Upgraded,
    /// More requests were pipelined than the tracker follows.
    PipelineTooDeep,
    /// The request body is compressed: the model it asks for could not be read.
    CompressedRequest,
    /// It came over TLS.
    Tls,
    /// Its plaintext could not be had: what is known of it is sizes and times.
    TlsOpaque,
}

impl Flag {
    /// Every flag.
    pub const ALL: [Self; 18] = [
        Self::LostRecords,
        Self::GapInFraming,
        Self::GapInContent,
        Self::RequestNotSeen,
        Self::MalformedHead,
        Self::HeadTooLong,
        Self::MalformedChunk,
        Self::CompressedBody,
        Self::ConnectionReset,
        Self::Evicted,
        Self::PathTruncated,
        Self::Pipelined,
        Self::EarlyResponse,
        Self::Upgraded,
        Self::PipelineTooDeep,
        Self::CompressedRequest,
        Self::Tls,
        Self::TlsOpaque,
    ];

    /// The name that stands in the record.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::LostRecords => "lost_records",
            Self::GapInFraming => "gap_in_framing",
            Self::GapInContent => "gap_in_content",
            Self::RequestNotSeen => "request_not_seen",
            Self::MalformedHead => "malformed_head",
            Self::HeadTooLong => "head_too_long",
            Self::MalformedChunk => "malformed_chunk",
            Self::CompressedBody => "compressed_body",
            Self::ConnectionReset => "connection_reset",
            Self::Evicted => "evicted",
            Self::PathTruncated => "path_truncated",
            Self::Pipelined => "pipelined",
            Self::EarlyResponse => "early_response",
            Self::Upgraded => "upgraded",
            Self::PipelineTooDeep => "pipeline_too_deep",
            Self::CompressedRequest => "compressed_request",
            Self::Tls => "tls",
            Self::TlsOpaque => "tls_opaque",
        }
    }
}

/// A set of [`Flag`]s.
#[derive(Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flags(u32);

impl Flags {
    /// Adds one.
    pub fn insert(&mut self, flag: Flag) {
        self.0 |= 1 << flag as u32;
    }

    /// Whether it is in the set.
    #[must_use]
    pub const fn contains(self, flag: Flag) -> bool {
        self.0 & (1 << flag as u32) != 0
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The flags in the set, in the order of [`Flag::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Flag> {
        Flag::ALL.into_iter().filter(move |flag| self.contains(*flag))
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(Flag::as_str)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::{Flag, Flags};

    #[test]
    fn every_flag_has_its_own_name_and_bit() {
        let mut set = Flags::default();
        for (i, flag) in Flag::ALL.into_iter().enumerate() {
            assert!(!set.contains(flag));
            set.insert(flag);
            assert_eq!(set.iter().count(), i + 1);
        }
        let mut names: Vec<_> = set.iter().map(Flag::as_str).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), 18);
    }
}

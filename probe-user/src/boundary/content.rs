//! A response's body: which kind it is, when content was in it, and what it reported.

use super::{answer::Answer, document::Document, lines::Lines};

/// What the body is, by its head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ContentKind {
    /// `text/event-stream`.
    Events,
    /// Newline-delimited JSON.
    JsonLines,
    /// One JSON document.
    Json,
    /// Anything else: bytes and times only.
    Opaque,
}

impl ContentKind {
    /// By the value of `content-type`.
    pub(super) fn of(content_type: &[u8]) -> Self {
        let media = content_type.split(|c| *c == b';').next().unwrap_or_default().trim_ascii();
        let media = media.to_ascii_lowercase();
        match &media[..] {
            b"text/event-stream" => Self::Events,
            b"application/x-ndjson"
            | b"application/ndjson"
            | b"application/jsonl"
            | b"application/x-jsonlines"
            | b"application/stream+json" => Self::JsonLines,
            b"application/json" | b"text/json" => Self::Json,
            media if media.ends_with(b"+json") => Self::Json,
            _ => Self::Opaque,
        }
    }

    pub(super) fn is_stream(self) -> bool {
        matches!(self, Self::Events | Self::JsonLines)
    }
}

#[derive(Clone, Debug)]
enum Reader {
    Lines(Lines),
    Json(Document),
    Opaque,
}

/// The body of one response.
#[derive(Clone, Debug)]
pub(super) struct Content {
    reader: Reader,
    answer: Answer,
    /// Content events already told.
    told: u64,
    /// Bytes came since the last telling.
    bytes: bool,
    /// Part of the body is missing.
    pub(super) gap: bool,
}

impl Content {
    pub(super) fn new(kind: ContentKind) -> Self {
        let reader = match kind {
            ContentKind::Events => Reader::Lines(Lines::new(true)),
            ContentKind::JsonLines => Reader::Lines(Lines::new(false)),
            ContentKind::Json => Reader::Json(Document::default()),
            ContentKind::Opaque => Reader::Opaque,
        };
        Self { reader, answer: Answer::default(), told: 0, bytes: false, gap: false }
    }

    /// Whether it is a stream of documents.
    pub(super) fn is_stream(&self) -> bool {
        matches!(self.reader, Reader::Lines(_))
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes |= !bytes.is_empty();
        match &mut self.reader {
            Reader::Lines(lines) => lines.push(bytes, &mut self.answer),
            Reader::Json(document) => document.push(bytes, &mut self.answer),
            Reader::Opaque => {}
        }
    }

    /// Bytes of the body are missing here.
    pub(super) fn missing(&mut self) {
        self.bytes = true;
        self.gap = true;
        match &mut self.reader {
            Reader::Lines(lines) => lines.gap(),
            Reader::Json(document) => document.gap(),
            Reader::Opaque => {}
        }
    }

    /// The next bytes begin a chunk after bytes were missing.
    pub(super) fn realign(&mut self, bytes: &[u8]) {
        if let Reader::Lines(lines) = &mut self.reader {
            lines.realign(bytes);
        }
    }

    /// Content events since the last call; for a body that is no stream, 1 if bytes came.
    pub(super) fn fresh(&mut self) -> u32 {
        let bytes = std::mem::take(&mut self.bytes);
        if !self.is_stream() {
            return u32::from(bytes);
        }
        let fresh = self.answer.texts - self.told;
        self.told = self.answer.texts;
        u32::try_from(fresh).unwrap_or(u32::MAX)
    }

    /// Whether the stream said that it was over.
    pub(super) fn said_done(&self) -> bool {
        matches!(&self.reader, Reader::Lines(lines) if lines.done_marker)
    }

    /// The body ended here.
    pub(super) fn finish(&mut self) -> &Answer {
        match &mut self.reader {
            Reader::Lines(lines) => lines.finish(&mut self.answer),
            Reader::Json(document) => {
                document.finish(&mut self.answer);
            }
            Reader::Opaque => {}
        }
        self.answer.end_document();
        &self.answer
    }

    /// Heap bytes held.
    pub(super) fn retained(&self) -> usize {
        match &self.reader {
            Reader::Lines(lines) => lines.retained(),
            Reader::Json(document) => document.retained(),
            Reader::Opaque => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_is_the_media_type_s() {
        for (value, kind) in [
            (&b"text/event-stream; charset=utf-8"[..], ContentKind::Events),
            (b"Application/JSON", ContentKind::Json),
            (b"application/x-ndjson", ContentKind::JsonLines),
            (b"application/problem+json", ContentKind::Json),
            (b"text/plain", ContentKind::Opaque),
            (b"", ContentKind::Opaque),
        ] {
            assert_eq!(ContentKind::of(value), kind);
        }
    }

    #[test]
    fn counts_at_the_end_of_a_document_with_a_gap_are_read() {
        let mut content = Content::new(ContentKind::Json);
        content.push(br#"{"choices":[{"message":{"content":"some text"#);
        content.missing();
        content.push(br#" \"usage\":{\"prompt_tokens\":1}"}}],"usage":{"prompt_tokens":5,"completion_tokens":900},"timings":{"prompt_n":5}}"#);
        assert_eq!((content.fresh(), content.fresh()), (1, 0));
        let counts = content.finish().counts();
        assert_eq!((counts.usage_prompt, counts.usage_completion), (Some(5), Some(900)));
        assert_eq!(counts.prompt_n, Some(5));
    }
}

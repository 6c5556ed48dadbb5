//! Inner parts of this module by themselves, for the fuzz targets in `probe-user/fuzz`: no part of the
//! interface, and compiled with the feature `fuzzing` only; in this crate's tests, too, so that the lints see it.
//!
//! Results are plain values. Keys are told as numbers, so that a target can have its own idea of a path.

use super::{
    answer::Answer,
    chunked::{Chunked, Step},
    json_key::Key,
    json_scan::{Scanner, Visitor},
    json_tail,
    lines::Lines,
};

/// A key by number; see [`key`].
pub type KeyNumber = u8;
/// Any key that is not listed.
pub const OTHER: KeyNumber = Key::Other as KeyNumber;
/// A key whose container's beginning was not seen.
pub const UNSEEN: KeyNumber = Key::Unseen as KeyNumber;
/// An element of an array.
pub const ITEM: KeyNumber = Key::Item as KeyNumber;
/// Containers whose keys are followed.
pub const DEPTH: usize = super::json_scan::DEPTH;
/// Bytes kept of a number or literal.
pub const ATOM: usize = super::json_scan::ATOM;
/// Bytes kept of a string.
pub const KEPT: usize = super::json_scan::KEPT;

/// The number of the key with this name.
#[must_use]
pub fn key(name: &[u8]) -> KeyNumber {
    Key::of(name) as KeyNumber
}

/// What a JSON scanner told of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// A container began.
    Opens,
    /// A string has at least one byte.
    Text,
    /// A string under `model`, as far as it is kept.
    Kept(Vec<u8>),
    /// A number or literal, as far as it is kept.
    Atom(Vec<u8>),
}

/// Where it stands: the keys of the containers inside the root, then its own (of an opened container the
/// path ends with its own).
pub type Place = Vec<KeyNumber>;

#[derive(Default)]
struct Log(Vec<(Place, Told)>);

impl Log {
    fn note(&mut self, path: &[Key], key: Option<Key>, told: Told) {
        let place = path.iter().copied().chain(key).map(|key| key as KeyNumber).collect();
        self.0.push((place, told));
    }
}

impl Visitor for Log {
    fn opens(&mut self, path: &[Key]) {
        self.note(path, None, Told::Opens);
    }

    fn text(&mut self, path: &[Key], key: Key) {
        self.note(path, Some(key), Told::Text);
    }

    fn keeps(&self, _path: &[Key], key: Key) -> bool {
        key == Key::Model
    }

    fn kept(&mut self, path: &[Key], key: Key, text: &[u8]) {
        self.note(path, Some(key), Told::Kept(text.to_vec()));
    }

    fn atom(&mut self, path: &[Key], key: Key, text: &[u8]) {
        self.note(path, Some(key), Told::Atom(text.to_vec()));
    }
}

/// Scans a document that comes in parts; and whether its root was read to its end.
pub fn json<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> (Vec<(Place, Told)>, bool) {
    let (mut scanner, mut log) = (Scanner::default(), Log::default());
    for part in parts {
        scanner.feed(part, &mut log);
    }
    (log.0, scanner.done())
}

/// Scans the last bytes of a document.
#[must_use]
pub fn json_tail(window: &[u8]) -> Vec<(Place, Told)> {
    let mut log = Log::default();
    json_tail::scan(window, &mut log);
    log.0
}

/// What a body reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Documents that carried text.
    pub texts: u64,
    /// `model`.
    pub model: Option<String>,
    /// The counts, in words.
    pub counts: String,
}

impl From<Answer> for Report {
    fn from(answer: Answer) -> Self {
        let counts = answer.counts();
        let Answer { model, texts, .. } = answer;
        Self { texts, model, counts: format!("{counts:?}") }
    }
}

/// Reads a stream that comes in parts, `None` being bytes that were not seen: server-sent events or lines
/// of JSON. Also returns the most bytes it held.
pub fn lines<'a>(
    events: bool,
    parts: impl IntoIterator<Item = Option<&'a [u8]>>,
) -> (Report, usize) {
    let (mut lines, mut answer) = (Lines::new(events), Answer::default());
    let mut held = 0;
    for part in parts {
        match part {
            Some(bytes) => lines.push(bytes, &mut answer),
            None => lines.gap(),
        }
        held = held.max(lines.retained());
    }
    lines.finish(&mut answer);
    (answer.into(), held)
}

/// What these documents report, each by itself.
pub fn documents<'a>(documents: impl IntoIterator<Item = &'a [u8]>) -> Report {
    let mut answer = Answer::default();
    for document in documents {
        answer.begin_document();
        Scanner::default().feed(document, &mut answer);
    }
    answer.into()
}

/// What a chunked body came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dechunked {
    /// Its content.
    pub content: Vec<u8>,
    /// Its length with framing, if its end was there.
    pub end: Option<usize>,
    /// It broke the coding.
    pub malformed: bool,
}

/// Decodes a chunked body that comes in parts.
pub fn chunked<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Dechunked {
    let (mut chunked, mut body, mut at) = (Chunked::new(), Dechunked::default(), 0);
    for part in parts {
        let mut rest = part;
        while !rest.is_empty() {
            match chunked.step(rest) {
                Step::On { used, content } => {
                    body.content.extend_from_slice(&rest[content]);
                    rest = &rest[used..];
                    at += used;
                }
                Step::End { used } => {
                    body.end = Some(at + used);
                    return body;
                }
                Step::Malformed => {
                    body.malformed = true;
                    return body;
                }
            }
        }
    }
    body
}

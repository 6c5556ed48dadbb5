//! Collects a message head over as many reads or writes as it takes.

use std::fmt;

/// Longest head that is kept; a longer one is read as far as it goes.
pub(super) const HEAD_MAX: usize = 16 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// In a line.
    Line,
    /// Behind a line feed.
    Feed,
    /// Behind a line feed and a carriage return.
    FeedReturn,
}

/// A head in the making. Bytes are copied only when a head spans calls.
#[derive(Clone)]
pub(super) struct HeadText {
    text: Vec<u8>,
    ending: Ending,
}

/// What a push gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pushed<'a> {
    /// Bytes consumed.
    pub(super) used: usize,
    /// The head so far.
    pub(super) text: &'a [u8],
    /// Whether this is all of it.
    pub(super) state: HeadState,
}

/// How much of a head is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeadState {
    /// More is to come.
    Partial,
    /// All, with its empty line.
    Complete,
    /// More than [`HEAD_MAX`].
    TooLong,
}

impl HeadText {
    pub(super) fn new() -> Self {
        Self { text: Vec::new(), ending: Ending::Line }
    }

    /// A head of which lines are missing behind `lines`: a line begins here.
    pub(super) fn behind(lines: Vec<u8>) -> Self {
        Self { text: lines, ending: Ending::Feed }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    pub(super) fn text(&self) -> &[u8] {
        &self.text
    }

    /// Consumes `bytes` up to the head's end.
    pub(super) fn push<'a>(&'a mut self, bytes: &'a [u8]) -> Pushed<'a> {
        let end = self.end(bytes);
        let used = end.unwrap_or(bytes.len());
        let state = if self.text.len() + used > HEAD_MAX {
            HeadState::TooLong
        } else if end.is_some() {
            HeadState::Complete
        } else {
            HeadState::Partial
        };
        if self.text.is_empty() && state != HeadState::Partial {
            return Pushed { used, text: &bytes[..used.min(HEAD_MAX)], state };
        }
        let room = HEAD_MAX.saturating_sub(self.text.len());
        let kept = &bytes[..used.min(room)];
        let wanted = (self.text.len() + kept.len()).next_multiple_of(1024).min(HEAD_MAX);
        if self.text.capacity() < wanted {
            self.text.reserve_exact(wanted - self.text.len());
        }
        self.text.extend_from_slice(kept);
        Pushed { used, text: &self.text, state }
    }

    /// Where in `bytes` the head ends.
    fn end(&mut self, bytes: &[u8]) -> Option<usize> {
        for (i, c) in bytes.iter().enumerate() {
            self.ending = match (self.ending, c) {
                (Ending::Feed | Ending::FeedReturn, b'\n') => return Some(i + 1),
                (_, b'\n') => Ending::Feed,
                (Ending::Feed, b'\r') => Ending::FeedReturn,
                _ => Ending::Line,
            };
        }
        None
    }

    /// Heap bytes held.
    pub(super) fn retained(&self) -> usize {
        self.text.capacity()
    }
}

impl fmt::Debug for HeadText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HeadText({} bytes)", self.text.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_in_one_call_is_not_copied() {
        let mut head = HeadText::new();
        let pushed = head.push(b"GET / HTTP/1.1\r\nA: b\r\n\r\nbody");
        assert_eq!((pushed.used, pushed.state), (24, HeadState::Complete));
        assert_eq!(head.retained(), 0);
    }

    #[test]
    fn a_head_is_the_same_wherever_it_is_cut() {
        let bytes = b"GET / HTTP/1.1\nA: b\r\n\r\nbody";
        for cut in 1..22 {
            let mut head = HeadText::new();
            let first = head.push(&bytes[..cut]);
            assert_eq!((first.used, first.state), (cut, HeadState::Partial), "cut at {cut}");
            let second = head.push(&bytes[cut..]);
            assert_eq!((second.text, second.state), (&bytes[..23], HeadState::Complete));
        }
    }

    #[test]
    fn an_endless_head_stops_growing() {
        let mut head = HeadText::new();
        let mut states = Vec::new();
        for _ in 0..20 {
            states.push(head.push(&[b'a'; 1000]).state);
        }
        assert_eq!(states[15..17], [HeadState::Partial, HeadState::TooLong]);
        assert_eq!(head.retained(), HEAD_MAX);
    }
}

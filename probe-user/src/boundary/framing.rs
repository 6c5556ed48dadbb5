//! Where a message's body ends (RFC 9112, section 6.3), counted across gaps.

use std::ops::Range;

use super::chunked::{self, Chunked};

/// How a body is delimited, and how far it has been read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// This many bytes are left.
    Length(u64),
    /// The chunked coding.
    Chunked(Chunked),
    /// Everything up to the close.
    UntilClose,
    /// The framing was hidden: the end must be found by other means.
    Lost(Lately),
}

/// What a run of bytes meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// Bytes consumed.
    pub(super) used: usize,
    /// Which of them are content.
    pub(super) content: Range<usize>,
    /// The body ended behind them.
    pub(super) end: bool,
    /// They broke the coding: the framing is lost from here on.
    pub(super) malformed: bool,
}

/// What a run of unseen bytes meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Skip {
    /// All of them are of this body.
    Inside,
    /// The body ended with the last of them, or before: this many follow it.
    End(u64),
    /// They hide framing.
    Lost,
}

impl Framing {
    /// A body without any byte.
    pub(super) const EMPTY: Self = Self::Length(0);

    /// The framing is not known.
    pub(super) fn lost() -> Self {
        Self::Lost(Lately::default())
    }

    pub(super) fn is_lost(&self) -> bool {
        matches!(self, Self::Lost(_))
    }

    /// Consumes of `bytes`, which are not empty.
    pub(super) fn step(&mut self, bytes: &[u8]) -> Step {
        let all =
            || Step { used: bytes.len(), content: 0..bytes.len(), end: false, malformed: false };
        match self {
            Self::Length(left) => {
                let n = usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
                *left -= n as u64;
                Step { used: n, content: 0..n, end: *left == 0, malformed: false }
            }
            Self::UntilClose => all(),
            Self::Lost(lately) => {
                lately.push(bytes);
                all()
            }
            Self::Chunked(chunked) => match chunked.step(bytes) {
                chunked::Step::On { used, content } => {
                    Step { used, content, end: false, malformed: false }
                }
                chunked::Step::End { used } => {
                    Step { used, content: 0..0, end: true, malformed: false }
                }
                chunked::Step::Malformed => {
                    *self = Self::lost();
                    Step { used: 0, content: 0..0, end: false, malformed: true }
                }
            },
        }
    }

    /// Skips `n > 0` bytes that were not seen.
    pub(super) fn skip(&mut self, n: u64) -> Skip {
        match self {
            Self::Length(left) if *left > n => {
                *left -= n;
                Skip::Inside
            }
            Self::Length(left) => {
                let over = n - *left;
                *left = 0;
                Skip::End(over)
            }
            Self::UntilClose => Skip::Inside,
            Self::Chunked(chunked) => {
                if chunked.skip(n) {
                    return Skip::Inside;
                }
                *self = Self::lost();
                Skip::Lost
            }
            Self::Lost(_) => {
                *self = Self::lost();
                Skip::Lost
            }
        }
    }

    /// At the beginning of a call of `len` bytes: if the framing is lost and a chunk surely begins here,
    /// it is found again.
    pub(super) fn resume(&mut self, head: &[u8], len: u64) -> bool {
        let found = self.is_lost() && chunked::begins_chunk(head, len);
        if found {
            *self = Self::Chunked(Chunked::new());
        }
        found
    }

    /// At the end of a call: whether a body whose framing was lost ends here.
    pub(super) fn ended_lately(&self) -> bool {
        matches!(self, Self::Lost(lately) if lately.is_terminator())
    }
}

/// The last bytes of a body whose framing was lost, to recognise `0\r\n\r\n`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Lately {
    last: [u8; 7],
    len: u8,
}

impl Lately {
    fn push(&mut self, bytes: &[u8]) {
        for c in &bytes[bytes.len().saturating_sub(7)..] {
            if usize::from(self.len) == self.last.len() {
                self.last.rotate_left(1);
                self.len -= 1;
            }
            self.last[usize::from(self.len)] = *c;
            self.len += 1;
        }
    }

    /// Only behind a line end, or right behind the bytes that are missing, is `0` a chunk's size.
    fn is_terminator(&self) -> bool {
        matches!(&self.last[..usize::from(self.len)], b"\r\n0\r\n\r\n" | b"0\r\n\r\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_counted_across_what_was_not_seen() {
        let mut framing = Framing::Length(100);
        assert_eq!(framing.step(b"0123456789").content, 0..10);
        assert_eq!(framing.skip(80), Skip::Inside);
        let step = framing.step(b"0123456789next");
        assert_eq!((step.used, step.end), (10, true));
        assert_eq!(Framing::Length(5).skip(5), Skip::End(0));
        assert_eq!(Framing::Length(5).skip(9), Skip::End(4));
    }

    #[test]
    fn a_lost_framing_ends_at_the_terminator_only() {
        for (calls, ended) in [
            (&[&b"data: x\n\n\r\n0\r\n\r\n"[..]][..], true),
            (&[b"x\r\n", b"0\r\n", b"\r\n"], true),
            (&[b"0\r\n\r\n"], true),
            (&[b"x0\r\n\r\n"], false),
            (&[b"100\r\n\r\n"], false),
            (&[b"x\r\n0\r\n\r\n."], false),
        ] {
            let mut framing = Framing::lost();
            for call in calls {
                framing.step(call);
            }
            assert_eq!(framing.ended_lately(), ended, "{calls:?}");
        }
    }

    #[test]
    fn a_chunk_at_the_beginning_of_a_call_finds_the_framing_again() {
        let mut framing = Framing::Chunked(Chunked::new());
        assert_eq!(framing.skip(1), Skip::Lost);
        assert!(!framing.resume(b"data: x", 7));
        assert!(framing.resume(b"3\r\nabc\r\n", 8) && !framing.is_lost());
    }
}

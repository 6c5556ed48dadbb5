//! The chunked transfer coding (RFC 9112, section 7.1), cut anywhere.

use std::ops::Range;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// In a chunk's size.
    Size,
    /// Behind the size, up to the line's end.
    Extension,
    Data,
    /// Behind the data, before its line end.
    DataEnd,
    /// In the trailer.
    Trailer,
}

/// A decoder of one body. It keeps no byte of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Chunked {
    at: At,
    /// Size being read, or bytes left of the data.
    left: u64,
    /// Digits of the size, or whether the trailer line has any byte.
    seen: u8,
}

/// What one step consumed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// `used` bytes, of which `content` are the body's.
    On { used: usize, content: Range<usize> },
    /// The body ended behind `used` bytes.
    End { used: usize },
    /// These bytes are not of this coding.
    Malformed,
}

impl Chunked {
    pub(super) fn new() -> Self {
        Self { at: At::Size, left: 0, seen: 0 }
    }

    /// Consumes framing up to and including the first run of content.
    pub(super) fn step(&mut self, bytes: &[u8]) -> Step {
        let mut i = 0;
        while let Some(c) = bytes.get(i) {
            match (self.at, *c) {
                (At::Data, _) => return self.data(i, bytes.len()),
                (At::Size, c) if c.is_ascii_hexdigit() && self.seen < 16 => {
                    let digit = (c as char).to_digit(16).unwrap_or(0);
                    self.left = self.left << 4 | u64::from(digit);
                    self.seen += 1;
                }
                (At::Size, b';' | b' ' | b'\t' | b'\r') if self.seen > 0 => self.at = At::Extension,
                (At::Size, b'\n') if self.seen > 0 => self.size_read(),
                (At::Extension, b'\n') => self.size_read(),
                (At::DataEnd, b'\n') => *self = Self::new(),
                (At::DataEnd | At::Trailer, b'\r') | (At::Extension, _) => {}
                (At::Trailer, b'\n') if self.seen == 0 => return Step::End { used: i + 1 },
                (At::Trailer, b'\n') => self.seen = 0,
                (At::Trailer, _) => self.seen = 1,
                _ => return Step::Malformed,
            }
            i += 1;
        }
        Step::On { used: i, content: i..i }
    }

    fn size_read(&mut self) {
        self.seen = 0;
        self.at = if self.left == 0 { At::Trailer } else { At::Data };
    }

    fn data(&mut self, from: usize, len: usize) -> Step {
        let n = self.left.min((len - from) as u64);
        self.left -= n;
        if self.left == 0 {
            self.at = At::DataEnd;
        }
        let used = from + n as usize;
        Step::On { used, content: from..used }
    }

    /// Skips `n` unseen bytes; `false` if they hide framing.
    pub(super) fn skip(&mut self, n: u64) -> bool {
        if self.at != At::Data || self.left < n {
            return false;
        }
        self.left -= n;
        if self.left == 0 {
            self.at = At::DataEnd;
        }
        true
    }
}

/// Whether a call of `len` bytes that begins with `head` surely begins with a chunk: its size leads to
/// a line end that is there, or to the end of the call.
pub(super) fn begins_chunk(head: &[u8], len: u64) -> bool {
    let digits = head.iter().take(9).take_while(|c| c.is_ascii_hexdigit()).count();
    if !(1..=8).contains(&digits) || head.get(digits..digits + 2) != Some(b"\r\n") {
        return false;
    }
    let size = head[..digits]
        .iter()
        .fold(0_u64, |n, c| n << 4 | u64::from((*c as char).to_digit(16).unwrap_or(0)));
    let begin = digits + 2;
    if size == 0 {
        return head.len() == begin || head[begin..].starts_with(b"\r\n");
    }
    let end = begin as u64 + size;
    match usize::try_from(end).ok().and_then(|end| head.get(end..end + 2)) {
        Some(line_end) => line_end == b"\r\n",
        None => len == end || len == end + 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(parts: &[&[u8]]) -> (Vec<u8>, Option<usize>) {
        let (mut chunked, mut body, mut total) = (Chunked::new(), Vec::new(), 0);
        for part in parts {
            let mut rest = *part;
            while !rest.is_empty() {
                match chunked.step(rest) {
                    Step::On { used, content } => {
                        body.extend_from_slice(&rest[content]);
                        rest = &rest[used..];
                        total += used;
                    }
                    Step::End { used } => return (body, Some(total + used)),
                    Step::Malformed => return (body, None),
                }
            }
        }
        (body, None)
    }

    const BODY: &[u8] =
        b"5\r\nhello\r\n1;name=v\r\n \r\n0A\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\nNEXT";

    #[test]
    fn the_body_and_its_end_are_the_same_wherever_it_is_cut() {
        let expected = (b"hello 0123456789".to_vec(), Some(BODY.len() - 4));
        for i in 0..BODY.len() {
            assert_eq!(decode(&[&BODY[..i], &BODY[i..]]), expected, "cut at {i}");
        }
        let single: Vec<_> = BODY.chunks(1).collect();
        assert_eq!(decode(&single), expected);
    }

    #[test]
    fn what_is_no_chunk_is_malformed() {
        for bytes in [&b"hello"[..], b"\r\n", b"5\r\nhelloX", b"11111111111111111\r\n"] {
            assert_eq!(decode(&[bytes]).1, None);
            let mut chunked = Chunked::new();
            let mut rest = bytes;
            let malformed = loop {
                match chunked.step(rest) {
                    Step::On { used, .. } if used < rest.len() => rest = &rest[used..],
                    step => break step == Step::Malformed,
                }
            };
            assert!(malformed, "{bytes:?}");
        }
    }

    #[test]
    fn a_gap_inside_a_chunk_is_skipped_by_its_size_and_one_beyond_is_not() {
        let mut chunked = Chunked::new();
        assert_eq!(chunked.step(b"64\r\nab"), Step::On { used: 6, content: 4..6 });
        assert!(chunked.skip(90));
        assert_eq!(chunked.step(b"12345678\r\n0"), Step::On { used: 8, content: 0..8 });
        let mut chunked = Chunked::new();
        chunked.step(b"64\r\nab");
        assert!(!chunked.skip(99));
    }

    #[test]
    fn a_call_that_begins_with_a_whole_chunk_is_recognised() {
        assert!(begins_chunk(b"5\r\nhello\r\n", 10));
        assert!(begins_chunk(b"5\r\nhello\r\n3\r\nab", 15));
        assert!(begins_chunk(b"1000\r\ndata", 4096 + 6 + 2));
        assert!(begins_chunk(b"0\r\n\r\n", 5) && begins_chunk(b"0\r\n", 3));
        for not in [&b"data: x"[..], b"5\r\nhell", b"5\r\nhelloXX", b"fffffffff\r\n", b"abc"] {
            assert!(!begins_chunk(not, not.len() as u64), "{not:?}");
        }
    }
}

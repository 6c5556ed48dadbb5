//! The body of an HTTP/1.1 answer: where it ends (RFC 9112, section 6).

/// How a body is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// Bytes still to come.
    Length(u64),
    /// Chunks.
    Chunked(Chunk),
    /// Until the server closes.
    Close,
}

/// Where a chunked body stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Chunk {
    /// In a size line; the size so far, and whether digits are over (an extension follows).
    Size(u64, bool),
    /// In a chunk's data, with so many bytes to come.
    Data(u64),
    /// In the line end after a chunk's data.
    DataEnd,
    /// At the start of a trailer line, or inside one.
    Trailer {
        /// Nothing but a carriage return so far.
        empty: bool,
    },
    /// Past the last byte.
    Done,
}

impl Framing {
    /// Whether the body is complete.
    pub(super) fn done(self) -> bool {
        matches!(self, Self::Length(0) | Self::Chunked(Chunk::Done))
    }

    /// Takes what belongs to the body from the front of `input`, appends its content to `out` and
    /// returns how many bytes were taken; `None` if the framing is malformed.
    pub(super) fn take(&mut self, input: &[u8], out: &mut Vec<u8>) -> Option<usize> {
        match self {
            Self::Close => {
                out.extend_from_slice(input);
                Some(input.len())
            }
            Self::Length(left) => {
                let n = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
                out.extend_from_slice(&input[..n]);
                *left -= n as u64;
                Some(n)
            }
            Self::Chunked(chunk) => {
                let mut at = 0;
                while at < input.len() && *chunk != Chunk::Done {
                    at += chunk.take(&input[at..], out)?;
                }
                Some(at)
            }
        }
    }
}

impl Chunk {
    /// Takes at least one byte of a non-empty input.
    fn take(&mut self, input: &[u8], out: &mut Vec<u8>) -> Option<usize> {
        let byte = *input.first()?;
        *self = match *self {
            Self::Size(0, _) if byte == b'\n' => Self::Trailer { empty: true },
            Self::Size(n, _) if byte == b'\n' => Self::Data(n),
            Self::Size(n, true) => Self::Size(n, true),
            Self::Size(n, false) => match (byte as char).to_digit(16) {
                Some(digit) => Self::Size(n.checked_mul(16)? + u64::from(digit), false),
                None if matches!(byte, b'\r' | b';' | b' ') => Self::Size(n, true),
                None => return None,
            },
            Self::Data(left) => {
                let n = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
                out.extend_from_slice(&input[..n]);
                let left = left - n as u64;
                *self = if left == 0 { Self::DataEnd } else { Self::Data(left) };
                return Some(n);
            }
            Self::DataEnd => match byte {
                b'\r' => Self::DataEnd,
                b'\n' => Self::Size(0, false),
                _ => return None,
            },
            Self::Trailer { empty } => match byte {
                b'\n' if empty => Self::Done,
                b'\n' => Self::Trailer { empty: true },
                b'\r' => Self::Trailer { empty },
                _ => Self::Trailer { empty: false },
            },
            Self::Done => return None,
        };
        Some(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(input: &[u8], step: usize) -> (Vec<u8>, bool, usize) {
        let mut framing = Framing::Chunked(Chunk::Size(0, false));
        let (mut out, mut used) = (Vec::new(), 0);
        for part in input.chunks(step) {
            used += framing.take(part, &mut out).unwrap();
        }
        (out, framing.done(), used)
    }

    #[test]
    fn chunks_are_joined_however_the_bytes_are_cut() {
        let input = b"5\r\nhello\r\n1;ext=1\r\n \r\n5\r\nworld\r\n0\r\nTrailer: x\r\n\r\nNEXT";
        for step in 1..input.len() {
            let (out, done, used) = decode(input, step);
            assert_eq!((out.as_slice(), done, used), (&b"hello world"[..], true, input.len() - 4));
        }
    }

    #[test]
    fn the_body_is_not_done_before_the_last_line_end() {
        assert!(!decode(b"1\r\nx\r\n0\r\n", 3).1);
        assert!(!decode(b"1\r\nx\r\n0\r\n\r", 3).1);
        assert!(decode(b"1\r\nx\r\n0\r\n\r\n", 3).1);
    }

    #[test]
    fn malformed_sizes_are_refused() {
        for bad in [&b"zz\r\n"[..], b"1\r\nxy", b"ffffffffffffffffff\r\n"] {
            let mut framing = Framing::Chunked(Chunk::Size(0, false));
            assert_eq!(framing.take(bad, &mut Vec::new()), None, "{bad:?}");
        }
    }

    #[test]
    fn a_length_takes_its_bytes_and_no_more() {
        let mut framing = Framing::Length(3);
        let mut out = Vec::new();
        assert_eq!(framing.take(b"ab", &mut out), Some(2));
        assert!(!framing.done());
        assert_eq!(framing.take(b"cHTTP", &mut out), Some(1));
        assert!(framing.done());
        assert_eq!(out, b"abc");
    }
}

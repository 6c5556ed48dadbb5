//! The records of one direction of a TLS connection (RFC 8446, section 5): their types and lengths, which stand in
//! the clear, followed across what was not captured.

use crate::boundary::pieces::Pieces;

/// Bytes of a record's header: type, version, length.
const HEADER: usize = 5;
/// The longest record: RFC 5246 allows 2048 bytes more than the plaintext may have.
const LONGEST: u64 = (1 << 14) + 2048;

/// Type of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Handshake, change of ciphers, alert.
    Control,
    /// What the application said; since TLS 1.3 also most of the above.
    Data,
}

/// A record that begins, or goes on, in a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) kind: Kind,
    /// Bytes behind the header; where the headers are lost, those of the call.
    pub(super) len: u64,
    /// Those of them that are in this call.
    pub(super) here: u64,
    /// It began in an earlier call.
    pub(super) goes_on: bool,
}

/// Where a direction stands.
#[derive(Debug, Default)]
pub(super) struct Records {
    header: [u8; HEADER],
    /// Bytes of the header that were seen.
    have: usize,
    /// Type and length of the record.
    record: Option<(Kind, u64)>,
    /// Bytes that are left of it.
    left: u64,
    /// What was not captured hid a header.
    lost: bool,
}

impl Records {
    /// In the middle of a connection.
    pub(super) fn lost() -> Self {
        Self { lost: true, ..Self::default() }
    }

    /// Tells of the records of one call.
    pub(super) fn call(&mut self, pieces: &Pieces<'_>, mut each: impl FnMut(Record)) {
        if pieces.lost > 0 {
            self.skip(pieces.lost);
        }
        if self.lost && begins(pieces.head) {
            *self = Self::default();
        }
        // Bytes of the call behind the records told of.
        let mut rest = pieces.len();
        if let Some((kind, len)) = self.record
            && self.left.min(rest) > 0
            && !self.lost
        {
            let here = self.left.min(rest);
            rest -= here;
            each(Record { kind, len, here, goes_on: true });
        }
        let mut tell = |(kind, len): (Kind, u64), behind: u64| {
            let here = behind.min(len);
            rest = behind - here;
            each(Record { kind, len, here, goes_on: false });
        };
        self.bytes(pieces.head, pieces.gap + pieces.tail.len() as u64, &mut tell);
        self.skip(pieces.gap);
        self.bytes(pieces.tail, 0, &mut tell);
        if self.lost && rest > 0 {
            // Once a burst: whatever it is, it is most likely data.
            each(Record { kind: Kind::Data, len: rest, here: rest, goes_on: false });
        }
    }

    /// Follows bytes that so many others of the call come behind. `tell` takes a record and how many bytes of the call come
    /// behind its header.
    fn bytes(&mut self, mut bytes: &[u8], after: u64, tell: &mut impl FnMut((Kind, u64), u64)) {
        while !bytes.is_empty() && !self.lost {
            if self.left > 0 {
                let n = bytes.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
                self.left -= n as u64;
                bytes = &bytes[n..];
                continue;
            }
            let n = bytes.len().min(HEADER - self.have);
            self.header[self.have..self.have + n].copy_from_slice(&bytes[..n]);
            self.have += n;
            bytes = &bytes[n..];
            if self.have == HEADER {
                self.have = 0;
                match read(self.header) {
                    Some(record) => {
                        (self.record, self.left) = (Some(record), record.1);
                        tell(record, bytes.len() as u64 + after);
                    }
                    None => self.lost = true,
                }
            }
        }
    }

    fn skip(&mut self, n: u64) {
        if n > 0 {
            self.lost |= n > self.left || self.have > 0;
            self.left = self.left.saturating_sub(n);
        }
    }
}

/// Whether bytes are a record's header and what follows it.
pub(super) fn begins(bytes: &[u8]) -> bool {
    bytes.first_chunk().is_some_and(|header| read(*header).is_some())
}

fn read([kind, major, minor, high, low]: [u8; HEADER]) -> Option<(Kind, u64)> {
    let len = u64::from(u16::from_be_bytes([high, low]));
    let kind = match kind {
        20..=22 => Kind::Control,
        23 => Kind::Data,
        _ => return None,
    };
    (major == 3 && minor <= 4 && len <= LONGEST).then_some((kind, len))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces<'a>(head: &'a [u8], gap: u64, tail: &'a [u8]) -> Pieces<'a> {
        Pieces { lost: 0, head, gap, tail }
    }

    fn told(records: &mut Records, call: &Pieces<'_>) -> Vec<(Kind, u64, u64, bool)> {
        let mut told = Vec::new();
        records.call(call, |r| told.push((r.kind, r.len, r.here, r.goes_on)));
        told
    }

    #[test]
    fn headers_are_found_across_calls_and_gaps() {
        let mut records = Records::default();
        assert_eq!(told(&mut records, &pieces(&[22, 3], 0, &[])), []);
        let rest = [1, 0, 2, 9, 9, 23, 3, 3, 0, 100, 7];
        assert_eq!(
            told(&mut records, &pieces(&rest, 0, &[])),
            [(Kind::Control, 2, 2, false), (Kind::Data, 100, 1, false)]
        );
        // 99 bytes are left: 10, 80 unseen, 9, and the next header.
        let tail = [&[0; 9][..], &[23, 3, 3, 0, 1, 0]].concat();
        assert_eq!(
            told(&mut records, &pieces(&[0; 10], 80, &tail)),
            [(Kind::Data, 100, 99, true), (Kind::Data, 1, 1, false)]
        );
        assert_eq!(told(&mut records, &pieces(&[], 0, &[])), [], "a call that was told before");
    }

    #[test]
    fn a_byte_is_told_once_wherever_headers_are_hidden() {
        // Of a record of ten bytes, six come; the next header is no header, and the rest a burst.
        let mut records = Records::default();
        told(&mut records, &pieces(&[23, 3, 3, 0, 10, 1, 2, 3, 4], 0, &[]));
        assert_eq!(
            told(&mut records, &pieces(&[5, 6, 7, 8, 9, 10, 1, 2, 3, 4, 5, 6], 0, &[])),
            [(Kind::Data, 10, 6, true), (Kind::Data, 6, 6, false)]
        );
    }

    #[test]
    fn a_hidden_header_makes_bursts_until_a_call_begins_with_one() {
        let mut records = Records::default();
        told(&mut records, &pieces(&[23, 3, 3, 0, 10], 11, &[]));
        assert_eq!(told(&mut records, &pieces(b"xyz", 0, &[])), [(Kind::Data, 3, 3, false)]);
        assert_eq!(
            told(&mut records, &pieces(&[21, 3, 3, 0, 2, 1, 0], 0, &[])),
            [(Kind::Control, 2, 2, false)]
        );
        assert!(!begins(b"GET / HTTP/1.1") && !begins(&[23, 3, 3, 0xff, 0xff]) && !begins(&[23]));
    }
}

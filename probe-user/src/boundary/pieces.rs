//! One direction's byte count: from one system call to what of it is known.
//!
//! The kernel side captures the beginning and the end of a call's bytes and counts all of them. What
//! it says is checked, not believed: lengths that contradict each other are cut to what fits.

use super::stats::Stats;
use crate::event::Io;

/// What one call adds to a direction, in this order: lost, head, gap, tail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pieces<'a> {
    /// Bytes of earlier calls whose records never came.
    pub(super) lost: u64,
    /// The call's first bytes.
    pub(super) head: &'a [u8],
    /// Bytes that were not captured.
    pub(super) gap: u64,
    /// The call's last bytes.
    pub(super) tail: &'a [u8],
}

impl Pieces<'_> {
    /// Bytes of the call that were not skipped.
    pub(super) fn len(&self) -> u64 {
        self.head.len() as u64 + self.gap + self.tail.len() as u64
    }
}

/// Bytes of one direction so far; `None` before the first call of a connection found open.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counted(pub(super) Option<u64>);

impl Counted {
    /// Splits a call that moved `io.len > 0` bytes and advances the count.
    pub(super) fn split<'a>(&mut self, io: &'a Io, stats: &mut Stats) -> Pieces<'a> {
        let len = u64::from(io.len);
        let captured = io.payload.get(..io.len as usize).unwrap_or(&io.payload);
        let (mut head, mut tail) = captured.split_at(io.head.min(captured.len()));
        let mut gap = len - captured.len() as u64;
        if gap == 0 {
            (head, tail) = (captured, &[]);
        }
        // No count goes beyond what can be counted, so that no sum of pieces does.
        let offset = io.offset.min(u64::MAX - len);
        let expected = self.0.unwrap_or(offset);
        let lost = offset.saturating_sub(expected);
        if lost > 0 {
            stats.lose(lost);
        }
        let mut late = expected.saturating_sub(offset);
        if late > 0 {
            stats.late_records += 1;
            head = skip(head, &mut late);
            let in_gap = late.min(gap);
            gap -= in_gap;
            late -= in_gap;
            tail = skip(tail, &mut late);
        }
        self.0 = Some(expected.max(offset + len));
        Pieces { lost, head, gap, tail }
    }

    /// Bytes of calls whose records never came, at the end: `total` is the lower half of the direction's count, so that
    /// of more than 2 GiB nothing is known.
    pub(super) fn end(&mut self, total: u32, stats: &mut Stats) -> u64 {
        let Some(expected) = self.0 else { return 0 };
        let ahead = total.wrapping_sub(expected as u32).cast_signed();
        // No count goes beyond what can be counted, as above.
        let lost = u64::try_from(ahead).unwrap_or(0).min(u64::MAX - expected);
        if lost > 0 {
            stats.lose(lost);
            self.0 = Some(expected + lost);
        }
        lost
    }
}

fn skip<'a>(bytes: &'a [u8], n: &mut u64) -> &'a [u8] {
    let here = (*n).min(bytes.len() as u64);
    *n -= here;
    &bytes[here as usize..]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{ConnId, IoKind};

    fn io(offset: u64, len: u32, head: usize, payload: &[u8]) -> Io {
        Io {
            t: 0,
            conn: ConnId(1),
            who: 4,
            tgid: 1,
            kind: IoKind::Recv,
            offset,
            len,
            head,
            payload: payload.to_vec(),
            arrived: None,
            clock: [0; probe_common::MAX_PACKAGES],
        }
    }

    #[test]
    fn the_gap_is_what_was_not_captured_and_a_jump_is_what_was_lost() {
        let (mut counted, mut stats) = (Counted(Some(0)), Stats::default());
        let first = io(0, 10, 3, b"abcxyz");
        let pieces = counted.split(&first, &mut stats);
        assert_eq!((pieces.head, pieces.gap, pieces.tail), (&b"abc"[..], 4, &b"xyz"[..]));
        let second = io(25, 2, 2, b"no");
        let pieces = counted.split(&second, &mut stats);
        assert_eq!((pieces.lost, pieces.head, pieces.len()), (15, &b"no"[..], 2));
        assert_eq!((stats.losses, stats.lost_bytes, counted.0), (1, 15, Some(27)));
    }

    #[test]
    fn a_late_record_adds_only_the_bytes_that_are_new() {
        let (mut counted, mut stats) = (Counted(Some(4)), Stats::default());
        let late = io(2, 8, 3, b"abcxyz");
        let pieces = counted.split(&late, &mut stats);
        assert_eq!(
            (pieces.lost, pieces.head, pieces.gap, pieces.tail),
            (0, &b"c"[..], 2, &b"xyz"[..])
        );
        assert_eq!((stats.late_records, counted.0), (1, Some(10)));
        let older = io(0, 5, 5, b"abcde");
        assert_eq!(counted.split(&older, &mut stats).len(), 0);
        assert_eq!(counted.0, Some(10));
    }

    #[test]
    fn at_the_end_what_is_missing_was_lost_and_counts_that_began_later_tell_nothing() {
        let mut stats = Stats::default();
        let mut end = |seen: Option<u64>, total| Counted(seen).end(total, &mut stats);
        assert_eq!((end(Some(7), 7), end(Some(7), 19), end(Some(7), 5)), (0, 12, 0));
        assert_eq!(
            end(Some((3 << 32) | 0xffff_fff0), 4),
            20,
            "the counts' lower halves went round"
        );
        assert_eq!((end(None, 900), end(Some(u64::MAX), 4)), (0, 0));
        assert_eq!((stats.losses, stats.lost_bytes), (2, 32));
    }

    #[test]
    fn contradicting_lengths_are_cut_to_what_fits() {
        let (mut counted, mut stats) = (Counted(None), Stats::default());
        let liar = io(u64::MAX - 1, 2, 900, b"abcdef");
        let pieces = counted.split(&liar, &mut stats);
        assert_eq!(
            (pieces.lost, pieces.head, pieces.gap, pieces.tail),
            (0, &b"ab"[..], 0, &b""[..])
        );
    }

    #[test]
    fn what_was_lost_and_what_came_are_never_more_than_can_be_counted() {
        let (mut counted, mut stats, mut sum) = (Counted(Some(7)), Stats::default(), 7_u64);
        for offset in [u64::MAX, 9, u64::MAX - 1, u64::MAX] {
            let liar = io(offset, 3, 3, b"abc");
            let pieces = counted.split(&liar, &mut stats);
            sum = sum.checked_add(pieces.lost + pieces.len()).unwrap();
        }
        assert_eq!((sum, counted.0), (u64::MAX, Some(u64::MAX)));
        let mut counted = Counted(Some(u64::MAX - 5));
        assert_eq!((counted.end(90, &mut stats), counted.0), (5, Some(u64::MAX)));
    }
}

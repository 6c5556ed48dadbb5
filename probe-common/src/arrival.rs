//! When what lies unread in a socket came: what the map keeps, and its two steps, here so that they are tested.

/// An instant at which data came.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Arrival {
    /// `CLOCK_MONOTONIC` ns; 0: nothing lies there; `u64::MAX`: something does, nobody knows since when.
    pub t: u64,
    /// TCP: where the reader stood then. Unix: 0.
    pub at: u64,
}

/// As [`Arrival::t`] has it.
const UNKNOWN: u64 = u64::MAX;

/// What is known of the data in a socket that was not read yet.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Arrivals {
    /// What lies there began to come then.
    pub last: Arrival,
    /// The same of what was taken out since, but not told of yet: data may come between a read and its hook.
    pub before: Arrival,
    /// Not 0: it is a watched connection's, and [`Queue::kind`]; else nobody has accepted it, or it is another program's.
    pub watched: u64,
}

/// A socket's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queue {
    /// Of TCP: the reader's place in the stream (`copied_seq`), which also tells a new socket at an old address.
    Tcp(u32),
    /// Of a unix socket: how many pieces lie there (`qlen`).
    Unix(u32),
}

impl Queue {
    /// [`Self::kind`] of TCP.
    pub const TCP: u64 = 1;
    /// [`Self::kind`] of a unix socket.
    pub const UNIX: u64 = 2;

    /// Which of the two it is; not 0.
    #[inline(always)]
    #[must_use]
    pub fn kind(self) -> u64 {
        match self {
            Self::Tcp(_) => Self::TCP,
            Self::Unix(_) => Self::UNIX,
        }
    }

    #[inline(always)]
    fn reader(self) -> u64 {
        match self {
            Self::Tcp(reader) => reader.into(),
            Self::Unix(_) => 0,
        }
    }
}

impl Arrivals {
    /// Of a connection that is watched from here on; `more`: something lies there.
    #[inline(always)]
    #[must_use]
    pub fn watched(queue: Queue, more: bool) -> Self {
        let last = Arrival { t: if more { UNKNOWN } else { 0 }, at: queue.reader() };
        Self { last, watched: queue.kind(), ..Self::default() }
    }

    /// Data was put into the queue, and nobody has read it yet where that can be told.
    #[inline(always)]
    pub fn came(&mut self, queue: Queue, now: impl FnOnce() -> u64) {
        let first = match queue {
            Queue::Tcp(_) => self.last.t == 0 || self.last.at != queue.reader(),
            // Its reader was quicker.
            Queue::Unix(0) => return,
            Queue::Unix(len) => len == 1,
        };
        if first {
            // Before it is accepted nobody has read: what is kept there is an earlier socket's.
            self.before = if self.watched == 0 { Arrival::default() } else { self.last };
            self.last = Arrival { t: now(), at: queue.reader() };
        } else if self.last.t == 0 {
            self.last.t = UNKNOWN;
        }
    }

    /// `len` bytes were taken out; `more`: something is left. When they had begun to come, if that is known.
    #[inline(always)]
    pub fn read(&mut self, len: u32, queue: Queue, more: bool) -> Option<u64> {
        let Self { last, before, .. } = *self;
        let left = if more { UNKNOWN } else { 0 };
        let (came, newer) = match queue {
            Queue::Tcp(reader) => {
                // The end of the stream counts as one more, where it was read along.
                let is_of = |a: Arrival| {
                    let beyond = reader.wrapping_sub(a.at as u32).wrapping_sub(len);
                    a.t != 0 && beyond <= 1
                };
                let came = if is_of(last) {
                    last.t
                } else if is_of(before) {
                    before.t
                } else {
                    0
                };
                (came, last.t != 0 && last.at == queue.reader())
            }
            // Twice the queue began anew: which beginning was read is not known.
            Queue::Unix(_) if before.t != 0 => (0, more),
            Queue::Unix(_) => (last.t, false),
        };
        self.before = Arrival::default();
        if !newer {
            self.last = Arrival { t: left, at: queue.reader() };
        }
        (came != 0 && came != UNKNOWN).then_some(came)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Queue::{Tcp, Unix};

    /// With nothing in it.
    fn fresh() -> Arrivals {
        Arrivals { watched: 1, ..Arrivals::default() }
    }

    #[test]
    fn what_lies_there_came_when_its_first_byte_did() {
        let mut tcp = fresh();
        tcp.came(Tcp(100), || 7);
        tcp.came(Tcp(100), || 9);
        assert_eq!(tcp.read(50, Tcp(150), false), Some(7));
        tcp.came(Tcp(150), || 20);
        assert_eq!(tcp.read(10, Tcp(160), false), Some(20), "and the next with its own");
        let mut unix = fresh();
        unix.came(Unix(1), || 7);
        unix.came(Unix(2), || 9);
        assert_eq!(unix.read(50, Unix(0), false), Some(7));
        unix.came(Unix(1), || 20);
        assert_eq!(unix.read(10, Unix(0), false), Some(20));
        assert_eq!(unix.read(10, Unix(0), false), None, "told once");
    }

    #[test]
    fn data_between_a_read_and_its_hook_is_of_the_next() {
        let mut tcp = fresh();
        tcp.came(Tcp(100), || 7);
        tcp.came(Tcp(150), || 9);
        assert_eq!(tcp.read(50, Tcp(150), true), Some(7));
        assert_eq!(tcp.read(10, Tcp(160), false), Some(9));
        let mut unix = fresh();
        unix.came(Unix(1), || 7);
        unix.came(Unix(1), || 9);
        assert_eq!(unix.read(50, Unix(1), true), None, "either");
        assert_eq!(unix.read(10, Unix(0), false), Some(9));
    }

    #[test]
    fn of_what_a_read_left_nothing_is_known_even_if_more_comes() {
        let mut tcp = fresh();
        tcp.came(Tcp(100), || 7);
        assert_eq!(tcp.read(20, Tcp(120), true), Some(7));
        tcp.came(Tcp(120), || 9);
        assert_eq!(tcp.read(30, Tcp(150), false), None);
        let mut unix = fresh();
        unix.came(Unix(1), || 7);
        assert_eq!(unix.read(20, Unix(1), true), Some(7));
        unix.came(Unix(2), || 9);
        assert_eq!(unix.read(30, Unix(1), true), None);
        assert_eq!(unix.read(30, Unix(0), false), None);
        unix.came(Unix(1), || 20);
        assert_eq!(unix.read(30, Unix(0), false), Some(20));
    }

    #[test]
    fn what_lay_there_when_it_began_to_be_watched_is_not_known() {
        for queue in [Tcp(100), Unix(2)] {
            let mut kept = Arrivals::watched(queue, true);
            kept.came(queue, || 9);
            let after = if queue == Unix(2) { Unix(0) } else { Tcp(150) };
            assert_eq!(kept.read(50, after, false), None, "{queue:?}");
        }
        assert_eq!(Arrivals::watched(Tcp(5), false).last, Arrival { t: 0, at: 5 });
    }

    #[test]
    fn the_end_of_the_stream_that_is_read_along_does_no_harm() {
        let mut tcp = fresh();
        tcp.came(Tcp(u32::MAX - 9), || 7);
        assert_eq!(tcp.read(50, Tcp(41), false), Some(7));
    }

    #[test]
    fn another_socket_at_the_same_address_does_not_inherit() {
        let mut tcp = fresh();
        tcp.came(Tcp(100), || 7);
        assert_eq!(tcp.read(50, Tcp(9_000), false), None, "nor a read that does not fit");
        tcp.came(Tcp(100), || 7);
        tcp.came(Tcp(777), || 9);
        assert_eq!(tcp.read(50, Tcp(827), false), Some(9));
    }

    #[test]
    fn what_came_before_it_was_accepted_is_its_own() {
        for (first, then, after) in [(Unix(1), Unix(2), Unix(0)), (Tcp(100), Tcp(100), Tcp(150))] {
            // Another's was at this address, and was read by nobody here.
            let mut kept = Arrivals { last: Arrival { t: 3, at: 0 }, ..Arrivals::default() };
            kept.came(first, || 7);
            kept.came(then, || 9);
            kept.watched = 1;
            assert_eq!(kept.read(50, after, false), Some(7), "{first:?}");
        }
    }

    #[test]
    fn a_reader_that_is_quicker_than_the_news_leaves_nothing_behind() {
        let mut unix = fresh();
        assert_eq!(unix.read(50, Unix(0), false), None);
        unix.came(Unix(0), || 7);
        assert_eq!(unix.last.t, 0);
        unix.came(Unix(1), || 9);
        assert_eq!(unix.read(50, Unix(0), false), Some(9));
    }

    #[test]
    fn a_read_that_was_not_seen_costs_one_arrival() {
        let mut unix = fresh();
        unix.came(Unix(1), || 7);
        unix.came(Unix(1), || 9);
        assert_eq!(unix.read(50, Unix(0), false), None);
        unix.came(Unix(1), || 20);
        assert_eq!(unix.read(50, Unix(0), false), Some(20));
    }
}

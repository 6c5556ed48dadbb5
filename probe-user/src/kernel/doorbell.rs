//! Waiting until the programs ring: an edge-triggered epoll on the ring buffer.
//!
//! A ring that holds anything is readable, so that to wait for a readable one is no wait at all while a server is busy. The
//! edge is what the programs force when much has come together; otherwise the time says when to look.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    time::Duration,
};

use rustix::event::{
    Timespec,
    epoll::{self, CreateFlags, Event, EventData, EventFlags},
};

/// Rings when a program wakes the reader of one ring buffer.
pub(super) struct Doorbell(OwnedFd);

impl Doorbell {
    pub(super) fn of(ring: &impl AsFd) -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, ring, EventData::new_u64(0), EventFlags::IN | EventFlags::ET)?;
        Ok(Self(epoll))
    }

    /// Until it rings, the time is over or a signal comes.
    pub(super) fn wait(&self, timeout: Duration) {
        let timeout = Timespec {
            tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(timeout.subsec_nanos()),
        };
        let mut rung = [Event { flags: EventFlags::empty(), data: EventData::new_u64(0) }];
        let _ = epoll::wait(&self.0, &mut rung, Some(&timeout));
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Write, os::unix::net::UnixStream, time::Instant};

    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "it measures how long the wait takes")]
    fn what_waits_already_does_not_ring_again_and_what_comes_does() {
        let (reader, mut writer) = UnixStream::pair().unwrap();
        writer.write_all(b"x").unwrap();
        let doorbell = Doorbell::of(&reader).unwrap();
        let waited = |ms| {
            let begin = Instant::now();
            doorbell.wait(Duration::from_millis(ms));
            begin.elapsed().as_millis()
        };
        assert!(waited(5_000) < 4_000, "the first time it rings for what was there");
        assert!(waited(30) >= 30, "which nobody has read");
        writer.write_all(b"x").unwrap();
        assert!(waited(5_000) < 4_000);
    }
}

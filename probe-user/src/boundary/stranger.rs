//! A connection that was open before the probe, and speaks something else than HTTP/1.
//!
//! Its beginning, which would tell, is long gone. But a client of HTTP/1 begins a request once it has been answered; where
//! time and again it begins a frame of HTTP/2 or of a WebSocket instead, that is what the connection speaks.

use super::output::NotUnderstood;

/// So many answered reads in a row that begin a frame are no chance.
const TURNS: u8 = 4;

/// What is known of such a connection.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Stranger {
    /// The server has written since the last read.
    answered: bool,
    /// The server has written text.
    spoken: bool,
    /// What the reads behind an answer began with, and how many did.
    frames: Option<(NotUnderstood, u8)>,
}

impl Stranger {
    /// The server wrote bytes that begin so. Whether that is the first text it wrote: HTTP/1 answers a request that came before
    /// the probe, in the middle or from its head on. What is no text is of another protocol.
    pub(super) fn wrote(&mut self, head: &[u8]) -> bool {
        self.answered = true;
        let text = head.first().is_some_and(|c| c.is_ascii_graphic() || c.is_ascii_whitespace());
        let first = text && !self.spoken;
        self.spoken |= text;
        first
    }

    /// A read began with these bytes, and with no request; `whole`: no record before it was lost. What it speaks, once
    /// that is sure.
    pub(super) fn read(&mut self, head: &[u8], whole: bool) -> Option<NotUnderstood> {
        if !whole {
            *self = Self { spoken: self.spoken, ..Self::default() };
            return None;
        }
        if !std::mem::take(&mut self.answered) {
            return None; // it may be in the middle of anything
        }
        let kind = frame(head);
        let before = self.frames.filter(|(before, _)| Some(*before) == kind);
        self.frames = kind.map(|kind| (kind, before.map_or(1, |(_, n)| n + 1)));
        self.frames.filter(|(_, n)| *n == TURNS).map(|(kind, _)| kind)
    }
}

/// What these bytes are a frame of, if of anything known.
fn frame(head: &[u8]) -> Option<NotUnderstood> {
    match *head {
        // RFC 9113, section 4.1: a length of at most 2^14, a type, flags, and a stream's number of 31 bits.
        [0, b, c, 0..=9, _, stream, _, _, _, ..]
            if stream < 0x80 && u16::from_be_bytes([b, c]) <= 1 << 14 =>
        {
            Some(NotUnderstood::Http2)
        }
        // RFC 6455, section 5.2: no reserved bit, a known opcode, masked as all that clients send.
        [first, 0x80..=0xff, ..] if first & 0x70 == 0 && matches!(first & 15, 0..=2 | 8..=10) => {
            Some(NotUnderstood::WebSocket)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_known_and_requests_bodies_and_tls_records_are_none() {
        let http2 = Some(NotUnderstood::Http2);
        assert_eq!(frame(b"\x00\x00\x12\x01\x05\x00\x00\x00\x07......"), http2);
        assert_eq!(frame(b"\x00\x40\x00\x00\x00\x00\x00\x00\x07"), http2);
        let websocket = Some(NotUnderstood::WebSocket);
        assert_eq!(frame(b"\x81\x85\x01\x02\x03\x04....."), websocket);
        assert_eq!(frame(b"\x8a\x80\x01\x02\x03\x04"), websocket);
        for none in [
            &b"GET / HTTP/1.1\r\n"[..],
            b"{\"model\":\"m\"}",
            b"\x17\x03\x03\x00\x20................................",
            b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00",
            b"\x00\x50\x00\x00\x00\x00\x00\x00\x07",
            b"\x00\x00\x12\x01",
            b"*1\r\n$4\r\nPING\r\n",
            b"",
        ] {
            assert_eq!(frame(none), None, "{none:?}");
        }
    }

    #[test]
    fn only_frames_behind_four_answers_in_a_row_are_believed() {
        const PING: &[u8] = b"\x00\x00\x08\x06\x00\x00\x00\x00\x00........";
        let mut stranger = Stranger::default();
        for _ in 0..10 {
            assert_eq!(stranger.read(PING, true), None, "never answered");
        }
        let mut turn = |head: &[u8], whole| {
            stranger.wrote(PING);
            stranger.read(head, whole)
        };
        assert_eq!([(); 3].map(|()| turn(PING, true)), [None; 3]);
        assert_eq!(turn(b"a body's bytes", true), None);
        assert_eq!([(); 3].map(|()| turn(PING, true)), [None; 3]);
        assert_eq!(turn(PING, false), None, "what was lost may have been a request");
        assert_eq!([(); 3].map(|()| turn(PING, true)), [None; 3]);
        assert_eq!(turn(PING, true), Some(NotUnderstood::Http2));
    }
}

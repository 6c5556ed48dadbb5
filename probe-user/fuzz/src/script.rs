//! A script of socket events as bytes, laid out so that a mutation of one byte is a small change of the
//! script, and so that a recorded trace can be written as one.
//!
//! ```text
//! event    what and connection · time step · what follows
//! call     behind a read or a write, of the socket or of plaintext: how it was seen · length, little-endian u16 · bytes
//! ```

use arbitrary::{Arbitrary, Result, Unstructured};
use wattprobe::event::IoKind;

/// Connections a script may use.
pub const CONNECTIONS: u8 = 8;
/// Events of one script at most.
const EVENTS: usize = 512;

/// One event.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// Which connection.
    pub conn: u8,
    /// Time since the event before it.
    pub step: u8,
    /// What happened.
    pub what: Happened<'a>,
}

/// What happened.
#[derive(Clone, Copy, Debug)]
pub enum Happened<'a> {
    /// Bytes were read or written.
    Call(Direction, Seen, &'a [u8]),
    /// Any other event of the connection.
    Io(IoKind),
    /// A close or a shutdown that says what it likes of the bytes received and sent.
    LyingEnd(IoKind, [u64; 2]),
    /// It was open before.
    FoundOpen,
    /// Its process ended.
    Exit,
    /// Connections without an event since this long are given up.
    Expire(u8),
    /// Every open request is closed.
    Interrupt,
    /// Records of some connection were lost until now.
    Lost,
}

/// Which way bytes went. Each has its own count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Read by the server.
    In,
    /// Written by it.
    Out,
    /// Deciphered by its TLS library.
    PlainIn,
    /// Enciphered by it.
    PlainOut,
}

impl Direction {
    /// How many there are.
    pub const COUNT: usize = 4;

    /// The event that tells of such bytes.
    #[must_use]
    pub fn kind(self) -> IoKind {
        match self {
            Self::In => IoKind::Recv,
            Self::Out => IoKind::Send,
            Self::PlainIn => IoKind::PlainRecv,
            Self::PlainOut => IoKind::PlainSend,
        }
    }
}

/// How much of a call reached the tracker.
#[derive(Clone, Copy, Debug)]
pub enum Seen {
    /// All of it.
    Whole,
    /// This many bytes of its beginning and of its end.
    Ends(u8, u8),
    /// All, behind so many bytes whose records were lost.
    Behind(u16),
    /// All, and so many bytes were already told.
    Late(u8),
    /// A record that says what it likes: offset, length, bytes of the beginning.
    Lie(u64, u32, u16),
    /// Nothing: the record was lost.
    Not,
}

const ERRORS: [i32; 4] = [104, 32, 11, 110];

impl<'a> Arbitrary<'a> for Event<'a> {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let (first, step): (u8, u8) = (u.arbitrary()?, u.arbitrary()?);
        let conn = first >> 4 & (CONNECTIONS - 1);
        let what = match first & 15 {
            0 | 1 => call(Direction::In, u)?,
            2 => call(Direction::PlainIn, u)?,
            3 => Happened::Io(IoKind::PlainOpen),
            4 | 5 => call(Direction::Out, u)?,
            6 => call(Direction::PlainOut, u)?,
            7 => {
                let kind = if first >> 7 == 0 { IoKind::Close } else { IoKind::Shutdown };
                Happened::LyingEnd(kind, [u.arbitrary()?, u.arbitrary()?])
            }
            8 => Happened::Io(IoKind::Open),
            9 => Happened::Io(IoKind::Recv),
            10 => Happened::Io(IoKind::Close),
            11 => Happened::Io(IoKind::Shutdown),
            12 => Happened::Io(IoKind::Error(ERRORS[usize::from(u.arbitrary::<u8>()?) % 4])),
            13 if first >> 7 == 0 => Happened::FoundOpen,
            13 => Happened::Lost,
            14 => Happened::Expire(u.arbitrary()?),
            _ if first >> 7 == 0 => Happened::Exit,
            _ => Happened::Interrupt,
        };
        Ok(Self { conn, step, what })
    }
}

fn call<'a>(direction: Direction, u: &mut Unstructured<'a>) -> Result<Happened<'a>> {
    let seen = match u.arbitrary::<u8>()? {
        1 => Seen::Ends(u.arbitrary()?, u.arbitrary()?),
        2 => Seen::Behind(u.arbitrary()?),
        3 => Seen::Late(u.arbitrary()?),
        4 => Seen::Lie(u.arbitrary()?, u.arbitrary()?, u.arbitrary()?),
        5 => Seen::Not,
        _ => Seen::Whole,
    };
    let len = usize::from(u.arbitrary::<u16>()?).min(u.len());
    Ok(Happened::Call(direction, seen, u.bytes(len)?))
}

/// Reads a script.
pub fn read(bytes: &[u8]) -> impl Iterator<Item = Event<'_>> {
    let mut u = Unstructured::new(bytes);
    let next = move || if u.is_empty() { None } else { u.arbitrary().ok() };
    std::iter::from_fn(next).take(EVENTS)
}

/// Writes a call of which all was seen.
pub fn write_call(bytes: &mut Vec<u8>, conn: u8, direction: Direction, payload: &[u8]) {
    for part in payload.chunks(usize::from(u16::MAX)) {
        let what = match direction {
            Direction::In => 0,
            Direction::PlainIn => 2,
            Direction::Out => 4,
            Direction::PlainOut => 6,
        };
        bytes.extend([conn << 4 | what, 1, 0]);
        bytes.extend((part.len() as u16).to_le_bytes());
        bytes.extend(part);
    }
}

/// Writes an event without bytes: an open, an end of file, a shutdown, a known TLS session or a close.
pub fn write_event(bytes: &mut Vec<u8>, conn: u8, kind: IoKind) {
    let kind = match kind {
        IoKind::PlainOpen => 3,
        IoKind::Open => 8,
        IoKind::Recv => 9,
        IoKind::Shutdown => 11,
        _ => 10,
    };
    bytes.extend([conn << 4 | kind, 1]);
}

//! A connection that speaks TLS.
//!
//! Its plaintext comes beside its bytes where the kernel side hooks the server's library and knows which session the
//! connection has; then the two directions of HTTP are read from it, and the bytes themselves tell only of close and
//! failure. That the session is known is said while hands are shaken, so before any data. Where it is not said,
//! requests are told apart by sizes and times ([`opaque`]).
//!
//! The kernel side matches session and connection by which thread received what. What contradicts that, here, is taken for a
//! wrong match, and its plaintext is not read: a server that asks first, or more plaintext than bytes, unless the next bytes
//! show that the record of others was lost.

mod opaque;
mod records;

use self::{opaque::Opaque, records::Records};
use super::{
    call::Call,
    flags::Flag,
    output::{Moment, NotUnderstood},
    pieces::{Counted, Pieces},
    sniff::{self, Sniff},
};
use crate::{
    event::{Io, IoKind},
    record::End,
};

/// Whether plaintext is had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Session {
    /// Nothing was said yet. `asked`: the client sent data on a connection found open, where the session may be said
    /// only after that.
    Unknown { asked: bool },
    /// It comes.
    Known,
    /// It does not come. `known`: it will, for the next request.
    Opaque { known: bool },
    /// What came is another connection's.
    Wrong,
}

/// The TLS side of a connection.
#[derive(Debug)]
pub(super) struct Tls {
    session: Session,
    found_open: bool,
    /// Bytes of the connection itself.
    pub(super) read: Counted,
    pub(super) written: Counted,
    /// Bytes received, those whose records were lost among them, and plaintext of them, since the connection was seen.
    received: u64,
    deciphered: u64,
    /// There was plaintext.
    began: bool,
    client: Records,
    server: Records,
    opaque: Opaque,
    /// When data came that was not deciphered yet, if the read in which its record begins began with that.
    pub(super) arrived: Option<u64>,
    /// The connection failed.
    failed: bool,
    /// It was told that its plaintext is not had.
    told: bool,
}

/// Whether a connection's first bytes, or those at the beginning of a read of one found open, are TLS.
pub(super) fn begins(head: &[u8], found_open: bool) -> bool {
    if found_open {
        return records::begins(head);
    }
    sniff::request(head) == Sniff::Not(NotUnderstood::Tls)
}

impl Tls {
    /// `read` and `written` are the connection's counts so far.
    pub(super) fn new((read, written): (Counted, Counted), found_open: bool, now: Moment) -> Self {
        let records = || if found_open { Records::lost() } else { Records::default() };
        Self {
            session: Session::Unknown { asked: false },
            found_open,
            read,
            written,
            received: 0,
            deciphered: 0,
            began: false,
            client: records(),
            server: records(),
            opaque: Opaque::new(now, found_open),
            arrived: None,
            failed: false,
            told: false,
        }
    }

    /// Handles bytes that were read. True the first time that they are a request without plaintext.
    pub(super) fn receive(&mut self, pieces: &Pieces<'_>, call: &mut Call<'_>) -> bool {
        let contradicted = self.deciphered > self.received;
        self.received += pieces.lost + pieces.len();
        if contradicted && pieces.lost > 0 && self.is_wrong() && self.deciphered <= self.received {
            self.session = Session::Opaque { known: true };
        }
        self.opaque.lost(pieces);
        let (mut asks, mut bytes, mut first) = (false, 0, true);
        let Self { client, opaque, arrived, .. } = self;
        client.call(pieces, |record| {
            let data = opaque.asks(record, call.now.t);
            if data {
                asks = true;
                bytes += record.here;
            }
            if std::mem::take(&mut first) && !record.goes_on {
                *arrived = call.arrived.filter(|_| data);
            }
        });
        if asks {
            call.arrived = self.arrived;
            self.asked(bytes, call);
        }
        let tell = self.opaque.is_open() && !self.told;
        self.told |= tell;
        tell
    }

    fn asked(&mut self, bytes: u64, call: &mut Call<'_>) {
        match self.session {
            Session::Unknown { .. } if self.found_open => {
                self.session = Session::Unknown { asked: true };
                return;
            }
            Session::Unknown { .. } => self.session = Session::Opaque { known: false },
            Session::Opaque { known: true } if self.opaque.is_over() => {
                self.opaque.finish(End::Complete, call);
                self.session = Session::Known;
            }
            _ => {}
        }
        if self.session != Session::Known {
            self.opaque.read(bytes, call);
        }
    }

    /// Handles bytes that were written.
    pub(super) fn send(&mut self, io: &Io, call: &mut Call<'_>) {
        let pieces = self.written.split(io, call.stats);
        self.opaque.lost(&pieces);
        let Self { server, opaque, .. } = self;
        server.call(&pieces, |record| opaque.wrote(record, call.now));
        self.opaque.written();
        if self.session == (Session::Unknown { asked: true }) {
            self.session = Session::Opaque { known: false };
        }
    }

    /// The session of the connection is known.
    pub(super) fn open(&mut self) {
        self.session = match self.session {
            Session::Unknown { .. } | Session::Known => Session::Known,
            Session::Opaque { .. } => Session::Opaque { known: true },
            Session::Wrong => Session::Wrong,
        };
    }

    /// Whether plaintext is this connection's.
    pub(super) fn takes(&mut self, io: &Io) -> bool {
        // That the session is known was said before, even if the record that said so was lost.
        self.open();
        if self.session != Session::Known {
            return false;
        }
        let first = !std::mem::replace(&mut self.began, true);
        let received = io.kind == IoKind::PlainRecv;
        if received {
            self.deciphered += u64::from(io.len);
        }
        // An answer comes first where the record of what it answers was lost.
        let asks = first && !received && !sniff::response(&io.payload);
        if !self.found_open && (asks || self.deciphered > self.received) {
            self.session = Session::Wrong;
        }
        self.session == Session::Known
    }

    /// Whether its plaintext was another connection's.
    pub(super) fn is_wrong(&self) -> bool {
        self.session == Session::Wrong
    }

    /// Whether a request without plaintext is open.
    pub(super) fn is_open(&self) -> bool {
        self.opaque.is_open()
    }

    /// Whether such a request must be taken for answered.
    pub(super) fn is_quiet(&self, now: u64) -> bool {
        self.opaque.is_quiet(now)
    }

    /// Ends such a request with its last write.
    pub(super) fn settle(&mut self, call: &mut Call<'_>) {
        self.opaque.finish(End::Complete, call);
    }

    /// Ends it as `outcome` says, or as the server's close does.
    pub(super) fn close(&mut self, outcome: Option<End>, call: &mut Call<'_>) {
        match outcome {
            Some(outcome) => self.opaque.finish(outcome, call),
            None => self.opaque.closed(self.failed, call),
        }
    }

    /// The client left, or (`failed`) the connection did.
    pub(super) fn left(&mut self, failed: bool) {
        self.failed |= failed;
    }

    /// Heap bytes held.
    pub(super) fn retained(&self) -> usize {
        size_of::<Self>() + self.opaque.retained()
    }

    /// Flags such a request if it began no later than that.
    pub(super) fn flag_until(&mut self, t: u64, flag: Flag) {
        self.opaque.flag_until(t, flag);
    }
}

//! Requests of a TLS connection whose plaintext cannot be had: by sizes and times of its records alone.
//!
//! A request begins with the client's first record of data, and is answered by the server's next; the client's
//! next one after that begins another. Where nobody follows, it is over once the server has been quiet. What is no data
//! though its type says so (TLS 1.3 hides the real one) is known by its place and its length.

use super::records::{Kind, Record};
use crate::boundary::{
    call::Call, exchange::Exchange, facts::Facts, flags::Flag, output::Moment, pieces::Pieces,
};
use crate::record::End;

/// After this long without a write an answer is over.
pub(crate) const QUIET_NS: u64 = 2_000_000_000;
/// A server that gives out session tickets does so at once when the handshake is over.
const AT_ONCE_NS: u64 = 5_000_000;
/// Lengths of a record with the client's `Finished`: a digest of 32 or 48 bytes, its header, the record's type, a tag.
const FINISHED: [u64; 2] = [32 + 4 + 1 + 16, 48 + 4 + 1 + 16];
/// Records with which a client ends its handshake at most: certificate, proof, `Finished`, and one cut in two.
const LAST_FLIGHT: u8 = 4;
/// Length of a record with an alert, as of one that closes the connection, in TLS 1.3.
const ALERT: u64 = 2 + 1 + 16;
/// Lengths of a record with `HTTP/1.1 100 Continue`: TLS 1.3; TLS 1.2 with either common cipher.
const CONTINUE: [u64; 3] = [25 + 1 + 16, 25 + 16, 25 + 8 + 16];

/// How far the handshake has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Handshake {
    /// No record of data yet.
    Begun,
    /// TLS 1.3: the server sent what looks like data before the client did. So many records of the client since.
    Hidden(u8),
    /// Over. The server may give out tickets in its first write, if that comes right after this instant.
    Over(Option<u64>),
}

/// The request that is open, and what leads to one.
#[derive(Debug)]
pub(super) struct Opaque {
    handshake: Handshake,
    exchange: Option<Exchange>,
    /// The client's latest record is data of the application.
    asks: bool,
    /// The server wrote data for the request.
    answered: bool,
    last_write: Moment,
}

impl Opaque {
    /// At the beginning of a connection, or in the middle of one.
    pub(super) fn new(now: Moment, found_open: bool) -> Self {
        let handshake = if found_open { Handshake::Over(None) } else { Handshake::Begun };
        Self { handshake, exchange: None, asks: false, answered: false, last_write: now }
    }

    pub(super) fn is_open(&self) -> bool {
        self.exchange.is_some()
    }

    /// Whether the next data that the client sends is of a new request.
    pub(super) fn is_over(&self) -> bool {
        self.exchange.is_none() || self.answered
    }

    /// Whether a record that was read is data of the application.
    pub(super) fn asks(&mut self, record: Record, now: u64) -> bool {
        // What a record is its beginning says, however many reads it comes in.
        if !record.goes_on {
            self.asks = self.begins(record, now);
        }
        self.asks
    }

    fn begins(&mut self, record: Record, now: u64) -> bool {
        if record.kind == Kind::Control {
            return false;
        }
        match self.handshake {
            Handshake::Begun => self.handshake = Handshake::Over(None),
            Handshake::Hidden(earlier) => {
                let last = FINISHED.contains(&record.len) || earlier + 1 >= LAST_FLIGHT;
                self.handshake = match last {
                    true => Handshake::Over(Some(now)),
                    false => Handshake::Hidden(earlier + 1),
                };
                return false;
            }
            Handshake::Over(_) => {}
        }
        record.len != ALERT
    }

    /// A call tells that bytes before it were lost: they may be of the request that is open.
    pub(super) fn lost(&mut self, pieces: &Pieces<'_>) {
        if pieces.lost > 0 {
            self.flag_until(u64::MAX, Flag::LostRecords);
        }
    }

    /// Data of a request was read.
    pub(super) fn read(&mut self, len: u64, call: &mut Call<'_>) {
        if self.answered {
            self.finish(End::Complete, call);
        }
        let exchange = self.exchange.get_or_insert_with(|| {
            let mut exchange = Exchange::begin(call.now, call);
            exchange.facts.arrived = call.arrived;
            exchange.flag(Flag::Tls);
            exchange.flag(Flag::TlsOpaque);
            exchange
        });
        exchange.read(len, call);
        // Any read may be the last.
        exchange.body_read(call);
    }

    /// A record was written.
    pub(super) fn wrote(&mut self, record: Record, now: Moment) {
        if record.kind == Kind::Control {
            return;
        }
        let tickets = match self.handshake {
            Handshake::Begun => {
                self.handshake = Handshake::Hidden(0);
                return;
            }
            Handshake::Hidden(_) => return,
            Handshake::Over(since) => since.is_some_and(|t| now.t.saturating_sub(t) < AT_ONCE_NS),
        };
        let Some(exchange) = &mut self.exchange else { return };
        if record.len != ALERT {
            self.answered |= !tickets && !CONTINUE.contains(&record.len);
            self.last_write = now;
            exchange.facts.bytes_out += record.here;
        }
    }

    /// The write is over.
    pub(super) fn written(&mut self) {
        if let Handshake::Over(tickets) = &mut self.handshake {
            *tickets = None;
        }
    }

    /// Whether its answer must be taken for over at that instant.
    pub(super) fn is_quiet(&self, now: u64) -> bool {
        self.is_open() && self.answered && now.saturating_sub(self.last_write.t) > QUIET_NS
    }

    /// The request is over: answered to its last byte, as far as can be known, or as `outcome` says.
    pub(super) fn finish(&mut self, outcome: End, call: &mut Call<'_>) {
        if let Some(exchange) = self.exchange.take() {
            let at = if outcome == End::Complete { self.last_write } else { call.now };
            exchange.finish(outcome, at, call);
        }
        self.answered = false;
    }

    /// The connection was closed by the server.
    pub(super) fn closed(&mut self, failed: bool, call: &mut Call<'_>) {
        let any = self.exchange.as_ref().is_some_and(|e| e.facts.bytes_out > 0);
        if failed && let Some(exchange) = &mut self.exchange {
            exchange.flag(Flag::ConnectionReset);
        }
        self.finish(if any && !failed { End::Complete } else { End::Aborted }, call);
    }

    /// Heap bytes held.
    pub(super) fn retained(&self) -> usize {
        self.exchange.as_ref().map_or(0, |_| size_of::<Facts>())
    }

    pub(super) fn flag_until(&mut self, t: u64, flag: Flag) {
        if let Some(exchange) = self.exchange.as_mut().filter(|e| e.facts.start.t <= t) {
            exchange.flag(flag);
        }
    }
}

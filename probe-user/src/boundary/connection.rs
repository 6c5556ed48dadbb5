//! One connection: its byte counts, and its two sides while a request is open.
//!
//! Between requests nothing but the counts is kept, so that thousands of idle connections are cheap.

use super::{
    call::Call,
    flags::Flag,
    output::NotUnderstood,
    pieces::{Counted, Pieces},
    queue::Queue,
    receive::Receive,
    reply::{Gone, Reply},
    stranger::Stranger,
    tls::{self, Tls},
};
use crate::{
    event::{Io, IoKind},
    record::End,
};

/// Bytes that a connection has moved, by the kernel's own count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moved {
    /// Read by the server.
    pub received: u64,
    /// Written by it.
    pub sent: u64,
}

/// One connection of a target.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) who: u32,
    pub(super) tgid: u32,
    /// Its last event, `CLOCK_MONOTONIC` ns.
    pub(super) last: u64,
    /// Bytes of HTTP: those of the connection, or the plaintext of its TLS session.
    read: Counted,
    written: Counted,
    phase: Phase,
    /// As long as no request was seen on one that was found open.
    stranger: Option<Stranger>,
    /// It speaks TLS.
    tls: Option<Box<Tls>>,
    /// The last calls were not seen: what is open on it may be over.
    unsure: bool,
}

#[derive(Debug)]
enum Phase {
    /// No request is open. A side that seeks is out of step.
    Idle {
        read_seeks: bool,
        write_seeks: bool,
    },
    Active(Box<Active>),
    /// Set aside as not understood.
    Ignored,
}

#[derive(Debug)]
struct Active {
    receive: Receive,
    reply: Reply,
    queue: Queue,
    gone: Gone,
}

impl Connection {
    /// A connection whose beginning was seen (`found_open`: was not).
    pub(super) fn new(who: u32, tgid: u32, t: u64, found_open: bool) -> Self {
        let count = Counted((!found_open).then_some(0));
        let phase = Phase::Idle { read_seeks: found_open, write_seeks: found_open };
        let stranger = found_open.then(Stranger::default);
        let (read, written, tls, unsure) = (count, count, None, false);
        Self { who, tgid, last: t, read, written, phase, stranger, tls, unsure }
    }

    /// The same, where the kernel side counts from here on.
    pub(super) fn counted(self) -> Self {
        Self { read: Counted(Some(0)), written: Counted(Some(0)), ..self }
    }

    /// Whether a request is open on it.
    pub(super) fn is_open(&self) -> bool {
        let opaque = self.tls.as_ref().is_some_and(|tls| tls.is_open());
        opaque || matches!(&self.phase, Phase::Active(active) if !active.queue.is_empty())
    }

    /// Whether nothing marks the end of its answer but that the server was quiet until now.
    pub(super) fn is_quiet(&self, now: u64) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.is_quiet(now))
    }

    /// Ends that answer with its last write.
    pub(super) fn settle_quiet(&mut self, call: &mut Call<'_>) {
        if let Some(tls) = &mut self.tls {
            tls.settle(call);
        }
    }

    /// Handles one event other than an open or a close.
    pub(super) fn handle(&mut self, io: &Io, call: &mut Call<'_>) {
        self.last = io.t;
        self.unsure = false;
        match io.kind {
            IoKind::Recv if io.len == 0 => self.left(Gone { eof: true, error: false }),
            IoKind::Recv => match &mut self.tls {
                Some(tls) => {
                    let pieces = tls.read.split(io, call.stats);
                    self.receive(&pieces, call);
                }
                None => self.read(io, call),
            },
            IoKind::Send if io.len > 0 => match &mut self.tls {
                Some(tls) => tls.send(io, call),
                None => self.write(io, call),
            },
            IoKind::PlainOpen => self.secure(call).open(),
            IoKind::PlainRecv if self.deciphers(io, call) => self.read(io, call),
            IoKind::PlainSend if self.deciphers(io, call) => self.write(io, call),
            IoKind::Shutdown => self.end(io, call),
            IoKind::Error(errno) if is_fatal(errno) => self.left(Gone { eof: false, error: true }),
            IoKind::Open
            | IoKind::Send
            | IoKind::Close
            | IoKind::Error(_)
            | IoKind::PlainRecv
            | IoKind::PlainSend => {}
        }
    }

    /// From here on it speaks TLS, and HTTP is read from its plaintext.
    fn secure(&mut self, call: &mut Call<'_>) -> &mut Tls {
        if self.tls.is_none() && !matches!(self.phase, Phase::Idle { .. }) {
            // What was taken for a request is none.
            self.close_requests(Some(End::Aborted), call);
            self.phase = Phase::Idle { read_seeks: true, write_seeks: true };
        }
        let Self { read, written, phase, tls, .. } = self;
        tls.get_or_insert_with(|| {
            let found_open = !matches!(phase, Phase::Idle { read_seeks: false, .. });
            let count = Counted((!found_open).then_some(0));
            let bytes = (std::mem::replace(read, count), std::mem::replace(written, count));
            Box::new(Tls::new(bytes, found_open, call.now))
        })
    }

    /// Whether plaintext is of this connection.
    fn deciphers(&mut self, io: &Io, call: &mut Call<'_>) -> bool {
        call.tls = true;
        let tls = self.secure(call);
        if io.kind == IoKind::PlainRecv {
            call.arrived = tls.arrived.take();
        }
        let (was, takes) = (tls.is_wrong(), tls.takes(io));
        if !was && tls.is_wrong() {
            self.close_requests(Some(End::Aborted), call);
        }
        takes
    }

    /// Handles the bytes of a connection that speaks TLS.
    fn receive(&mut self, pieces: &Pieces<'_>, call: &mut Call<'_>) {
        if self.secure(call).receive(pieces, call) {
            call.not_understood(NotUnderstood::Tls);
        }
    }

    fn left(&mut self, gone: Gone) {
        if let Phase::Active(active) = &mut self.phase {
            active.gone.eof |= gone.eof;
            active.gone.error |= gone.error;
            active.queue.left();
        }
        if let Some(tls) = &mut self.tls {
            tls.left(gone.error);
        }
    }

    fn read(&mut self, io: &Io, call: &mut Call<'_>) {
        let pieces = self.read.split(io, call.stats);
        if let (None, Phase::Idle { read_seeks, .. }) = (&self.tls, &self.phase)
            && tls::begins(pieces.head, *read_seeks)
        {
            return self.receive(&pieces, call);
        }
        let (begin, whole) = (pieces.head, pieces.lost == 0);
        let Some(active) = self.activate(call) else {
            return;
        };
        let Active { receive, reply, queue, .. } = active;
        if let Err(kind) = receive.call(&pieces, queue, reply, call) {
            if kind == NotUnderstood::Tls && queue.is_empty() {
                return self.receive(&pieces, call);
            }
            // The requests before the bytes that are no request may still be answered.
            *receive = Receive::Ignored;
            call.not_understood(kind);
        }
        self.settle();
        self.estrange(begin, whole, call);
    }

    fn write(&mut self, io: &Io, call: &mut Call<'_>) {
        let pieces = self.written.split(io, call.stats);
        if matches!(self.phase, Phase::Idle { write_seeks: true, .. }) {
            if let Some(stranger) = &mut self.stranger
                && stranger.wrote(pieces.head)
            {
                call.stats.orphan_writes += 1;
            }
            return;
        }
        let Some(active) = self.activate(call) else {
            return;
        };
        let Active { reply, queue, gone, .. } = active;
        if let Err(kind) = reply.call(&pieces, *gone, queue, call) {
            reply.close(Some(End::Aborted), *gone, queue, call);
            self.phase = Phase::Ignored;
            call.not_understood(kind);
        }
        self.settle();
    }

    /// Sets a connection aside that was found open and turns out to speak something else.
    fn estrange(&mut self, begin: &[u8], whole: bool, call: &mut Call<'_>) {
        let seeks = matches!(self.phase, Phase::Idle { read_seeks: true, .. });
        if !seeks {
            self.stranger = None;
        }
        if let Some(kind) = self.stranger.as_mut().and_then(|s| s.read(begin, whole)) {
            self.phase = Phase::Ignored;
            call.not_understood(kind);
        }
    }

    /// The state of the two sides, unless the connection was set aside.
    fn activate(&mut self, call: &Call<'_>) -> Option<&mut Active> {
        if let Phase::Idle { read_seeks, write_seeks } = self.phase {
            self.phase = Phase::Active(Box::new(Active {
                receive: if read_seeks { Receive::Seek } else { Receive::Idle },
                reply: Reply::new(call.now, write_seeks),
                queue: Queue::default(),
                gone: Gone::default(),
            }));
        }
        match &mut self.phase {
            Phase::Active(active) => Some(active),
            Phase::Idle { .. } | Phase::Ignored => None,
        }
    }

    /// Drops what need not be kept between requests.
    fn settle(&mut self) {
        let Phase::Active(active) = &self.phase else {
            return;
        };
        if !active.queue.is_empty() || !active.reply.is_quiet() {
            return;
        }
        if matches!(active.receive, Receive::Ignored) {
            self.phase = Phase::Ignored;
        } else if active.receive.is_quiet() {
            self.phase = Phase::Idle {
                read_seeks: matches!(active.receive, Receive::Seek),
                write_seeks: active.reply.is_seeking(),
            };
        }
    }

    /// The server writes no more. Its counts tell of calls right before, whose records were lost.
    pub(super) fn end(&mut self, io: &Io, call: &mut Call<'_>) {
        let (received, sent) = (io.offset as u32, io.len);
        if let Some(tls) = &mut self.tls {
            if tls.read.end(received, call.stats) + tls.written.end(sent, call.stats) > 0 {
                self.flag(Flag::LostRecords);
            }
        } else {
            let unread = self.read.end(received, call.stats);
            let unwritten = self.written.end(sent, call.stats);
            self.missing(unread, unwritten, call);
        }
        self.close(None, call);
    }

    /// At `call.now` the kernel had counted so many bytes each way, and every record of them that was not lost has been handled.
    pub(super) fn counted_by_kernel(&mut self, moved: Moved, call: &mut Call<'_>) {
        let (read, written) = match &mut self.tls {
            Some(tls) => (&mut tls.read, &mut tls.written),
            None => (&mut self.read, &mut self.written),
        };
        let unread = read.end(moved.received as u32, call.stats);
        let unwritten = written.end(moved.sent as u32, call.stats);
        if unread + unwritten == 0 {
            return;
        }
        self.flag(Flag::LostRecords);
        if self.tls.is_none() {
            self.missing(unread, unwritten, call);
            self.settle();
        }
        (self.last, self.unsure) = (call.now.t, true);
    }

    /// Whether what is open on it may be over, and nothing came for so long, ns.
    pub(super) fn is_unsure(&self, now: u64, quiet: u64) -> bool {
        self.unsure && self.is_open() && now.saturating_sub(self.last) > quiet
    }

    /// Calls that moved so many bytes were not seen.
    fn missing(&mut self, unread: u64, unwritten: u64, call: &mut Call<'_>) {
        let Phase::Active(active) = &mut self.phase else { return };
        let Active { receive, reply, queue, .. } = &mut **active;
        if unread > 0 {
            receive.missing(unread, Flag::LostRecords, queue, call);
        }
        if unwritten > 0 {
            reply.missing(unwritten, Flag::LostRecords, queue, call);
        }
    }

    /// Closes every open request: as `outcome` says, or as the server's close does.
    pub(super) fn close(&mut self, outcome: Option<End>, call: &mut Call<'_>) {
        if let Some(tls) = &mut self.tls {
            tls.close(outcome, call);
        }
        self.close_requests(outcome, call);
    }

    fn close_requests(&mut self, outcome: Option<End>, call: &mut Call<'_>) {
        if let Phase::Active(active) = &mut self.phase {
            let Active { receive, reply, queue, gone } = &mut **active;
            receive.close(queue);
            reply.close(outcome, *gone, queue, call);
        }
        // Should it go on nevertheless, its place in the stream is not known.
        if !matches!(self.phase, Phase::Ignored) {
            self.phase = Phase::Idle { read_seeks: true, write_seeks: true };
        }
    }

    /// Flags every open request.
    pub(super) fn flag(&mut self, flag: Flag) {
        self.flag_until(u64::MAX, flag);
    }

    /// Flags every open request that began no later than that.
    pub(super) fn flag_until(&mut self, t: u64, flag: Flag) {
        if let Phase::Active(active) = &mut self.phase {
            active.queue.flag_until(t, flag);
        }
        if let Some(tls) = &mut self.tls {
            tls.flag_until(t, flag);
        }
    }

    /// Heap bytes held.
    pub(super) fn retained(&self) -> usize {
        let tls = self.tls.as_ref().map_or(0, |tls| tls.retained());
        tls + match &self.phase {
            Phase::Active(active) => {
                size_of::<Active>()
                    + active.receive.retained()
                    + active.reply.retained()
                    + active.queue.retained()
            }
            Phase::Idle { .. } | Phase::Ignored => 0,
        }
    }
}

/// Errors after which nothing moves on a connection.
fn is_fatal(errno: i32) -> bool {
    matches!(
        errno,
        libc::EPIPE
            | libc::ECONNRESET
            | libc::ECONNABORTED
            | libc::ENOTCONN
            | libc::ETIMEDOUT
            | libc::EHOSTUNREACH
            | libc::ENETUNREACH
            | libc::EBADF
    )
}

//! One connection: its byte counts, and its two sides while a request is open.
//!
//! Between requests nothing but the counts is kept, so that thousands of idle connections are cheap.

use super::{
    exchange::Call,
    output::{NotUnderstood, Output},
    pieces::Counted,
    queue::Queue,
    receive::Receive,
    reply::{Gone, Reply},
};
use crate::{
    event::{Io, IoKind},
    record::End,
};

/// One connection of a target.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) who: u32,
    pub(super) tgid: u32,
    /// Its last event, `CLOCK_MONOTONIC` ns.
    pub(super) last: u64,
    read: Counted,
    written: Counted,
    phase: Phase,
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
        Self { who, tgid, last: t, read: count, written: count, phase }
    }

    /// Whether a request is open on it.
    pub(super) fn is_open(&self) -> bool {
        matches!(&self.phase, Phase::Active(active) if !active.queue.is_empty())
    }

    /// Handles one event other than an open or a close.
    pub(super) fn handle(&mut self, io: &Io, call: &mut Call<'_>) {
        self.last = io.t;
        match io.kind {
            IoKind::Recv if io.len == 0 => self.left(Gone { eof: true, error: false }),
            IoKind::Recv => self.read(io, call),
            IoKind::Send if io.len > 0 => self.write(io, call),
            IoKind::Shutdown => self.close(None, call),
            IoKind::Error(errno) if is_fatal(errno) => self.left(Gone { eof: false, error: true }),
            IoKind::Open | IoKind::Send | IoKind::Close | IoKind::Error(_) => {}
        }
    }

    fn left(&mut self, gone: Gone) {
        if let Phase::Active(active) = &mut self.phase {
            active.gone.eof |= gone.eof;
            active.gone.error |= gone.error;
        }
    }

    fn read(&mut self, io: &Io, call: &mut Call<'_>) {
        let pieces = self.read.split(io, call.stats);
        let Some(active) = self.activate(call) else {
            return;
        };
        let Active { receive, reply, queue, .. } = active;
        if let Err(kind) = receive.call(&pieces, queue, reply, call) {
            // The requests before the bytes that are no request may still be answered.
            *receive = Receive::Ignored;
            set_aside(kind, call);
        }
        self.settle();
    }

    fn write(&mut self, io: &Io, call: &mut Call<'_>) {
        let pieces = self.written.split(io, call.stats);
        if matches!(self.phase, Phase::Idle { write_seeks: true, .. }) {
            return;
        }
        let Some(active) = self.activate(call) else {
            return;
        };
        let Active { reply, queue, gone, .. } = active;
        if let Err(kind) = reply.call(&pieces, *gone, queue, call) {
            reply.close(Some(End::Aborted), *gone, queue, call);
            self.phase = Phase::Ignored;
            set_aside(kind, call);
        }
        self.settle();
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

    /// Closes every open request: as `outcome` says, or as the server's close does.
    pub(super) fn close(&mut self, outcome: Option<End>, call: &mut Call<'_>) {
        if let Phase::Active(active) = &mut self.phase {
            let Active { reply, queue, gone, .. } = &mut **active;
            reply.close(outcome, *gone, queue, call);
        }
        // Should it go on nevertheless, its place in the stream is not known.
        if !matches!(self.phase, Phase::Ignored) {
            self.phase = Phase::Idle { read_seeks: true, write_seeks: true };
        }
    }

    /// Flags every open request as closed for lack of room.
    pub(super) fn flag_evicted(&mut self) {
        if let Phase::Active(active) = &mut self.phase {
            active.queue.flag_all(super::Flag::Evicted);
        }
    }

    /// Heap bytes held.
    pub(super) fn retained(&self) -> usize {
        match &self.phase {
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

fn set_aside(kind: NotUnderstood, call: &mut Call<'_>) {
    call.stats.not_understood[kind as usize] += 1;
    let (conn, who, tgid, t) = (call.conn, call.who, call.tgid, call.now.t);
    call.out.push(Output::NotUnderstood { conn, who, tgid, t, kind });
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

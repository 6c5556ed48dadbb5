//! The call being handled, and where what it means goes.

use super::{
    output::{Boundary, Moment, NotUnderstood, Output, RequestId, What},
    stats::Stats,
};
use crate::event::ConnId;

/// The call being handled, and where results go.
pub(super) struct Call<'a> {
    pub(super) now: Moment,
    pub(super) conn: ConnId,
    pub(super) who: u32,
    pub(super) tgid: u32,
    pub(super) out: &'a mut Vec<Output>,
    pub(super) stats: &'a mut Stats,
    /// Of a read: [`Io::arrived`](crate::event::Io).
    pub(super) arrived: Option<u64>,
    /// Its bytes are the plaintext of a TLS session.
    pub(super) tls: bool,
}

impl<'a> Call<'a> {
    /// Of no read: of the clock, say.
    pub(super) fn at(
        now: Moment,
        conn: ConnId,
        (who, tgid): (u32, u32),
        out: &'a mut Vec<Output>,
        stats: &'a mut Stats,
    ) -> Self {
        Self { now, conn, who, tgid, out, stats, arrived: None, tls: false }
    }

    /// Emits a boundary of a request.
    pub(super) fn emit(&mut self, what: What, request: RequestId, at: Moment, events: u32) {
        let (conn, who, tgid) = (self.conn, self.who, self.tgid);
        self.out.push(Output::Boundary(Boundary { what, request, conn, who, tgid, at, events }));
    }

    /// Counts and tells of bytes that are not parsed.
    pub(super) fn not_understood(&mut self, kind: NotUnderstood) {
        self.stats.not_understood[kind as usize] += 1;
        let (conn, who, tgid, t) = (self.conn, self.who, self.tgid, self.now.t);
        self.out.push(Output::NotUnderstood { conn, who, tgid, t, kind });
    }
}

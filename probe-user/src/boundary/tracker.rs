//! All connections of all targets: the entrance of this module.

use std::collections::HashMap;

use probe_common::{CONSUMERS, MAX_PACKAGES};

use super::{
    call::Call,
    connection::{Connection, Moved},
    flags::Flag,
    output::{Moment, Output},
    stats::Stats,
};
use crate::{
    event::{ConnId, Io, IoKind, TargetClock},
    record::End,
};

/// What the tracker may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once; beyond, those longest without an event are dropped and counted.
    pub connections: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections: 16_384 }
    }
}

/// Follows every watched connection.
#[derive(Debug, Default)]
pub struct Tracker {
    connections: HashMap<ConnId, Connection>,
    limits: Limits,
    stats: Stats,
    /// The last moment known of each consumer.
    latest: [Option<Moment>; CONSUMERS],
    /// No record of a boundary was lost later, as far as is known; `CLOCK_MONOTONIC` ns.
    lost_until: Option<u64>,
}

/// The kernel's own list of the connections that it watches.
#[derive(Clone, Debug, Default)]
pub struct Census {
    /// Before it was read, `CLOCK_MONOTONIC` ns.
    pub begin: u64,
    /// After it was.
    pub end: u64,
    /// What each has moved.
    pub known: HashMap<ConnId, Moved>,
}

/// How long, ns, nothing may move on a connection whose last records were lost before what is open on it is taken for over.
const QUIET_NS: u64 = 1_000_000_000;

/// How long, ns, nothing may move on a connection before its requests time out, unless told otherwise.
pub const DEFAULT_HORIZON: u64 = 3_600_000_000_000;

impl Tracker {
    /// An empty tracker.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Counters so far.
    #[must_use]
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Requests that are open now.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        self.stats.started - self.stats.finished
    }

    /// The later of a target's clocks and those at its last event: clocks do not run backwards.
    #[must_use]
    pub fn clocks_now(&self, who: u32, clocks: TargetClock) -> TargetClock {
        later(clocks, &self.latest, who)
    }

    /// Connections held now.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections.len()
    }

    /// Bytes of memory held now, table and buffers.
    #[must_use]
    pub fn retained_bytes(&self) -> usize {
        // One control byte an entry, as hash tables of this kind have.
        self.connections.capacity() * (size_of::<(ConnId, Connection)>() + 1)
            + self.connections.values().map(Connection::retained).sum::<usize>()
    }

    /// Notes a connection that was open before the probe: it is read from its next request on. One that
    /// was never announced is treated the same at its first event.
    pub fn found_open(&mut self, conn: ConnId, who: u32, tgid: u32, t: u64, out: &mut Vec<Output>) {
        self.insert(conn, Connection::new(who, tgid, t, true).counted(), out);
    }

    /// Handles one socket event; events of one connection in their order.
    pub fn on_io(&mut self, io: &Io, out: &mut Vec<Output>) {
        if let Some(latest) = self.latest.get_mut(io.who as usize) {
            *latest = Some(Moment { t: io.t, clock: io.clock });
        }
        match io.kind {
            IoKind::Open => {
                // The close of an earlier one with this id was lost.
                self.remove(io, out, |connection, call| {
                    connection.flag(Flag::LostRecords);
                    connection.close(None, call);
                });
                self.insert(io.conn, Connection::new(io.who, io.tgid, io.t, false), out);
                return;
            }
            IoKind::Close => {
                return self.remove(io, out, |connection, call| connection.end(io, call));
            }
            _ => {}
        }
        if !self.connections.contains_key(&io.conn) {
            self.insert(io.conn, Connection::new(io.who, io.tgid, io.t, true), out);
        }
        let Some(connection) = self.connections.get_mut(&io.conn) else {
            return;
        };
        (connection.who, connection.tgid) = (io.who, io.tgid);
        connection.handle(io, &mut at(io, out, &mut self.stats));
    }

    /// Records of boundaries were lost, the last of them no later than `until`: of a request that began before and whose end
    /// never comes, that end may be among them.
    pub fn lost(&mut self, until: u64) {
        self.lost_until = self.lost_until.max(Some(until));
    }

    /// Compares with what the kernel knew, once every record up to the census's end that was not lost has been handled. What is
    /// not in it has been closed; where more was moved than was seen, an end may have been. To be called after a loss.
    pub fn reconcile(
        &mut self,
        census: &Census,
        clocks: impl Fn(u32) -> TargetClock,
        out: &mut Vec<Output>,
    ) {
        let Census { begin, end: t, ref known } = *census;
        let open = self.select(|c| c.is_open() && c.last <= begin);
        let (alive, gone): (Vec<_>, Vec<_>) =
            open.into_iter().partition(|conn| known.contains_key(conn));
        self.lost(t);
        self.close_all(&gone, End::Interrupted, t, &clocks, out);
        for conn in gone {
            self.connections.remove(&conn);
        }
        self.each(&alive, t, clocks, out, |connection, call| {
            if let Some(moved) = known.get(&call.conn) {
                connection.counted_by_kernel(*moved, call);
            }
        });
    }

    fn remove(
        &mut self,
        io: &Io,
        out: &mut Vec<Output>,
        end: impl FnOnce(&mut Connection, &mut Call<'_>),
    ) {
        if let Some(mut connection) = self.connections.remove(&io.conn) {
            end(&mut connection, &mut at(io, out, &mut self.stats));
        }
    }

    /// The process ended: requests on its connections are reset, the connections gone.
    pub fn process_exit(&mut self, tgid: u32, t: u64, clock: &TargetClock, out: &mut Vec<Output>) {
        let owned = self.select(|c| c.tgid == tgid);
        self.close_all(&owned, End::Reset, t, |_| *clock, out);
        for conn in owned {
            self.connections.remove(&conn);
        }
    }

    /// The probe stops: open requests end as interrupted. `clocks` gives a target's clocks at `t`.
    pub fn interrupt(
        &mut self,
        t: u64,
        clocks: impl Fn(u32) -> TargetClock,
        out: &mut Vec<Output>,
    ) {
        let open = self.select(Connection::is_open);
        self.close_all(&open, End::Interrupted, t, clocks, out);
    }

    /// Closes requests on connections without an event for more than `horizon` ns as timed out, and
    /// forgets such connections: should they go on, they are found again. Where nothing but quiet marks the end of an
    /// answer, it has ended with the last write; where an end may have been lost, quiet ends what is open as interrupted.
    pub fn expire(
        &mut self,
        now: u64,
        horizon: u64,
        clocks: impl Fn(u32) -> TargetClock,
        out: &mut Vec<Output>,
    ) {
        let quiet = self.select(|c| c.is_quiet(now));
        self.each(&quiet, now, &clocks, out, Connection::settle_quiet);
        let unsure = self.select(|c| c.is_unsure(now, QUIET_NS));
        self.close_all(&unsure, End::Interrupted, now, &clocks, out);
        let still = self.select(|c| now.saturating_sub(c.last) > horizon);
        self.close_all(&still, End::Timeout, now, clocks, out);
        for conn in still {
            self.connections.remove(&conn);
        }
    }

    /// Connections that match, in the order of their ids.
    fn select(&self, matches: impl Fn(&Connection) -> bool) -> Vec<ConnId> {
        let mut found: Vec<_> =
            self.connections.iter().filter(|(_, c)| matches(c)).map(|(id, _)| *id).collect();
        found.sort_unstable();
        found
    }

    fn close_all(
        &mut self,
        which: &[ConnId],
        outcome: End,
        t: u64,
        clocks: impl Fn(u32) -> TargetClock,
        out: &mut Vec<Output>,
    ) {
        let lost_until = self.lost_until;
        self.each(which, t, clocks, out, |connection, call| {
            doubt(connection, lost_until);
            connection.close(Some(outcome), call);
        });
    }

    /// Does something to each of these connections at `t`.
    fn each(
        &mut self,
        which: &[ConnId],
        t: u64,
        clocks: impl Fn(u32) -> TargetClock,
        out: &mut Vec<Output>,
        act: impl Fn(&mut Connection, &mut Call<'_>),
    ) {
        let Self { connections, latest, stats, .. } = self;
        for conn in which {
            if let Some(connection) = connections.get_mut(conn) {
                let owner = (connection.who, connection.tgid);
                let now = Moment { t, clock: later(clocks(owner.0), latest, owner.0) };
                act(connection, &mut Call::at(now, *conn, owner, out, stats));
            }
        }
    }

    fn insert(&mut self, conn: ConnId, connection: Connection, out: &mut Vec<Output>) {
        if self.connections.len() >= self.limits.connections.max(1) {
            self.evict(out);
        }
        self.connections.insert(conn, connection);
    }

    /// Drops an eighth of the connections, those without a request and longest without an event first.
    fn evict(&mut self, out: &mut Vec<Output>) {
        let mut by_age: Vec<_> =
            self.connections.iter().map(|(id, c)| (c.is_open(), c.last, *id)).collect();
        by_age.sort_unstable();
        by_age.truncate((by_age.len() / 8).max(1));
        let which: Vec<_> = by_age.into_iter().map(|(_, _, id)| id).collect();
        for conn in &which {
            if let Some(mut connection) = self.connections.remove(conn) {
                connection.flag(Flag::Evicted);
                doubt(&mut connection, self.lost_until);
                let (who, tgid) = (connection.who, connection.tgid);
                // No clocks are at hand: the target's last known ones are the closest there are.
                let latest = self.latest.get(who as usize).copied().flatten();
                let now = latest.unwrap_or(Moment { t: connection.last, clock: [0; MAX_PACKAGES] });
                let stats = &mut self.stats;
                let mut call = Call::at(now, *conn, (who, tgid), out, stats);
                connection.close(Some(End::Interrupted), &mut call);
            }
        }
        self.stats.evicted += which.len() as u64;
    }
}

/// The end of a request that began before then never came: it may be among the records that were lost.
fn doubt(connection: &mut Connection, lost_until: Option<u64>) {
    if let Some(until) = lost_until {
        connection.flag_until(until, Flag::LostRecords);
    }
}

/// The later of a target's clocks and those at its last event.
fn later(clocks: TargetClock, latest: &[Option<Moment>], who: u32) -> TargetClock {
    let seen = latest.get(who as usize).copied().flatten();
    let seen = seen.map_or([0; MAX_PACKAGES], |moment| moment.clock);
    std::array::from_fn(|package| clocks[package].max(seen[package]))
}

fn at<'a>(io: &Io, out: &'a mut Vec<Output>, stats: &'a mut Stats) -> Call<'a> {
    let now = Moment { t: io.t, clock: io.clock };
    let call = Call::at(now, io.conn, (io.who, io.tgid), out, stats);
    Call { arrived: io.arrived, ..call }
}

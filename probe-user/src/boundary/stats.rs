//! Counters of what the tracker met; all cumulative.

use super::output::NotUnderstood;

/// What the tracker met so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Requests that began.
    pub started: u64,
    /// Requests that ended, however.
    pub finished: u64,
    /// Times a connection's byte count jumped: at least one record was lost.
    pub losses: u64,
    /// Bytes in those records.
    pub lost_bytes: u64,
    /// Records that came after a later one of the same direction; their bytes were skipped.
    pub late_records: u64,
    /// Writes whose request was not seen: the first on a connection found open that sent none before, as those in flight
    /// when the probe attached; and what is no response while no request is open.
    pub orphan_writes: u64,
    /// Connections dropped because too many were open.
    pub evicted: u64,
    /// Connections set aside, and requests with a compressed body, by the index of [`NotUnderstood::ALL`].
    pub not_understood: [u64; NotUnderstood::COUNT],
}

impl Stats {
    /// So many bytes of a direction came without their records.
    pub(super) fn lose(&mut self, bytes: u64) {
        self.losses += 1;
        self.lost_bytes = self.lost_bytes.saturating_add(bytes);
    }
}

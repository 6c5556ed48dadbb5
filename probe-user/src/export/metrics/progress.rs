//! Which sources still close windows: a sensor that stopped must not look like a machine at rest.

use std::collections::{BTreeMap, BTreeSet};

use crate::export::shown::seconds_between;
use crate::snapshot::Snapshot;

/// Seconds without a new window after which a source has stalled.
pub const STALL: f64 = 10.0;

#[derive(Debug)]
struct Mark {
    windows: u64,
    at: String,
    stalled: bool,
}

/// The last advance of each domain, in the snapshots' own time.
#[derive(Debug, Default)]
pub struct Progress(BTreeMap<String, Mark>);

impl Progress {
    /// Takes note of a snapshot.
    pub fn note(&mut self, snapshot: &Snapshot) {
        self.0.retain(|name, _| snapshot.domains.contains_key(name));
        for (name, book) in &snapshot.domains {
            let windows = book.windows.saturating_add(book.void_windows);
            match self.0.get_mut(name) {
                Some(mark) if mark.windows == windows => {
                    mark.stalled =
                        seconds_between(&mark.at, &snapshot.ended).is_some_and(|s| s >= STALL);
                }
                _ => {
                    let mark = Mark { windows, at: snapshot.ended.clone(), stalled: false };
                    self.0.insert(name.clone(), mark);
                }
            }
        }
    }

    /// The domains that have closed no window for [`STALL`] seconds.
    #[must_use]
    pub fn stalled(&self) -> BTreeSet<String> {
        self.0.iter().filter(|(_, mark)| mark.stalled).map(|(name, _)| name.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::example;

    #[test]
    fn a_source_that_moves_again_is_up_again() {
        let mut progress = Progress::default();
        let first = example::snapshot(1.0);
        progress.note(&first);
        let mut stuck = example::snapshot(11.5);
        stuck.domains.clone_from(&first.domains);
        progress.note(&stuck);
        assert!(progress.stalled().contains("psys"));
        progress.note(&example::snapshot(12.0));
        assert!(!progress.stalled().contains("psys"));
    }
}

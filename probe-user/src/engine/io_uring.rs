//! Says once of a target that it uses io_uring where the boundary rung does not see what goes through that.

use std::collections::BTreeSet;

use super::{Engine, publish::Publisher};
use crate::{kernel::BoundaryRung, target::holds_ring};

/// Flag of a run in which a target held an io_uring that the boundary rung does not see through.
pub(super) const IO_URING: &str = "io-uring";

impl Publisher {
    /// Counts one more target that uses io_uring.
    fn meets_ring(&mut self) {
        if self.rings == 0 {
            self.flag(IO_URING);
        }
        self.rings += 1;
    }
}

impl Engine<'_> {
    /// Looks at these processes of a target.
    pub(super) fn look_for_rings(&mut self, who: u32, pids: &BTreeSet<u32>) {
        if self.probe.boundary() == BoundaryRung::Fentry || self.rings_told.contains(&who) {
            return;
        }
        if !pids.iter().any(|pid| holds_ring(*pid, &self.roots)) {
            return;
        }
        self.rings_told.insert(who);
        self.publisher.meets_ring();
        let name = self.core.targets.names().remove(&who).unwrap_or_default();
        (self.report)(&format!(
            "{name} uses io_uring: requests that it reads and answers through that are not seen, their energy is in its \
             background; on a kernel that allows fentry they are (wattprobe doctor: boundary)"
        ));
    }
}

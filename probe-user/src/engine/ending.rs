//! The end of a run: the last windows are closed, everything is settled, and what was published is on the tape.

use super::{Engine, EngineError, LAST_TICK_NS, SLICES_INCOMPLETE, TAPE_INCOMPLETE};
use crate::{kernel::sweep, snapshot::Snapshot};

impl Engine<'_> {
    /// The end of the run: one more tick closes the last windows, then everything is settled and detached.
    pub(super) fn end(mut self) -> Result<Snapshot, EngineError> {
        self.probe.set_in_flight(1)?;
        self.read_sensors(true);
        let ticked = self.wait_for_ticks(self.clock.now());
        self.probe.detach_tick();
        let over = self.clock.now();
        while self.take_events() && self.clock.now() - over < LAST_TICK_NS {}
        self.look_for_losses();
        // Without another tick the last windows stay open; what they would hold is charged to nobody.
        self.core.end_at(if ticked.is_ok() { self.core.latest_tick() } else { over });
        self.probe.detach_boundaries();
        // A CPU that went offline since the last look needs no sweep.
        let _ = sweep(&self.cpus);
        while self.take_events() {
            self.handle();
        }
        self.look_for_suspend();
        let mut effects = Vec::new();
        self.core.finish(&mut effects);
        self.carry_out(&mut effects);
        self.keep_tape();
        if let Some(slices) = &mut self.core.slices
            && let Err(error) = slices.finish()
        {
            (self.report)(&format!(
                "the slice stream could not be written: {error}; choose another file with --slices"
            ));
            self.publisher.flag(SLICES_INCOMPLETE);
        }
        self.publisher.last();
        let mut summary = self.publisher.snapshot(&self.core, &self.probe);
        self.end_tape(&mut summary);
        Ok(summary)
    }

    /// The summary is on the tape, too; only that the tape could not be ended is not.
    fn end_tape(&mut self, summary: &mut Snapshot) {
        let Some(recorder) = &mut self.core.recorder else { return };
        if let Some(hash) = recorder.finish(summary) {
            (self.report)(&format!("tape: whole, hash {hash}"));
        }
        if let Some(error) = recorder.failure() {
            (self.report)(&format!("the tape has no end: {error}"));
            summary.flags.push(TAPE_INCOMPLETE.to_owned());
        }
    }
}

//! The cycle counters of the CPUs, kept open for the kernel side, which reads them at every context switch.
//!
//! A counter dies with its CPU: on one that comes back it is opened anew, which takes privileges that a running probe may
//! have given up. Where it is refused, and on a CPU that was not there at the start, the kernel side counts what it cannot
//! read, and windows are shared by time.

use std::os::fd::AsFd;

use super::EngineError;
use crate::{
    kernel::Probe,
    source::{OpenCounter, PerfEvent},
};

/// The counters; none where slices are not weighed by cycles.
pub struct Cycles(Vec<(PerfEvent, OpenCounter)>);

impl Cycles {
    /// Opens them.
    ///
    /// # Errors
    ///
    /// When one is refused.
    pub fn open(events: Vec<PerfEvent>) -> Result<Self, EngineError> {
        let open = |event: PerfEvent| event.open().map(|counter| (event, counter));
        Ok(Self(events.into_iter().map(open).collect::<Result<_, _>>()?))
    }

    /// Whether there are any.
    #[must_use]
    pub fn any(&self) -> bool {
        !self.0.is_empty()
    }

    /// Hands them to the kernel side.
    ///
    /// # Errors
    ///
    /// When the kernel refuses one.
    pub fn hand_over(&self, probe: &mut Probe) -> Result<(), EngineError> {
        let counters: Vec<_> =
            self.0.iter().map(|(event, counter)| (event.cpu, counter.as_fd())).collect();
        Ok(probe.set_cycles(&counters)?)
    }

    /// Opens those of CPUs that came back anew. All are tried before the first refusal is told.
    ///
    /// # Errors
    ///
    /// When one is refused.
    pub fn renew(&mut self, probe: &mut Probe, come: &[u32]) -> Result<(), EngineError> {
        let mut first = Ok(());
        for (event, counter) in &mut self.0 {
            if !come.contains(&event.cpu) {
                continue;
            }
            let renewed = event.open().map_err(EngineError::from).and_then(|new| {
                probe.set_cycles(&[(event.cpu, new.as_fd())])?;
                *counter = new;
                Ok(())
            });
            first = first.and(renewed);
        }
        first
    }
}

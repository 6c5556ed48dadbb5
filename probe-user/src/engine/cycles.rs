//! The CPUs' counters of cycles and of misses of the last cache level, kept open for the kernel side, which reads them at every
//! context switch.
//!
//! A counter dies with its CPU: on one that comes back it is opened anew, which takes privileges that a running probe may
//! have given up. Where it is refused, and on a CPU that was not there at the start, the kernel side counts what it cannot
//! read, and windows are shared by time.

use std::os::fd::AsFd;

use super::EngineError;
use crate::{
    cycles::CpuEvents,
    kernel::{KernelError, Probe},
    source::{OpenCounter, PerfEvent},
};

/// The counters; none where slices are not weighed by cycles.
pub struct Cycles {
    cycles: Vec<(PerfEvent, OpenCounter)>,
    misses: Vec<(PerfEvent, OpenCounter)>,
}

/// Of which kind they are handed over.
type Give = fn(&mut Probe, &[(u32, std::os::fd::BorrowedFd<'_>)]) -> Result<(), KernelError>;

impl Cycles {
    /// Opens them.
    ///
    /// # Errors
    ///
    /// When one is refused.
    pub fn open(events: CpuEvents) -> Result<Self, EngineError> {
        let open = |event: PerfEvent| event.open().map(|counter| (event, counter));
        let all = |events: Vec<PerfEvent>| events.into_iter().map(open).collect::<Result<_, _>>();
        Ok(Self { cycles: all(events.cycles)?, misses: all(events.misses)? })
    }

    /// Whether cycles are counted.
    #[must_use]
    pub fn any(&self) -> bool {
        !self.cycles.is_empty()
    }

    /// Whether misses are counted too.
    #[must_use]
    pub fn misses(&self) -> bool {
        !self.misses.is_empty()
    }

    /// Hands them to the kernel side.
    ///
    /// # Errors
    ///
    /// When the kernel refuses one.
    pub fn hand_over(&self, probe: &mut Probe) -> Result<(), EngineError> {
        let kinds: [(_, Give); 2] =
            [(&self.cycles, Probe::set_cycles), (&self.misses, Probe::set_misses)];
        for (counters, give) in kinds {
            let fds: Vec<_> = counters.iter().map(|(event, fd)| (event.cpu, fd.as_fd())).collect();
            give(probe, &fds)?;
        }
        Ok(())
    }

    /// Opens those of CPUs that came back anew. All are tried before the first refusal is told.
    ///
    /// # Errors
    ///
    /// When one is refused.
    pub fn renew(&mut self, probe: &mut Probe, come: &[u32]) -> Result<(), EngineError> {
        let kinds: [(_, Give); 2] =
            [(&mut self.cycles, Probe::set_cycles), (&mut self.misses, Probe::set_misses)];
        let mut first = Ok(());
        for (counters, give) in kinds {
            for (event, counter) in counters.iter_mut().filter(|(of, _)| come.contains(&of.cpu)) {
                let renewed = event.open().map_err(EngineError::from).and_then(|new| {
                    give(probe, &[(event.cpu, new.as_fd())])?;
                    *counter = new;
                    Ok(())
                });
                first = first.and(renewed);
            }
        }
        first
    }
}

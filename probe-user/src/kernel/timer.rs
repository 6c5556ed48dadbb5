//! Timers: a program that runs so often a second on chosen CPUs.
//!
//! Each is a perf event on the software clock of one CPU with the program as its handler. Opening one is
//! a privilege that a running probe may have given up (`privilege.rs`; some distributions keep it for
//! CAP_SYS_ADMIN); starting an open one or changing its rate is none. So where a timer may have to move to another
//! CPU later, each CPU has a spare from the beginning. Facilities: perf_event_open(2),
//! `PERF_EVENT_IOC_SET_BPF` (4.1), `PERF_EVENT_IOC_{ENABLE,DISABLE,PERIOD}`.

use std::{
    io,
    os::fd::{AsFd, AsRawFd},
};

use aya::programs::PerfEvent;
use perf_event::{Builder, Counter, events::Software};

use super::error::KernelError;

/// The timers of one program.
#[derive(Default)]
pub(super) struct Timers {
    hz: u32,
    /// CPU and event; an event that is dropped is closed.
    open: Vec<(u32, Counter)>,
    /// Those that do not run.
    spare: Vec<(u32, Counter)>,
}

impl Timers {
    /// Starts a loaded program on each of the CPUs. On an error no timer stays.
    pub(super) fn start(program: &PerfEvent, cpus: &[u32], hz: u32) -> Result<Self, KernelError> {
        let mut timers = Self { hz, ..Self::default() };
        cpus.iter().try_for_each(|cpu| timers.add(program, *cpu))?;
        Ok(timers)
    }

    /// Makes sure that it can be started on a CPU: it runs there or there is a spare.
    pub(super) fn prepare(&mut self, program: &PerfEvent, cpu: u32) -> Result<(), KernelError> {
        if self.open.iter().chain(&self.spare).any(|(of, _)| *of == cpu) {
            return Ok(());
        }
        let error = |source| KernelError::Timer { cpu, source };
        let program = program.fd().map_err(|e| error(io::Error::other(e)))?;
        let mut builder = Builder::new(Software::CPU_CLOCK);
        builder.any_pid().one_cpu(cpu as usize).include_kernel().include_hv();
        builder.sample_period(period(self.hz));
        let mut event = builder.build().map_err(error)?;
        event.set_bpf(program.as_fd().as_raw_fd()).map_err(error)?;
        self.spare.push((cpu, event));
        Ok(())
    }

    /// Starts it on one more CPU.
    pub(super) fn add(&mut self, program: &PerfEvent, cpu: u32) -> Result<(), KernelError> {
        let error = |source| KernelError::Timer { cpu, source };
        self.prepare(program, cpu)?;
        if let Some(index) = self.spare.iter().position(|(of, _)| *of == cpu) {
            let (_, mut event) = self.spare.swap_remove(index);
            set_period(&event, period(self.hz)).map_err(error)?;
            event.enable().map_err(error)?;
            self.open.push((cpu, event));
        }
        Ok(())
    }

    /// Stops it on a CPU; its timer there is a spare then.
    pub(super) fn stop(&mut self, cpu: u32) {
        if let Some(index) = self.open.iter().position(|(of, _)| *of == cpu) {
            let (_, mut event) = self.open.swap_remove(index);
            if event.disable().is_ok() {
                self.spare.push((cpu, event));
            }
        }
    }

    /// Forgets the timers on CPUs that have gone, spares too: an event dies with its CPU.
    pub(super) fn lose(&mut self, gone: impl Fn(u32) -> bool) {
        self.open.retain(|(cpu, _)| !gone(*cpu));
        self.spare.retain(|(cpu, _)| !gone(*cpu));
    }

    /// Keeps it on these CPUs, and starts it on those of them where it does not run; those in `dead` are opened
    /// anew. Where one is refused the others go on.
    pub(super) fn move_to(
        &mut self,
        program: &PerfEvent,
        cpus: &[u32],
        dead: &[u32],
    ) -> Result<(), KernelError> {
        self.lose(|cpu| dead.contains(&cpu));
        let over: Vec<u32> = self.open.iter().map(|(cpu, _)| *cpu).collect();
        over.into_iter().filter(|cpu| !cpus.contains(cpu)).for_each(|cpu| self.stop(cpu));
        let missing = |cpu: &&u32| !self.open.iter().any(|(of, _)| of == *cpu);
        let missing: Vec<u32> = cpus.iter().filter(missing).copied().collect();
        let added = missing.into_iter().map(|cpu| self.add(program, cpu));
        // Every one is tried before the first refusal is told.
        added.collect::<Vec<_>>().into_iter().collect()
    }

    /// Runs it at another rate from now on, on every CPU.
    pub(super) fn set_hz(&mut self, hz: u32) -> io::Result<()> {
        self.hz = hz;
        self.open.iter().try_for_each(|(_, event)| set_period(event, period(hz)))
    }

    /// Whether it runs at this rate.
    pub(super) fn is_at(&self, hz: u32) -> bool {
        self.hz == hz
    }
}

/// Nanoseconds between two runs.
fn period(hz: u32) -> u64 {
    1_000_000_000 / u64::from(hz.max(1))
}

fn set_period(event: &Counter, mut period: u64) -> io::Result<()> {
    /// `_IOW('$', 4, __u64)` of `include/uapi/linux/perf_event.h`.
    const PERF_EVENT_IOC_PERIOD: libc::c_ulong = 0x4008_2404;
    // SAFETY: the descriptor is a perf event, and the kernel reads eight bytes, which outlive the call.
    let done = unsafe {
        libc::ioctl(event.as_raw_fd(), PERF_EVENT_IOC_PERIOD, std::ptr::from_mut(&mut period))
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

//! Opening one perf counter.
//!
//! A package counter is opened system-wide (`pid = -1`) on one CPU, kernel and hypervisor included,
//! since RAPL's PMU answers EINVAL to anything else. The descriptor goes into the tick program's perf
//! event array; user space reads it only in tests. Facility: perf_event_open(2).

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use perf_event::events::Raw;
use perf_event::{Builder, Counter};

/// One perf counter, ready to be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PerfEvent {
    /// PMU name, for messages.
    pub pmu: String,
    /// Event name, for messages.
    pub event: String,
    /// `perf_event_attr.type`.
    pub type_: u32,
    /// `config`, `config1`, `config2`, `config3`.
    pub config: [u64; 4],
    /// The CPU it is opened and read on.
    pub cpu: u32,
    /// Package index of that CPU.
    pub package: usize,
    /// Whether the PMU's cpumask names the CPU; else any CPU of the package would do.
    pub named: bool,
}

/// Why a counter cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// EACCES or EPERM.
    #[error(
        "no permission to open perf:{pmu}/{event}/ on CPU {cpu}; run as root, grant CAP_PERFMON, or set kernel.perf_event_paranoid to -1"
    )]
    Permission {
        /// PMU.
        pmu: String,
        /// Event.
        event: String,
        /// CPU.
        cpu: u32,
    },
    /// ENOENT, ENODEV, EOPNOTSUPP: sysfs lists it, the kernel does not serve it.
    #[error(
        "the kernel does not serve perf:{pmu}/{event}/ on CPU {cpu} ({source}); check that the CPU is online and the PMU's driver is loaded"
    )]
    Unsupported {
        /// PMU.
        pmu: String,
        /// Event.
        event: String,
        /// CPU.
        cpu: u32,
        /// What the kernel said.
        source: io::Error,
    },
    /// EINVAL.
    #[error(
        "the kernel refuses the settings of perf:{pmu}/{event}/ (type {type_}, config {config:#x}) on CPU {cpu}; name an event that counts system-wide"
    )]
    Invalid {
        /// PMU.
        pmu: String,
        /// Event.
        event: String,
        /// CPU.
        cpu: u32,
        /// `perf_event_attr.type`.
        type_: u32,
        /// `perf_event_attr.config`.
        config: u64,
    },
    /// It was opened and does not count.
    #[error(
        "perf:{pmu}/{event}/ on CPU {cpu} does not count, others hold every counter of the PMU; end other users of perf, or set kernel.nmi_watchdog to 0"
    )]
    Taken {
        /// PMU.
        pmu: String,
        /// Event.
        event: String,
        /// CPU.
        cpu: u32,
    },
    /// Anything else.
    #[error(
        "cannot open perf:{pmu}/{event}/ on CPU {cpu}: {source}; see perf_event_open(2) for this error"
    )]
    Other {
        /// PMU.
        pmu: String,
        /// Event.
        event: String,
        /// CPU.
        cpu: u32,
        /// What the kernel said.
        source: io::Error,
    },
}

impl PerfEvent {
    /// Opens the counter, running.
    ///
    /// # Errors
    /// [`OpenError`], by what helps against it.
    pub fn open(&self) -> Result<OpenCounter, OpenError> {
        let [config, config1, config2, config3] = self.config;
        let raw = Raw::new(config).config1(config1).config2(config2);
        let mut builder = Builder::new(raw);
        builder.any_pid().one_cpu(self.cpu as usize).include_kernel().include_hv().enabled(true);
        let attrs = builder.attrs_mut();
        attrs.type_ = self.type_;
        attrs.config3 = config3;
        // One that does not run, because its CPU has gone, is then refused in the kernel, not read as it last stood.
        attrs.set_pinned(1);
        builder.build().map(OpenCounter).map_err(|e| self.explain(e))
    }

    fn explain(&self, source: io::Error) -> OpenError {
        let (pmu, event, cpu) = (self.pmu.clone(), self.event.clone(), self.cpu);
        match source.raw_os_error() {
            Some(libc::EACCES | libc::EPERM) => OpenError::Permission { pmu, event, cpu },
            Some(libc::ENOENT | libc::ENODEV | libc::EOPNOTSUPP | libc::ENXIO) => {
                OpenError::Unsupported { pmu, event, cpu, source }
            }
            Some(libc::EINVAL) => {
                let (type_, config) = (self.type_, self.config[0]);
                OpenError::Invalid { pmu, event, cpu, type_, config }
            }
            // What a pinned event says that has found no counter.
            _ if source.kind() == io::ErrorKind::UnexpectedEof => {
                OpenError::Taken { pmu, event, cpu }
            }
            _ => OpenError::Other { pmu, event, cpu, source },
        }
    }
}

/// An open, running counter; closed on drop.
#[derive(Debug)]
pub struct OpenCounter(Counter);

impl OpenCounter {
    /// The raw count now.
    ///
    /// # Errors
    /// What read(2) says.
    pub fn read(&mut self) -> io::Result<u64> {
        self.0.read()
    }
}

impl OpenCounter {
    /// That it counts, which a pinned event without a free counter in its PMU does not.
    ///
    /// # Errors
    /// When it does not.
    pub fn check(mut self, of: &PerfEvent) -> Result<(), OpenError> {
        self.read().map(drop).map_err(|source| of.explain(source))
    }
}

impl AsFd for OpenCounter {
    #[expect(unsafe_code, reason = "perf-event2 offers the raw descriptor only")]
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the counter owns the descriptor and outlives the borrow.
        unsafe { BorrowedFd::borrow_raw(self.0.as_raw_fd()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A counter of a PMU that no kernel has.
    fn event() -> PerfEvent {
        PerfEvent {
            pmu: "msr".into(),
            event: "tsc".into(),
            type_: 990_001,
            config: [0; 4],
            cpu: 0,
            package: 0,
            named: false,
        }
    }

    #[test]
    fn open_errors_are_told_apart_by_what_helps() {
        let explain = |errno| event().explain(io::Error::from_raw_os_error(errno));
        assert!(explain(libc::EACCES).to_string().contains("CAP_PERFMON"));
        assert!(matches!(explain(libc::EINVAL), OpenError::Invalid { type_: 990_001, .. }));
        assert!(matches!(explain(libc::ENODEV), OpenError::Unsupported { .. }));
        assert!(matches!(explain(libc::EMFILE), OpenError::Other { .. }));
        let taken = event().explain(io::ErrorKind::UnexpectedEof.into());
        assert!(taken.to_string().contains("; end other users of perf"), "{taken}");
    }

    #[test]
    fn a_pmu_type_the_kernel_does_not_know_is_unsupported() {
        // An unprivileged run is refused earlier.
        let error = event().open().unwrap_err();
        assert!(
            matches!(error, OpenError::Unsupported { .. } | OpenError::Permission { .. }),
            "{error}"
        );
    }
}

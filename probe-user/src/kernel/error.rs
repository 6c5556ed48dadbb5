//! Why the kernel side cannot work, and what to do about it.

use aya::{EbpfError, maps::MapError, programs::ProgramError};

use super::btf::BtfError;

/// An error of the kernel side.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// No right to load programs.
    #[error(
        "not permitted to load eBPF programs; run as root, or give the binary CAP_BPF, CAP_PERFMON, \
         CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH with setcap"
    )]
    Privilege,
    /// tracefs is closed to this process.
    #[error(
        "/sys/kernel/tracing may not be looked into, and the system call tracepoints are there; run as root, or \
         add CAP_DAC_READ_SEARCH"
    )]
    Tracefs,
    /// No type information, or a field is missing.
    #[error(transparent)]
    Btf(#[from] BtfError),
    /// A feature this kernel lacks.
    #[error("this kernel lacks {feature}; {remedy}")]
    Feature {
        /// What is missing.
        feature: &'static str,
        /// What to do.
        remedy: &'static str,
    },
    /// The machine is larger than the tables.
    #[error("{found} {what} are more than the {limit} this build supports")]
    TooLarge {
        /// CPUs or packages.
        what: &'static str,
        /// Here.
        found: usize,
        /// At most.
        limit: usize,
    },
    /// The object could not be loaded.
    #[error("cannot load the eBPF object: {0}")]
    Object(#[source] Box<EbpfError>),
    /// A program was refused.
    #[error("the kernel refused program {name}: {}", first_line(source))]
    Program {
        /// Program.
        name: String,
        /// Cause; carries the verifier's log.
        #[source]
        source: Box<ProgramError>,
    },
    /// A timer could not be started.
    #[error("cannot start a timer on CPU {cpu}: {source}; {}", timer_remedy(source))]
    Timer {
        /// CPU.
        cpu: u32,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
    /// A map operation failed.
    #[error("map {name}: {source}")]
    Map {
        /// Map.
        name: &'static str,
        /// Cause.
        #[source]
        source: Box<MapError>,
    },
    /// A system call failed.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
    /// Object and probe do not match.
    #[error("the eBPF object has no {0}; rebuild it with `cargo xtask build-ebpf`")]
    Mismatch(String),
}

impl KernelError {
    pub(super) fn program(name: &str, source: ProgramError) -> Self {
        if denied(&source) {
            return Self::Privilege;
        }
        Self::Program { name: name.to_owned(), source: Box::new(source) }
    }

    pub(super) fn map(name: &'static str, source: MapError) -> Self {
        Self::Map { name, source: Box::new(source) }
    }

    pub(super) fn object(source: EbpfError) -> Self {
        if denied(&source) {
            return Self::Privilege;
        }
        Self::Object(Box::new(source))
    }
}

/// perf_event_open(2) says EACCES where `kernel.perf_event_paranoid` forbids; above 2, which Debian and Ubuntu
/// add to the kernel, CAP_PERFMON does not help.
fn timer_remedy(error: &std::io::Error) -> &'static str {
    if error.kind() == std::io::ErrorKind::PermissionDenied {
        "where kernel.perf_event_paranoid is above 2 only CAP_SYS_ADMIN may: run as root, or sysctl \
         kernel.perf_event_paranoid=2"
    } else {
        "check that the CPU is online"
    }
}

/// Whether the root of the error chain is `EPERM`. `EACCES` is not a missing right: that is what the verifier
/// says of a program it refuses.
fn denied(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(io) = error.downcast_ref::<std::io::Error>() {
            return io.raw_os_error() == Some(libc::EPERM);
        }
        next = error.source();
    }
    false
}

fn first_line(error: &ProgramError) -> String {
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default();
    // Where the verifier was never asked it has put nothing out.
    line.trim_end().trim_end_matches(". Verifier output:").to_owned()
}

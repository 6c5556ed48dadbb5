//! Why a run cannot begin or go on.

use std::path::PathBuf;

use crate::{
    kernel::KernelError,
    source::{OpenError, ReadError},
    tape::TapeError,
    target::TargetError,
};

/// An error of the engine.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// No such target.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// The kernel side.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// A counter could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A sensor could not be read.
    #[error(transparent)]
    Sensor(#[from] ReadError),
    /// A scale that is none.
    #[error(transparent)]
    Scale(#[from] probe_ledger::ScaleError),
    /// Domains that contradict each other.
    #[error(transparent)]
    Ledger(#[from] probe_ledger::ConfigError),
    /// The tape cannot be written.
    #[error(transparent)]
    Tape(#[from] TapeError),
    /// A tape of another version.
    #[error(
        "these books are of another version of wattprobe, or under policies that this one has not; use the version that wrote them"
    )]
    Foreign,
    /// Two targets that are the same process: its energy can be charged to one only.
    #[error(
        "process {pid} belongs to the targets {first} and {second}; name one of them, or the process with --pid {pid}, by which all its sockets are watched"
    )]
    SharedProcess {
        /// The process.
        pid: u32,
        /// The target that was named first.
        first: String,
        /// The other.
        second: String,
    },
    /// A package did not tick.
    #[error(
        "no timer tick came within half a second; check that perf's software clock works: perf stat -e cpu-clock true"
    )]
    NoTick,
    /// Nothing can be read without a CPU.
    #[error(
        "no CPU that can read its counters is online; bring one back: echo 1 > /sys/devices/system/cpu/cpuN/online"
    )]
    Offline,
    /// The kernel keeps privileges on a program that wants to give them up.
    #[error("cannot give up privileges: {0}; a seccomp filter may forbid capset and prctl")]
    Privilege(std::io::Error),
    /// No thread for a sensor.
    #[error("cannot start a thread for a sensor: {0}; raise the limit of processes (ulimit -u)")]
    Thread(std::io::Error),
    /// The slice stream's file.
    #[error("cannot write {}: {source}; choose another file with --slices", path.display())]
    Slices {
        /// File.
        path: PathBuf,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
}

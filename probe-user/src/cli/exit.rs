//! Exit statuses, and the one place where an error becomes a line and a status.
//!
//! Every error type that reaches the command line implements [`Classify`]; its messages carry the
//! problem and, after a semicolon, the remedy.

use std::error::Error;
use std::io;
use std::process::ExitCode;

use crate::source::ReadError;
use crate::source::{SourceError, SpecError};
use crate::topology::TopologyError;

/// How a run ended, as its exit status says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitStatus {
    /// 0.
    Done,
    /// 1: something went wrong.
    Failed,
    /// 2: the command line is wrong.
    Usage,
    /// 3: the measurement is invalid, or an audit failed.
    Invalid,
    /// 4: a privilege or a feature of the kernel is missing.
    Unsupported,
}

impl ExitStatus {
    /// The number the shell sees.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Invalid => 3,
            Self::Unsupported => 4,
        }
    }
}

impl From<ExitStatus> for ExitCode {
    fn from(status: ExitStatus) -> Self {
        Self::from(status.code())
    }
}

/// An error that knows its exit status.
pub trait Classify {
    /// The exit status it leads to.
    fn status(&self) -> ExitStatus;
}

/// What ended a command: an error and its exit status.
#[derive(Debug)]
pub struct Failure {
    status: ExitStatus,
    error: anyhow::Error,
}

impl Failure {
    /// An error under an exit status.
    pub fn new(status: ExitStatus, error: impl Into<anyhow::Error>) -> Self {
        Self { status, error: error.into() }
    }

    /// The exit status.
    #[must_use]
    pub fn status(&self) -> ExitStatus {
        self.status
    }

    /// The chain of causes on one line; a cause that its parent's text already tells is left out.
    #[must_use]
    pub fn line(&self) -> String {
        let mut line = String::new();
        for cause in self.error.chain() {
            let text = cause.to_string();
            if line.is_empty() {
                line = text;
            } else if !line.contains(&text) {
                line = format!("{line}: {text}");
            }
        }
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

impl<E: Classify + Error + Send + Sync + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        Self { status: error.status(), error: error.into() }
    }
}

impl Classify for TopologyError {
    fn status(&self) -> ExitStatus {
        match self {
            Self::Read { source, .. } => of_io(source),
            _ => ExitStatus::Failed,
        }
    }
}

impl Classify for SpecError {
    fn status(&self) -> ExitStatus {
        ExitStatus::Usage
    }
}

impl Classify for SourceError {
    fn status(&self) -> ExitStatus {
        match self {
            Self::NoPmu { .. }
            | Self::NoEvent { .. }
            | Self::NoEnergyEvents
            | Self::NoPowercap { .. }
            | Self::Nvml(_)
            | Self::NoHwmon { .. }
            | Self::NoBattery { .. }
            | Self::Sensor(ReadError::OnMains { .. })
            | Self::NoCoreEnergy { .. }
            | Self::TooManyThreads { .. }
            | Self::Open(_)
            | Self::Sensor(ReadError::Gpu { .. })
            | Self::Sensor(ReadError::Permission { .. } | ReadError::Vanished { .. }) => {
                ExitStatus::Unsupported
            }
            Self::NoScale { .. }
            | Self::NotJoules { .. }
            | Self::Twice(_)
            | Self::TooManyCounters { .. } => ExitStatus::Usage,
            Self::Read { source, .. } => of_io(source),
            Self::Sensor(_) | Self::NoCpu { .. } | Self::TwoCores { .. } | Self::Garbage { .. } => {
                ExitStatus::Failed
            }
        }
    }
}

fn of_io(error: &io::Error) -> ExitStatus {
    if error.kind() == io::ErrorKind::PermissionDenied {
        ExitStatus::Unsupported
    } else {
        ExitStatus::Failed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_tells_every_cause_once() {
        let read =
            TopologyError::Read { path: "/x".into(), source: io::Error::other("disk\non fire") };
        let failure = Failure::from(read);
        let line = failure.line();
        assert_eq!(line.matches("on fire").count(), 1, "{line}");
        assert!(!line.contains('\n'));
        let error = anyhow::Error::new(io::Error::other("inner")).context("outer");
        assert_eq!(Failure::new(ExitStatus::Failed, error).line(), "outer: inner");
    }

    #[test]
    fn a_missing_permission_is_not_a_broken_file() {
        let status = |kind| {
            let (path, source) = ("/x".into(), io::Error::from(kind));
            SourceError::Read { path, source }.status().code()
        };
        assert_eq!(status(io::ErrorKind::PermissionDenied), 4);
        assert_eq!(status(io::ErrorKind::InvalidData), 1);
    }
}

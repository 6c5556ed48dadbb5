//! Everything that leaves the probe: files, the terminal, the metrics endpoint, the dashboard.
//!
//! An exporter is a [`Sink`]. It sees finished [`RequestRecord`]s and immutable [`Snapshot`]s and
//! nothing else: no ledger, no kernel, no clock. What is missing there stays missing here (`null`,
//! `–`, no series); it is never shown as 0. A sink that fails is reported and the run goes on.

pub mod books;
pub mod dashboard;
pub mod error;
pub mod fan;
pub mod json_lines;
pub mod live;
pub mod metrics;
pub mod parquet;
pub mod plan;
pub mod shown;
pub mod summary;
pub mod table;
pub mod units;

use std::sync::Arc;
use std::time::Duration;

pub use error::ExportError;
pub use fan::Exports;

use crate::record::RequestRecord;
use crate::snapshot::Snapshot;

/// The place of a sink on standard output, in messages.
pub(crate) const STDOUT: &str = "standard output";

/// Where results go.
pub trait Sink: Send {
    /// The run has begun: what was there before may go.
    ///
    /// # Errors
    /// When the place cannot be made ready; the sink stays usable.
    fn begin(&mut self) -> Result<(), ExportError> {
        Ok(())
    }

    /// A request was settled.
    ///
    /// # Errors
    /// When the record could not be passed on; the sink stays usable.
    fn request(&mut self, record: &Arc<RequestRecord>) -> Result<(), ExportError>;

    /// Nothing more comes for a while: what was held back goes out.
    ///
    /// # Errors
    /// When it could not be passed on; the sink stays usable.
    fn flush(&mut self) -> Result<(), ExportError> {
        Ok(())
    }

    /// How often it wants the books; `None`: only the last ones.
    fn period(&self) -> Option<Duration> {
        None
    }

    /// The books at one instant.
    ///
    /// # Errors
    /// When the picture could not be passed on; the sink stays usable.
    fn snapshot(&mut self, snapshot: &Arc<Snapshot>) -> Result<(), ExportError>;

    /// The run is over; `summary` is the last snapshot. Called once.
    ///
    /// # Errors
    /// When the end could not be written, or when something was lost on the way.
    fn finish(&mut self, summary: &Snapshot) -> Result<(), ExportError>;
}

impl Sink for Box<dyn Sink> {
    fn begin(&mut self) -> Result<(), ExportError> {
        self.as_mut().begin()
    }

    fn period(&self) -> Option<Duration> {
        self.as_ref().period()
    }

    fn request(&mut self, record: &Arc<RequestRecord>) -> Result<(), ExportError> {
        self.as_mut().request(record)
    }

    fn flush(&mut self) -> Result<(), ExportError> {
        self.as_mut().flush()
    }

    fn snapshot(&mut self, snapshot: &Arc<Snapshot>) -> Result<(), ExportError> {
        self.as_mut().snapshot(snapshot)
    }

    fn finish(&mut self, summary: &Snapshot) -> Result<(), ExportError> {
        self.as_mut().finish(summary)
    }
}

#[cfg(test)]
pub(crate) mod example;

//! Writes entries onto a tape. A write that fails ends the tape where it is, never the run.

use super::{
    codec::Encoder,
    digest::Digest,
    entry::{Entry, Published},
    host::Host,
};
use crate::{
    record::RequestRecord,
    snapshot::Snapshot,
    tape::{TapeError, Writer},
};

/// How long entries wait for their frame at most.
const FRAME_NS: u64 = 1_000_000_000;

/// A tape that is being written.
pub struct Recorder {
    /// `None` once it has ended.
    writer: Option<Writer>,
    encoder: Encoder,
    records: Digest,
    flushed: u64,
    failure: Option<TapeError>,
}

impl Recorder {
    /// Begins with the host, on disk at once.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn begin(mut writer: Writer, host: Host) -> Result<Self, TapeError> {
        let mut encoder = Encoder::default();
        let host = Entry::Host(Box::new(host));
        writer.append(|out| encoder.entry(&host, out))?;
        writer.flush()?;
        let (records, writer) = (Digest::default(), Some(writer));
        Ok(Self { writer, encoder, records, flushed: 0, failure: None })
    }

    /// Adds an entry.
    pub fn record(&mut self, entry: &Entry) {
        let Self { writer, encoder, failure, .. } = self;
        let Some(tape) = writer else { return };
        if let Err(error) = tape.append(|out| encoder.entry(entry, out)) {
            (*failure, *writer) = (Some(error), None);
        }
    }

    /// A record is about to be published: all that it follows from goes to disk before.
    pub fn publish(&mut self, record: &RequestRecord) {
        self.records.record(record);
        self.attempt(Writer::flush);
    }

    /// Writes a frame if the last one is old.
    pub fn keep(&mut self, now: u64) {
        if now.saturating_sub(self.flushed) >= FRAME_NS {
            self.flushed = now;
            self.attempt(Writer::flush);
        }
    }

    /// Signs off with what was published. Returns the hash of the whole tape, unless it ended before or ends here.
    pub fn finish(&mut self, summary: &Snapshot) -> Option<String> {
        let (records, summary) = (self.records.hex(), summary.clone());
        self.record(&Entry::Published(Box::new(Published { records, summary })));
        match self.writer.take()?.finish() {
            Ok((_, hash)) => Some(hash),
            Err(error) => {
                self.failure = Some(error);
                None
            }
        }
    }

    /// Why the tape ended early; told once.
    pub fn failure(&mut self) -> Option<TapeError> {
        self.failure.take()
    }

    fn attempt(&mut self, write: impl FnOnce(&mut Writer) -> Result<(), TapeError>) {
        if let Some(Err(error)) = self.writer.as_mut().map(write) {
            (self.failure, self.writer) = (Some(error), None);
        }
    }
}

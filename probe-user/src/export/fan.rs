//! One producer, many sinks: every sink gets everything, whatever happens to the others.

use std::sync::Arc;
use std::time::Duration;

use super::{ExportError, Sink};
use crate::record::RequestRecord;
use crate::snapshot::Snapshot;

/// The sinks of a run. A failing sink is reported and keeps its place: disks get space back.
pub struct Exports {
    sinks: Vec<Box<dyn Sink>>,
    report: Box<dyn FnMut(&ExportError) + Send>,
    problems: u64,
}

impl Exports {
    /// No sinks yet; `report` is told of each failure (usually one line on standard error).
    pub fn new(report: impl FnMut(&ExportError) + Send + 'static) -> Self {
        Self { sinks: Vec::new(), report: Box::new(report), problems: 0 }
    }

    /// Adds a sink; sinks are served in this order, so put what prints last.
    pub fn add(&mut self, sink: impl Sink + 'static) {
        self.sinks.push(Box::new(sink));
    }

    /// Tells every sink that the run has begun.
    pub fn begin(&mut self) {
        self.each(|sink| sink.begin());
    }

    /// Passes a settled request to every sink.
    pub fn request(&mut self, record: &Arc<RequestRecord>) {
        self.each(|sink| sink.request(record));
    }

    /// Tells every sink that nothing more comes for a while.
    pub fn flush(&mut self) {
        self.each(|sink| sink.flush());
    }

    /// How often the most eager sink wants the books; `None`: nobody before the end.
    #[must_use]
    pub fn period(&self) -> Option<Duration> {
        self.sinks.iter().filter_map(Sink::period).min()
    }

    /// Passes the books at one instant to every sink.
    pub fn snapshot(&mut self, snapshot: &Arc<Snapshot>) {
        self.each(|sink| sink.snapshot(snapshot));
    }

    /// Ends every sink and says how many failures there were in the whole run.
    pub fn finish(&mut self, summary: &Snapshot) -> u64 {
        self.each(|sink| sink.finish(summary));
        self.problems
    }

    fn each(&mut self, mut action: impl FnMut(&mut dyn Sink) -> Result<(), ExportError>) {
        for sink in &mut self.sinks {
            if let Err(error) = action(sink.as_mut()) {
                self.problems += 1;
                (self.report)(&error);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::super::example;
    use super::*;

    struct Broken;
    impl Sink for Broken {
        fn request(&mut self, _: &Arc<RequestRecord>) -> Result<(), ExportError> {
            Err(ExportError::Write {
                place: "nowhere".into(),
                source: std::io::ErrorKind::Other.into(),
            })
        }
        fn snapshot(&mut self, _: &Arc<Snapshot>) -> Result<(), ExportError> {
            Ok(())
        }
        fn finish(&mut self, _: &Snapshot) -> Result<(), ExportError> {
            Ok(())
        }
    }

    struct Counting(Arc<Mutex<u64>>);
    impl Sink for Counting {
        fn request(&mut self, _: &Arc<RequestRecord>) -> Result<(), ExportError> {
            *self.0.lock().unwrap() += 1;
            Ok(())
        }
        fn snapshot(&mut self, _: &Arc<Snapshot>) -> Result<(), ExportError> {
            Ok(())
        }
        fn finish(&mut self, _: &Snapshot) -> Result<(), ExportError> {
            Ok(())
        }
    }

    #[test]
    fn a_broken_sink_does_not_keep_records_from_the_others() {
        let reported = Arc::new(Mutex::new(0_u64));
        let counted = Arc::new(Mutex::new(0_u64));
        let seen = Arc::clone(&reported);
        let mut exports = Exports::new(move |_| *seen.lock().unwrap() += 1);
        exports.add(Broken);
        exports.add(Counting(Arc::clone(&counted)));
        for number in 1..=3 {
            exports.request(&Arc::new(example::record(number)));
        }
        assert_eq!(*counted.lock().unwrap(), 3);
        assert_eq!(*reported.lock().unwrap(), 3);
        assert_eq!(exports.finish(&example::snapshot(1.0)), 3);
    }
}

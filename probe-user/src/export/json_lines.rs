//! `--requests FILE|-`: one JSON object a line, each line there as a whole or not at all.
//!
//! Lines that come together are one `write`. When the disk is full the beginning of a line is taken back, the records
//! that found no room are counted as lost, the failure is said once, and the next record is tried again.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use super::{ExportError, STDOUT, Sink};
use crate::record::RequestRecord;
use crate::snapshot::Snapshot;

/// A place that lines are appended to.
pub trait Lines: Write + Send {
    /// Takes back everything after the first `length` bytes; false when it cannot.
    fn take_back(&mut self, length: u64) -> bool {
        let _ = length;
        false
    }
}

impl Lines for io::Stdout {}

impl Lines for File {
    fn take_back(&mut self, length: u64) -> bool {
        self.set_len(length).is_ok()
    }
}

/// So many bytes of lines wait for each other at most.
const TOGETHER: usize = 64 << 10;

/// Writes request records.
pub struct JsonLines {
    out: Box<dyn Lines>,
    place: String,
    /// Lines that were not written yet.
    lines: Vec<u8>,
    good: u64,
    broken_line: bool,
    seen: u64,
    lost: u64,
    first: Option<String>,
}

impl JsonLines {
    /// To a file (emptied once the run has begun) or, for `-`, to standard output.
    ///
    /// # Errors
    /// When the file cannot be opened for writing.
    pub fn create(path: &Path) -> Result<Self, ExportError> {
        if path.as_os_str() == "-" {
            return Ok(Self::to(io::stdout(), STDOUT));
        }
        let open = || OpenOptions::new().create(true).append(true).open(path);
        let file = open().map_err(|source| ExportError::Open {
            path: path.into(),
            option: "--requests",
            source,
        })?;
        Ok(Self::to(file, &path.display().to_string()))
    }

    /// To any place; `place` names it in messages.
    pub fn to(out: impl Lines + 'static, place: &str) -> Self {
        let out = Box::new(out);
        let place = place.to_owned();
        let lines = Vec::new();
        Self { out, place, lines, good: 0, broken_line: false, seen: 0, lost: 0, first: None }
    }

    /// Records that could not be written so far.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Writes the lines that wait. Of an error it is told with how many bytes were written before.
    fn write(&mut self, lines: &[u8]) -> Result<(), (usize, io::Error)> {
        if self.broken_line {
            self.out.write_all(b"\n").map_err(|e| (0, e))?;
            self.good += 1;
            self.broken_line = false;
        }
        let mut written = 0;
        while written < lines.len() {
            match self.out.write(&lines[written..]) {
                Ok(0) => return Err((written, io::ErrorKind::WriteZero.into())),
                Ok(n) => written += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err((written, e)),
            }
        }
        self.out.flush().map_err(|e| (written, e))
    }

    /// Of what was to be written, only so much was: keeps its whole lines and counts the others as lost.
    fn cut(&mut self, lines: &[u8], written: usize) {
        let end = |byte: &u8| *byte == b'\n';
        let whole = lines[..written].iter().rposition(end).map_or(0, |last| last + 1);
        self.lost += lines[whole..].iter().filter(|byte| end(byte)).count() as u64;
        self.good += whole as u64;
        if written > whole && !self.out.take_back(self.good) {
            self.good += (written - whole) as u64;
            self.broken_line = true;
        }
    }
}

impl Sink for JsonLines {
    fn begin(&mut self) -> Result<(), ExportError> {
        // What is no file has nothing to be emptied.
        self.out.take_back(0);
        Ok(())
    }

    fn request(&mut self, record: &Arc<RequestRecord>) -> Result<(), ExportError> {
        self.seen += 1;
        let before = self.lines.len();
        serde_json::to_writer(&mut self.lines, record.as_ref()).map_err(|source| {
            self.lines.truncate(before);
            ExportError::Encode { what: "a request record", source }
        })?;
        self.lines.push(b'\n');
        if self.lines.len() < TOGETHER { Ok(()) } else { self.flush() }
    }

    fn flush(&mut self) -> Result<(), ExportError> {
        if self.lines.is_empty() {
            return Ok(());
        }
        let mut lines = std::mem::take(&mut self.lines);
        let result = self.write(&lines);
        match &result {
            Ok(()) => self.good += lines.len() as u64,
            Err((written, _)) => self.cut(&lines, *written),
        }
        lines.clear();
        self.lines = lines;
        let Err((_, source)) = result else { return Ok(()) };
        if self.first.is_some() {
            return Ok(());
        }
        self.first = Some(source.to_string());
        Err(ExportError::Write { place: self.place.clone(), source })
    }

    fn snapshot(&mut self, _: &Arc<Snapshot>) -> Result<(), ExportError> {
        Ok(())
    }

    fn finish(&mut self, _: &Snapshot) -> Result<(), ExportError> {
        // A failure is in what is said below.
        let _ = self.flush();
        let Some(first) = self.first.take() else { return Ok(()) };
        let (lost, seen) = (self.lost, self.seen);
        Err(ExportError::Lost { place: self.place.clone(), lost, seen, first })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::super::example;
    use super::*;

    /// A disk with so many bytes of space, which may grow.
    #[derive(Clone)]
    struct Disk {
        space: Arc<Mutex<usize>>,
        bytes: Arc<Mutex<Vec<u8>>>,
        truncates: bool,
    }

    impl Disk {
        fn new(space: usize, truncates: bool) -> Self {
            Self { space: Arc::new(Mutex::new(space)), bytes: Arc::default(), truncates }
        }
        fn lines(&self) -> Vec<String> {
            let text = String::from_utf8(self.bytes.lock().unwrap().clone()).unwrap();
            text.lines().map(str::to_owned).collect()
        }
    }

    impl Write for Disk {
        fn write(&mut self, data: &[u8]) -> io::Result<usize> {
            let mut bytes = self.bytes.lock().unwrap();
            let free = self.space.lock().unwrap().saturating_sub(bytes.len());
            if free == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            let n = data.len().min(free);
            bytes.extend_from_slice(&data[..n]);
            Ok(n)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Lines for Disk {
        fn take_back(&mut self, length: u64) -> bool {
            if self.truncates {
                self.bytes.lock().unwrap().truncate(usize::try_from(length).unwrap());
            }
            self.truncates
        }
    }

    fn write(sink: &mut JsonLines, number: u64) -> Result<(), ExportError> {
        sink.request(&Arc::new(example::record(number)))?;
        sink.flush()
    }

    #[test]
    fn every_line_is_a_record_with_every_field() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("requests.jsonl");
        std::fs::write(&path, "left over from an earlier run\n").unwrap();
        let mut sink = JsonLines::create(&path).unwrap();
        let left = std::fs::metadata(&path).unwrap().len();
        assert!(left > 0, "a run that does not begin destroys nothing");
        sink.begin().unwrap();
        for number in 1..=3 {
            sink.request(&Arc::new(example::record(number))).unwrap();
        }
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 0, "they wait for each other");
        sink.flush().unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let records: Vec<RequestRecord> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(records.iter().map(|r| r.request).collect::<Vec<_>>(), [1, 2, 3]);
        let value: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        assert_eq!(value.as_object().unwrap().len(), 49);
        assert!(value["gpu_j"].is_null(), "not measured is null");
    }

    #[test]
    fn a_full_disk_is_said_once_and_leaves_whole_lines() {
        let line = serde_json::to_vec(&example::record(1)).unwrap().len() + 1;
        let disk = Disk::new(line + line / 2, true);
        let mut sink = JsonLines::to(disk.clone(), "disk");
        assert!(write(&mut sink, 1).is_ok());
        let error = write(&mut sink, 2).unwrap_err();
        assert!(error.to_string().contains("writing to disk failed"), "{error}");
        assert!(write(&mut sink, 3).is_ok(), "said once");
        *disk.space.lock().unwrap() = 10 * line;
        assert!(write(&mut sink, 4).is_ok());
        assert_eq!(sink.lost(), 2);
        let numbers: Vec<u64> = disk
            .lines()
            .iter()
            .map(|l| serde_json::from_str::<RequestRecord>(l).unwrap().request)
            .collect();
        assert_eq!(numbers, [1, 4]);
        let end = sink.finish(&example::snapshot(1.0)).unwrap_err().to_string();
        assert!(end.starts_with("2 of 4 request records"), "{end}");
    }

    #[test]
    fn of_lines_that_come_together_those_are_kept_that_found_room() {
        let line = serde_json::to_vec(&example::record(1)).unwrap().len() + 1;
        let disk = Disk::new(2 * line + line / 2, true);
        let mut sink = JsonLines::to(disk.clone(), "disk");
        for number in 1..=4 {
            sink.request(&Arc::new(example::record(number))).unwrap();
        }
        assert!(sink.flush().is_err());
        assert_eq!((sink.lost(), disk.lines().len()), (2, 2));
        sink.flush().unwrap();
        assert_eq!((sink.lost(), disk.lines().len()), (2, 2), "nothing is written twice");
    }

    #[test]
    fn where_nothing_can_be_taken_back_the_next_record_starts_its_own_line() {
        let line = serde_json::to_vec(&example::record(1)).unwrap().len() + 1;
        let disk = Disk::new(line / 2, false);
        let mut sink = JsonLines::to(disk.clone(), "pipe");
        assert!(write(&mut sink, 1).is_err());
        *disk.space.lock().unwrap() = 10 * line;
        assert!(write(&mut sink, 2).is_ok());
        let lines = disk.lines();
        assert_eq!(lines.len(), 2);
        assert_eq!(serde_json::from_str::<RequestRecord>(&lines[1]).unwrap().request, 2);
    }

    #[test]
    fn a_device_without_space_never_ends_the_run() {
        let mut sink = JsonLines::create(Path::new("/dev/full")).unwrap();
        assert!(write(&mut sink, 1).is_err());
        assert!(write(&mut sink, 2).is_ok());
        assert_eq!(sink.lost(), 2);
    }

    #[test]
    fn a_file_that_cannot_be_opened_names_the_option() {
        let error = JsonLines::create(Path::new("/proc/no/such/place")).err().unwrap().to_string();
        assert!(error.contains("/proc/no/such/place") && error.contains("--requests"), "{error}");
    }
}

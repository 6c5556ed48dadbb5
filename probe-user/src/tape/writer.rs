//! Writes a tape, frame by frame. A frame is written with one call: what a killed process leaves is whole frames and at most
//! the beginning of one more. Reads no clock: who writes says when a frame is due ([`Writer::flush`]).

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::error::TapeError;
use super::format::{self, Kind, Link, MAX_PLAIN};
use super::reader::Counts;
use super::segments;
use crate::privilege;

/// When a frame and a segment are full.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of items in a frame.
    pub frame_bytes: usize,
    /// Bytes of a segment.
    pub segment_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { frame_bytes: 64 << 10, segment_bytes: 64 << 20 }
    }
}

/// A tape that is being written. Dropped before it has a frame, it leaves nothing.
#[derive(Debug)]
pub struct Writer {
    dir: PathBuf,
    /// The same, open: new names in it are on disk once it is synchronised.
    names: File,
    /// It and those above it that were not there before, the lowest first.
    made: Vec<PathBuf>,
    limits: Limits,
    /// `None` once a write has failed.
    pub(super) file: Option<File>,
    segment: u32,
    /// Bytes of the segment in whole frames.
    written: u64,
    link: Link,
    plain: Vec<u8>,
    out: Vec<u8>,
    counts: Counts,
    /// Items in `plain`.
    waiting: u64,
}

impl Writer {
    /// Begins a tape in `dir`, which is made if it is not there.
    ///
    /// # Errors
    /// The directory holds a tape, it is another user's, or the system refuses.
    pub fn create(dir: &Path, limits: Limits) -> Result<Self, TapeError> {
        let made = dir.ancestors().take_while(|dir| !dir.as_os_str().is_empty() && !dir.exists());
        let made = made.map(Path::to_owned).collect();
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(|cause| told(dir, cause))?;
        if segments::last(dir)?.is_some() || segments::note(dir).symlink_metadata().is_ok() {
            return Err(TapeError::Taken(dir.to_owned()));
        }
        if !privilege::may_write(dir).map_err(|cause| told(dir, cause))? {
            return Err(TapeError::Foreign(dir.to_owned()));
        }
        let mut writer = Self {
            dir: dir.to_owned(),
            names: File::open(dir).map_err(|cause| told(dir, cause))?,
            made,
            limits,
            file: None,
            segment: 0,
            written: 0,
            link: [0; format::HASH],
            plain: Vec::new(),
            out: Vec::new(),
            counts: Counts::default(),
            waiting: 0,
        };
        writer.begin_segment()?;
        Ok(writer)
    }

    /// Adds the CBOR item that `encode` appends; writes a frame when it is full.
    ///
    /// # Errors
    /// The item is too long, or the frame cannot be written: the tape then ends with the frame before, every later call
    /// fails with [`TapeError::Broken`].
    pub fn append(
        &mut self,
        encode: impl FnOnce(&mut Vec<u8>) -> Result<(), String>,
    ) -> Result<(), TapeError> {
        if self.file.is_none() {
            return Err(TapeError::Broken);
        }
        let before = self.plain.len();
        if let Err(error) = encode(&mut self.plain) {
            self.plain.truncate(before);
            return Err(TapeError::Encode(error));
        }
        let length = self.plain.len() - before;
        if length > MAX_PLAIN {
            self.plain.truncate(before);
            return Err(TapeError::TooLong(length));
        }
        if self.plain.len() > MAX_PLAIN {
            let item = self.plain.split_off(before);
            self.flush()?;
            self.plain = item;
        }
        self.waiting += 1;
        if self.plain.len() >= self.limits.frame_bytes { self.flush() } else { Ok(()) }
    }

    /// Writes what waits as a frame.
    ///
    /// # Errors
    /// As [`Writer::append`].
    pub fn flush(&mut self) -> Result<(), TapeError> {
        if self.plain.is_empty() {
            return Ok(());
        }
        if self.written >= self.limits.segment_bytes {
            self.sync()?;
            self.begin_segment()?;
        }
        let plain = std::mem::take(&mut self.plain);
        let packed = lz4_flex::block::compress(&plain);
        self.write_frame(Kind::Items, &packed, plain.len())?;
        self.counts.items += self.waiting;
        self.waiting = 0;
        self.plain = plain;
        self.plain.clear();
        Ok(())
    }

    /// Writes what waits, the end record and the note, and waits for the disk. Returns the hash of everything, in hexadecimal
    /// digits.
    ///
    /// # Errors
    /// As [`Writer::append`].
    pub fn finish(mut self) -> Result<(Counts, String), TapeError> {
        self.flush()?;
        let counts = self.counts;
        let mut end = Vec::with_capacity(format::END);
        for count in [counts.frames, counts.items, counts.segments] {
            end.extend(count.to_le_bytes());
        }
        self.write_frame(Kind::End, &end, end.len())?;
        self.sync()?;
        let note = self.new_file(&segments::note(&self.dir))?;
        (self.file, self.written) = (Some(note), 0);
        self.put(format::note(&counts, &self.link).as_bytes())?;
        self.sync()?;
        Ok((counts, format::hex(&self.link)))
    }

    fn write_frame(&mut self, kind: Kind, packed: &[u8], plain: usize) -> Result<(), TapeError> {
        let long = |_| TapeError::TooLong(plain);
        let head = format::head(
            kind,
            u32::try_from(packed.len()).map_err(long)?,
            u32::try_from(plain).map_err(long)?,
            &self.link,
        );
        let link = format::link(&self.link, &head, packed);
        self.out.clear();
        for part in [&head[..], packed, &link] {
            self.out.extend_from_slice(part);
        }
        let out = std::mem::take(&mut self.out);
        self.put(&out)?;
        self.out = out;
        self.link = link;
        self.counts.frames += u64::from(kind == Kind::Items);
        Ok(())
    }

    fn begin_segment(&mut self) -> Result<(), TapeError> {
        self.file = None;
        let number = self.segment + 1;
        let file = self.new_file(&segments::path(&self.dir, number))?;
        (self.file, self.segment, self.written) = (Some(file), number, 0);
        let header = format::header(number, &self.link);
        self.put(&header)?;
        self.link = format::first_link(&header);
        self.counts.segments += 1;
        Ok(())
    }

    fn new_file(&self, path: &Path) -> Result<File, TapeError> {
        let mut new = OpenOptions::new();
        let file = new.write(true).create_new(true).mode(0o600).open(path);
        let file = file.map_err(|cause| told(path, cause))?;
        self.names.sync_all().map_err(|cause| told(&self.dir, cause))?;
        Ok(file)
    }

    /// Writes all of it, or nothing: then the tape ends here.
    fn put(&mut self, bytes: &[u8]) -> Result<(), TapeError> {
        let file = self.file.as_mut().ok_or(TapeError::Broken)?;
        if let Err(cause) = file.write_all(bytes) {
            // What was written of it is the beginning of a frame, which a reader passes over, if it cannot be taken back.
            drop(file.set_len(self.written));
            self.file = None;
            return Err(told(&segments::path(&self.dir, self.segment), cause));
        }
        self.written += bytes.len() as u64;
        Ok(())
    }

    /// Waits for the disk; what it refuses ends the tape.
    fn sync(&mut self) -> Result<(), TapeError> {
        let file = self.file.take().ok_or(TapeError::Broken)?;
        file.sync_data().map_err(|cause| told(&segments::path(&self.dir, self.segment), cause))?;
        self.file = Some(file);
        Ok(())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if self.counts.frames == 0 {
            drop(fs::remove_file(segments::path(&self.dir, 1)));
            self.made.iter().for_each(|dir| drop(fs::remove_dir(dir)));
        }
    }
}

fn told(path: &Path, cause: io::Error) -> TapeError {
    TapeError::Io { path: path.to_owned(), cause }
}

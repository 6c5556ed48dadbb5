//! Reads a tape frame by frame, checking the chain: what it returns is what was written, in order. Holds one frame.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::error::{Damage, TapeError};
use super::format::{self, END, HASH, HEAD, HEADER, Kind, Link};
use super::segments;
use crate::files;

/// What is on a tape.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Frames of items.
    pub frames: u64,
    /// Items; from the end record, since frames do not say how many they hold.
    pub items: u64,
    /// Segments.
    pub segments: u64,
}

/// How a tape ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// With an end record: nothing is missing.
    Ended(Counts),
    /// Without one: the writer was killed, the disk was full, it is still being written, or it was cut here.
    Open {
        /// Bytes of an unfinished frame after the last whole one.
        unfinished_bytes: u64,
    },
}

/// One frame, and where it is.
#[derive(Debug)]
pub struct Frame<'a> {
    /// Segment, from 1.
    pub segment: u32,
    /// Frame in its segment, from 1.
    pub frame: u64,
    bytes: &'a [u8],
}

impl Frame<'_> {
    /// Its items, one after the other.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.bytes
    }
}

/// A tape that is being read.
#[derive(Debug)]
pub struct Reader {
    dir: PathBuf,
    last: u32,
    file: Option<BufReader<File>>,
    segment: u32,
    frame: u64,
    frames: u64,
    link: Link,
    packed: Vec<u8>,
    plain: Vec<u8>,
    ending: Option<Ending>,
    /// What the note of its end says, if there is one.
    note: Option<Vec<u8>>,
}

impl Reader {
    /// Opens the tape in `dir`.
    ///
    /// # Errors
    /// There is none, or the system refuses.
    pub fn open(dir: &Path) -> Result<Self, TapeError> {
        let last = segments::last(dir)?.ok_or_else(|| TapeError::None(dir.to_owned()))?;
        let note = segments::note(dir);
        let note = match files::bytes(&note) {
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => None,
            read => Some(read.map_err(|cause| TapeError::Io { path: note, cause })?),
        };
        Ok(Self {
            dir: dir.to_owned(),
            last,
            file: None,
            segment: 0,
            frame: 0,
            frames: 0,
            link: [0; HASH],
            packed: Vec::new(),
            plain: Vec::new(),
            ending: None,
            note,
        })
    }

    /// How the tape ends, once [`Reader::next_frame`] has returned `None`.
    #[must_use]
    pub fn ending(&self) -> Option<Ending> {
        self.ending
    }

    /// The hash of everything so far, in hexadecimal digits.
    #[must_use]
    pub fn hash(&self) -> String {
        format::hex(&self.link)
    }

    /// Frames of items returned so far.
    #[must_use]
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// The next frame; `None` at the end.
    ///
    /// # Errors
    /// [`TapeError::Damaged`] where the chain breaks, or what the system says.
    pub fn next_frame(&mut self) -> Result<Option<Frame<'_>>, TapeError> {
        while self.ending.is_none() {
            if self.file.is_none() {
                self.next_segment()?;
            } else if self.read_frame()? {
                return Ok(Some(Frame {
                    segment: self.segment,
                    frame: self.frame,
                    bytes: &self.plain,
                }));
            }
        }
        Ok(None)
    }

    fn next_segment(&mut self) -> Result<(), TapeError> {
        (self.segment, self.frame) = (self.segment + 1, 0);
        let path = segments::path(&self.dir, self.segment);
        // Without O_NONBLOCK a FIFO in its place would be waited for.
        let file = match OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(&path) {
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => {
                return Err(self.damage(Damage::Missing));
            }
            opened => opened.map_err(|cause| self.told(cause))?,
        };
        if !file.metadata().map_err(|cause| self.told(cause))?.is_file() {
            return Err(self.told(io::Error::other("it is not a regular file")));
        }
        let mut file = BufReader::new(file);
        let mut header = [0; HEADER];
        let read = fill(&mut file, &mut header).map_err(|cause| self.told(cause))?;
        if read < HEADER {
            // All that is there must still be the beginning of this header.
            return match format::header(self.segment, &self.link).starts_with(&header[..read]) {
                true => self.unfinished(read),
                false => Err(self.damage(Damage::Header)),
            };
        }
        self.link = format::check_header(&header, self.segment, &self.link)
            .map_err(|damage| self.damage(damage))?;
        self.file = Some(file);
        Ok(())
    }

    /// Whether there was a frame of items. If not, the segment has ended, or the tape.
    fn read_frame(&mut self) -> Result<bool, TapeError> {
        let Some(mut file) = self.file.take() else { return Ok(false) };
        self.frame += 1;
        let mut head = [0; HEAD];
        let read = fill(&mut file, &mut head).map_err(|cause| self.told(cause))?;
        if read == 0 && self.segment < self.last {
            return Ok(false);
        }
        if read < HEAD {
            return self.unfinished(read).map(|()| false);
        }
        let known = format::read_head(&head, &self.link).map_err(|damage| self.damage(damage))?;
        self.packed.resize(known.packed + HASH, 0);
        let read = fill(&mut file, &mut self.packed).map_err(|cause| self.told(cause))?;
        if read < self.packed.len() {
            return self.unfinished(HEAD + read).map(|()| false);
        }
        let (packed, hash) = self.packed.split_at(known.packed);
        let link = format::link(&self.link, &head, packed);
        if hash != link {
            return Err(self.damage(Damage::Hash));
        }
        self.link = link;
        match known.kind {
            Kind::Items => {
                self.plain.resize(known.plain, 0);
                match lz4_flex::block::decompress_into(packed, &mut self.plain) {
                    Ok(length) if length == known.plain && length > 0 => {}
                    _ => return Err(self.damage(Damage::Content)),
                }
                self.frames += 1;
                self.file = Some(file);
                Ok(true)
            }
            Kind::End => self.end(&mut file).map(|()| false),
        }
    }

    fn end(&mut self, file: &mut BufReader<File>) -> Result<(), TapeError> {
        let mut counts = [0; 3];
        for (count, bytes) in counts.iter_mut().zip(self.packed[..END].chunks_exact(8)) {
            *count = bytes.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte));
        }
        let [frames, items, segments] = counts;
        if frames != self.frames || segments != u64::from(self.segment) {
            return Err(self.damage(Damage::Counts));
        }
        let more = fill(file, &mut [0]).map_err(|cause| self.told(cause))?;
        if more > 0 || self.segment < self.last {
            self.frame += 1;
            return Err(self.damage(Damage::Added));
        }
        let counts = Counts { frames, items, segments };
        // A writer that is killed here leaves a whole tape without the note.
        if self.note.as_ref().is_some_and(|n| *n != format::note(&counts, &self.link).as_bytes()) {
            return Err(self.damage(Damage::Note));
        }
        self.ending = Some(Ending::Ended(counts));
        Ok(())
    }

    /// The file ends within a frame: as a killed writer leaves it, if it is the last.
    fn unfinished(&mut self, bytes: usize) -> Result<(), TapeError> {
        if self.segment < self.last {
            return Err(self.damage(Damage::Cut));
        }
        if self.note.is_some() {
            return Err(self.damage(Damage::Short));
        }
        self.ending = Some(Ending::Open { unfinished_bytes: bytes as u64 });
        Ok(())
    }

    fn damage(&self, damage: Damage) -> TapeError {
        damaged(self.segment, self.frame, damage)
    }

    fn told(&self, cause: io::Error) -> TapeError {
        TapeError::Io { path: segments::path(&self.dir, self.segment), cause }
    }
}

fn damaged(segment: u32, frame: u64, damage: Damage) -> TapeError {
    TapeError::Damaged { segment, frame, damage }
}

/// Reads until `out` is full or the file ends; returns how many bytes.
fn fill(file: &mut impl Read, out: &mut [u8]) -> io::Result<usize> {
    let mut read = 0;
    while read < out.len() {
        match file.read(&mut out[read..]) {
            Ok(0) => break,
            Ok(more) => read += more,
            Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
            Err(cause) => return Err(cause),
        }
    }
    Ok(read)
}

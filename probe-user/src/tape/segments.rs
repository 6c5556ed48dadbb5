//! A tape's files: their names, and which are there.

use std::path::{Path, PathBuf};

use super::error::TapeError;

/// A segment's file.
pub(super) fn path(dir: &Path, number: u32) -> PathBuf {
    dir.join(format!("{number:06}.tape"))
}

/// The note that a tape was ended.
pub(super) fn note(dir: &Path) -> PathBuf {
    dir.join("end")
}

/// The highest number of a segment in `dir`; `None` without one. Other files are not looked at.
pub(super) fn last(dir: &Path) -> Result<Option<u32>, TapeError> {
    let told = |cause| TapeError::Io { path: dir.to_owned(), cause };
    let mut last = None;
    for entry in dir.read_dir().map_err(told)? {
        let name = entry.map_err(told)?.file_name();
        last = last.max(name.to_str().and_then(number));
    }
    Ok(last)
}

fn number(name: &str) -> Option<u32> {
    let number = name.strip_suffix(".tape")?.parse().ok()?;
    (name == format!("{number:06}.tape")).then_some(number)
}

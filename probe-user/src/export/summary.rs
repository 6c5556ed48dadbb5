//! `--summary FILE` and `--format json`: the last snapshot as one JSON object.
//!
//! The file appears whole or not at all: a temporary file beside it is renamed onto it. What is not
//! a regular file (`/dev/null`, a pipe) is written to directly, never replaced; and so is a file in a directory in which the
//! probe could make no other once it has given up its privileges.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{ExportError, STDOUT, Sink};
use crate::privilege;
use crate::record::RequestRecord;
use crate::snapshot::Snapshot;

/// Writes the summary at the end of a run.
pub struct Summary {
    place: Place,
}

enum Place {
    File(PathBuf),
    /// Opened before the privileges were given up.
    Open {
        file: File,
        path: PathBuf,
    },
    Stream {
        out: Box<dyn Write + Send>,
        name: &'static str,
    },
}

impl Summary {
    /// To a file; `-` is standard output. That the file can be written is checked now, not at the
    /// end of a long run.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn create(path: &Path) -> Result<Self, ExportError> {
        if path.as_os_str() == "-" {
            return Ok(Self::to(io::stdout(), STDOUT));
        }
        // A link stays a link: what it points to is replaced.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let place = place(path.clone()).map_err(|source| open_error(&path, source))?;
        Ok(Self { place })
    }

    /// One line to a stream, for `--format json`; `name` is the stream's in messages.
    pub fn to(out: impl Write + Send + 'static, name: &'static str) -> Self {
        Self { place: Place::Stream { out: Box::new(out), name } }
    }
}

fn place(path: PathBuf) -> io::Result<Place> {
    if is_special(&path) {
        let file = OpenOptions::new().append(true).open(&path)?;
        return Ok(Place::Open { file, path });
    }
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
    if privilege::may_write(dir.unwrap_or(Path::new(".")))? {
        let beside = beside(&path);
        File::create(&beside).and_then(|_| fs::remove_file(&beside))?;
        return Ok(Place::File(path));
    }
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(&path)?;
    Ok(Place::Open { file, path })
}

fn open_error(path: &Path, source: io::Error) -> ExportError {
    ExportError::Open { path: path.into(), option: "--summary", source }
}

fn is_special(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|m| !m.is_file())
}

fn beside(path: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}.tmp", std::process::id()));
    path.with_file_name(name)
}

/// Writes a whole file, or leaves what was there.
///
/// # Errors
/// What the system says.
pub fn write(path: &Path, text: &[u8]) -> io::Result<()> {
    if is_special(path) {
        return OpenOptions::new().append(true).open(path)?.write_all(text);
    }
    let beside = beside(path);
    let write = || {
        let mut file = File::create(&beside)?;
        file.write_all(text)?;
        file.sync_all()?;
        fs::rename(&beside, path)
    };
    write().inspect_err(|_| {
        let _ = fs::remove_file(&beside);
    })
}

/// What a file held before is gone; what is no file has nothing to be gone.
fn write_over(file: &mut File, text: &[u8]) -> io::Result<()> {
    if !file.metadata()?.is_file() {
        return file.write_all(text);
    }
    file.set_len(0)?;
    file.write_all(text)?;
    file.sync_all()
}

impl Sink for Summary {
    fn request(&mut self, _: &Arc<RequestRecord>) -> Result<(), ExportError> {
        Ok(())
    }

    fn snapshot(&mut self, _: &Arc<Snapshot>) -> Result<(), ExportError> {
        Ok(())
    }

    fn finish(&mut self, summary: &Snapshot) -> Result<(), ExportError> {
        let encode = |source| ExportError::Encode { what: "the summary", source };
        match &mut self.place {
            Place::File(path) => {
                let mut text = serde_json::to_vec_pretty(summary).map_err(encode)?;
                text.push(b'\n');
                write(path, &text).map_err(|source| open_error(path, source))
            }
            Place::Open { file, path } => {
                let mut text = serde_json::to_vec_pretty(summary).map_err(encode)?;
                text.push(b'\n');
                write_over(file, &text).map_err(|source| open_error(path, source))
            }
            Place::Stream { out, name } => {
                let mut text = serde_json::to_vec(summary).map_err(encode)?;
                text.push(b'\n');
                out.write_all(&text)
                    .and_then(|()| out.flush())
                    .map_err(|source| ExportError::Write { place: (*name).to_owned(), source })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{FileTypeExt, chown, symlink};

    use super::super::example;
    use super::*;

    #[test]
    fn the_file_holds_the_snapshot_and_nothing_is_left_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("summary.json");
        let mut sink = Summary::create(&path).unwrap();
        assert!(!path.exists(), "no summary before the end");
        sink.finish(&example::snapshot(10.0)).unwrap();
        let read: Snapshot = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        assert_eq!(read, example::snapshot(10.0));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn an_older_summary_stays_whole_until_the_new_one_is_complete() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("summary.json");
        fs::write(&path, "older").unwrap();
        let mut sink = Summary::create(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "older");
        sink.finish(&example::snapshot(10.0)).unwrap();
        assert!(fs::read_to_string(&path).unwrap().starts_with('{'));
    }

    #[test]
    fn in_another_users_directory_the_file_is_written_over_without_any_privilege() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("summary.json");
        fs::write(&path, "older, and longer than a summary".repeat(1000)).unwrap();
        if chown(dir.path(), Some(65_534), Some(65_534)).is_err() {
            eprintln!("not run: needs root");
            return;
        }
        let mut sink = Summary::create(&path).unwrap();
        let renounced = std::thread::spawn(move || {
            privilege::renounce().unwrap();
            assert!(fs::write(path.with_extension("new"), "").is_err(), "no other file");
            sink.finish(&example::snapshot(10.0)).unwrap();
            fs::read(&path).unwrap()
        });
        let read: Snapshot = serde_json::from_slice(&renounced.join().unwrap()).unwrap();
        assert_eq!(read, example::snapshot(10.0));
    }

    #[test]
    fn a_link_stays_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let (real, link) = (dir.path().join("real"), dir.path().join("link"));
        fs::write(&real, "older").unwrap();
        symlink(&real, &link).unwrap();
        Summary::create(&link).unwrap().finish(&example::snapshot(1.0)).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert!(fs::read_to_string(&real).unwrap().starts_with('{'));
    }

    #[test]
    fn a_device_is_written_to_and_not_replaced() {
        Summary::create(Path::new("/dev/null")).unwrap().finish(&example::snapshot(1.0)).unwrap();
        assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device());
    }

    #[test]
    fn a_stream_that_is_gone_is_called_by_its_name() {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let error = Summary::to(full, "standard error").finish(&example::snapshot(1.0));
        let error = error.unwrap_err().to_string();
        assert!(error.starts_with("writing to standard error failed: "), "{error}");
    }

    #[test]
    fn a_directory_that_does_not_exist_is_refused_at_the_start() {
        let error = Summary::create(Path::new("/no/such/dir/s.json")).err().unwrap().to_string();
        assert!(error.contains("/no/such/dir/s.json") && error.contains("--summary"), "{error}");
    }
}

//! Reads small files of sysfs and procfs, whatever is in their place: a directory, a FIFO that nobody writes
//! to, a gigabyte. Never waits, never reads more than a bound. Knows nothing of what they say.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// More than any file that is read here holds: `/proc/cpuinfo` of 256 CPUs has 400 kB.
const MOST: u64 = 4 << 20;

/// Opens a regular file; with a FIFO or a device in its place the open does not wait, and fails.
///
/// # Errors
/// What the kernel says, or that it is no regular file.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    Ok(file)
}

/// The file's bytes, 4 MiB of them at most.
///
/// # Errors
/// As [`open`], and what the kernel says of reading.
pub(crate) fn bytes(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?.take(MOST).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The file's beginning as text, so many bytes of it at most.
///
/// # Errors
/// As [`bytes`].
pub(crate) fn beginning(path: &Path, most: u64) -> io::Result<String> {
    let mut bytes = Vec::new();
    open(path)?.take(most).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// All of it as text; what is not UTF-8 becomes U+FFFD, which no parser here takes for a digit or a name.
///
/// # Errors
/// As [`bytes`].
pub(crate) fn text(path: &Path) -> io::Result<String> {
    bytes(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    #[test]
    fn a_fifo_without_a_writer_and_a_directory_are_refused_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("fifo");
        mknodat(CWD, &fifo, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        for path in [&fifo, dir.path()] {
            assert!(text(path).unwrap_err().to_string().contains("not a regular file"));
        }
    }

    #[test]
    fn a_sparse_terabyte_is_read_to_its_bound_and_bytes_become_text() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("huge");
        File::create(&path).unwrap().set_len(1 << 40).unwrap();
        assert_eq!(bytes(&path).unwrap().len() as u64, MOST);
        assert_eq!(beginning(&path, 5).unwrap(), "\0\0\0\0\0");
        std::fs::write(&path, b"7\xff\n").unwrap();
        assert_eq!(text(&path).unwrap(), "7\u{fffd}\n");
    }
}

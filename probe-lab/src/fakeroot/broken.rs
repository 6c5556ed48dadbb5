//! Ways in which a file of the kernel is not what it should be.

use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

/// A way to break a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// It is not there.
    Missing,
    /// It is empty.
    Empty,
    /// It holds bytes that are neither a number nor text.
    Garbage,
    /// It holds a number that fits no machine word.
    Huge,
    /// It holds a negative number.
    Negative,
    /// It may not be read (mode 000). Root reads it all the same.
    Denied,
    /// It is a directory: nobody can read it, root neither.
    Directory,
    /// It is a link to nowhere.
    Dangling,
    /// It holds a million lines, to catch readers without a bound.
    Endless,
}

impl Broken {
    /// Every way there is.
    pub const ALL: [Self; 9] = [
        Self::Missing,
        Self::Empty,
        Self::Garbage,
        Self::Huge,
        Self::Negative,
        Self::Denied,
        Self::Directory,
        Self::Dangling,
        Self::Endless,
    ];
}

pub(super) fn apply(path: &Path, how: Broken) -> io::Result<()> {
    let replace = || match std::fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    };
    match how {
        Broken::Missing => std::fs::remove_file(path),
        Broken::Empty => std::fs::write(path, ""),
        Broken::Garbage => std::fs::write(path, b"\xff\x00 lots of it\n\x07"),
        Broken::Huge => std::fs::write(path, "99999999999999999999999999999999999999999\n"),
        Broken::Negative => std::fs::write(path, "-1\n"),
        Broken::Denied => std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o000)),
        Broken::Directory => {
            replace()?;
            std::fs::create_dir(path)
        }
        Broken::Dangling => {
            replace()?;
            symlink("no/such/file", path)
        }
        Broken::Endless => std::fs::write(path, "1\n".repeat(1_000_000)),
    }
}

//! One probe a machine: two would pay for every context switch twice. The lock is a file lock, so it is
//! gone with its process however that ends.

use std::{
    fs::{File, OpenOptions},
    io::{Read, Seek, Write},
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, flock};

/// Where the lock is.
pub const PLACE: &str = "/run/wattprobe.lock";

/// Why the lock was not had.
#[derive(Debug, thiserror::Error)]
pub enum InstanceError {
    /// Another probe runs.
    #[error(
        "another wattprobe is attached on this machine (pid {0}); stop it first, or watch both servers \
         with one: attach --port A --port B"
    )]
    Running(String),
    /// The file cannot be used.
    #[error("cannot lock {}: {source}; run as root", path.display())]
    Io {
        /// File.
        path: PathBuf,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
}

/// Held as long as the probe runs.
#[derive(Debug)]
pub struct Instance {
    _file: File,
}

impl Instance {
    /// Takes the lock.
    ///
    /// # Errors
    ///
    /// When another process holds it.
    pub fn lock(path: &Path) -> Result<Self, InstanceError> {
        let io = |source| InstanceError::Io { path: path.to_owned(), source };
        let open =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
        let mut file = open.map_err(io)?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            let mut holder = String::new();
            let _ = file.read_to_string(&mut holder);
            return Err(InstanceError::Running(holder.trim().to_owned()));
        }
        let write = |file: &mut File| {
            file.set_len(0)?;
            file.rewind()?;
            writeln!(file, "{}", std::process::id())
        };
        write(&mut file).map_err(io)?;
        Ok(Self { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_instance_is_told_the_pid_of_the_first() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let first = Instance::lock(&path).unwrap();
        let second = Instance::lock(&path).unwrap_err().to_string();
        assert!(second.contains(&format!("pid {}", std::process::id())), "{second}");
        drop(first);
        Instance::lock(&path).unwrap();
    }
}

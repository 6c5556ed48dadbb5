//! The second process of a server that is made of two. It ends with the first.

use std::io::{self, BufRead, BufReader};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};

use rustix::process::{Signal, set_parent_process_death_signal};

/// Starts a runner, a server that says `listening on http://HOST:PORT`; it, and `HOST:PORT`.
///
/// # Errors
/// When it does not start or says something else.
pub fn runner(command: &mut Command) -> io::Result<(Child, String)> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let mut line = String::new();
    if let Some(stdout) = &mut child.stdout {
        BufReader::new(stdout).read_line(&mut line)?;
    }
    match line.trim().strip_prefix("listening on http://") {
        Some(address) => Ok((child, address.to_owned())),
        None => Err(io::Error::other("the runner did not say where it listens")),
    }
}

/// Starts an engine process; it, and this end of the sockets between.
///
/// # Errors
/// When it does not start.
pub fn engine(command: &mut Command) -> io::Result<(Child, UnixStream)> {
    let (ours, theirs) = UnixStream::pair()?;
    let child = command.stdin(OwnedFd::from(theirs)).stdout(Stdio::null()).spawn()?;
    Ok((child, ours))
}

/// In an engine process: its end of the sockets, which is standard input.
///
/// # Errors
/// When it has none.
pub fn parent() -> io::Result<UnixStream> {
    Ok(io::stdin().as_fd().try_clone_to_owned()?.into())
}

/// In either: end when the process that started this one ends.
///
/// # Errors
/// When the kernel refuses.
pub fn end_with_parent() -> io::Result<()> {
    Ok(set_parent_process_death_signal(Some(Signal::KILL))?)
}

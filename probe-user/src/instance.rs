//! One probe a machine: two would pay for every context switch twice.
//!
//! The lock is a listening socket in the abstract namespace: it needs no directory and no right, and it
//! is gone with its process however that ends. The kernel says who holds it (`SO_PEERCRED`); a holder
//! that could not attach anyway, another unprivileged user, does not count.

use std::{
    io,
    os::linux::net::SocketAddrExt,
    os::unix::net::{SocketAddr, UnixListener, UnixStream},
};

use rustix::net::sockopt::socket_peercred;

/// Name of the lock.
pub const NAME: &str = "wattprobe";

/// Why the lock was not had.
#[derive(Debug, thiserror::Error)]
pub enum InstanceError {
    /// Another probe runs.
    #[error(
        "another wattprobe is attached on this machine (pid {0}); stop it first, or watch both servers \
         with one: attach --port A --port B"
    )]
    Running(i32),
    /// No sockets here.
    #[error("cannot make sure that no other wattprobe runs: {0}; allow AF_UNIX sockets")]
    Io(#[from] io::Error),
}

/// Held as long as the probe runs.
#[derive(Debug)]
pub struct Instance {
    _listener: Option<UnixListener>,
}

impl Instance {
    /// Takes the lock of that name.
    ///
    /// # Errors
    ///
    /// When another probe holds it.
    pub fn lock(name: &str) -> Result<Self, InstanceError> {
        let address = SocketAddr::from_abstract_name(name)?;
        match UnixListener::bind_addr(&address) {
            Ok(listener) => Ok(Self { _listener: Some(listener) }),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => Self::held(&address),
            Err(error) => Err(error.into()),
        }
    }

    /// Somebody has the name: a probe, or somebody who cannot run one.
    fn held(address: &SocketAddr) -> Result<Self, InstanceError> {
        let holder =
            socket_peercred(UnixStream::connect_addr(address)?).map_err(io::Error::from)?;
        if holder.uid.is_root() || holder.uid == rustix::process::geteuid() {
            return Err(InstanceError::Running(holder.pid.as_raw_nonzero().get()));
        }
        Ok(Self { _listener: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_instance_is_told_the_pid_of_the_first() {
        let name = format!("wattprobe-test-{}", std::process::id());
        let first = Instance::lock(&name).unwrap();
        let second = Instance::lock(&name).unwrap_err().to_string();
        assert!(second.contains(&format!("pid {})", std::process::id())), "{second}");
        drop(first);
        Instance::lock(&name).unwrap();
    }
}

//! Where servers listen, and sockets that are connected to them.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use super::patience;

/// Where a server listens.
#[derive(Clone, Debug)]
pub(crate) enum Address {
    /// IPv4 or IPv6.
    Tcp(SocketAddr),
    /// A socket file.
    Unix(PathBuf),
    /// A plain door to a server that speaks TLS.
    Tunnel(SocketAddr),
}

impl Address {
    /// From what servers print: `http://127.0.0.1:80`, `127.0.0.1:80`, `unix:///x.sock`, `unix:/x.sock`.
    pub(crate) fn parse(said: &str) -> Self {
        let word = said.split_whitespace().next().unwrap_or_default();
        match word.strip_prefix("unix://").or_else(|| word.strip_prefix("unix:")) {
            Some(path) => Self::Unix(path.into()),
            None => {
                let bare = word.trim_start_matches("http://").trim_end_matches('/');
                Self::Tcp(bare.parse().unwrap_or_else(|e| panic!("address {said:?}: {e}")))
            }
        }
    }

    /// What `wattprobe attach --port` takes.
    pub(crate) fn port(&self) -> String {
        match self {
            Self::Tcp(address) | Self::Tunnel(address) => address.port().to_string(),
            Self::Unix(path) => path.to_string_lossy().into_owned(),
        }
    }

    /// The port number; 0 for a socket file.
    pub(crate) fn number(&self) -> u16 {
        match self {
            Self::Tcp(address) | Self::Tunnel(address) => address.port(),
            Self::Unix(_) => 0,
        }
    }

    /// A new socket that is connected to it.
    pub(crate) fn open(&self) -> io::Result<Box<dyn Socket>> {
        let socket: Box<dyn Socket> = match self {
            Self::Tcp(address) | Self::Tunnel(address) => {
                let mut socket = TcpStream::connect(address)?;
                socket.set_nodelay(true)?;
                if matches!(self, Self::Tunnel(_)) {
                    // It says when hands are shaken.
                    socket.patience(patience())?;
                    socket.read_exact(&mut [0])?;
                }
                Box::new(socket)
            }
            Self::Unix(path) => Box::new(UnixStream::connect(path)?),
        };
        socket.patience(patience())?;
        Ok(socket)
    }
}

/// What both kinds of stream can do.
pub(crate) trait Socket: Read + Write + Send {
    fn hang_up(&self);
    fn patience(&self, limit: Duration) -> io::Result<()>;
}

impl Socket for TcpStream {
    fn hang_up(&self) {
        let _ = self.shutdown(Shutdown::Both);
    }

    fn patience(&self, limit: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(limit))
    }
}

impl Socket for UnixStream {
    fn hang_up(&self) {
        let _ = self.shutdown(Shutdown::Both);
    }

    fn patience(&self, limit: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(limit))
    }
}

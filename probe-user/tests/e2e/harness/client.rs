//! A client that knows exactly what it did: raw sockets, its own clock, one line of state a request.
//!
//! It is deliberately not the load client of `probe-lab`: an independent witness, which can also hang
//! up in the middle of an answer.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use super::ask::{Ask, Seen};
use super::clock;
use super::response::Response;

/// Where a server listens.
#[derive(Clone, Debug)]
pub(crate) enum Address {
    /// IPv4 or IPv6.
    Tcp(SocketAddr),
    /// A socket file.
    Unix(PathBuf),
}

impl Address {
    /// From what servers print: `http://127.0.0.1:80`, `127.0.0.1:80`, `unix:///x.sock`.
    pub(crate) fn parse(said: &str) -> Self {
        let word = said.split_whitespace().next().unwrap_or_default();
        match word.strip_prefix("unix://") {
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
            Self::Tcp(address) => address.port().to_string(),
            Self::Unix(path) => path.to_string_lossy().into_owned(),
        }
    }

    /// The port number; 0 for a socket file.
    pub(crate) fn number(&self) -> u16 {
        match self {
            Self::Tcp(address) => address.port(),
            Self::Unix(_) => 0,
        }
    }

    /// A new connection.
    pub(crate) fn connect(&self) -> io::Result<Connection> {
        let limit = Some(Duration::from_secs(60));
        let socket: Box<dyn Socket> = match self {
            Self::Tcp(address) => {
                let socket = TcpStream::connect(address)?;
                socket.set_nodelay(true)?;
                socket.set_read_timeout(limit)?;
                Box::new(socket)
            }
            Self::Unix(path) => {
                let socket = UnixStream::connect(path)?;
                socket.set_read_timeout(limit)?;
                Box::new(socket)
            }
        };
        Ok(Connection { socket })
    }
}

/// What both kinds of stream can do.
trait Socket: Read + Write + Send {
    fn hang_up(&self);
}

impl Socket for TcpStream {
    fn hang_up(&self) {
        let _ = self.shutdown(Shutdown::Both);
    }
}

impl Socket for UnixStream {
    fn hang_up(&self) {
        let _ = self.shutdown(Shutdown::Both);
    }
}

/// One connection.
pub(crate) struct Connection {
    socket: Box<dyn Socket>,
}

impl Connection {
    /// Sends one request and reads its answer to the last byte, or hangs up on the way.
    pub(crate) fn ask(&mut self, ask: &Ask) -> io::Result<Seen> {
        let seen = self.exchange(ask, ask.hang_up_after)?;
        if ask.hang_up_after.is_some() {
            self.hang_up();
        }
        Ok(seen)
    }

    /// Sends one request and reads only until so many pieces of content have come.
    pub(crate) fn begin(&mut self, ask: &Ask, contents: usize) -> io::Result<Seen> {
        self.exchange(ask, Some(contents))
    }

    fn exchange(&mut self, ask: &Ask, contents: Option<usize>) -> io::Result<Seen> {
        let start = clock::now();
        self.socket.write_all(&ask.bytes())?;
        let mut response = Response::default();
        let mut buffer = [0; 65536];
        let mut end = start;
        while !response.is_complete() {
            let n = match self.socket.read(&mut buffer) {
                Ok(0) => {
                    response.closed();
                    break;
                }
                Ok(n) => n,
                // The server died: what was seen until then counts.
                Err(e) if e.kind() == io::ErrorKind::ConnectionReset => break,
                Err(e) => return Err(e),
            };
            end = clock::now();
            response.feed(&buffer[..n], end);
            if contents.is_some_and(|enough| response.contents >= enough) {
                break;
            }
        }
        Ok(Seen {
            ask: ask.clone(),
            start,
            first: response.first,
            end,
            status: response.status,
            complete: response.is_complete(),
            keeps: response.keeps,
            prompt_tokens: response.usage("prompt_tokens"),
            completion_tokens: response.usage("completion_tokens"),
            predicted: response.predicted,
        })
    }

    /// Sends bytes as they are; the server may hang up in the middle.
    pub(crate) fn send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.socket.write_all(bytes)
    }

    /// Closes both directions.
    pub(crate) fn hang_up(&self) {
        self.socket.hang_up();
    }

    /// Reads what the server answers until it is complete, closes, or nothing comes.
    pub(crate) fn drain(&mut self) -> Response {
        let mut response = Response::default();
        let mut buffer = [0; 65536];
        while !response.is_complete() {
            match self.socket.read(&mut buffer) {
                Ok(n @ 1..) => response.feed(&buffer[..n], clock::now()),
                _ => break,
            }
        }
        response
    }
}

/// One request on a connection of its own.
pub(crate) fn once(address: &Address, ask: &Ask) -> io::Result<Seen> {
    address.connect()?.ask(ask)
}

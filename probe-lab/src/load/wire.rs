//! Where the server is, and a connection to it.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::Error;

/// The address of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    place: Place,
    /// Value of the `host` header.
    pub(super) host: String,
    /// Prefix of every path, without a slash at its end.
    pub(super) prefix: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Tcp(Vec<SocketAddr>),
    Unix(PathBuf),
}

/// An answer that takes longer than this between two bytes is given up.
const PATIENCE: Duration = Duration::from_secs(120);

impl Target {
    /// Understands `http://HOST:PORT[/PREFIX]`; the host may be a name, an IPv4 address or an IPv6
    /// address in brackets. `unix:PATH` stands for a unix socket.
    ///
    /// # Errors
    /// When the URL has another form or the name does not resolve.
    pub fn parse(url: &str) -> Result<Self, Error> {
        let wrong = |why: &str| Error::Url { url: url.to_owned(), why: why.to_owned() };
        if let Some(path) = url.strip_prefix("unix:") {
            return Ok(Self::unix(path.into()));
        }
        let rest = url.strip_prefix("http://").ok_or_else(|| wrong("it is not http"))?;
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let has_port = host.rsplit_once(':').is_some_and(|(_, p)| p.parse::<u16>().is_ok());
        let with_port = if has_port { host.to_owned() } else { format!("{host}:80") };
        let addresses: Vec<_> =
            with_port.to_socket_addrs().map_err(|e| wrong(&e.to_string()))?.collect();
        if addresses.is_empty() {
            return Err(wrong("the name has no address"));
        }
        let path = path.trim_end_matches('/');
        Ok(Self {
            place: Place::Tcp(addresses),
            host: host.to_owned(),
            prefix: if path.is_empty() { String::new() } else { format!("/{path}") },
        })
    }

    /// A unix socket.
    #[must_use]
    pub fn unix(path: PathBuf) -> Self {
        Self { place: Place::Unix(path), host: "localhost".into(), prefix: String::new() }
    }

    /// Connects.
    pub(super) fn connect(&self) -> io::Result<Wire> {
        match &self.place {
            Place::Tcp(addresses) => {
                let stream = TcpStream::connect(addresses.as_slice())?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_write_timeout(Some(PATIENCE))?;
                Ok(Wire::Tcp(stream))
            }
            Place::Unix(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_write_timeout(Some(PATIENCE))?;
                Ok(Wire::Unix(stream))
            }
        }
    }
}

/// A connection.
#[derive(Debug)]
pub(super) enum Wire {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Wire {
    /// Whether the server has closed, or sent something nobody asked for: either way the
    /// connection cannot carry another request.
    pub(super) fn stale(&self) -> bool {
        let mut byte = [0];
        let peeked = match self {
            Self::Tcp(s) => {
                let _ = s.set_nonblocking(true);
                let peeked = s.peek(&mut byte);
                let _ = s.set_nonblocking(false);
                peeked
            }
            Self::Unix(s) => {
                let _ = s.set_nonblocking(true);
                let peeked = rustix::net::recv(s, &mut byte, rustix::net::RecvFlags::PEEK);
                let _ = s.set_nonblocking(false);
                peeked.map(|(n, _)| n).map_err(io::Error::from)
            }
        };
        !matches!(peeked, Err(e) if e.kind() == io::ErrorKind::WouldBlock)
    }

    /// Ends the sending direction.
    pub(super) fn finish(&self) -> io::Result<()> {
        match self {
            Self::Tcp(s) => s.shutdown(Shutdown::Write),
            Self::Unix(s) => s.shutdown(Shutdown::Write),
        }
    }

    /// Changes how long a read waits.
    pub(super) fn patience(&self, d: Duration) -> io::Result<()> {
        match self {
            Self::Tcp(s) => s.set_read_timeout(Some(d)),
            Self::Unix(s) => s.set_read_timeout(Some(d)),
        }
    }
}

impl Read for Wire {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(s) => s.read(buf),
            Self::Unix(s) => s.read(buf),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(s) => s.write(buf),
            Self::Unix(s) => s.write(buf),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Lets this process open as many files as the system grants; thousands of connections need more
/// than the usual 1,024. Returns the limit now in force, if there is one.
pub fn raise_open_files() -> Option<u64> {
    let now = getrlimit(Resource::Nofile);
    let wanted = Rlimit { current: now.maximum, maximum: now.maximum };
    match setrlimit(Resource::Nofile, wanted) {
        Ok(()) => now.maximum,
        Err(_) => now.current,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_with_ports_prefixes_and_brackets() {
        let t = Target::parse("http://127.0.0.1:8080/api/").unwrap();
        assert_eq!((t.host.as_str(), t.prefix.as_str()), ("127.0.0.1:8080", "/api"));
        assert_eq!(t.place, Place::Tcp(vec!["127.0.0.1:8080".parse().unwrap()]));
        let t = Target::parse("http://[::1]:9").unwrap();
        assert_eq!(t.place, Place::Tcp(vec!["[::1]:9".parse().unwrap()]));
        let t = Target::parse("http://127.0.0.1").unwrap();
        assert_eq!(t.place, Place::Tcp(vec!["127.0.0.1:80".parse().unwrap()]));
        assert_eq!(Target::parse("unix:/run/s").unwrap().place, Place::Unix("/run/s".into()));
    }

    #[test]
    fn what_is_no_url_is_refused_with_the_form_expected() {
        for url in ["localhost:80", "https://x", "http://"] {
            let error = Target::parse(url).unwrap_err().to_string();
            assert!(error.contains("write http://HOST:PORT"), "{error}");
        }
    }
}

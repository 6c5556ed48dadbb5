//! A client that knows exactly what it did: raw sockets, its own clock, one line of state a request.
//!
//! It is deliberately not the load client of `probe-lab`: an independent witness, which can also hang
//! up in the middle of an answer.

use std::io;
use std::thread;
use std::time::Duration;

pub(crate) use super::address::Address;
use super::address::Socket;
use super::ask::{Ask, Leave, Seen, Sending};
use super::response::Response;
use super::{clock, patience};

impl Address {
    /// A new connection.
    pub(crate) fn connect(&self) -> io::Result<Connection> {
        Ok(Connection { socket: self.open()? })
    }
}

/// One connection.
pub(crate) struct Connection {
    socket: Box<dyn Socket>,
}

/// Between the bytes of a body that is sent byte by byte, so that they arrive apart.
const BETWEEN_BYTES: Duration = Duration::from_micros(50);
/// What a slow client reads at a time, and how long it rests then.
const SLOW: (usize, Duration) = (200, Duration::from_millis(2));

impl Connection {
    /// Sends one request and reads its answer to the last byte, or hangs up on the way.
    pub(crate) fn ask(&mut self, ask: &Ask) -> io::Result<Seen> {
        self.fetch(ask).map(|(seen, _)| seen)
    }

    /// The same, and what was answered.
    pub(crate) fn fetch(&mut self, ask: &Ask) -> io::Result<(Seen, Response)> {
        let enough = match ask.leave {
            Some(Leave::AfterContents(n)) => Some(n),
            _ => None,
        };
        let answer = self.exchange(ask, enough)?;
        if ask.leave.is_some() {
            self.hang_up();
        }
        Ok(answer)
    }

    /// Sends one request and reads only until so many pieces of content have come; also what was read of the answer.
    pub(crate) fn begin(&mut self, ask: &Ask, contents: usize) -> io::Result<(Seen, Response)> {
        self.exchange(ask, Some(contents))
    }

    fn exchange(&mut self, ask: &Ask, enough: Option<usize>) -> io::Result<(Seen, Response)> {
        let start = clock::now();
        let mut response = Response::default();
        self.send(ask, &mut response)?;
        let mut end = start;
        match ask.leave {
            Some(Leave::InBody(_)) => {}
            Some(Leave::BeforeAnswer(wait)) => thread::sleep(wait),
            Some(Leave::AfterContents(_)) | None => {
                while !response.is_complete() && enough.is_none_or(|n| response.contents < n) {
                    let Some(read) = self.read(ask.slow, &mut response)? else { break };
                    end = read;
                }
            }
        }
        let seen = Seen {
            ask: ask.clone(),
            start,
            first: response.first,
            end,
            status: response.status,
            complete: response.is_complete(),
            keeps: response.keeps,
            prompt_tokens: response.prompt_tokens,
            completion_tokens: response.completion_tokens,
            predicted: response.predicted,
        };
        Ok((seen, response))
    }

    /// Whether the server keeps the connection after all: llama.cpp closes it after a stream though it had
    /// announced otherwise.
    pub(crate) fn stays(&mut self) -> io::Result<bool> {
        self.socket.patience(Duration::from_millis(20))?;
        let read = self.socket.read(&mut [0]);
        self.socket.patience(patience())?;
        Ok(read.is_err_and(|e| e.kind() == io::ErrorKind::WouldBlock))
    }

    /// The request as it is to be sent, or the beginning of it.
    fn send(&mut self, ask: &Ask, response: &mut Response) -> io::Result<()> {
        let (head, mut body) = ask.bytes();
        if let Some(Leave::InBody(part)) = ask.leave {
            body.truncate((body.len() as f64 * part) as usize);
        }
        match ask.sending {
            Sending::Whole => self.socket.write_all(&[head, body].concat()),
            Sending::ByteByByte => {
                self.socket.write_all(&head)?;
                body.iter().try_for_each(|byte| {
                    thread::sleep(BETWEEN_BYTES);
                    self.socket.write_all(&[*byte])
                })
            }
            Sending::Continue => {
                self.socket.write_all(&head)?;
                while !response.continued && response.status.is_none() {
                    if self.read(false, response)?.is_none() {
                        break;
                    }
                }
                self.socket.write_all(&body)
            }
        }
    }

    /// Reads once, and when that was; `None` when the server has closed.
    fn read(&mut self, slow: bool, response: &mut Response) -> io::Result<Option<u64>> {
        let mut buffer = [0; 65536];
        let room = if slow { SLOW.0 } else { buffer.len() };
        let read = match self.socket.read(&mut buffer[..room]) {
            Ok(0) => {
                response.closed();
                return Ok(None);
            }
            Ok(n) => n,
            // The server died: what was seen until then counts.
            Err(e) if e.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
            Err(e) => return Err(e),
        };
        let now = clock::now();
        response.feed(&buffer[..read], now);
        if slow {
            thread::sleep(SLOW.1);
        }
        Ok(Some(now))
    }

    /// Sends bytes as they are; the server may hang up in the middle.
    pub(crate) fn send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.socket.write_all(bytes)
    }

    /// Closes both directions.
    pub(crate) fn hang_up(&self) {
        self.socket.hang_up();
    }

    /// Reads what the server answers, after what was read of it, until it is complete, closes, or nothing comes.
    pub(crate) fn drain(&mut self, mut response: Response) -> Response {
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

//! The client: one thread that keeps every connection busy and counts whole answers.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use serde::Serialize;

use super::{Ask, Error, tried, wire};
use crate::clock::Monotonic;

/// How much each connection asks.
#[derive(Clone, Copy, Debug)]
pub enum Each {
    /// So many requests.
    Requests(u64),
    /// Until the time is over.
    For(Duration),
}

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Connections, all open before the first request.
    pub connections: usize,
    /// How much each asks.
    pub each: Each,
    /// Requests of which kind.
    pub ask: Ask,
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Sum {
    /// Requests that were answered whole. None was sent that was not.
    pub requests: u64,
    /// From the first request to the last answer.
    pub seconds: f64,
    /// Requests in a second.
    pub per_second: f64,
    /// Pieces of content in streams.
    pub events: u64,
}

struct Connection {
    socket: TcpStream,
    /// What was read of an answer.
    buffer: Vec<u8>,
    /// The length of its first answer, which all others have, too; `None` before, and of streams.
    length: Option<usize>,
    asked: u64,
}

/// Floods the server at `address`.
///
/// # Errors
/// When a connection cannot be had or breaks.
pub fn drive(address: SocketAddr, load: &Load) -> Result<Sum, Error> {
    let request = wire::request(load.ask);
    let epoll = tried("epoll", epoll::create(CreateFlags::CLOEXEC).map_err(Into::into))?;
    let mut connections = Vec::with_capacity(load.connections);
    for at in 0..load.connections {
        let socket = tried("connecting", TcpStream::connect(address))?;
        tried("a connection", socket.set_nodelay(true))?;
        tried("a connection", socket.set_nonblocking(true))?;
        let data = EventData::new_u64(at as u64);
        tried("epoll", epoll::add(&epoll, &socket, data, EventFlags::IN).map_err(Into::into))?;
        connections.push(Connection { socket, buffer: Vec::new(), length: None, asked: 0 });
    }
    let begin = Monotonic::now();
    for connection in &mut connections {
        connection.ask(&request)?;
    }
    let (mut busy, mut requests, mut events) = (connections.len(), 0, 0);
    let mut ready = Vec::with_capacity(1024);
    while busy > 0 {
        ready.clear();
        let room = rustix::buffer::spare_capacity(&mut ready);
        match epoll::wait(&epoll, room, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => tried("epoll", Err(error.into()))?,
        }
        let over = matches!(load.each, Each::For(time) if begin.elapsed() >= time);
        for event in &ready {
            let connection = &mut connections[event.data.u64() as usize];
            if !connection.answered(load.ask, &mut events)? {
                continue;
            }
            requests += 1;
            match load.each {
                Each::Requests(n) if connection.asked >= n => busy -= 1,
                Each::For(_) if over => busy -= 1,
                _ => connection.ask(&request)?,
            }
        }
    }
    let seconds = begin.elapsed().as_secs_f64();
    Ok(Sum { requests, seconds, per_second: requests as f64 / seconds, events })
}

impl Connection {
    fn ask(&mut self, request: &[u8]) -> Result<(), Error> {
        self.asked += 1;
        tried("sending a request", self.socket.write_all(request))
    }

    /// Reads once; whether that was the end of an answer.
    fn answered(&mut self, ask: Ask, events: &mut u64) -> Result<bool, Error> {
        const ROOM: usize = 16 << 10;
        let mut bytes = [0; ROOM];
        let n = match self.socket.read(&mut bytes) {
            Ok(0) => return Err(Error::Answer("the server closed a connection")),
            Ok(n) => n,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return tried("reading an answer", Err(error)),
        };
        if self.buffer.is_empty() && self.length == Some(n) {
            return Ok(true);
        }
        self.buffer.extend_from_slice(&bytes[..n]);
        let Some(length) = wire::length(&self.buffer) else { return Ok(false) };
        if length != self.buffer.len() || self.length.is_some_and(|first| first != length) {
            return Err(Error::Answer("an answer is not as long as the first one"));
        }
        if ask == Ask::Stream {
            *events += wire::events(&self.buffer);
        } else {
            self.length = Some(length);
        }
        self.buffer.clear();
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::super::{Serving, serve};
    use super::*;

    /// A server that ends with the tests.
    fn server() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let serving = Serving { events: 5, every: Duration::from_millis(1) };
        thread::spawn(move || serve(&listener, serving));
        address
    }

    #[test]
    fn every_request_of_every_connection_is_answered() {
        let load = Load { connections: 7, each: Each::Requests(3), ask: Ask::Plain };
        let sum = drive(server(), &load).unwrap();
        assert_eq!((sum.requests, sum.events), (21, 0));
    }

    #[test]
    fn every_stream_has_its_events() {
        let load = Load { connections: 9, each: Each::Requests(2), ask: Ask::Stream };
        let sum = drive(server(), &load).unwrap();
        assert_eq!((sum.requests, sum.events), (18, 90));
    }

    #[test]
    fn a_flood_by_time_ends_when_it_is_over() {
        let time = Duration::from_millis(50);
        let load = Load { connections: 2, each: Each::For(time), ask: Ask::Plain };
        let sum = drive(server(), &load).unwrap();
        assert!(sum.seconds >= 0.05 && sum.requests > 10, "{sum:?}");
    }
}

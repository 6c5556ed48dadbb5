//! The server: one thread, the same answer to every request, streams paced by a clock.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::time::Duration;

use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};

use super::{Error, tried, wire};
use crate::clock::Monotonic;

/// The listening socket, among the connections.
const LISTENER: u64 = u64::MAX;
/// Room of a request.
const REQUEST: usize = 4096;

/// What it serves.
#[derive(Clone, Copy, Debug)]
pub struct Serving {
    /// Pieces of content in a stream.
    pub events: u32,
    /// Between two of them.
    pub every: Duration,
}

/// A connection: what was read of a request, and what is to be written of a stream.
struct Connection {
    socket: TcpStream,
    buffer: Vec<u8>,
    /// Pieces of a stream that are left, its end not counted; `None`: no stream.
    left: Option<u32>,
}

/// Bytes that are written, made once.
struct Answers {
    plain: Vec<u8>,
    head: Vec<u8>,
    event: Vec<u8>,
    end: Vec<u8>,
}

/// Serves for ever; `ready` is told when it listens.
///
/// # Errors
/// When a socket cannot be had.
pub fn serve(listener: &TcpListener, serving: Serving) -> Result<(), Error> {
    let answers = Answers {
        plain: wire::plain(),
        head: wire::stream_head(),
        event: wire::stream_event(),
        end: wire::stream_end(),
    };
    tried("listening", rustix::net::listen(listener, 8192).map_err(Into::into))?;
    tried("listening", listener.set_nonblocking(true))?;
    let epoll = tried("epoll", epoll::create(CreateFlags::CLOEXEC).map_err(Into::into))?;
    watch(&epoll, listener, LISTENER)?;
    let mut ready = Vec::with_capacity(1024);
    // By descriptor: the kernel gives the lowest number that is free.
    let mut connections: Vec<Option<Connection>> = Vec::new();
    let mut streams: Vec<usize> = Vec::new();
    let mut paced = Monotonic::now();
    loop {
        ready.clear();
        let patience = (!streams.is_empty()).then(|| pause(serving.every, paced));
        let room = rustix::buffer::spare_capacity(&mut ready);
        match epoll::wait(&epoll, room, patience.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => tried("epoll", Err(error.into()))?,
        }
        for event in &ready {
            if event.data.u64() == LISTENER {
                accept(listener, &epoll, &mut connections)?;
                continue;
            }
            let at = event.data.u64() as usize;
            let Some(connection) = connections.get_mut(at).and_then(Option::as_mut) else {
                continue;
            };
            match connection.turn(&answers, serving.events) {
                Turn::Goes => {}
                Turn::Streams => streams.push(at),
                Turn::Over => connections[at] = None,
            }
        }
        if !streams.is_empty() && paced.elapsed() >= serving.every {
            paced = Monotonic::now();
            streams.retain(|at| match connections.get_mut(*at).and_then(Option::as_mut) {
                Some(connection) => connection.next_event(&answers),
                None => false,
            });
        }
    }
}

/// What became of a connection.
enum Turn {
    Goes,
    Streams,
    Over,
}

impl Connection {
    /// Reads once, and answers if that was the end of a request.
    fn turn(&mut self, answers: &Answers, events: u32) -> Turn {
        let from = self.buffer.len();
        self.buffer.resize(from + REQUEST, 0);
        match self.socket.read(&mut self.buffer[from..]) {
            Ok(0) => return Turn::Over,
            Ok(n) => self.buffer.truncate(from + n),
            Err(error) if error.kind() == ErrorKind::WouldBlock => self.buffer.truncate(from),
            Err(_) => return Turn::Over,
        }
        let Some(length) = wire::length(&self.buffer) else { return Turn::Goes };
        let stream = self.buffer[..length].windows(13).any(|window| window == b"\"stream\":true");
        self.buffer.clear();
        let answer = if stream { &answers.head } else { &answers.plain };
        if self.socket.write_all(answer).is_err() {
            return Turn::Over;
        }
        self.left = stream.then_some(events);
        if stream { Turn::Streams } else { Turn::Goes }
    }

    /// Writes the next piece of a stream, or its end; whether more are to come.
    fn next_event(&mut self, answers: &Answers) -> bool {
        let Some(left) = self.left else { return false };
        let piece = if left == 0 { &answers.end } else { &answers.event };
        self.left = left.checked_sub(1);
        self.socket.write_all(piece).is_ok() && self.left.is_some()
    }
}

fn accept(
    listener: &TcpListener,
    epoll: &impl std::os::fd::AsFd,
    connections: &mut Vec<Option<Connection>>,
) -> Result<(), Error> {
    loop {
        let socket = match listener.accept() {
            Ok((socket, _)) => socket,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return tried("accepting", Err(error)),
        };
        tried("a connection", socket.set_nonblocking(true))?;
        tried("a connection", socket.set_nodelay(true))?;
        let at = socket.as_raw_fd() as usize;
        watch(epoll, &socket, at as u64)?;
        if connections.len() <= at {
            connections.resize_with(at + 1, || None);
        }
        connections[at] = Some(Connection { socket, buffer: Vec::new(), left: None });
    }
}

fn watch(
    epoll: &impl std::os::fd::AsFd,
    socket: &impl std::os::fd::AsFd,
    data: u64,
) -> Result<(), Error> {
    let added = epoll::add(epoll, socket, EventData::new_u64(data), EventFlags::IN);
    tried("epoll", added.map_err(Into::into))
}

/// Until the next pieces of streams are due.
fn pause(every: Duration, paced: Monotonic) -> Timespec {
    let left = every.saturating_sub(paced.elapsed());
    Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: i64::from(left.subsec_nanos()) }
}

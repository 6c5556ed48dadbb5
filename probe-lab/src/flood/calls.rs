//! What single system calls take: one that has nothing to do with sockets, and reads and writes at both ends of a
//! connection, of which a probe that follows the listening socket watches one.
//!
//! Everything is done by the thread that asks, on a connection to itself, so the same code tells what a server pays (asked
//! in a process that is watched) and what a stranger does (in one that is not), on the host and in a guest.

use std::io;
use std::net::{TcpListener, TcpStream};

use rustix::net::{RecvFlags, SendFlags, recv, send};
use serde::{Deserialize, Serialize};

use super::{Error, tried};
use crate::clock::Monotonic;

/// Calls between two looks at the clock; so many messages fit into a socket.
const BATCH: u32 = 64;
/// Looks at the clock.
const BATCHES: usize = 400;
/// A message: as long as a piece of a stream.
const MESSAGE: [u8; 128] = [b'x'; 128];

/// Nanoseconds a call: the median of batches.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calls {
    /// `getppid`, which no probe looks at.
    pub getppid: f64,
    /// `sendto` by who connected.
    pub send: f64,
    /// `recvfrom` by who connected.
    pub recv: f64,
    /// `sendto` by who accepted.
    pub accepted_send: f64,
    /// `recvfrom` by who accepted.
    pub accepted_recv: f64,
}

/// Times them.
///
/// # Errors
/// When a socket fails.
pub fn measure(listener: &TcpListener) -> Result<Calls, Error> {
    let address = tried("a listening socket", listener.local_addr())?;
    let connected = tried("connecting", TcpStream::connect(address))?;
    let (accepted, _) = tried("accepting", listener.accept())?;
    for end in [&connected, &accepted] {
        tried("a connection", end.set_nodelay(true))?;
    }
    let mut times: [Vec<f64>; 5] = Default::default();
    for _ in 0..BATCHES {
        let taken = [
            batch(parent)?,
            batch(|| write(&connected))?,
            batch(|| read(&accepted))?,
            batch(|| write(&accepted))?,
            batch(|| read(&connected))?,
        ];
        for (times, taken) in times.iter_mut().zip(taken) {
            times.push(taken);
        }
    }
    let [getppid, send, accepted_recv, accepted_send, recv] = times.map(median);
    Ok(Calls { getppid, send, recv, accepted_send, accepted_recv })
}

fn parent() -> io::Result<()> {
    rustix::process::getppid().map(|_| ()).ok_or_else(|| io::ErrorKind::NotFound.into())
}

fn write(end: &TcpStream) -> io::Result<()> {
    whole(send(end, &MESSAGE, SendFlags::empty())?)
}

fn read(end: &TcpStream) -> io::Result<()> {
    let mut message = MESSAGE;
    whole(recv(end, &mut message, RecvFlags::WAITALL)?.0)
}

fn whole(n: usize) -> io::Result<()> {
    if n == MESSAGE.len() { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

/// Nanoseconds a call.
fn batch(call: impl Fn() -> io::Result<()>) -> Result<f64, Error> {
    let begin = Monotonic::now();
    for _ in 0..BATCH {
        tried("a call that is timed", call())?;
    }
    Ok(begin.elapsed().as_nanos() as f64 / f64::from(BATCH))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_takes_time_and_one_that_moves_bytes_more() {
        let calls = measure(&TcpListener::bind("127.0.0.1:0").unwrap()).unwrap();
        assert!(calls.getppid > 1.0 && calls.getppid < calls.send, "{calls:?}");
        assert!(calls.recv > 10.0 && calls.accepted_recv > 10.0, "{calls:?}");
    }
}

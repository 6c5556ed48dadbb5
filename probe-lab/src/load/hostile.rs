//! What a server and its observer must survive: bytes that are no HTTP, bodies of 100 MB,
//! thousands of connections at once, requests that trickle.

use std::io::{self, Read, Write};
use std::time::Duration;

use super::client::{Client, Open, Shape};
use super::seen::{End, Kind, Seen};
use super::wire::Target;
use crate::clock::Monotonic;
use crate::rng::Rng;

/// An attack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attack {
    /// So many connections that send random bytes.
    Garbage(u64),
    /// A body of so many megabytes.
    BigBody(usize),
    /// So many connections, opened first and closed then.
    Churn(usize),
    /// A request sent byte by byte, with a pause after each.
    Slow(Duration),
    /// A body that waits for `100 Continue`.
    Continue,
}

/// Runs an attack and reports what it saw, one record for every connection (one in all for
/// [`Attack::Churn`]).
pub fn attack(target: &Target, shape: &Shape, attack: Attack) -> Vec<Seen> {
    let mut client = Client::new(target, shape, 0, 1);
    let (kind, count) = match attack {
        Attack::Garbage(n) => (Kind::Garbage, n),
        Attack::BigBody(_) => (Kind::BigBody, 1),
        Attack::Churn(_) => (Kind::Churn, 1),
        Attack::Slow(_) => (Kind::Slow, 1),
        Attack::Continue => (Kind::Continue, 1),
    };
    (0..count)
        .map(|id| {
            let mut seen = client.blank(id, kind);
            let result = match attack {
                Attack::Garbage(_) => garbage(target, shape.seed, &mut seen),
                Attack::BigBody(megabytes) => big_body(&mut client, megabytes, &mut seen),
                Attack::Churn(n) => churn(target, n, &mut seen),
                Attack::Slow(pause) => slow(&mut client, pause, &mut seen),
                Attack::Continue => wait_for_continue(&mut client, &mut seen),
            };
            if let Err(e) = result {
                seen.end = End::Error;
                seen.end_ns = Monotonic::now().nanos();
                seen.error = Some(e.to_string());
            }
            client.close();
            seen
        })
        .collect()
}

fn garbage(target: &Target, seed: u64, seen: &mut Seen) -> io::Result<()> {
    let mut wire = target.connect()?;
    wire.patience(Duration::from_secs(2))?;
    let mut rng = Rng::new(seed ^ seen.id);
    let bytes: Vec<u8> = (0..8 << 10).flat_map(|_| rng.next_u64().to_le_bytes()).collect();
    seen.start_ns = Monotonic::now().nanos();
    // The server may slam the door at any moment: only one that leaves it open is in error.
    let _ = wire.write_all(&bytes).and_then(|()| wire.finish());
    let mut answer = Vec::new();
    let read = wire.read_to_end(&mut answer);
    seen.bytes = answer.len() as u64;
    seen.end_ns = Monotonic::now().nanos();
    match read {
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
            Err(io::Error::new(io::ErrorKind::TimedOut, "the server kept the connection"))
        }
        _ => Ok(()),
    }
}

fn big_body(client: &mut Client<'_>, megabytes: usize, seen: &mut Seen) -> io::Result<()> {
    let length = megabytes << 20;
    let mut open = open_post(client, seen, &format!("content-length: {length}\r\n"))?;
    let part = vec![b' '; 1 << 20];
    for _ in 0..megabytes {
        // A server may refuse before it has everything, and close: its answer counts.
        if open.wire.write_all(&part).is_err() {
            break;
        }
    }
    client.receive(open, seen)
}

fn churn(target: &Target, n: usize, seen: &mut Seen) -> io::Result<()> {
    seen.start_ns = Monotonic::now().nanos();
    let mut open = Vec::with_capacity(n);
    let mut failure = None;
    for _ in 0..n {
        match target.connect() {
            Ok(wire) => open.push(wire),
            Err(e) => failure = Some(e),
        }
    }
    // How many were open at once.
    seen.content_events = open.len() as u64;
    drop(open);
    seen.end_ns = Monotonic::now().nanos();
    failure.map_or(Ok(()), Err)
}

fn slow(client: &mut Client<'_>, pause: Duration, seen: &mut Seen) -> io::Result<()> {
    let request = client.request(seen.id, Kind::Plain);
    let mut open = client.begin(seen)?;
    for byte in request {
        open.wire.write_all(&[byte])?;
        std::thread::sleep(pause);
    }
    client.receive(open, seen)
}

/// Sends the head of a POST of JSON; `framing` says how its body ends.
fn open_post(client: &mut Client<'_>, seen: &mut Seen, framing: &str) -> io::Result<Open> {
    let framing = format!("content-type: application/json\r\n{framing}");
    let head = client.head(seen.id, "POST", &client.shape.path, &framing);
    let mut open = client.begin(seen)?;
    open.wire.write_all(head.as_bytes())?;
    Ok(open)
}

fn wait_for_continue(client: &mut Client<'_>, seen: &mut Seen) -> io::Result<()> {
    let body = client.body(seen.id, Kind::Plain).to_string();
    let framing = format!("content-length: {}\r\nexpect: 100-continue\r\n", body.len());
    let mut open = open_post(client, seen, &framing)?;
    let interim = open.reader.head(&mut open.wire, true)?;
    if interim.status != 100 {
        seen.status = Some(interim.status);
        return Err(io::Error::other("the server answered without waiting for the body"));
    }
    open.wire.write_all(body.as_bytes())?;
    client.receive(open, seen)
}

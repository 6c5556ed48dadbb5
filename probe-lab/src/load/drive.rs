//! Drives a plan, or a steady load, against a server.

use std::sync::Mutex;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use super::client::{Client, Shape};
use super::plan::{Session, plan};
use super::seen::{Seen, Totals};
use super::wire::Target;
use super::{Error, Kind};
use crate::clock::Monotonic;

/// How to drive a load.
#[derive(Clone, Debug)]
pub struct Options {
    /// What requests look like.
    pub shape: Shape,
    /// Requests of a mix.
    pub requests: usize,
    /// Concurrent connections of the overlapping phase.
    pub overlap: usize,
    /// Requests that the client leaves.
    pub aborts: usize,
    /// Pause after every request.
    pub pause: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { shape: Shape::default(), requests: 60, overlap: 4, aborts: 3, pause: Duration::ZERO }
    }
}

/// Drives a mixed plan: its first half one request at a time, its second half with `overlap`
/// connections at once. `sink` gets every record, in order of completion.
///
/// # Errors
/// When the server cannot be reached at all.
pub fn mix(
    target: &Target,
    options: &Options,
    mut sink: impl FnMut(Seen),
) -> Result<Totals, Error> {
    target.connect().map_err(Error::Unreachable)?;
    let mut sessions = plan(options.requests, options.aborts, options.shape.seed);
    let together = sessions.split_off(sessions.len() / 2);
    let workers = options.overlap.max(1);
    let of = workers as u64 + 1;
    let mut totals = Totals::default();
    let mut note = |seen: Seen| {
        totals.add(&seen);
        sink(seen);
    };

    let mut client = Client::new(target, &options.shape, 0, of);
    for session in sessions {
        run(&mut client, &session, options.pause, &mut note);
    }

    let queue = Mutex::new(together.into_iter());
    let (records, seen) = channel();
    std::thread::scope(|scope| {
        for worker in 1..=workers {
            let (queue, records) = (&queue, records.clone());
            scope.spawn(move || {
                let mut client = Client::new(target, &options.shape, worker as u64, of);
                while let Some(session) = next(queue) {
                    run(&mut client, &session, options.pause, &mut |seen| send(&records, seen));
                }
            });
        }
        drop(records);
        seen.iter().for_each(&mut note);
    });
    Ok(totals)
}

/// How long a load goes on.
#[derive(Debug, Clone, Copy)]
pub enum Until {
    /// For so long.
    Elapsed(Duration),
    /// For so many requests in all: the same ones, however many are sent at a time.
    Requests(u64),
}

/// Keeps `overlap` connections busy, three requests of four streamed and one plain.
///
/// # Errors
/// When the server cannot be reached at all.
pub fn sustain(
    target: &Target,
    options: &Options,
    until: Until,
    mut sink: impl FnMut(Seen),
) -> Result<Totals, Error> {
    target.connect().map_err(Error::Unreachable)?;
    let begin = Monotonic::now();
    let workers = options.overlap.max(1) as u64;
    let (records, seen) = channel();
    let mut totals = Totals::default();
    std::thread::scope(|scope| {
        for worker in 0..workers {
            let records = records.clone();
            scope.spawn(move || {
                let mut client = Client::new(target, &options.shape, worker, workers);
                let mut id = worker;
                loop {
                    let turn = match until {
                        Until::Elapsed(duration) if begin.elapsed() < duration => id / workers,
                        Until::Requests(most) if id < most => id,
                        _ => break,
                    };
                    let kind = if turn % 4 == 3 { Kind::Plain } else { Kind::Stream };
                    let seen = client.send(id, kind);
                    // A server that is gone must not turn this into a busy loop.
                    let failed = seen.status.is_none();
                    send(&records, seen);
                    std::thread::sleep(if failed {
                        options.pause.max(Duration::from_millis(100))
                    } else {
                        options.pause
                    });
                    id += workers;
                }
            });
        }
        drop(records);
        for seen in seen {
            totals.add(&seen);
            sink(seen);
        }
    });
    Ok(totals)
}

/// One connection from its first request to its last.
fn run(client: &mut Client<'_>, session: &Session, pause: Duration, note: &mut impl FnMut(Seen)) {
    for step in session {
        note(client.send(step.id, step.kind));
        if !pause.is_zero() {
            std::thread::sleep(pause);
        }
    }
    client.close();
}

fn next(queue: &Mutex<std::vec::IntoIter<Session>>) -> Option<Session> {
    // A poisoned queue means that another worker panicked; the scope reports that.
    queue.lock().ok()?.next()
}

fn send(records: &Sender<Seen>, seen: Seen) {
    // The receiver outlives the workers.
    let _ = records.send(seen);
}

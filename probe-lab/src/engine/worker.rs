//! The engine process: jobs come in over a socket, what they report goes back.

use std::collections::HashMap;
use std::io;
use std::os::unix::net::UnixStream as Pair;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

use super::wire::{Ask, Said, line};
use super::{Engine, Event};

/// Computes for whoever holds the other end of `socket`, until it closes.
///
/// # Errors
/// When the socket breaks.
pub async fn work(socket: Pair, engine: Engine) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    let (read, mut write) = UnixStream::from_std(socket)?.into_split();
    let (says, mut said) = unbounded_channel::<Said>();
    tokio::spawn(async move {
        while let Some(said) = said.recv().await {
            if write.write_all(&line(&said)).await.is_err() {
                return;
            }
        }
    });
    let mut open: HashMap<u64, oneshot::Sender<()>> = HashMap::new();
    let mut lines = BufReader::new(read).lines();
    while let Some(text) = lines.next_line().await? {
        match serde_json::from_str(&text).map_err(io::Error::other)? {
            Ask::Job(id, work) => {
                let (events, receiver) = unbounded_channel();
                let (stay, left) = oneshot::channel();
                engine.submit(work.into_job(events));
                open.insert(id, stay);
                tokio::spawn(report(id, receiver, left, says.clone()));
            }
            // With this its task ends, and with that the engine sees that nobody listens.
            Ask::Leave(id) => drop(open.remove(&id)),
            Ask::Totals => drop(says.send(Said::Totals(engine.totals()))),
        }
    }
    Ok(())
}

/// Passes on what a job reports while somebody listens.
async fn report(
    id: u64,
    mut events: UnboundedReceiver<Event>,
    mut left: oneshot::Receiver<()>,
    says: UnboundedSender<Said>,
) {
    loop {
        tokio::select! {
            _ = &mut left => return,
            event = events.recv() => match event {
                Some(event) => drop(says.send(Said::Event(id, event))),
                None => return,
            },
        }
    }
}

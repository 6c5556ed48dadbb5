//! An engine that runs in a process of its own, as the API process sees it.
//!
//! As in vLLM: whoever holds the clients' sockets computes nothing, and whoever computes has no socket of
//! a client. Between them is a pair of unix sockets that nobody listens on.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::unix::net::UnixStream as Pair;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

use super::wire::{Ask, Said, Work, line};
use super::{Event, Job, Totals};
use crate::model::Model;

/// The other process.
pub struct Remote {
    model: Arc<Model>,
    asks: UnboundedSender<Ask>,
    waiting: Arc<Mutex<Waiting>>,
    jobs: AtomicU64,
}

/// Who waits for what.
#[derive(Default)]
struct Waiting {
    jobs: HashMap<u64, UnboundedSender<Event>>,
    totals: VecDeque<oneshot::Sender<Totals>>,
}

impl Remote {
    /// Speaks to the engine at the other end of `socket`. The model is the engine's own: here it only
    /// tells words from tokens. Must be called inside a runtime.
    ///
    /// # Errors
    /// When the runtime cannot take the socket.
    pub fn new(model: Model, socket: Pair) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let (read, write) = UnixStream::from_std(socket)?.into_split();
        let waiting = Arc::new(Mutex::new(Waiting::default()));
        let (asks, asked) = unbounded_channel();
        tokio::spawn(send(write, asked));
        tokio::spawn(receive(read, waiting.clone()));
        Ok(Self { model: Arc::new(model), asks, waiting, jobs: AtomicU64::new(0) })
    }

    /// Queues a job. If the engine is gone, the job's receiver sees its channel close.
    pub fn submit(&self, job: Job) {
        let id = self.jobs.fetch_add(1, Ordering::Relaxed);
        let work = Work::of(&job);
        let listener = job.events.clone();
        locked(&self.waiting).jobs.insert(id, job.events);
        let _ = self.asks.send(Ask::Job(id, work));
        let (asks, waiting) = (self.asks.clone(), self.waiting.clone());
        tokio::spawn(async move {
            listener.closed().await;
            locked(&waiting).jobs.remove(&id);
            let _ = asks.send(Ask::Leave(id));
        });
    }

    /// What has been computed since the start; `None` when the engine is gone.
    pub async fn totals(&self) -> Option<Totals> {
        let (sender, totals) = oneshot::channel();
        locked(&self.waiting).totals.push_back(sender);
        self.asks.send(Ask::Totals).ok()?;
        totals.await.ok()
    }

    /// The model.
    #[must_use]
    pub fn model(&self) -> &Model {
        &self.model
    }
}

fn locked(waiting: &Mutex<Waiting>) -> MutexGuard<'_, Waiting> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn send(mut socket: OwnedWriteHalf, mut asked: UnboundedReceiver<Ask>) {
    while let Some(ask) = asked.recv().await {
        if socket.write_all(&line(&ask)).await.is_err() {
            return;
        }
    }
}

async fn receive(socket: OwnedReadHalf, waiting: Arc<Mutex<Waiting>>) {
    let mut lines = BufReader::new(socket).lines();
    while let Ok(Some(text)) = lines.next_line().await {
        let Ok(said) = serde_json::from_str(&text) else { break };
        let mut waiting = locked(&waiting);
        match said {
            Said::Event(id, event) => {
                let over = matches!(event, Event::Done(_) | Event::Failed(_));
                if let Some(job) = waiting.jobs.get(&id) {
                    // Whoever hung up is forgotten by the task that watches for it.
                    let _ = job.send(event);
                }
                if over {
                    waiting.jobs.remove(&id);
                }
            }
            Said::Totals(totals) => {
                let _ = waiting.totals.pop_front().map(|sender| sender.send(totals));
            }
        }
    }
    // The engine is gone: every channel closes.
    *locked(&waiting) = Waiting::default();
}

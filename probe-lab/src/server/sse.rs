//! An answer as server-sent events.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use serde_json::Value;
use tokio::sync::mpsc::UnboundedReceiver;

use super::answer::{self, Answer};
use crate::engine::Event;

/// The events of one answer, as the body of a response. Dropping it (the client hung up) drops the
/// receiver, which is how the engine learns.
pub(super) struct Events {
    answer: Answer,
    include_usage: bool,
    /// Events to send before looking at the engine again.
    ready: VecDeque<String>,
    engine: Option<UnboundedReceiver<Event>>,
}

impl Events {
    /// A stream whose job has just taken its slot.
    pub(super) fn new(
        answer: Answer,
        include_usage: bool,
        engine: UnboundedReceiver<Event>,
    ) -> Self {
        let ready = answer.role().iter().map(data).collect();
        Self { answer, include_usage, ready, engine: Some(engine) }
    }

    fn take(&mut self, event: Option<Event>) {
        match event {
            Some(Event::Started) => {}
            Some(Event::Text(text)) => self.ready.push_back(data(&self.answer.text(&text))),
            Some(Event::Done(outcome)) => {
                self.ready.push_back(data(&self.answer.last(&outcome)));
                if self.include_usage {
                    self.ready.push_back(data(&self.answer.usage(&outcome)));
                }
                self.ready.push_back("data: [DONE]\n\n".into());
                self.engine = None;
            }
            Some(Event::Failed(why)) => {
                self.ready.push_back(data(&answer::error(500, &why)));
                self.engine = None;
            }
            None => {
                self.ready.push_back(data(&answer::error(503, "the server is shutting down")));
                self.engine = None;
            }
        }
    }
}

fn data(body: &Value) -> String {
    format!("data: {body}\n\n")
}

impl Stream for Events {
    type Item = Result<String, Infallible>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            if let Some(event) = this.ready.pop_front() {
                return Poll::Ready(Some(Ok(event)));
            }
            let Some(engine) = &mut this.engine else { return Poll::Ready(None) };
            let event = ready!(engine.poll_recv(cx));
            this.take(event);
        }
    }
}

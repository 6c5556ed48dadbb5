//! The responses of one connection, as the server writes them.

mod loss;

use super::{
    call::Call,
    content::{Content, ContentKind},
    flags::Flag,
    framing::Framing,
    head::{self, ResponseHead, torn},
    head_text::{HeadState, HeadText},
    output::{Moment, NotUnderstood},
    pieces::Pieces,
    queue::Queue,
    sniff,
};
use crate::record::End;

/// How the client left, if it did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Gone {
    /// It will send no more. It may still read.
    pub(super) eof: bool,
    /// The connection failed.
    pub(super) error: bool,
}

impl Gone {
    fn any(self) -> bool {
        self.eof || self.error
    }
}

#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "it lives in the one box a request's state has")]
enum State {
    /// Out of step: until a write begins with a response.
    Seek,
    /// Between responses, or in a head.
    Head(HeadText),
    /// Between responses, behind this many bytes that were not seen, for this reason.
    AfterLoss(u64, Flag),
    Body(Body),
    /// A head without a body was written to a client that had left.
    Dead,
    /// The same, where content was due and the client may have left unnoticed: the server's own check
    /// peeks, which is not seen. Whether it was an answer shows in what comes next.
    Empty(Moment),
}

#[derive(Debug)]
struct Body {
    framing: Framing,
    content: Content,
    /// It answers the front request.
    owned: bool,
    /// The client had left before the head was written.
    gone_before: bool,
    /// Any byte of it was written.
    any: bool,
    /// The next content begins a chunk behind missing bytes.
    realign: bool,
    /// The framing is lost, but not the length: with so many bytes more all of it may have come.
    least: Option<u64>,
}

/// Where the writing side stands.
#[derive(Debug)]
pub(super) struct Reply {
    state: State,
    /// The last write.
    last_write: Moment,
    /// Records of writes were lost: where a response should begin, one before it may go on.
    lossy: bool,
}

impl Reply {
    /// At the beginning of a connection (`seek`: of one found open).
    pub(super) fn new(now: Moment, seek: bool) -> Self {
        let state = if seek { State::Seek } else { State::Head(HeadText::new()) };
        Self { state, last_write: now, lossy: false }
    }

    pub(super) fn is_quiet(&self) -> bool {
        match &self.state {
            State::Seek => true,
            State::Head(text) => text.is_empty(),
            _ => false,
        }
    }

    pub(super) fn is_seeking(&self) -> bool {
        matches!(self.state, State::Seek)
    }

    /// Whether the end of the response being written can no longer be seen by its framing.
    pub(super) fn is_lost(&self) -> bool {
        matches!(&self.state, State::Body(body) if body.owned && body.framing.is_lost())
    }

    /// Handles one write.
    pub(super) fn call(
        &mut self,
        pieces: &Pieces<'_>,
        gone: Gone,
        queue: &mut Queue,
        call: &mut Call<'_>,
    ) -> Result<(), NotUnderstood> {
        self.settle_empty(queue, call);
        if pieces.lost > 0 {
            self.lossy = true;
            self.missing(pieces.lost, Flag::LostRecords, queue, call);
        }
        self.begin_call(pieces, queue, call);
        self.bytes(pieces.head, gone, queue, call)?;
        let mut tail = pieces.tail;
        if pieces.gap > 0 {
            match self.head_around_gap(pieces, gone, queue, call)? {
                Some(used) => tail = &tail[used..],
                None => self.missing(pieces.gap, Flag::GapInFraming, queue, call),
            }
        }
        self.bytes(tail, gone, queue, call)?;
        self.end_call(queue, call);
        self.last_write = call.now;
        Ok(())
    }

    fn bytes(
        &mut self,
        mut bytes: &[u8],
        gone: Gone,
        queue: &mut Queue,
        call: &mut Call<'_>,
    ) -> Result<(), NotUnderstood> {
        while !bytes.is_empty() {
            let used = match &mut self.state {
                State::Seek | State::Dead | State::Empty(_) => return Ok(()),
                State::AfterLoss(n, why) => {
                    let (n, why) = (*n, *why);
                    self.go_on_unseen(n, why, queue, call);
                    0
                }
                State::Head(_) => self.head_bytes(bytes, gone, queue, call)?,
                State::Body(_) => self.body_bytes(bytes, queue, call),
            };
            bytes = &bytes[used..];
        }
        Ok(())
    }

    fn head_bytes(
        &mut self,
        bytes: &[u8],
        gone: Gone,
        queue: &mut Queue,
        call: &mut Call<'_>,
    ) -> Result<usize, NotUnderstood> {
        let State::Head(text) = &mut self.state else {
            return Ok(0);
        };
        let pushed = text.push(bytes);
        let used = pushed.used;
        if !sniff::response(pushed.text) {
            if queue.is_empty() {
                call.stats.orphan_writes += 1;
                // Behind a loss they answer a request that was not seen, and so may what is lost behind them.
                self.state = if self.lossy { State::Seek } else { State::Head(HeadText::new()) };
                return Ok(bytes.len());
            }
            if self.lossy {
                self.lose_head(Some(Flag::LostRecords), queue);
                return Ok(0);
            }
            queue.flag_all(Flag::MalformedHead);
            return Err(NotUnderstood::Garbage);
        }
        if let Some(exchange) = queue.front() {
            exchange.facts.bytes_out += used as u64;
        }
        let parsed = match pushed.state {
            HeadState::Partial => return Ok(used),
            HeadState::Complete => head::response(pushed.text).map_err(|_| Flag::MalformedHead),
            HeadState::TooLong => torn::response_beginning(pushed.text)
                .map(|(head, _)| head)
                .map_err(|_| Flag::HeadTooLong),
        };
        match parsed {
            Ok(head) => {
                if pushed.state == HeadState::TooLong
                    && let Some(exchange) = queue.front()
                {
                    exchange.flag(Flag::HeadTooLong);
                }
                self.head_read(&head, used, gone, queue, call)?;
            }
            Err(flag) => self.lose_head(Some(flag), queue),
        }
        Ok(used)
    }

    /// A complete head was written.
    fn head_read(
        &mut self,
        head: &ResponseHead,
        len: usize,
        gone: Gone,
        queue: &mut Queue,
        call: &mut Call<'_>,
    ) -> Result<(), NotUnderstood> {
        self.state = State::Head(HeadText::new());
        if (100..200).contains(&head.status) && head.status != 101 {
            return Ok(());
        }
        let mut owned = true;
        if queue.is_empty() {
            // Servers say 400 or 408 to idle clients; any other response had a request.
            owned = !matches!(head.status, 400 | 408);
            if owned {
                let exchange = queue.begin(call.now, call)?;
                exchange.flag(Flag::RequestNotSeen);
                exchange.facts.bytes_out += len as u64;
            }
        }
        let mut framing = head.framing;
        if owned && let Some(exchange) = queue.front() {
            exchange.head_written(head, call);
            let method = exchange.facts.method.as_deref();
            let success = (200..300).contains(&head.status);
            if head.status == 101 || (method == Some("CONNECT") && success) {
                exchange.flag(Flag::Upgraded);
                let kind = if head.status == 101 { head.upgrade } else { NotUnderstood::Tunnel };
                queue.finish_front(End::Complete, call.now, call);
                return Err(kind);
            }
            if method == Some("HEAD") || matches!(head.status, 204 | 304) {
                framing = Framing::EMPTY;
            } else if framing == Framing::EMPTY && success && gone.any() {
                self.state = State::Dead;
                return Ok(());
            } else if framing == Framing::EMPTY && success && exchange.wants_content() {
                self.state = State::Empty(call.now);
                return Ok(());
            }
            if framing == Framing::EMPTY {
                queue.finish_front(End::Complete, call.now, call);
                return Ok(());
            }
            if head.compressed {
                exchange.flag(Flag::CompressedBody);
            }
        }
        if framing != Framing::EMPTY {
            let kind = if head.compressed { ContentKind::Opaque } else { head.kind };
            self.state = State::Body(Body::new(framing, kind, owned, gone));
        }
        Ok(())
    }

    fn body_bytes(&mut self, bytes: &[u8], queue: &mut Queue, call: &mut Call<'_>) -> usize {
        let State::Body(body) = &mut self.state else {
            return 0;
        };
        let step = body.framing.step(bytes);
        if let Some(least) = &mut body.least {
            *least = least.saturating_sub(step.used as u64);
        }
        let content = &bytes[step.content];
        if !content.is_empty() {
            body.any = true;
            if std::mem::take(&mut body.realign) {
                body.content.realign(content);
            }
            body.content.push(content);
        }
        if body.owned
            && let Some(exchange) = queue.front()
        {
            exchange.facts.bytes_out += step.used as u64;
            if step.malformed {
                exchange.flag(Flag::MalformedChunk);
            }
        }
        if step.end {
            self.finish(End::Complete, call.now, queue, call);
        }
        step.used
    }

    fn end_call(&mut self, queue: &mut Queue, call: &mut Call<'_>) {
        let State::Body(body) = &mut self.state else {
            return;
        };
        if body.framing.ended_lately() || body.least == Some(0) {
            self.finish(End::Complete, call.now, queue, call);
        } else if body.owned
            && let Some(exchange) = queue.front()
        {
            exchange.content_written(&mut body.content, call.now, call);
        }
    }

    /// The response being written is over; the next one may follow.
    fn finish(&mut self, outcome: End, at: Moment, queue: &mut Queue, call: &mut Call<'_>) {
        let state = std::mem::replace(&mut self.state, State::Head(HeadText::new()));
        if let State::Body(mut body) = state {
            if !body.owned {
                return;
            }
            if let Some(exchange) = queue.front() {
                exchange.content_written(&mut body.content, at, call);
                exchange.answered(&mut body.content);
            }
        }
        queue.finish_front(outcome, at, call);
    }

    /// The connection goes on behind a response without a body: it was one.
    fn settle_empty(&mut self, queue: &mut Queue, call: &mut Call<'_>) {
        if let State::Empty(at) = self.state {
            self.finish(End::Complete, at, queue, call);
        }
    }

    /// The connection is over: closes every open request, the front one as `outcome` says.
    pub(super) fn close(
        &mut self,
        outcome: Option<End>,
        gone: Gone,
        queue: &mut Queue,
        call: &mut Call<'_>,
    ) {
        if gone.error {
            queue.flag_all(Flag::ConnectionReset);
        }
        match &self.state {
            State::Body(body) if !body.owned => self.state = State::Dead,
            // The connection did not end with it, so it was an answer.
            State::Empty(_) if outcome.is_some() => self.settle_empty(queue, call),
            State::AfterLoss(n, why) => self.close_unseen(*n, *why, outcome, gone, queue, call),
            _ => {}
        }
        if outcome.is_none() && self.close_ends_it(gone) {
            self.finish(End::Complete, self.last_write, queue, call);
        }
        while !queue.is_empty() {
            self.finish(outcome.unwrap_or(End::Aborted), call.now, queue, call);
        }
    }

    /// Whether the server's close is the regular end of the response being written.
    fn close_ends_it(&self, gone: Gone) -> bool {
        let State::Body(body) = &self.state else {
            return false;
        };
        match body.framing {
            Framing::UntilClose => {
                !gone.error
                    && (!gone.eof || body.content.said_done() || (body.gone_before && body.any))
            }
            Framing::Lost(_) => !gone.error && (!gone.eof || body.content.said_done()),
            Framing::Length(_) | Framing::Chunked(_) => false,
        }
    }

    /// Heap bytes held.
    pub(super) fn retained(&self) -> usize {
        match &self.state {
            State::Head(text) => text.retained(),
            State::Body(body) => body.content.retained(),
            State::Seek | State::AfterLoss(..) | State::Dead | State::Empty(_) => 0,
        }
    }
}

impl Body {
    fn new(framing: Framing, kind: ContentKind, owned: bool, gone: Gone) -> Self {
        Self {
            framing,
            content: Content::new(kind),
            owned,
            gone_before: gone.any(),
            any: false,
            realign: false,
            least: None,
        }
    }
}

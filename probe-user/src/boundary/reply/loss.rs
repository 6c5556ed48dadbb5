//! What a side of writes does about bytes that were not seen: lost records and capture gaps.
//!
//! The one danger is to take one request's response for another's, and to stay wrong from then on. What
//! protects from it: a client that does not pipeline sends a request only when it has all earlier
//! answers. So what is written behind a loss answers the last request that came by itself.

use super::{Body, Reply, State};
use crate::{
    boundary::{
        content::ContentKind,
        exchange::{Call, Exchange},
        flags::Flag,
        framing::{Framing, Skip},
        head,
        head_text::HeadText,
        output::Moment,
        pieces::Pieces,
        queue::Queue,
        reply::Gone,
        sniff,
    },
    record::End,
};

impl Reply {
    /// Finds the place in the stream where a write begins, if it is not known.
    pub(super) fn begin_call(
        &mut self,
        pieces: &Pieces<'_>,
        queue: &mut Queue,
        call: &mut Call<'_>,
    ) {
        let head = pieces.head;
        let response = sniff::surely_response(head);
        match &mut self.state {
            State::Seek if !queue.is_empty() && head.len() >= 5 && sniff::response(head) => {
                queue.answered_unseen(Flag::LostRecords, self.last_write, call);
                self.state = State::Head(HeadText::new());
            }
            State::AfterLoss(n, why) if response => {
                // The request behind the front one is answered now: the front one was answered unseen.
                // With one request only, what was not seen belongs to one that was not seen either.
                let (n, why) = (*n, *why);
                if n > 0 && queue.len() > 1 {
                    count_missing(queue.front(), n, why);
                    queue.finish_front(End::Complete, self.last_write, call);
                    queue.answered_unseen(why, self.last_write, call);
                }
                self.state = State::Head(HeadText::new());
            }
            State::Body(body) if body.framing.is_lost() && response => {
                self.finish(End::Complete, self.last_write, queue, call);
                queue.answered_unseen(Flag::LostRecords, self.last_write, call);
            }
            State::Body(body) => body.realign = body.framing.resume(head, pieces.len()),
            _ => {}
        }
    }

    /// The front response's end is among the bytes that were lost, and later requests came since: what
    /// is written from here on answers the last of them.
    fn give_way(&mut self, queue: &mut Queue, call: &mut Call<'_>) {
        self.finish(End::Complete, self.last_write, queue, call);
        queue.answered_unseen(Flag::LostRecords, self.last_write, call);
        self.state = State::AfterLoss(0, Flag::LostRecords);
    }

    /// Behind `n` bytes that were not seen, no response begins: it is in the middle of one.
    pub(super) fn go_on_unseen(
        &mut self,
        n: u64,
        why: Flag,
        queue: &mut Queue,
        call: &mut Call<'_>,
    ) {
        count_missing(queue.front(), n, why);
        if why == Flag::LostRecords {
            queue.answered_unseen(why, self.last_write, call);
            queue.flag_front(why);
        }
        self.lose_head(None, queue);
    }

    /// The head cannot be read: what follows belongs to the front request as long as nothing else is
    /// known.
    pub(super) fn lose_head(&mut self, why: Option<Flag>, queue: &mut Queue) {
        let Some(exchange) = queue.front() else {
            self.state = State::Seek;
            return;
        };
        if let Some(why) = why {
            exchange.flag(why);
        }
        exchange.flag(Flag::GapInFraming);
        let streams = exchange.facts.stream == Some(true);
        let kind = if streams { ContentKind::Events } else { ContentKind::Json };
        let mut content = Body::new(Framing::lost(), kind, true, Gone::default());
        content.content.missing();
        self.state = State::Body(content);
    }

    /// `n` bytes were not seen: `why` is [`Flag::LostRecords`], or [`Flag::GapInFraming`] which is
    /// raised only if they hide framing.
    pub(super) fn missing(&mut self, n: u64, why: Flag, queue: &mut Queue, call: &mut Call<'_>) {
        let lost = why == Flag::LostRecords;
        match &mut self.state {
            State::Seek | State::Empty(_) => {}
            State::Dead => count_missing(queue.front(), n, why),
            State::AfterLoss(earlier, _) => *earlier += n,
            State::Head(text) if text.is_empty() => {
                if !queue.is_empty() {
                    self.state = State::AfterLoss(n, why);
                }
            }
            State::Head(_) if lost && queue.has_unglued() => {
                count_missing(queue.front(), n, why);
                self.give_way(queue, call);
            }
            State::Head(text) => {
                let beginning = head::response_beginning(text.text());
                count_missing(queue.front(), n, why);
                self.lose_head(None, queue);
                if let (Ok(head), Some(exchange)) = (beginning, queue.front()) {
                    exchange.head_written(&head, call);
                    let kind = if head.compressed { ContentKind::Opaque } else { head.kind };
                    let mut body = Body::new(Framing::lost(), kind, true, Gone::default());
                    body.content.missing();
                    self.state = State::Body(body);
                }
            }
            State::Body(body) => {
                body.any = true;
                body.content.missing();
                let skipped = body.framing.skip(n);
                let over = if let Skip::End(over) = skipped { over } else { 0 };
                if body.owned
                    && let Some(exchange) = queue.front()
                {
                    exchange.facts.bytes_out += n - over;
                    if lost {
                        exchange.flag(Flag::LostRecords);
                    }
                    if skipped == Skip::Lost {
                        exchange.flag(Flag::GapInFraming);
                    }
                }
                if skipped == Skip::Lost && lost && body.owned && queue.has_unglued() {
                    self.give_way(queue, call);
                } else if matches!(skipped, Skip::End(_)) {
                    let at = if lost { self.last_write } else { call.now };
                    self.finish(End::Complete, at, queue, call);
                    if over > 0 && !queue.is_empty() {
                        self.state = State::AfterLoss(over, why);
                    }
                }
            }
        }
    }

    /// A new request begins, first read at `began`: a response whose end could not be seen has ended
    /// before, unless the client surely pipelines.
    pub(in crate::boundary) fn superseded(
        &mut self,
        began: Moment,
        queue: &mut Queue,
        call: &mut Call<'_>,
    ) {
        self.settle_empty(queue, call);
        if self.is_lost() && !queue.would_glue(began) {
            self.finish(End::Complete, self.last_write, queue, call);
        }
    }
}

fn count_missing(exchange: Option<&mut Exchange>, n: u64, why: Flag) {
    if let Some(exchange) = exchange {
        exchange.facts.bytes_out += n;
        exchange.flag(why);
    }
}

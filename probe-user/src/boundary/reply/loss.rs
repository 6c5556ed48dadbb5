//! What a side of writes does about bytes that were not seen: lost records and capture gaps.
//!
//! The one danger is to take one request's response for another's, and to stay wrong from then on. What
//! protects from it: a client that does not pipeline sends a request only when it has all earlier
//! answers. So what is written behind a loss answers the last request that came by itself.

use super::{Body, Reply, State};
use crate::{
    boundary::{
        call::Call,
        content::ContentKind,
        exchange::Exchange,
        flags::Flag,
        framing::{Framing, Skip},
        head::torn,
        head_text::HeadText,
        output::{Moment, NotUnderstood},
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
                // With one request only, what was not seen belongs to one before it that was not seen
                // either; if there was none, to itself.
                let (n, why) = (*n, *why);
                if n > 0 && queue.len() > 1 {
                    count_missing(queue.front(), n, why);
                    queue.finish_front(End::Complete, self.last_write, call);
                    queue.answered_unseen(why, self.last_write, call);
                } else if n > 0 {
                    count_missing(queue.front().filter(|e| !e.found), n, why);
                }
                self.state = State::Head(HeadText::new());
            }
            State::Body(body) if body.framing.is_lost() && response => {
                self.finish(End::Complete, self.last_write, queue, call);
                queue.answered_unseen(Flag::LostRecords, self.last_write, call);
            }
            // Requests came unseen, so it may have answered another one: a `HEAD`, say. Or its beginning did, whose length is then
            // none, and what was counted as its body were answers of which something was lost.
            State::Body(_)
                if response && (queue.has_found() || (self.lossy && queue.has_unglued())) =>
            {
                self.finish(End::Complete, self.last_write, queue, call);
                queue.answered_unseen(Flag::LostRecords, self.last_write, call);
            }
            // The body is over although its head says otherwise: nothing of it was written, so it answered a
            // `HEAD` that was not seen by then; or only the close would end it, and another request waits.
            State::Body(body)
                if response
                    && ((!body.any && queue.front_may_be_head())
                        || (body.framing == Framing::UntilClose && queue.len() > 1)) =>
            {
                self.finish(End::Complete, self.last_write, queue, call);
            }
            State::Body(body) => body.realign = body.framing.resume(head, pieces.len()),
            _ => {}
        }
    }

    /// The front response's end is among the bytes that were lost, or it answered another request, since
    /// later ones came: what is written from here on answers the last of them.
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

    /// The connection is over, and the last thing written on it was not seen, `n` bytes behind those that the answer
    /// before had: where the server ended it and the client had not left, they were the answers of all requests. When, nobody
    /// knows: they end where the last thing was seen, which is too early.
    pub(super) fn close_unseen(
        &mut self,
        n: u64,
        why: Flag,
        outcome: Option<End>,
        gone: Gone,
        queue: &mut Queue,
        call: &mut Call<'_>,
    ) {
        count_missing(queue.front(), n, why);
        queue.flag_all(why);
        if outcome.is_none() && gone == Gone::default() {
            while !queue.is_empty() {
                queue.finish_front(End::Complete, self.last_write, call);
            }
        }
    }

    /// A head whose middle was not captured ends in the call's last bytes, and its lines that were say how the body is
    /// delimited: reads it as far as it was seen. Returns how many of the last bytes are of it.
    pub(super) fn head_around_gap(
        &mut self,
        pieces: &Pieces<'_>,
        gone: Gone,
        queue: &mut Queue,
        call: &mut Call<'_>,
    ) -> Result<Option<usize>, NotUnderstood> {
        let State::Head(text) = &self.state else { return Ok(None) };
        let Some((head, used)) = torn::response_around(text.text(), pieces.tail) else {
            return Ok(None);
        };
        let len = pieces.gap + used as u64;
        if let Some(exchange) = queue.front() {
            exchange.facts.bytes_out += len;
        }
        let all = text.text().len() + usize::try_from(len).unwrap_or(usize::MAX);
        self.head_read(&head, all, gone, queue, call)?;
        Ok(Some(used))
    }

    /// `n` bytes were not seen: `why` is [`Flag::LostRecords`], or [`Flag::GapInFraming`] which is
    /// raised only if they hide framing.
    pub(in crate::boundary) fn missing(
        &mut self,
        n: u64,
        why: Flag,
        queue: &mut Queue,
        call: &mut Call<'_>,
    ) {
        let lost = why == Flag::LostRecords;
        match &mut self.state {
            // A request was read since, so that it may be its answer that lost its beginning.
            State::Seek if lost && !queue.is_empty() => self.state = State::AfterLoss(n, why),
            State::Seek => {}
            State::Empty(_) => {
                self.settle_empty(queue, call);
                self.missing(n, why, queue, call);
            }
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
                let beginning = torn::response_beginning(text.text());
                count_missing(queue.front(), n, why);
                self.lose_head(None, queue);
                if let (Ok((head, length)), Some(exchange)) = (beginning, queue.front()) {
                    exchange.head_written(&head, call);
                    if head.compressed {
                        exchange.flag(Flag::CompressedBody);
                    }
                    let kind = if head.compressed { ContentKind::Opaque } else { head.kind };
                    let mut body = Body::new(Framing::lost(), kind, true, Gone::default());
                    body.content.missing();
                    // A head and its body are mostly written together.
                    body.least = length.filter(|_| !lost).map(|length| length.saturating_sub(n));
                    self.state = State::Body(body);
                }
            }
            State::Body(body) => {
                let no_body = !std::mem::replace(&mut body.any, true) && queue.front_may_be_head();
                body.content.missing();
                let skipped = body.framing.skip(n);
                let beyond = if let Skip::End(beyond) = skipped { beyond } else { 0 };
                if body.owned
                    && let Some(exchange) = queue.front()
                {
                    exchange.facts.bytes_out += n - beyond;
                    if lost {
                        exchange.flag(Flag::LostRecords);
                        exchange.pace.lost();
                    }
                    if skipped == Skip::Lost {
                        exchange.flag(Flag::GapInFraming);
                    }
                }
                let over = match skipped {
                    // It may never have had a body: then what was lost is of later answers.
                    _ if no_body => queue.has_unglued(),
                    Skip::Lost => queue.has_unglued(),
                    // Nobody asks for more behind what only the close would end: it was over, and more was answered.
                    Skip::Inside if body.framing == Framing::UntilClose => queue.has_unglued(),
                    Skip::Inside => queue.has_found(),
                    Skip::End(_) => false,
                };
                if over && lost && body.owned {
                    self.give_way(queue, call);
                } else if matches!(skipped, Skip::End(_)) {
                    let at = if lost { self.last_write } else { call.now };
                    self.finish(End::Complete, at, queue, call);
                    if beyond > 0 && !queue.is_empty() {
                        self.state = State::AfterLoss(beyond, why);
                    }
                }
            }
        }
    }

    /// A new request begins, first read at `began`: a response whose end could not be seen has ended
    /// before, unless the client surely pipelines. A head being written answers a request that was not
    /// seen. Whether more that is not seen may be of what came before.
    pub(in crate::boundary) fn superseded(
        &mut self,
        began: Moment,
        queue: &mut Queue,
        call: &mut Call<'_>,
    ) -> Result<bool, NotUnderstood> {
        self.settle_empty(queue, call);
        if let State::Head(text) = &self.state
            && !text.is_empty()
            && queue.is_empty()
        {
            let unseen = queue.begin(self.last_write, call)?;
            unseen.flag(Flag::RequestNotSeen);
            unseen.facts.bytes_out += text.text().len() as u64;
        }
        let over = self.is_lost() && !queue.would_glue(began);
        if over {
            self.finish(End::Complete, self.last_write, queue, call);
        }
        Ok(over || self.is_seeking())
    }
}

fn count_missing(exchange: Option<&mut Exchange>, n: u64, why: Flag) {
    if let Some(exchange) = exchange {
        exchange.facts.bytes_out += n;
        exchange.flag(why);
    }
}

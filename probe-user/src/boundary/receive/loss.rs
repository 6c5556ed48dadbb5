//! What a side of reads does about bytes that were not seen: lost records and capture gaps.
//!
//! A length and a chunk's size are counted across them. Where they hide framing, the next request is found
//! by what a read begins with. Once the request before is answered, or its answer can no longer end by
//! itself, that is what looks like a request; until then its body may go on and say anything, and only a whole
//! request line is believed.

use super::{PartialHead, Receive, RequestBody, Torn, finish};
use crate::boundary::{
    call::Call,
    exchange::Exchange,
    flags::Flag,
    framing::{Framing, Skip},
    head::torn,
    head_text::HeadText,
    output::NotUnderstood,
    queue::Queue,
    reply::Reply,
    sniff,
};

impl Receive {
    /// What goes on behind the answer to a request with a torn body was another's: others may have come unseen, and another
    /// may begin.
    pub(super) fn give_up_torn(&mut self, queue: &mut Queue) {
        if let Self::Body(body) = self
            && body.torn
            && queue.get(body.request).is_none()
        {
            *self = Self::Seek;
        }
    }

    /// Looks for a request where a read begins, if the place in the stream is not known. Where the request
    /// before may still go on, only a whole request line is one, in however many reads it comes.
    pub(super) fn begin_call(
        &mut self,
        head: &[u8],
        queue: &mut Queue,
        reply: &Reply,
        call: &Call<'_>,
    ) {
        let (surely, line) = (|| sniff::surely_request(head), || sniff::request_line(head));
        let mut is_over = |request| queue.get(request).is_none() || reply.is_lost();
        let (found, doubtful) = match self {
            Self::Seek => (surely(), sniff::maybe_request(head)),
            Self::Body(body) if body.framing.is_lost() || body.torn => {
                (line() || (surely() && is_over(body.request)), surely())
            }
            Self::Body(body) if body.held_back => (surely() && is_over(body.request), false),
            Self::Head(PartialHead { torn: Some(torn), .. }) => {
                (line() || (surely() && is_over(torn.body.request)), surely())
            }
            _ => return,
        };
        if found || doubtful {
            let before = std::mem::replace(self, Self::Idle);
            let doubt = (!found).then(|| Box::new(before));
            *self = Self::head(call, true, doubt);
        }
    }

    /// What may have begun a request did not: its bytes, of which those behind the first `known` are still
    /// to come, go on with what was before.
    pub(super) fn go_back(
        &mut self,
        known: usize,
        queue: &mut Queue,
        reply: &mut Reply,
        call: &mut Call<'_>,
    ) -> Result<(), NotUnderstood> {
        if let Self::Head(head) = self
            && let Some(before) = head.doubt.take()
        {
            let text = std::mem::replace(&mut head.text, HeadText::new());
            *self = *before;
            let text = text.text();
            self.bytes(text.get(..known).unwrap_or(text), queue, reply, call)?;
        }
        Ok(())
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
        match self {
            Self::Seek | Self::Ignored => {}
            Self::Idle => *self = Self::Seek,
            Self::Head(head) => {
                let Some(exchange) = queue.get(head.request) else {
                    *self = Self::Seek;
                    return;
                };
                exchange.flag(why);
                exchange.flag(Flag::GapInFraming);
                exchange.end_hidden = true;
                head.tear(n, exchange);
            }
            Self::Body(body) => {
                body.held_back = false;
                body.scan.gap();
                let skipped = body.framing.skip(n);
                if let Some(exchange) = queue.get(body.request) {
                    let over = if let Skip::End(over) = skipped { over } else { 0 };
                    exchange.facts.bytes_in += n - over;
                    if why == Flag::LostRecords {
                        exchange.flag(why);
                        exchange.body_unseen = matches!(skipped, Skip::End(_));
                    }
                    if skipped == Skip::Lost {
                        exchange.flag(Flag::GapInFraming);
                        exchange.end_hidden = true;
                    }
                }
                if let Skip::End(over) = skipped {
                    finish(body, queue, call);
                    *self = if over == 0 { Self::Idle } else { Self::Seek };
                }
            }
        }
    }
}

impl PartialHead {
    /// `n` bytes of it, or of it and the body, were not seen: keeps its whole lines.
    fn tear(&mut self, n: u64, exchange: &mut Exchange) {
        let (lines, cut) = torn::whole_lines(self.text.text()).unwrap_or_default();
        let known = torn::request_beginning(&lines);
        let length = if let Framing::Length(length) = known.framing { length } else { 0 };
        let fresh = || Torn {
            in_line: true,
            at_least: exchange.facts.bytes_in.saturating_add(length),
            body: RequestBody::new(self.request, Framing::lost()),
        };
        let mut torn = self.torn.take().unwrap_or_else(|| Box::new(fresh()));
        torn.in_line = true;
        torn.body.framing = Framing::lost();
        torn.body.end_marked = matches!(known.framing, Framing::Chunked(_));
        torn.body.scan.gap();
        exchange.facts.bytes_in += n;
        exchange.head_read(known);
        if cut {
            exchange.flag(Flag::PathTruncated);
        }
        self.text = HeadText::behind(lines);
        self.torn = Some(torn);
    }
}

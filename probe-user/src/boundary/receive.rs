//! The requests of one connection, as the server reads them.

use super::{
    exchange::Call,
    flags::Flag,
    framing::{Framing, Skip},
    head,
    head_text::{HeadState, HeadText},
    output::{Moment, NotUnderstood, RequestId},
    pieces::Pieces,
    queue::Queue,
    reply::Reply,
    request_scan::RequestScan,
    sniff::{self, Sniff},
};

/// Where the reading side stands.
#[derive(Debug)]
pub(super) enum Receive {
    /// Out of step: until a read begins with what is surely a request.
    Seek,
    /// Between requests.
    Idle,
    /// In a head.
    Head(PartialHead),
    /// In a body.
    Body(RequestBody),
    /// No longer read.
    Ignored,
}

#[derive(Debug)]
pub(super) struct PartialHead {
    text: HeadText,
    began: Moment,
    /// Set once the bytes look like a request.
    request: Option<RequestId>,
    /// If it is no request after all, nothing is wrong with the connection.
    tentative: bool,
}

#[derive(Debug)]
pub(super) struct RequestBody {
    request: Option<RequestId>,
    framing: Framing,
    scan: RequestScan,
    /// The client waits for `100 Continue` and has sent nothing yet: it may never send this body.
    held_back: bool,
}

impl Receive {
    fn head(began: Moment, tentative: bool) -> Self {
        Self::Head(PartialHead { text: HeadText::new(), began, request: None, tentative })
    }

    /// Whether there is nothing to remember.
    pub(super) fn is_quiet(&self) -> bool {
        matches!(self, Self::Seek | Self::Idle)
    }

    /// Handles one read.
    pub(super) fn call(
        &mut self,
        pieces: &Pieces<'_>,
        queue: &mut Queue,
        reply: &mut Reply,
        call: &mut Call<'_>,
    ) -> Result<(), NotUnderstood> {
        if pieces.lost > 0 {
            self.missing(pieces.lost, Flag::LostRecords, queue, call);
        }
        self.begin_call(pieces.head, queue, reply, call);
        self.bytes(pieces.head, queue, reply, call)?;
        if pieces.gap > 0 {
            self.missing(pieces.gap, Flag::GapInFraming, queue, call);
        }
        self.bytes(pieces.tail, queue, reply, call)?;
        self.end_call(queue, call);
        Ok(())
    }

    /// Looks for a request where a read begins, if the place in the stream is not known.
    fn begin_call(&mut self, head: &[u8], queue: &mut Queue, reply: &Reply, call: &Call<'_>) {
        match self {
            Self::Seek if sniff::surely_request(head) => *self = Self::Idle,
            Self::Seek if sniff::maybe_request(head) => *self = Self::head(call.now, true),
            Self::Body(body) if body.framing.is_lost() || body.held_back => {
                let over = queue.get(body.request).is_none() || reply.is_lost();
                let next = over && sniff::surely_request(head);
                if next || (body.framing.is_lost() && sniff::request_line(head)) {
                    *self = Self::Idle;
                }
            }
            _ => {}
        }
    }

    fn bytes(
        &mut self,
        mut bytes: &[u8],
        queue: &mut Queue,
        reply: &mut Reply,
        call: &mut Call<'_>,
    ) -> Result<(), NotUnderstood> {
        while !bytes.is_empty() {
            let used = match self {
                Self::Seek | Self::Ignored => return Ok(()),
                Self::Idle if matches!(bytes[0], b'\r' | b'\n') => 1,
                Self::Idle => {
                    *self = Self::head(call.now, false);
                    0
                }
                Self::Head(_) => self.head_bytes(bytes, queue, reply, call)?,
                Self::Body(_) => self.body_bytes(bytes, queue, call),
            };
            bytes = &bytes[used..];
        }
        Ok(())
    }

    fn head_bytes(
        &mut self,
        bytes: &[u8],
        queue: &mut Queue,
        reply: &mut Reply,
        call: &mut Call<'_>,
    ) -> Result<usize, NotUnderstood> {
        let Self::Head(head) = self else {
            return Ok(0);
        };
        let earlier = head.text.text().len() as u64;
        let pushed = head.text.push(bytes);
        if head.request.is_none() {
            match sniff::request(pushed.text) {
                Sniff::Request => {
                    reply.superseded(head.began, queue, call);
                    let exchange = queue.begin(head.began, call)?;
                    exchange.facts.bytes_in += earlier;
                    head.request = Some(exchange.id());
                }
                Sniff::More if pushed.state == HeadState::Partial => return Ok(pushed.used),
                _ if head.tentative => {
                    *self = Self::Seek;
                    return Ok(bytes.len());
                }
                Sniff::Not(kind) => return Err(kind),
                Sniff::More => return Err(NotUnderstood::Garbage),
            }
        }
        let (used, state, request) = (pushed.used, pushed.state, head.request);
        let parsed = match state {
            HeadState::Partial => None,
            HeadState::Complete => {
                Some(head::request(pushed.text).map_err(|_| Flag::MalformedHead))
            }
            HeadState::TooLong => Some(Err(Flag::HeadTooLong)),
        };
        let line = matches!(parsed, Some(Err(_))).then(|| head::request_line(pushed.text));
        let mut exchange = queue.get(request);
        if let Some(exchange) = &mut exchange {
            exchange.facts.bytes_in += used as u64;
        }
        let mut body = RequestBody {
            request,
            framing: Framing::lost(),
            scan: RequestScan::default(),
            held_back: false,
        };
        match parsed {
            None => return Ok(used),
            Some(Ok(parsed)) => {
                body.framing = parsed.framing;
                body.held_back = parsed.expects_continue;
                if let Some(exchange) = exchange {
                    exchange.head_read(parsed);
                }
            }
            Some(Err(flag)) => {
                if let (Some(exchange), Some((method, path))) = (exchange, line) {
                    exchange.flag(flag);
                    exchange.facts.method = method;
                    exchange.facts.path = path;
                }
            }
        }
        if body.framing == Framing::EMPTY {
            finish(&body, queue, call);
            *self = Self::Idle;
        } else {
            *self = Self::Body(body);
        }
        Ok(used)
    }

    fn body_bytes(&mut self, bytes: &[u8], queue: &mut Queue, call: &mut Call<'_>) -> usize {
        let Self::Body(body) = self else {
            return 0;
        };
        body.held_back = false;
        let step = body.framing.step(bytes);
        body.scan.push(&bytes[step.content]);
        if let Some(exchange) = queue.get(body.request) {
            exchange.facts.bytes_in += step.used as u64;
            if step.malformed {
                exchange.flag(Flag::MalformedChunk);
            }
        }
        if step.end {
            finish(body, queue, call);
            *self = Self::Idle;
        }
        step.used
    }

    /// `n` bytes were not seen: `why` is [`Flag::LostRecords`], or [`Flag::GapInFraming`] which is
    /// raised only if they hide framing.
    fn missing(&mut self, n: u64, why: Flag, queue: &mut Queue, call: &mut Call<'_>) {
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
                exchange.facts.bytes_in += n;
                (exchange.facts.method, exchange.facts.path) = head::request_line(head.text.text());
                let mut scan = RequestScan::default();
                scan.gap();
                let (request, framing) = (head.request, Framing::lost());
                *self = Self::Body(RequestBody { request, framing, scan, held_back: false });
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
                    }
                }
                if let Skip::End(over) = skipped {
                    finish(body, queue, call);
                    *self = if over == 0 { Self::Idle } else { Self::Seek };
                }
            }
        }
    }

    /// A body whose framing was lost may end with the read.
    fn end_call(&mut self, queue: &mut Queue, call: &mut Call<'_>) {
        let Self::Body(body) = self else {
            return;
        };
        if body.framing.ended_lately() {
            finish(body, queue, call);
            *self = Self::Seek;
        } else if body.framing.is_lost()
            && let Some(exchange) = queue.get(body.request)
        {
            // Its end may never be seen: what the body says so far is taken at every read.
            exchange.asked(body.scan.asked());
        }
    }

    /// Heap bytes held.
    pub(super) fn retained(&self) -> usize {
        match self {
            Self::Head(head) => head.text.retained(),
            Self::Body(body) => body.scan.retained(),
            Self::Seek | Self::Idle | Self::Ignored => 0,
        }
    }
}

/// The body was read to its end.
fn finish(body: &RequestBody, queue: &mut Queue, call: &mut Call<'_>) {
    if let Some(exchange) = queue.get(body.request) {
        exchange.asked(body.scan.asked());
        exchange.body_read(call);
    }
}

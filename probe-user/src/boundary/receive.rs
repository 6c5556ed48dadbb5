//! The requests of one connection, as the server reads them.

use super::{
    exchange::{Call, Exchange},
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
    /// Set once bytes of it are missing.
    torn: Option<Box<Torn>>,
}

/// What is kept of bytes behind a gap in a head. They are of the head, or already of the body.
#[derive(Debug)]
struct Torn {
    /// In the line whose beginning is missing.
    in_line: bool,
    /// The request has at least this many bytes.
    at_least: u64,
    /// All bytes since, taken as a body.
    body: RequestBody,
}

#[derive(Debug)]
pub(super) struct RequestBody {
    request: Option<RequestId>,
    framing: Framing,
    scan: RequestScan,
    /// The client waits for `100 Continue` and has sent nothing yet: it may never send this body.
    held_back: bool,
    /// The body is chunked: should its framing be lost, its end is still marked.
    end_marked: bool,
}

impl RequestBody {
    fn new(request: Option<RequestId>, framing: Framing) -> Self {
        let end_marked = matches!(framing, Framing::Chunked(_));
        Self { request, framing, scan: RequestScan::default(), held_back: false, end_marked }
    }
}

impl Receive {
    fn head(began: Moment, tentative: bool) -> Self {
        Self::Head(PartialHead {
            text: HeadText::new(),
            began,
            request: None,
            tentative,
            torn: None,
        })
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
            Self::Head(PartialHead { torn: Some(torn), .. }) => {
                let over = queue.get(torn.body.request).is_none() || reply.is_lost();
                if sniff::request_line(head) || (over && sniff::surely_request(head)) {
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
        if let Some(torn) = &mut head.torn
            && torn.in_line
        {
            let end = bytes.iter().position(|c| *c == b'\n');
            let used = end.map_or(bytes.len(), |end| end + 1);
            torn.in_line = end.is_none();
            torn.push(&bytes[..used]);
            if let Some(exchange) = queue.get(head.request) {
                exchange.read(used as u64, call);
            }
            return Ok(used);
        }
        let earlier = head.text.text().len() as u64;
        let pushed = head.text.push(bytes);
        if head.request.is_none() {
            match sniff::request(pushed.text) {
                Sniff::Request => {
                    reply.superseded(head.began, queue, call);
                    let exchange = queue.begin(head.began, call)?;
                    exchange.read(earlier, call);
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
        let parsed = match (state, &head.torn) {
            (HeadState::Partial, _) => None,
            (HeadState::Complete, None) => {
                Some(head::request(pushed.text).map_err(|_| Flag::MalformedHead))
            }
            // What does not read as header lines is of the body.
            (HeadState::Complete, Some(_)) => {
                Some(head::torn_request(pushed.text).map_err(|_| Flag::GapInFraming))
            }
            (HeadState::TooLong, None) => Some(Err(Flag::HeadTooLong)),
            (HeadState::TooLong, Some(_)) => Some(Err(Flag::GapInFraming)),
        };
        let lines = matches!(parsed, Some(Err(_))).then(|| head::whole_lines(pushed.text));
        if let Some(torn) = &mut head.torn {
            torn.push(&bytes[..used]);
        }
        let torn = if parsed.is_some() { head.torn.take() } else { None };
        let mut exchange = queue.get(request);
        if let Some(exchange) = &mut exchange {
            exchange.read(used as u64, call);
        }
        let body = match parsed {
            None => return Ok(used),
            Some(Ok(parsed)) => {
                let mut body = RequestBody::new(request, parsed.framing);
                body.held_back = parsed.expects_continue;
                if let Some(exchange) = exchange {
                    exchange.end_hidden = parsed.framing.is_lost();
                    if torn.is_some() {
                        // What was taken for its body was its head.
                        (exchange.facts.model, exchange.facts.stream) = (None, None);
                    }
                    exchange.head_read(parsed);
                }
                body
            }
            Some(Err(flag)) => {
                if let Some(exchange) = exchange {
                    exchange.flag(flag);
                    exchange.end_hidden = true;
                    if torn.is_none()
                        && let Some((lines, _)) = lines.flatten()
                    {
                        exchange.head_read(head::request_beginning(&lines));
                    }
                }
                torn.map_or_else(|| RequestBody::new(request, Framing::lost()), |torn| torn.body)
            }
        };
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
            exchange.read(step.used as u64, call);
            if step.malformed {
                exchange.flag(Flag::MalformedChunk);
                exchange.end_hidden = true;
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

    /// A body whose framing was lost may end with the read. Where nothing will mark its end, every read
    /// may be the last: the request counts as read from the first of them on, since the server may be at
    /// work on it, and an instant told only with the response would come too late to be charged.
    fn end_call(&mut self, queue: &mut Queue, call: &mut Call<'_>) {
        let (body, at_least) = match self {
            Self::Body(body) => (body, 0),
            Self::Head(PartialHead { torn: Some(torn), .. }) => (&mut torn.body, torn.at_least),
            _ => return,
        };
        if body.framing.ended_lately() {
            finish(body, queue, call);
            *self = Self::Seek;
        } else if body.framing.is_lost()
            && let Some(exchange) = queue.get(body.request)
        {
            // Its end may never be seen: what the body says so far is taken at every read.
            exchange.asked(body.scan.asked());
            if !body.end_marked && exchange.facts.bytes_in >= at_least {
                exchange.body_read(call);
            }
        }
    }

    /// Heap bytes held.
    pub(super) fn retained(&self) -> usize {
        match self {
            Self::Head(head) => {
                let torn = |t: &Torn| size_of::<Torn>() + t.body.scan.retained();
                head.text.retained() + head.torn.as_deref().map_or(0, torn)
            }
            Self::Body(body) => body.scan.retained(),
            Self::Seek | Self::Idle | Self::Ignored => 0,
        }
    }
}

impl PartialHead {
    /// `n` bytes of it, or of it and the body, were not seen: keeps its whole lines.
    fn tear(&mut self, n: u64, exchange: &mut Exchange) {
        let (lines, cut) = head::whole_lines(self.text.text()).unwrap_or_default();
        let known = head::request_beginning(&lines);
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

impl Torn {
    fn push(&mut self, bytes: &[u8]) {
        self.body.scan.push(bytes);
        if !bytes.is_empty() {
            self.body.framing.step(bytes);
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

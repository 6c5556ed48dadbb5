//! The requests of one connection, as the server reads them.

mod loss;

use super::{
    call::Call,
    exchange::Exchange,
    flags::Flag,
    framing::Framing,
    head::{self, RequestHead, torn},
    head_text::{HeadState, HeadText, Pushed},
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
    /// When its first bytes came.
    arrived: Option<u64>,
    /// Set once the bytes look like a request.
    request: Option<RequestId>,
    /// It does not begin where another request was seen to end: others may have come unseen before it.
    found: bool,
    /// Its bytes may be no request: what they go on with then.
    doubt: Option<Box<Receive>>,
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
    /// Its framing stands behind missing bytes: perhaps in the head of a request whose beginning is among them.
    torn: bool,
}

impl RequestBody {
    fn new(request: Option<RequestId>, framing: Framing) -> Self {
        let end_marked = matches!(framing, Framing::Chunked(_));
        let scan = RequestScan::default();
        Self { request, framing, scan, held_back: false, end_marked, torn: false }
    }

    /// Behind a head that was read; `torn`: lines of it are missing.
    fn behind(
        head: RequestHead,
        torn: bool,
        request: Option<RequestId>,
        exchange: Option<&mut Exchange>,
    ) -> Self {
        let mut body = Self::new(request, head.framing);
        body.held_back = head.expects_continue;
        body.torn = torn;
        body.scan = RequestScan::new(head.compressed);
        if let Some(exchange) = exchange {
            exchange.end_hidden = head.framing.is_lost();
            if torn {
                // What was taken for its body was its head.
                (exchange.facts.model, exchange.facts.stream) = (None, None);
            }
            exchange.head_read(head);
        }
        body
    }

    /// Behind a head that was not read, for this reason, but for these of its lines.
    fn unread(
        why: Flag,
        lines: Option<Vec<u8>>,
        torn: Option<Box<Torn>>,
        request: Option<RequestId>,
        exchange: Option<&mut Exchange>,
    ) -> Self {
        if let Some(exchange) = exchange {
            exchange.flag(why);
            exchange.end_hidden = true;
            if let (None, Some(lines)) = (&torn, lines) {
                exchange.head_read(torn::request_beginning(&lines));
            }
        }
        torn.map_or_else(|| Self::new(request, Framing::lost()), |torn| torn.body)
    }
}

impl Receive {
    /// What may be a head begins with this read.
    fn head(call: &Call<'_>, found: bool, doubt: Option<Box<Self>>) -> Self {
        let (text, began, arrived) = (HeadText::new(), call.now, call.arrived);
        Self::Head(PartialHead { text, began, arrived, request: None, found, doubt, torn: None })
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
        self.give_up_torn(queue);
        if pieces.lost > 0 {
            self.go_back(usize::MAX, queue, reply, call)?;
            self.missing(pieces.lost, Flag::LostRecords, queue, call);
        }
        self.begin_call(pieces.head, queue, reply, call);
        self.bytes(pieces.head, queue, reply, call)?;
        if pieces.gap > 0 {
            self.go_back(usize::MAX, queue, reply, call)?;
            self.missing(pieces.gap, Flag::GapInFraming, queue, call);
        }
        self.bytes(pieces.tail, queue, reply, call)?;
        self.end_call(queue, call);
        Ok(())
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
                    *self = Self::head(call, false, None);
                    0
                }
                Self::Head(_) => self.head_bytes(bytes, queue, reply, call)?,
                Self::Body(_) => self.body_bytes(bytes, queue, call),
            };
            if used > 0 {
                // What follows may have come later.
                call.arrived = None;
            }
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
        if let Some(used) = head.rest_of_line(bytes, queue, call) {
            return Ok(used);
        }
        let earlier = head.text.text().len();
        let pushed = head.text.push(bytes);
        if head.request.is_none() {
            let sniffed = match head.doubt.as_deref() {
                None | Some(Self::Seek) => sniff::request(pushed.text),
                Some(_) => sniff::whole_request_line(pushed.text),
            };
            match sniffed {
                Sniff::Request => {
                    head.doubt = None;
                    let over = reply.superseded(head.began, queue, call)?;
                    let exchange = queue.begin(head.began, call)?;
                    exchange.read(earlier as u64, call);
                    exchange.found = head.found || over;
                    exchange.facts.arrived = head.arrived;
                    head.request = Some(exchange.id());
                }
                Sniff::More if pushed.state == HeadState::Partial => return Ok(pushed.used),
                _ if head.doubt.is_some() => {
                    self.go_back(earlier, queue, reply, call)?;
                    return Ok(0);
                }
                Sniff::Not(kind) => return Err(kind),
                Sniff::More => return Err(NotUnderstood::Garbage),
            }
        }
        let (used, request) = (pushed.used, head.request);
        let parsed = parse(&pushed, head.torn.is_some());
        let lines = matches!(parsed, Some(Err(_))).then(|| torn::whole_lines(pushed.text));
        if let Some(torn) = &mut head.torn {
            torn.push(&bytes[..used]);
        }
        let mut exchange = queue.get(request);
        if let Some(exchange) = &mut exchange {
            exchange.read(used as u64, call);
        }
        let body = match parsed {
            None => return Ok(used),
            Some(Ok(parsed)) => RequestBody::behind(parsed, head.torn.is_some(), request, exchange),
            Some(Err(flag)) => {
                let lines = lines.flatten().map(|(lines, _)| lines);
                RequestBody::unread(flag, lines, head.torn.take(), request, exchange)
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

    /// The connection is over: of a head that never came to its end, the lines that did are read.
    pub(super) fn close(&self, queue: &mut Queue) {
        if let Self::Head(PartialHead { text, request, torn: None, .. }) = self
            && let Some(exchange) = queue.get(*request)
            && text.text().contains(&b'\n')
            && let Some((lines, _)) = torn::whole_lines(text.text())
        {
            exchange.head_read(torn::request_beginning(&lines));
        }
    }

    /// Heap bytes held.
    pub(super) fn retained(&self) -> usize {
        match self {
            Self::Head(head) => {
                let torn = |t: &Torn| size_of::<Torn>() + t.body.scan.retained();
                let before = |b: &Self| size_of::<Self>() + b.retained();
                head.text.retained()
                    + head.torn.as_deref().map_or(0, torn)
                    + head.doubt.as_deref().map_or(0, before)
            }
            Self::Body(body) => body.scan.retained(),
            Self::Seek | Self::Idle | Self::Ignored => 0,
        }
    }
}

/// Reads a head that is complete, or will not be. What does not read as header lines behind missing ones is of the body.
fn parse(pushed: &Pushed<'_>, torn: bool) -> Option<Result<RequestHead, Flag>> {
    match (pushed.state, torn) {
        (HeadState::Partial, _) => None,
        (HeadState::Complete, false) => {
            Some(head::request(pushed.text).map_err(|_| Flag::MalformedHead))
        }
        (HeadState::Complete, true) => {
            Some(torn::request(pushed.text).map_err(|_| Flag::GapInFraming))
        }
        (HeadState::TooLong, false) => Some(Err(Flag::HeadTooLong)),
        (HeadState::TooLong, true) => Some(Err(Flag::GapInFraming)),
    }
}

impl PartialHead {
    /// Behind missing bytes: how many are of the line whose beginning is missing.
    fn rest_of_line(&mut self, bytes: &[u8], queue: &mut Queue, call: &Call<'_>) -> Option<usize> {
        let torn = self.torn.as_mut().filter(|torn| torn.in_line)?;
        let end = bytes.iter().position(|c| *c == b'\n');
        let used = end.map_or(bytes.len(), |end| end + 1);
        torn.in_line = end.is_none();
        torn.push(&bytes[..used]);
        if let Some(exchange) = queue.get(self.request) {
            exchange.read(used as u64, call);
        }
        Some(used)
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

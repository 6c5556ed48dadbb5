//! An open request: its facts while they are being gathered.

use super::{
    call::Call,
    content::Content,
    facts::{Facts, ServerTimings},
    flags::{Flag, Flags},
    head::{RequestHead, ResponseHead},
    output::{Moment, NotUnderstood, Output, RequestId, What},
    pace::Pace,
    request_scan::Asked,
    route,
};
use crate::record::{End, TokenSource};

/// An open request.
#[derive(Debug)]
pub(super) struct Exchange {
    /// `end` and `outcome` mean nothing before [`Exchange::finish`].
    pub(super) facts: Box<Facts>,
    /// The request body was JSON, read whole.
    whole: bool,
    /// It was read in the same call as the end of the request before it: surely pipelined.
    pub(super) glued: bool,
    /// It was found again behind bytes that were not seen: there may have been others before it.
    pub(super) found: bool,
    /// The end of its body was in a record that was lost: when it was read is not known exactly.
    pub(super) body_unseen: bool,
    /// Where its body ends is hidden.
    pub(super) end_hidden: bool,
    /// The client left before it had sent all of it.
    cut: bool,
    /// The last read of it.
    last_read: Moment,
    /// When its content is written.
    pub(super) pace: Pace,
}

impl Exchange {
    /// A request whose first byte was read at `start`.
    pub(super) fn begin(start: Moment, call: &mut Call<'_>) -> Self {
        call.stats.started += 1;
        let request = RequestId(call.stats.started);
        call.emit(What::Start, request, start, 0);
        let facts = Facts {
            request,
            conn: call.conn,
            tgid: call.tgid,
            who: call.who,
            method: None,
            path: None,
            status: None,
            model: None,
            stream: None,
            prompt_tokens: None,
            completion_tokens: None,
            token_source: TokenSource::None,
            prompt_processed: None,
            prompt_cached: None,
            timings: ServerTimings::default(),
            arrived: None,
            start,
            body: None,
            head: None,
            first: None,
            end: start,
            outcome: End::Interrupted,
            external_id: None,
            bytes_in: 0,
            bytes_out: 0,
            content_events: None,
            gaps: None,
            flags: Flags::default(),
        };
        let mut exchange = Self {
            facts: Box::new(facts),
            whole: false,
            glued: false,
            found: false,
            body_unseen: false,
            end_hidden: false,
            cut: false,
            last_read: start,
            pace: Pace::default(),
        };
        if call.tls {
            exchange.flag(Flag::Tls);
        }
        exchange
    }

    pub(super) fn id(&self) -> RequestId {
        self.facts.request
    }

    pub(super) fn flag(&mut self, flag: Flag) {
        self.facts.flags.insert(flag);
    }

    /// The client sends no more.
    pub(super) fn left(&mut self) {
        self.cut |= self.facts.body.is_none() && !self.end_hidden;
    }

    /// `n` bytes of it were read in this call.
    pub(super) fn read(&mut self, n: u64, call: &Call<'_>) {
        self.facts.bytes_in += n;
        self.last_read = call.now;
    }

    /// The request's head was read.
    pub(super) fn head_read(&mut self, head: RequestHead) {
        self.facts.method = head.method;
        self.facts.path = head.path;
        self.facts.external_id = head.external_id;
        if head.path_truncated {
            self.flag(Flag::PathTruncated);
        }
        if head.compressed {
            self.flag(Flag::CompressedRequest);
        }
    }

    /// What its body asked for.
    pub(super) fn asked(&mut self, asked: Asked) {
        self.whole = asked.whole;
        if asked.model.is_some() {
            self.facts.model = asked.model;
        }
        self.facts.stream = asked.stream.or(self.facts.stream);
    }

    /// Whether a success without content would be no answer: its route asks a model for something.
    pub(super) fn wants_content(&self) -> bool {
        let path = self.facts.path.as_deref().unwrap_or_default();
        self.facts.method.as_deref() == Some("POST") && route::asks_model(path)
    }

    /// Whether its answer is expected to count tokens.
    fn wants_tokens(&self) -> bool {
        self.facts.model.is_some() || self.wants_content()
    }

    /// The request was fully read, or as far as can be known.
    pub(super) fn body_read(&mut self, call: &mut Call<'_>) {
        self.body_read_at(call.now, call);
    }

    fn body_read_at(&mut self, at: Moment, call: &mut Call<'_>) {
        if self.facts.body.is_none() {
            self.facts.body = Some(at);
            call.emit(What::Body, self.id(), at, 0);
        }
    }

    /// The final response's head was written.
    pub(super) fn head_written(&mut self, head: &ResponseHead, call: &mut Call<'_>) {
        if self.facts.body.is_none() {
            // It worked on what it had read, so it was at work since then.
            if !self.end_hidden {
                self.flag(Flag::EarlyResponse);
            }
            self.body_read_at(self.last_read, call);
        }
        self.facts.status = Some(head.status);
        self.facts.head = Some(call.now);
        self.facts.timings.queue = head.queue;
        let success = (200..300).contains(&head.status);
        if self.facts.stream.is_none() && self.whole && success {
            self.facts.stream = Some(head.kind.is_stream());
        }
        call.emit(What::Head, self.id(), call.now, 0);
    }

    /// Tells of content written at `at`: in this call, or where it was lost before it.
    pub(super) fn content_written(
        &mut self,
        content: &mut Content,
        at: Moment,
        call: &mut Call<'_>,
    ) {
        let events = content.fresh();
        if events > 0 {
            // Where the response's head was not seen, the content is what says that it was at work.
            self.body_read_at(self.last_read, call);
            let at = self.not_before(at);
            let what = if self.facts.first.is_none() { What::First } else { What::Chunk };
            self.facts.first.get_or_insert(at);
            if content.is_stream() {
                self.pace.content(at.t);
            }
            call.emit(what, self.id(), at, events);
        }
    }

    /// The moment `at`, or the last one told. Where the writes that answered it were lost, the last one
    /// seen may lie before it.
    fn not_before(&self, at: Moment) -> Moment {
        let Facts { start, body, head, first, .. } = &*self.facts;
        let told = [Some(*start), *body, *head, *first].into_iter().flatten();
        told.fold(at, |at, told| if told.t > at.t { told } else { at })
    }

    /// Takes what the response's body reported.
    pub(super) fn answered(&mut self, content: &mut Content) {
        let (streamed, gap) = (content.is_stream(), content.gap);
        let answer = content.finish();
        let events = streamed.then_some(answer.texts);
        let counts = answer.counts();
        let tokens = counts.settle(events);
        let missed = tokens.completion.is_none() && self.wants_tokens();
        if gap && (streamed || missed) {
            self.flag(Flag::GapInContent);
        }
        let facts = &mut *self.facts;
        facts.content_events = events;
        facts.prompt_tokens = tokens.prompt;
        facts.completion_tokens = tokens.completion;
        facts.token_source = tokens.source;
        facts.prompt_processed = counts.prompt_n;
        facts.prompt_cached = counts.cached();
        facts.timings = ServerTimings { queue: facts.timings.queue, ..counts.timings };
        if facts.model.is_none() {
            facts.model.clone_from(&answer.model);
        }
    }

    /// Closes the books of this request. One that never came whole is not complete, though servers answer
    /// it with a 400.
    pub(super) fn finish(mut self, outcome: End, at: Moment, call: &mut Call<'_>) {
        call.stats.finished += 1;
        let at = self.not_before(at);
        let cut = self.cut && outcome == End::Complete;
        let outcome = if cut { End::Aborted } else { outcome };
        let what = if outcome == End::Complete { What::End } else { What::Abort };
        call.emit(what, self.id(), at, 0);
        self.facts.end = at;
        self.facts.outcome = outcome;
        self.facts.gaps = self.pace.gaps();
        let compressed = [Flag::CompressedRequest, Flag::CompressedBody];
        if compressed.iter().any(|flag| self.facts.flags.contains(*flag)) {
            call.not_understood(NotUnderstood::Compressed);
        }
        call.out.push(Output::Finished(self.facts));
    }
}

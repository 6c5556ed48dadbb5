//! Documents that come one a line: server-sent events (`data:` lines) and newline-delimited JSON.
//!
//! Lines of events end with a carriage return, a line feed, or both; those of JSON with a line feed.
//! Comments, other fields and pings are skipped. After a gap the rest of the line is kept in a bounded
//! window and read from its end, since the last event's counts are worth having; then lines go on.

use super::{answer::Answer, json_scan::Scanner, json_tail, tail::Tail};

const DATA: &[u8] = b"data:";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// At a line's beginning, this many bytes of `data:` matched.
    Start(u8),
    /// Behind `data:`, before the first byte.
    First,
    Payload,
    /// In a line of no interest.
    Skip,
    /// In a line whose beginning is missing.
    Broken,
}

/// The lines of one body.
#[derive(Clone, Debug)]
pub(super) struct Lines {
    /// Documents stand behind `data:`.
    events: bool,
    at: At,
    /// A carriage return ended the last line: a line feed right behind it is of that end.
    returned: bool,
    scanner: Scanner,
    tail: Option<Box<Tail>>,
    /// A `data:` line was seen that begins with `[`, as `[DONE]` does.
    pub(super) done_marker: bool,
}

impl Lines {
    pub(super) fn new(events: bool) -> Self {
        Self {
            events,
            at: At::Start(0),
            returned: false,
            scanner: Scanner::default(),
            tail: None,
            done_marker: false,
        }
    }

    pub(super) fn push(&mut self, bytes: &[u8], answer: &mut Answer) {
        let mut rest = bytes;
        while let [c, after @ ..] = rest {
            if std::mem::take(&mut self.returned) && *c == b'\n' {
                rest = after;
                continue;
            }
            match self.at {
                At::Start(matched) if self.events => {
                    rest = after;
                    self.start(matched, *c);
                }
                At::Start(_) => self.at = At::First,
                At::First if matches!(c, b' ' | b'\t') => rest = after,
                At::First => {
                    self.begin(*c, answer);
                    self.at = At::Payload;
                }
                At::Payload | At::Skip | At::Broken => rest = self.line(rest, answer),
            }
        }
    }

    fn start(&mut self, matched: u8, c: u8) {
        self.at = match c {
            b'\r' | b'\n' => {
                if matched == 0 {
                    self.scanner.reset(); // a blank line ends the event
                }
                self.returned = c == b'\r';
                At::Start(0)
            }
            c if DATA.get(usize::from(matched)) == Some(&c) => {
                if usize::from(matched) + 1 == DATA.len() {
                    At::First
                } else {
                    At::Start(matched + 1)
                }
            }
            _ => At::Skip,
        };
    }

    /// A payload begins with `c`; one document may span several `data:` lines.
    fn begin(&mut self, c: u8, answer: &mut Answer) {
        if !self.scanner.inside() {
            self.scanner.reset();
            answer.begin_document();
            self.done_marker |= self.events && c == b'[';
        }
    }

    /// Reads to the line's end; returns what follows it.
    fn line<'a>(&mut self, bytes: &'a [u8], answer: &mut Answer) -> &'a [u8] {
        let end = bytes.iter().position(|c| *c == b'\n' || (self.events && *c == b'\r'));
        let line = &bytes[..end.unwrap_or(bytes.len())];
        match self.at {
            At::Payload => self.scanner.feed(line, answer),
            At::Broken => self.tail.get_or_insert_default().push(line),
            _ => {}
        }
        let Some(end) = end else {
            return &[];
        };
        match self.at {
            At::Broken => self.mend(answer),
            At::Payload if !self.events => self.scanner.reset(),
            _ => {}
        }
        self.at = At::Start(0);
        self.returned = bytes[end] == b'\r';
        &bytes[end + 1..]
    }

    /// Reads what is left of a line whose beginning is missing.
    fn mend(&mut self, answer: &mut Answer) {
        if let Some(tail) = self.tail.take() {
            answer.begin_document();
            json_tail::scan(tail.bytes(), answer);
        }
    }

    /// Bytes are missing here.
    pub(super) fn gap(&mut self) {
        self.at = At::Broken;
        self.returned = false;
        self.scanner.reset();
        self.tail = None;
    }

    /// The next bytes begin a chunk: if they also begin a line, the lines go on from here.
    pub(super) fn realign(&mut self, bytes: &[u8]) {
        let begins: &[&[u8]] = if self.events { &[DATA, b"event:", b"id:", b":"] } else { &[b"{"] };
        if self.at == At::Broken && begins.iter().any(|b| bytes.starts_with(b)) {
            self.at = At::Start(0);
            self.tail = None;
        }
    }

    /// The body ended, perhaps without a last newline.
    pub(super) fn finish(&mut self, answer: &mut Answer) {
        if self.at == At::Broken {
            self.mend(answer);
        }
    }

    /// Heap bytes held.
    pub(super) fn retained(&self) -> usize {
        self.tail.as_ref().map_or(0, |t| t.retained() + size_of::<Tail>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = concat!(
        ": ping\n\n",
        "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":null}}]}\n\n",
        "event: message\r\ndata:{\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\r\n\r\n",
        "data: {\"choices\":[{\"delta\":\ndata: {\"content\":\"b\"}}]}\n\n",
        "database: {\"content\":\"no\"}\n",
        "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2}}\n\n",
        "data: [DONE]\n\n",
    );

    fn read(parts: &[&[u8]]) -> (Answer, Lines) {
        let (mut lines, mut answer) = (Lines::new(true), Answer::default());
        for part in parts {
            lines.push(part, &mut answer);
        }
        lines.finish(&mut answer);
        (answer, lines)
    }

    #[test]
    fn events_with_text_are_counted_wherever_the_writes_are_cut() {
        let bytes = STREAM.as_bytes();
        for cut in 0..=bytes.len() {
            let (answer, lines) = read(&[&bytes[..cut], &bytes[cut..]]);
            assert_eq!((answer.texts, lines.done_marker), (2, true), "cut at {cut}");
            assert_eq!(answer.counts().usage_completion, Some(2));
        }
    }

    #[test]
    fn after_a_gap_the_broken_line_still_gives_its_counts() {
        let (mut lines, mut answer) = (Lines::new(true), Answer::default());
        lines.push(b"data: {\"content\":\"x\",\"prompt\":\"begin", &mut answer);
        lines.gap();
        lines.push(b"\\\"tokens_predicted\\\":1\",\"tokens_predicted\":16}\n\ndata: {\"content\":\"y\"}\n\n", &mut answer);
        assert_eq!((answer.texts, answer.counts().native_completion), (2, Some(16)));
        assert_eq!(lines.retained(), 0);
    }

    #[test]
    fn events_lines_end_with_a_carriage_return_a_line_feed_or_both() {
        for end in ["\r", "\n", "\r\n"] {
            let stream = STREAM.replace("\r\n", "\n").replace('\n', end);
            let bytes = stream.as_bytes();
            for cut in 0..=bytes.len() {
                let (answer, lines) = read(&[&bytes[..cut], &bytes[cut..]]);
                assert_eq!((answer.texts, lines.done_marker), (2, true), "{end:?} cut at {cut}");
                assert_eq!(answer.counts().usage_completion, Some(2));
            }
        }
    }

    #[test]
    fn newline_delimited_documents_are_read_one_a_line() {
        let (mut lines, mut answer) = (Lines::new(false), Answer::default());
        lines.push(b"{\"response\":\"a\"}\n{\"response\":\"\"}\n{\"broken\n{\"response\":\"b\",\"eval_count\":2}", &mut answer);
        assert_eq!((answer.texts, answer.counts().native_completion), (2, Some(2)));
    }

    #[test]
    fn a_chunk_that_begins_a_line_ends_the_broken_one() {
        let (mut lines, mut answer) = (Lines::new(true), Answer::default());
        lines.gap();
        lines.realign(b"data: {\"content\":\"y\"}\n\n");
        lines.push(b"data: {\"content\":\"y\"}\n\n", &mut answer);
        assert_eq!(answer.texts, 1);
    }
}

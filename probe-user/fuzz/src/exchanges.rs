//! Target `exchanges`: well-formed exchanges of clients that do not pipeline, cut into calls anywhere, of
//! which some are captured in part and some are lost, on connections that the server closes now and then.
//!
//! An exchange of which every byte was seen is told exactly as if it were alone, whatever was lost before it:
//! only that the one before had ended may not have been seen, so that it looks pipelined. With its end nothing
//! is open any more. Every byte that was lost is counted as soon as a later call or the close shows it, and an
//! exchange that lost a record is told at most once and marked. No mark is asked for where the loss may be of
//! another exchange: where all of an answer was lost and the connection went on, and for a `100 Continue`. Nobody's
//! words come out.

use std::collections::BTreeSet;

use arbitrary::{Result, Unstructured};
use wattprobe::{
    boundary::{Facts, Flag, Flags, RequestId},
    event::{Io, IoKind},
    record::End,
};

use crate::{
    message::{self, MARK, QUERY_MARK, Request, Response},
    script::Direction,
    wire::{Capture, Wire},
};

/// Exchanges of one input at most.
const EXCHANGES: u32 = 24;

/// What the kernel side captures.
const KERNEL: Capture = Capture { head: probe_common::HEAD_BYTES, tail: probe_common::TAIL_BYTES };
/// Less, so that small messages have gaps too.
const LITTLE: Capture = Capture { head: 48, tail: 24 };

/// What says that not all of an exchange was seen.
const MARKS: [Flag; 3] = [Flag::LostRecords, Flag::GapInFraming, Flag::EarlyResponse];

/// Runs the exchanges that the bytes choose.
pub fn run(bytes: &[u8]) {
    let mut u = Unstructured::new(bytes);
    let mut client = Client {
        wire: Wire::new(2),
        conn: 0,
        counted: [0; 2],
        unseen: [0; 2],
        ends_unseen: [false; 2],
        lost: 0,
        calls: Vec::new(),
        clean: true,
        whole: true,
        touched: BTreeSet::new(),
    };
    client.open();
    for number in 0..EXCHANGES {
        if u.is_empty() || client.exchange(number, &mut u).is_err() {
            break;
        }
    }
    // Behind everything that was lost comes one that was not.
    client.clean_exchange();
    assert_eq!(client.wire.tracker.stats().lost_bytes, client.lost);
    for facts in client.wire.watch.finished() {
        assert!(is_unmarked(&format!("{facts:?}")), "{facts:?}");
        let touched = facts.path.as_deref().is_some_and(|path| client.touched.contains(path));
        assert!(!touched || facts.flags.iter().any(|f| MARKS.contains(&f)), "{facts:#?}");
    }
}

fn is_unmarked(text: &str) -> bool {
    !text.contains(MARK) && !text.contains(QUERY_MARK)
}

/// One connection after another.
struct Client {
    wire: Wire,
    conn: u64,
    counted: [u64; 2],
    /// Bytes each way whose records were lost, and that no later call has shown to be missing yet.
    unseen: [u64; 2],
    /// The last record of the exchange each way was lost.
    ends_unseen: [bool; 2],
    /// Bytes that are known to be lost.
    lost: u64,
    /// The calls of the exchange that were seen.
    calls: Vec<Io>,
    /// Every byte of the exchange was seen so far.
    clean: bool,
    /// No record of it was lost so far.
    whole: bool,
    /// Paths of exchanges that lost a record, and of whose answer something was seen or of which that was the
    /// last thing before the close.
    touched: BTreeSet<String>,
}

/// When the first and the last byte of a message went over.
#[derive(Clone, Copy)]
struct When {
    first: u64,
    last: u64,
}

impl Client {
    fn open(&mut self) {
        self.conn += 1;
        self.counted = [0; 2];
        self.unseen = [0; 2];
        self.wire.t += 1;
        self.wire.io(&self.wire.event(self.conn, IoKind::Open));
    }

    /// The server closes the connection; `shuts`: it shuts it down before. The counts tell of what was lost last.
    fn close(&mut self, shuts: bool) {
        self.lost += self.unseen.iter().sum::<u64>();
        let kinds = [IoKind::Shutdown, IoKind::Close];
        for kind in &kinds[usize::from(!shuts)..] {
            self.wire.t += 1;
            self.wire.io(&self.wire.end(self.conn, *kind, self.counted));
        }
    }

    fn exchange(&mut self, number: u32, u: &mut Unstructured<'_>) -> Result<()> {
        let [shapes, size, events, how]: [u8; 4] = u.arbitrary()?;
        let path = format!("/exchange/{number}");
        let request = message::request(&path, shapes & 15, usize::from(size) * 48);
        let response = message::response(shapes >> 4, events % 32, request.is_head);
        self.play(&path, &request, &response, how, u);
        Ok(())
    }

    fn clean_exchange(&mut self) {
        let path = "/clean";
        let (request, response) = (message::request(path, 4, 9), message::response(0, 1, false));
        self.play(path, &request, &response, 0, &mut Unstructured::new(&[]));
    }

    fn play(
        &mut self,
        path: &str,
        request: &Request,
        response: &Response,
        how: u8,
        u: &mut Unstructured<'_>,
    ) {
        (self.clean, self.whole, self.ends_unseen) = (true, true, [false; 2]);
        self.calls.clear();
        let pause = request.pause.unwrap_or(request.bytes.len());
        let (head, body) = request.bytes.split_at(pause);
        let mut read = self.message(Direction::In, head, how, u);
        let mut interim = 0;
        if request.pause.is_some() {
            let go_on = b"HTTP/1.1 100 Continue\r\n\r\n";
            interim = go_on.len() as u64;
            let whole = self.whole;
            self.message(Direction::Out, go_on, how, u);
            // Lost behind other losses, it may be of the exchange before.
            self.whole = whole;
            read.last = self.message(Direction::In, body, how, u).last;
        }
        let calls = self.calls.len();
        let answer = self.message(Direction::Out, &response.bytes, how, u);
        let mut touched = !self.whole && self.calls.len() > calls;
        if response.until_close || how & 16 != 0 {
            touched |= self.ends_unseen.contains(&true);
            self.close(how & 32 != 0);
            self.open();
        }
        if touched {
            self.touched.insert(path.to_owned());
        }
        let told = self.wire.watch.finished().iter().filter(|f| f.path.as_deref() == Some(path));
        let told: Vec<_> = told.collect();
        assert!(told.len() <= 1, "told twice: {told:#?}");
        let state = format!("{:?}", self.wire.tracker);
        assert!(is_unmarked(&state), "{state}");
        if !self.clean {
            return;
        }
        let [facts] = told[..] else {
            panic!("{path} was not told: {:?}", self.wire.tracker);
        };
        assert_eq!((facts.status, facts.outcome), (Some(response.status), End::Complete));
        assert_eq!((facts.start.t, facts.body.map(|m| m.t)), (read.first, Some(read.last)));
        assert_eq!(facts.end.t, answer.last, "{facts:#?}");
        assert_eq!(facts.bytes_in, request.bytes.len() as u64, "{facts:#?}");
        assert_eq!(facts.bytes_out, interim + response.bytes.len() as u64, "{facts:#?}");
        assert_eq!(self.wire.tracker.in_flight(), 0, "{:?}", self.wire.tracker);
        let flags: Vec<_> = facts.flags.iter().filter(|f| *f != Flag::Pipelined).collect();
        assert!(flags.is_empty(), "{facts:#?}");
        let facts = Facts { request: RequestId(1), flags: Flags::default(), ..facts.clone() };
        assert_eq!(facts, self.alone());
    }

    /// The exchange as it is told where there is no other.
    fn alone(&self) -> Facts {
        let mut wire = Wire::new(1);
        let conn = self.calls[0].conn.0;
        wire.io(&wire.event(conn, IoKind::Open));
        let mut counted = [0; 2];
        for call in &self.calls {
            let counted = &mut counted[usize::from(call.kind == IoKind::Send)];
            wire.t = call.t;
            wire.io(&Io { offset: *counted, ..call.clone() });
            *counted += u64::from(call.len);
        }
        wire.t += 1;
        wire.io(&wire.end(conn, IoKind::Close, counted));
        wire.watch.finished()[0].clone()
    }

    /// Sends the bytes in calls: `how` says of what size, a byte each what becomes of them.
    fn message(
        &mut self,
        direction: Direction,
        bytes: &[u8],
        how: u8,
        u: &mut Unstructured<'_>,
    ) -> When {
        let mut when = When { first: self.wire.t + 1, last: 0 };
        for part in bytes.chunks(size(how, bytes.len())) {
            self.wire.t += 1;
            when.last = self.wire.t;
            let fate: u8 = if how & 8 == 0 { 0 } else { u.arbitrary().unwrap_or(0) };
            self.call(direction, part, fate);
        }
        when.first = when.first.min(when.last);
        when
    }

    fn call(&mut self, direction: Direction, bytes: &[u8], fate: u8) {
        let offset = &mut self.counted[direction as usize];
        let before = *offset;
        *offset += bytes.len() as u64;
        let unseen = &mut self.unseen[direction as usize];
        self.ends_unseen[direction as usize] = fate >= 0xe0;
        if fate >= 0xe0 {
            *unseen += bytes.len() as u64;
            (self.clean, self.whole) = (false, false);
            return;
        }
        self.lost += std::mem::take(unseen);
        let capture = if fate >= 0xc0 { LITTLE } else { KERNEL };
        let io = self.wire.call(self.conn, direction, before, bytes, capture);
        self.clean &= io.payload.len() == bytes.len();
        self.wire.io(&io);
        self.calls.push(io);
    }
}

/// Bytes of one call of a message of this length.
fn size(how: u8, len: usize) -> usize {
    let size = match how & 7 {
        0 => len,
        1 => 24,
        2 => len / 2 + 1,
        3 => 4096,
        n => usize::from(n) * 37,
    };
    // Too many calls say no more than some.
    size.max(len / 64).max(1)
}

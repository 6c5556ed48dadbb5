//! The corpus that is committed: what real servers said, as inputs of each target. Its words are synthetic.

use std::mem::{offset_of, size_of};

use probe_common::{IoRecord, Kind, TickRecord};
use wattprobe::{
    boundary::{Limits, Output, Tracker},
    engine::{codec::Encoder, entry::Entry},
    event::{Event, Io, IoKind},
    kernel::decode_record,
};

use crate::{
    message,
    script::{self, Direction},
    trace,
};

/// One input.
pub struct Seed {
    /// Whose.
    pub target: &'static str,
    /// Its file's name.
    pub name: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// Every seed.
#[must_use]
pub fn all() -> Vec<Seed> {
    let trace = trace::llama_server(false);
    let mut seeds = Vec::new();
    let mut add = |target, name: String, bytes| seeds.push(Seed { target, name, bytes });
    for conn in 1..=trace.iter().map(|io| io.conn.0).max().unwrap_or(0) {
        let calls = trace.iter().filter(|io| io.conn.0 == conn);
        add("tracker", format!("llama-server-{conn}"), script_of(calls.clone()));
        add("records", format!("llama-server-{conn}"), records_of(calls));
    }
    add("records", "tape".to_owned(), tape_of(&trace));
    for shape in 0..42_u8 {
        // Each request and response, in every way of cutting, whole and with losses.
        let how = shape & 15;
        let fates = [0, 0xc0, 0, 0xe0, 0, 0].map(|fate| if how & 8 == 0 { 0 } else { fate });
        let one = [shape % 6 | (shape % 7) << 4, shape % 5, 3, how];
        add("exchanges", format!("shapes-{shape}"), [&one[..], &fates, &one].concat());
    }
    for shape in [2, 4] {
        let request = message::request("/v1/chat/completions", shape, 64).bytes;
        add("tracker", format!("request-{shape}"), call_of(&request));
    }
    add("tracker", "tls".to_owned(), tls_of(true));
    add("tracker", "tls-opaque".to_owned(), tls_of(false));
    for (i, (kind, body)) in bodies().into_iter().enumerate() {
        let target = if kind == Body::Document { "json" } else { "lines" };
        let choice = [u8::from(kind == Body::Lines), 40, 9];
        let choice = if kind == Body::Document { &choice[1..] } else { &choice[..] };
        add(target, format!("body-{i}"), [choice, body.as_bytes()].concat());
    }
    for io in trace.iter().filter(|io| io.kind == IoKind::Send) {
        let chunk = [&[7], &io.payload[..]].concat();
        if io.payload.starts_with(b"1")
            && seeds.iter().filter(|s| s.target == "chunked").count() < 4
        {
            let name = format!("llama-server-{}", io.t);
            seeds.push(Seed { target: "chunked", name, bytes: chunk });
        }
    }
    for (name, bytes) in [
        (
            "whole",
            &b"\x055\r\nhello\r\n1;name=v\r\n \r\n0A\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\nNEXT"
                [..],
        ),
        ("too-long", b"\x0111111111111111111\r\n"),
        ("no-end", b"\x035\r\nhelloX"),
    ] {
        seeds.push(Seed { target: "chunked", name: name.to_owned(), bytes: bytes.to_vec() });
    }
    seeds
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Body {
    Document,
    Events,
    Lines,
}

/// Bodies of each kind of server.
fn bodies() -> Vec<(Body, &'static str)> {
    use Body::{Document, Events, Lines};
    vec![
        (
            Document,
            r#"{"messages":[{"role":"user","content":"say \"model\":\"x\",\"stream\":false"}],"model":"gpt","stream":true}"#,
        ),
        (
            Document,
            r#" {"model":"or\"g\/m","choices":[{"delta":{"content":"h\\"}},2],"usage":{"prompt_tokens":12 , "x":null},"stream":true}"#,
        ),
        (
            Document,
            r#"{"usage":{"prompt_tokens":7,"completion_tokens":3,"prompt_tokens_details":{"cached_tokens":2}},"timings":{"prompt_n":5,"predicted_n":3,"cache_n":2,"prompt_ms":1.5,"predicted_ms":30}}"#,
        ),
        (
            Document,
            r#"{"total_duration":9,"prompt_eval_count":26,"eval_count":298,"eval_duration":5,"mod\u0065l":"no","e":-1.5e-7}"#,
        ),
        (Document, r#"{"a":[[[[[[[[[[[[[["]]\"[["]]]]]]]]]]]]]],"stream":false}"#),
        (
            Document,
            r#"{"index":0,"content":"x","id_slot":1,"model":"gguf","tokens_predicted":4,"tokens_evaluated":2,"prompt":"hi"}"#,
        ),
        (
            Events,
            "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":null}}]}\n\ndata: {\"choices\":[{\"delta\":{\"content\":\"a\"}}],\"model\":\"m\"}\n\ndata: {\"choices\":[],\"usage\":{\"completion_tokens\":1,\"prompt_tokens\":31}}\n\ndata: [DONE]\n\n",
        ),
        (
            Events,
            ": ping\r\n\r\nevent: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"model\":\"c\",\"usage\":{\"input_tokens\":12,\"output_tokens\":1}}}\n\nevent: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"delta\":{\"type\":\"text_delta\",\"text\":\"Hi\"}}\n\nevent: message_delta\ndata: {\"type\":\"message_delta\",\"usage\":{\"output_tokens\":42}}\n\n",
        ),
        (
            Events,
            "data: {\"choices\":[{\"delta\":\ndata: {\"content\":\"b\"}}]}\n\ndatabase: {\"content\":\"no\"}\n",
        ),
        (
            Events,
            "data: {\"type\":\"response.output_text.delta\",\"delta\":\"x\"}\n\ndata: {\"type\":\"response.completed\",\"response\":{\"model\":\"m\",\"usage\":{\"input_tokens\":1,\"output_tokens\":2}}}\n\n",
        ),
        (
            Lines,
            "{\"model\":\"llama3\",\"message\":{\"role\":\"assistant\",\"content\":\"Hi\"},\"done\":false}\n{\"model\":\"llama3\",\"message\":{\"content\":\"\"},\"done\":true,\"total_duration\":5000000,\"prompt_eval_count\":26,\"eval_count\":290}\n",
        ),
        (
            Lines,
            "{\"response\":\"a\"}\r\n{\"response\":\"\"}\n{\"broken\n{\"response\":\"b\",\"eval_count\":2}",
        ),
    ]
}

fn call_of(bytes: &[u8]) -> Vec<u8> {
    let mut script = Vec::new();
    script::write_event(&mut script, 0, IoKind::Open);
    script::write_call(&mut script, 0, Direction::In, bytes);
    script
}

/// A connection that speaks TLS 1.3: a handshake, two exchanges, an alert, a close. `known`: with their plaintext.
fn tls_of(known: bool) -> Vec<u8> {
    use Direction::{In, Out, PlainIn, PlainOut};
    const CIPHERS: u8 = 20;
    const HANDSHAKE: u8 = 22;
    const DATA: u8 = 23;
    // Behind the plaintext stand the record's own type and a tag.
    const SEAL: usize = 1 + 16;
    let mut script = Vec::new();
    script::write_event(&mut script, 0, IoKind::Open);
    script::write_call(&mut script, 0, In, &record(HANDSHAKE, 512));
    if known {
        script::write_event(&mut script, 0, IoKind::PlainOpen);
    }
    let mut call = |way, bytes: &[u8]| {
        if known || matches!(way, In | Out) {
            script::write_call(&mut script, 0, way, bytes);
        }
    };
    let server = [(HANDSHAKE, 122), (CIPHERS, 1), (DATA, 900), (DATA, 53)];
    call(Out, &server.map(|(kind, len)| record(kind, len)).concat());
    call(In, &[record(CIPHERS, 1), record(DATA, 53)].concat());
    call(Out, &[record(DATA, 234), record(DATA, 234)].concat());
    for shape in [0, 1] {
        let request = message::request("/v1/chat/completions", 4, 64).bytes;
        call(In, &record(DATA, request.len() + SEAL));
        call(PlainIn, &request);
        for part in message::response(shape, 3, false).bytes.chunks(200) {
            call(PlainOut, part);
            call(Out, &record(DATA, part.len() + SEAL));
        }
    }
    // What tells that the client leaves, as it looks enciphered.
    script::write_call(&mut script, 0, In, &record(DATA, 2 + SEAL));
    script::write_event(&mut script, 0, IoKind::Recv);
    script::write_event(&mut script, 0, IoKind::Close);
    script
}

/// A TLS record of a type, with a body of so many bytes.
fn record(kind: u8, len: usize) -> Vec<u8> {
    let size = (len as u16).to_be_bytes();
    [&[kind, 3, 3, size[0], size[1]], &vec![0xa5; len][..]].concat()
}

fn script_of<'a>(calls: impl Iterator<Item = &'a Io>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for io in calls {
        let conn = (io.conn.0 % u64::from(script::CONNECTIONS)) as u8;
        match io.kind {
            IoKind::Recv => script::write_call(&mut bytes, conn, Direction::In, &io.payload),
            IoKind::Send => script::write_call(&mut bytes, conn, Direction::Out, &io.payload),
            kind => script::write_event(&mut bytes, conn, kind),
        }
    }
    bytes
}

/// As records of the event ring, behind a tick.
fn records_of<'a>(calls: impl Iterator<Item = &'a Io>) -> Vec<u8> {
    let mut bytes = vec![0];
    let mut add = |record: &[u8]| {
        bytes.extend((record.len() as u16).to_le_bytes());
        bytes.extend(record);
    };
    let mut tick = [0; size_of::<TickRecord>()];
    tick[0] = Kind::Tick as u8;
    add(&tick);
    calls.for_each(|io| add(&record_of(io)));
    bytes
}

fn record_of(io: &Io) -> Vec<u8> {
    let mut record = vec![0; size_of::<IoRecord>()];
    let kind = match io.kind {
        IoKind::Open => Kind::Open,
        IoKind::Recv => Kind::Recv,
        IoKind::Send => Kind::Send,
        IoKind::Shutdown => Kind::Shutdown,
        _ => Kind::Close,
    };
    let mut put = |at: usize, bytes: &[u8]| record[at..at + bytes.len()].copy_from_slice(bytes);
    put(offset_of!(IoRecord, kind), &(kind as u32).to_ne_bytes());
    put(offset_of!(IoRecord, who), &io.who.to_ne_bytes());
    put(offset_of!(IoRecord, t), &io.t.to_ne_bytes());
    put(offset_of!(IoRecord, conn), &io.conn.0.to_ne_bytes());
    put(offset_of!(IoRecord, offset), &io.offset.to_ne_bytes());
    put(offset_of!(IoRecord, len), &io.len.to_ne_bytes());
    put(offset_of!(IoRecord, head), &(io.payload.len() as u16).to_ne_bytes());
    record.extend(&io.payload);
    record
}

/// What a run would have recorded of the trace.
fn tape_of(trace: &[Io]) -> Vec<u8> {
    let (mut tracker, mut out) = (Tracker::new(Limits::default()), Vec::new());
    trace.iter().for_each(|io| tracker.on_io(io, &mut out));
    let (mut encoder, mut bytes) = (Encoder::default(), vec![1]);
    let mut tick = [0; size_of::<TickRecord>()];
    tick[0] = Kind::Tick as u8;
    let tick = decode_record(&tick).and_then(|event| match event {
        Event::Tick(tick) => Some(Entry::Tick(tick)),
        _ => None,
    });
    let told = out.into_iter().filter_map(|output| match output {
        Output::Boundary(boundary) => Some(Entry::Boundary(boundary)),
        Output::Finished(facts) => Some(Entry::Finished(facts)),
        Output::NotUnderstood { .. } => None,
    });
    for entry in tick.into_iter().chain(told) {
        encoder.entry(&entry, &mut bytes).expect("it can be written");
    }
    bytes
}

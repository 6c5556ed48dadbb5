//! Target `records`: what comes from outside as whole records, those of the event ring and those of a tape.

use wattprobe::{
    boundary::{Limits, Tracker},
    engine::codec::{Decoder, Encoder},
    event::Event,
    kernel::decode_record,
};

/// Reads records: the first byte says of what.
pub fn run(bytes: &[u8]) {
    match bytes {
        [kind, bytes @ ..] if kind & 1 == 0 => ring(bytes),
        [_, bytes @ ..] => tape(bytes),
        [] => {}
    }
}

/// Records of the ring, each behind its length as little-endian u16, into a tracker.
fn ring(mut bytes: &[u8]) {
    let mut tracker = Tracker::new(Limits { connections: 16 });
    let (mut out, mut requests) = (Vec::new(), 0);
    while let Some((length, rest)) = bytes.split_first_chunk() {
        let (record, rest) = rest.split_at(rest.len().min(u16::from_le_bytes(*length).into()));
        bytes = rest;
        let event = decode_record(record);
        if event.is_some() {
            // The ring may pad.
            let padded = decode_record(&[record, &[0xa5; 8]].concat());
            assert_eq!(format!("{event:?}"), format!("{padded:?}"), "padding says nothing");
        }
        if let Some(Event::Io(io)) = event {
            assert!(io.head <= io.payload.len() && io.payload.len() <= record.len());
            tracker.on_io(&io, &mut out);
            requests += 1;
        }
    }
    assert!(tracker.in_flight() <= requests * 32);
}

/// The items of a tape's frame.
fn tape(bytes: &[u8]) {
    let (mut decoder, mut encoder) = (Decoder::default(), Encoder::default());
    let (mut entries, mut again) = (Vec::new(), Vec::new());
    let mut rest = bytes;
    while let Ok(Some(entry)) = decoder.next(&mut rest) {
        // What cannot be written was not written by us.
        if encoder.entry(&entry, &mut again).is_err() {
            return;
        }
        entries.push(entry);
        assert!(entries.len() <= bytes.len(), "more entries than bytes");
    }
    let (mut decoder, mut rest) = (Decoder::default(), &again[..]);
    for entry in &entries {
        let read = decoder.next(&mut rest).expect("what was written is read").expect("an entry");
        assert_eq!(format!("{read:?}"), format!("{entry:?}"), "it comes back as it was");
    }
    assert!(rest.is_empty());
}

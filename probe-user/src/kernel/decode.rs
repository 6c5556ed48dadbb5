//! Ring-buffer bytes to [`Event`]s. The bytes come from our own programs, but a short or unknown record
//! is `None` all the same, never a panic.

use probe_common::{
    CoreTickRecord, HAVE_BESIDE, HAVE_CORES, HAVE_CYCLES, HAVE_MISSES, IoRecord, Kind,
    MAX_COUNTERS, ProcessRecord, SliceRecord, TickRecord, WideTickRecord,
};

use crate::event::{ConnId, CoreBooks, Event, Io, IoKind, Process, ProcessChange, Tick};

/// Reads one record of the event ring; `None` when kind or length are not those of a record. Captured bytes are put into
/// `buffer`, which is only asked for where there are some.
#[must_use]
pub(super) fn event(bytes: &[u8], buffer: impl FnOnce() -> Vec<u8>) -> Option<Event> {
    let kind = u32::from_ne_bytes(*bytes.first_chunk::<4>()?);
    let io = |kind| io(bytes, buffer, kind);
    let process = |change| process(bytes, change);
    match kind {
        k if k == Kind::Tick as u32 => tick(bytes),
        k if k == Kind::Open as u32 => io(IoKind::Open),
        k if k == Kind::Recv as u32 => io(IoKind::Recv),
        k if k == Kind::Send as u32 => io(IoKind::Send),
        k if k == Kind::Close as u32 => io(IoKind::Close),
        k if k == Kind::Shutdown as u32 => io(IoKind::Shutdown),
        k if k == Kind::Error as u32 => io(IoKind::Error(0)),
        k if k == Kind::PlainOpen as u32 => io(IoKind::PlainOpen),
        k if k == Kind::PlainRecv as u32 => io(IoKind::PlainRecv),
        k if k == Kind::PlainSend as u32 => io(IoKind::PlainSend),
        k if k == Kind::Fork as u32 => process(ProcessChange::Fork(0)),
        k if k == Kind::Exec as u32 => process(ProcessChange::Exec),
        k if k == Kind::Exit as u32 => process(ProcessChange::Exit),
        k if k == Kind::Listen as u32 => process(ProcessChange::Listen),
        _ => None,
    }
}

/// Reads one record of the slice stream.
#[must_use]
pub(super) fn slice(bytes: &[u8]) -> Option<SliceRecord> {
    read(bytes)
}

/// Copies a `repr(C)` record of integers out of bytes.
fn read<T: Copy>(bytes: &[u8]) -> Option<T> {
    if bytes.len() < size_of::<T>() {
        return None;
    }
    // SAFETY: long enough, and every record of the ABI is plain integers, valid for any bytes.
    Some(unsafe { bytes.as_ptr().cast::<T>().read_unaligned() })
}

fn tick(bytes: &[u8]) -> Option<Event> {
    let record: TickRecord = read(bytes)?;
    let mut counter = [None; MAX_COUNTERS];
    for (i, slot) in counter.iter_mut().enumerate() {
        *slot = (record.valid & (1 << i) != 0).then_some(record.counter[i]);
    }
    let have = |what| record.have & what != 0;
    // A record that is shorter than it says is none.
    let cores = if have(HAVE_CORES) {
        let CoreTickRecord { weight, book, .. } = read(bytes)?;
        Some(Box::new(CoreBooks { weight, book }))
    } else {
        None
    };
    let (mut beside, mut cycles, mut misses) = (None, None, None);
    if have(HAVE_BESIDE | HAVE_CYCLES | HAVE_MISSES) {
        let wide: WideTickRecord = read(bytes)?;
        beside = have(HAVE_BESIDE).then(|| Box::new(wide.beside));
        cycles = have(HAVE_CYCLES).then(|| Box::new(wide.cycles));
        misses = have(HAVE_MISSES).then(|| Box::new(wide.misses));
    }
    Some(Event::Tick(Box::new(Tick {
        package: record.package as usize,
        t: record.t,
        number: record.number,
        counter,
        clock: record.clock,
        cores,
        beside,
        cycles,
        misses,
    })))
}

fn io(bytes: &[u8], buffer: impl FnOnce() -> Vec<u8>, kind: IoKind) -> Option<Event> {
    let record: IoRecord = read(bytes)?;
    let (head, tail) = (usize::from(record.head), usize::from(record.tail));
    let begin = size_of::<IoRecord>();
    let captured = bytes.get(begin..begin + head + tail)?;
    let mut payload = Vec::new();
    if !captured.is_empty() {
        payload = buffer();
        payload.clear();
        payload.extend_from_slice(captured);
    }
    let (kind, len) = match kind {
        IoKind::Error(_) => (IoKind::Error(i32::try_from(record.len).unwrap_or(i32::MAX)), 0),
        kind => (kind, record.len),
    };
    Some(Event::Io(Io {
        t: record.t,
        conn: ConnId(record.conn),
        who: record.who,
        tgid: record.tgid,
        kind,
        offset: record.offset,
        len,
        head,
        payload,
        arrived: record
            .unread
            .checked_sub(1)
            .map(|us| record.t.saturating_sub(u64::from(us) * 1000)),
        clock: record.clock,
    }))
}

fn process(bytes: &[u8], change: ProcessChange) -> Option<Event> {
    let record: ProcessRecord = read(bytes)?;
    let change = match change {
        ProcessChange::Fork(_) => ProcessChange::Fork(record.other),
        change => change,
    };
    Some(Event::Process(Process { t: record.t, who: record.who, tgid: record.tgid, change }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(bytes: &[u8]) -> Option<Event> {
        super::event(bytes, Vec::new)
    }

    #[test]
    fn short_and_unknown_records_are_none() {
        for len in 0..200 {
            assert!(event(&vec![0xff; len]).is_none());
            let mut bytes = vec![0; len];
            if len >= 4 {
                bytes[0] = Kind::Tick as u8;
            }
            assert_eq!(event(&bytes).is_some(), len >= size_of::<TickRecord>());
        }
    }

    /// A record that says what follows its tick.
    fn wide(have: u32) -> Vec<u8> {
        let mut bytes = vec![0; size_of::<WideTickRecord>()];
        bytes[0] = Kind::Tick as u8;
        bytes[std::mem::offset_of!(TickRecord, have)] = have as u8;
        bytes
    }

    #[test]
    fn a_tick_brings_what_it_says_and_is_none_when_that_is_cut_off() {
        let mut bytes = wide(HAVE_BESIDE);
        bytes[std::mem::offset_of!(WideTickRecord, beside) + 8] = 7;
        let Some(Event::Tick(tick)) = event(&bytes) else { panic!("no tick") };
        assert_eq!((tick.beside.unwrap()[1], tick.cycles, tick.cores), (7, None, None));
        assert!(event(&bytes[..bytes.len() - 1]).is_none());
        let mut bytes = wide(HAVE_BESIDE | HAVE_CYCLES);
        bytes[std::mem::offset_of!(WideTickRecord, cycles) + 16] = 9;
        let Some(Event::Tick(tick)) = event(&bytes) else { panic!("no tick") };
        assert_eq!((tick.beside.unwrap()[1], tick.cycles.unwrap()[2]), (0, 9));
        assert_eq!(tick.misses, None);
        let mut bytes = wide(HAVE_MISSES);
        bytes[std::mem::offset_of!(WideTickRecord, misses) + 16] = 9;
        let Some(Event::Tick(tick)) = event(&bytes) else { panic!("no tick") };
        assert_eq!((tick.cycles, tick.misses.unwrap()[2]), (None, 9));
        assert!(event(&wide(HAVE_CORES)[..size_of::<TickRecord>()]).is_none());
    }

    #[test]
    fn a_tick_says_what_the_cores_counted_only_where_they_have_counters() {
        let mut bytes = wide(HAVE_CORES);
        bytes[std::mem::offset_of!(CoreTickRecord, weight) + 8] = 7;
        bytes[std::mem::offset_of!(CoreTickRecord, book)] = 9;
        let cores = |bytes: &[u8]| match event(bytes) {
            Some(Event::Tick(tick)) => tick.cores,
            other => panic!("{other:?}"),
        };
        let books = cores(&bytes).unwrap();
        assert_eq!((books.weight[1], books.book[0]), (7, 9));
        assert_eq!(cores(&wide(0)[..size_of::<TickRecord>()]), None);
    }

    #[test]
    fn what_is_not_known_to_have_lain_in_the_socket_has_no_arrival() {
        let (t, unread) =
            (std::mem::offset_of!(IoRecord, t), std::mem::offset_of!(IoRecord, unread));
        let mut bytes = vec![0u8; size_of::<IoRecord>()];
        bytes[0] = Kind::Recv as u8;
        bytes[t..t + 8].copy_from_slice(&9_500_000u64.to_ne_bytes());
        let mut arrived = |us: u32| {
            bytes[unread..unread + 4].copy_from_slice(&us.to_ne_bytes());
            let Some(Event::Io(io)) = event(&bytes) else { panic!("no io") };
            io.arrived
        };
        assert_eq!([0, 1, 2501].map(&mut arrived), [None, Some(9_500_000), Some(7_000_000)]);
    }

    #[test]
    fn a_payload_longer_than_the_record_is_none() {
        let head = std::mem::offset_of!(IoRecord, head);
        let mut bytes = vec![0u8; size_of::<IoRecord>() + 10];
        bytes[0] = Kind::Recv as u8;
        bytes[head..head + 2].copy_from_slice(&11u16.to_ne_bytes());
        assert!(event(&bytes).is_none());
        bytes[head..head + 2].copy_from_slice(&10u16.to_ne_bytes());
        let Event::Io(io) = event(&bytes).unwrap() else { panic!("no io") };
        assert_eq!((io.head, io.payload.len()), (10, 10));
        // In a buffer that was used before.
        let Event::Io(io) = super::event(&bytes, || vec![1; 500]).unwrap() else { panic!("no io") };
        assert_eq!((io.payload.as_slice(), io.payload.capacity()), (&[0; 10][..], 500));
    }
}

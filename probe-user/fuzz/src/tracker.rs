//! Target `tracker`: any events whatever, with records that were lost, came late, or lie.
//!
//! Nothing panics, memory is bounded, every request has its boundaries in order and ends once, and no byte
//! is counted for two requests.

use wattprobe::{
    boundary::{Census, Facts, Flag, Moved},
    event::{ConnId, Io, IoKind},
};

use crate::{
    script::{self, CONNECTIONS, Direction, Happened, Seen},
    wire::{Capture, Wire},
};

/// Fewer than a script may use, so that some are evicted.
const LIMIT: usize = 6;

/// Runs one script.
pub fn run(bytes: &[u8]) {
    let mut wire = Wire::new(LIMIT);
    let mut counted = [[0_u64; Direction::COUNT]; CONNECTIONS as usize];
    // Bytes that went each way, also over connections of the same number.
    let mut moved = counted;
    let mut honest = true;
    for event in script::read(bytes) {
        wire.t += u64::from(event.step);
        let (conn, id) = (usize::from(event.conn), u64::from(event.conn));
        match event.what {
            Happened::Call(direction, seen, bytes) => {
                honest &= !matches!(seen, Seen::Lie(..) | Seen::Late(_));
                let way = direction as usize;
                let before = counted[conn][way];
                let io = call(&wire, id, direction, seen, before, bytes);
                let behind = if let Seen::Behind(n) = seen { u64::from(n) } else { 0 };
                counted[conn][way] += behind + bytes.len() as u64;
                moved[conn][way] += behind + bytes.len() as u64;
                if let Some(io) = io {
                    wire.io(&io);
                }
            }
            Happened::Io(kind) => {
                if kind == IoKind::Open {
                    counted[conn] = [0; Direction::COUNT];
                }
                let [received, sent, ..] = counted[conn];
                wire.io(&match kind {
                    IoKind::Close | IoKind::Shutdown => wire.end(id, kind, [received, sent]),
                    _ => wire.event(id, kind),
                });
            }
            Happened::LyingEnd(kind, counts) => {
                honest = false;
                wire.io(&wire.end(id, kind, counts));
            }
            Happened::FoundOpen => {
                let Io { who, tgid, .. } = wire.event(id, IoKind::Open);
                // Only what is not known can be found.
                if counted[conn] == [0; Direction::COUNT] && moved[conn] == [0; Direction::COUNT] {
                    wire.on(|tracker, t, out| tracker.found_open(ConnId(id), who, tgid, t, out));
                }
            }
            Happened::Exit => {
                let tgid = wire.event(id, IoKind::Close).tgid;
                wire.on(|tracker, t, out| tracker.process_exit(tgid, t, &[t / 2; 8], out));
            }
            Happened::Expire(horizon) => {
                let horizon = u64::from(horizon);
                wire.on(|tracker, t, out| tracker.expire(t, horizon, |_| [t / 2; 8], out));
            }
            Happened::Interrupt => interrupt(&mut wire),
            Happened::Lost => look_around(&mut wire, id, &counted),
        }
    }
    interrupt(&mut wire);
    assert_eq!(wire.tracker.in_flight(), 0);
    if honest {
        for facts in wire.watch.finished() {
            let moved = &mut moved[facts.conn.0 as usize];
            for (way, n) in directions(facts).into_iter().zip([facts.bytes_in, facts.bytes_out]) {
                let left = &mut moved[way as usize];
                *left = left.checked_sub(n).expect("a byte is of one request");
            }
        }
    }
}

/// Which bytes a request counts: those of the connection, or its plaintext.
fn directions(facts: &Facts) -> [Direction; 2] {
    if facts.flags.contains(Flag::Tls) && !facts.flags.contains(Flag::TlsOpaque) {
        [Direction::PlainIn, Direction::PlainOut]
    } else {
        [Direction::In, Direction::Out]
    }
}

/// Records were lost: the kernel says what each connection has moved, and that this one is closed.
fn look_around(wire: &mut Wire, closed: u64, counted: &[[u64; Direction::COUNT]]) {
    let others = counted.iter().enumerate().filter(|(conn, _)| *conn as u64 != closed);
    let moved =
        |[received, sent, ..]: &[u64; Direction::COUNT]| Moved { received: *received, sent: *sent };
    let known = others.map(|(conn, counts)| (ConnId(conn as u64), moved(counts))).collect();
    wire.on(|tracker, t, out| {
        tracker.lost(t);
        tracker.reconcile(&Census { begin: t, end: t, known }, |_| [t / 2; 8], out);
    });
}

fn interrupt(wire: &mut Wire) {
    wire.on(|tracker, t, out| tracker.interrupt(t, |_| [t / 2; 8], out));
}

fn call(
    wire: &Wire,
    conn: u64,
    direction: Direction,
    seen: Seen,
    before: u64,
    bytes: &[u8],
) -> Option<Io> {
    let whole = |offset| wire.call(conn, direction, offset, bytes, Capture::ALL);
    Some(match seen {
        Seen::Not => return None,
        Seen::Whole => whole(before),
        Seen::Ends(head, tail) => {
            let capture = Capture { head: head.into(), tail: tail.into() };
            wire.call(conn, direction, before, bytes, capture)
        }
        Seen::Behind(lost) => whole(before + u64::from(lost)),
        Seen::Late(n) => whole(before.saturating_sub(n.into())),
        Seen::Lie(offset, len, head) => Io { offset, len, head: head.into(), ..whole(before) },
    })
}

//! The mixed load: stretches of fifty requests of every kind, the same for every server.
//!
//! A stretch is forty-two that are answered, then eight at once of which five leave, each at a place that a
//! seed chooses. So the server's own counters can be read between those that it must count exactly and
//! those whose client left.

use std::thread;
use std::time::Duration;

use probe_lab::rng::Rng;

use super::ask::{Ask, Dialect, Leave, Seen, Sending};
use super::client::{Address, once};
use super::clock;

/// Requests of a stretch.
pub(crate) const STRETCH: usize = 50;
/// Requests at the same time.
const AT_ONCE: usize = 8;
/// Of them, those that leave.
const LEAVING: usize = 5;
const TOKENS: u32 = 8;
/// Of an answer that nobody waits for: more than is computed before the client leaves.
const ABANDONED: u32 = 300;

/// A whole stretch in OpenAI's dialect.
pub(crate) fn mixed(server: &Address, stretch: usize) -> Vec<Seen> {
    let mut seen = answered(server, Dialect::OpenAi, stretch);
    seen.extend(abandoned(server, Dialect::OpenAi, stretch));
    assert_eq!(seen.len(), STRETCH);
    seen
}

/// Twelve on kept connections, fourteen on their own, and twice eight at once.
pub(crate) fn answered(server: &Address, dialect: Dialect, stretch: usize) -> Vec<Seen> {
    let kept = (0..12).map(|i| kind(i % 3, format!("keep-{stretch}-{i}")).speaking(dialect));
    let mut seen = on_one_connection(server, kept);
    for i in 0..14 {
        let ask = kind(1 + i % 6, format!("one-{stretch}-{i}")).speaking(dialect);
        seen.push(once(server, &ask).expect("an answer"));
    }
    for round in 0..2 {
        let asks = (0..AT_ONCE).map(|i| kind(i, format!("over-{stretch}-{round}-{i}")));
        seen.extend(at_once(server, asks.map(|ask| ask.speaking(dialect)).collect()));
    }
    seen
}

/// Eight at once: five leave, three are answered all the same.
pub(crate) fn abandoned(server: &Address, dialect: Dialect, stretch: usize) -> Vec<Seen> {
    let mut random = Rng::new(stretch as u64);
    let leaving = (0..LEAVING).map(|i| leaving(stretch * LEAVING + i, &mut random));
    let staying = (0..AT_ONCE - LEAVING).map(|i| kind(i + 1, format!("stay-{stretch}-{i}")));
    let asks = leaving.chain(staying).map(|ask| ask.speaking(dialect)).collect();
    at_once(server, asks)
}

/// One of each kind in turn.
fn kind(number: usize, id: String) -> Ask {
    match number % 8 {
        0 => Ask::health(id),
        1 | 6 => Ask::stream(id, TOKENS),
        2 | 7 => Ask::plain(id, TOKENS),
        3 => Ask::stream(id, TOKENS).sent(Sending::ByteByByte),
        4 => Ask::plain(id, TOKENS).sent(Sending::Continue),
        _ => Ask::stream(id, TOKENS).slowly(),
    }
}

/// In the body, before the first byte (of a stream, of a plain answer), and in the middle of a stream.
fn leaving(number: usize, random: &mut Rng) -> Ask {
    let id = format!("gone-{number}");
    let wait = Duration::from_micros((random.unit() * 50_000.0) as u64);
    let (stream, plain) = (Ask::stream(&*id, ABANDONED), Ask::plain(&*id, ABANDONED));
    match number % 5 {
        0 => stream.leaving(Leave::InBody(random.unit().into())),
        1 => stream.leaving(Leave::BeforeAnswer(wait)),
        2 => plain.leaving(Leave::BeforeAnswer(wait)),
        _ => stream.leaving(Leave::AfterContents(1 + (random.unit() * 20.0) as usize)),
    }
}

/// One after another on one connection, or on the next where the server closes.
fn on_one_connection(server: &Address, asks: impl Iterator<Item = Ask>) -> Vec<Seen> {
    let mut connection = server.connect().expect("the server listens");
    let mut seen = Vec::new();
    for ask in asks {
        let one = connection.ask(&ask).expect("an answer");
        if !one.keeps || !connection.stays().expect("it is open") {
            connection = server.connect().expect("the server listens");
        }
        seen.push(one);
    }
    seen
}

fn at_once(server: &Address, asks: Vec<Ask>) -> Vec<Seen> {
    thread::scope(|scope| {
        let ask = |ask: Ask| {
            let ask = Ask { beside: true, ..ask };
            scope.spawn(move || once(server, &ask).expect("an answer"))
        };
        let started: Vec<_> = asks.into_iter().map(ask).collect();
        started.into_iter().map(|one| one.join().expect("no client panics")).collect()
    })
}

/// Keeps `clients` streams going until the time is over; how many were answered.
pub(crate) fn keep_busy(server: &Address, clients: usize, time: Duration) -> usize {
    let deadline = clock::now() + u64::try_from(time.as_nanos()).expect("a short time");
    let client = |number: usize| {
        let mut answered = 0;
        while clock::now() < deadline {
            let ask = Ask::stream(format!("busy-{number}-{answered}"), 24);
            assert!(once(server, &ask).expect("an answer").complete);
            answered += 1;
        }
        answered
    };
    thread::scope(|scope| {
        let started: Vec<_> = (0..clients).map(|n| scope.spawn(move || client(n))).collect();
        started.into_iter().map(|one| one.join().expect("no client panics")).sum()
    })
}

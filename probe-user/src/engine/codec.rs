//! Entries as CBOR items, and back.
//!
//! What comes a thousand times a second is an array that begins with its kind; the rest is a map of one key, the kind's
//! name, and carries the names of its fields. In a tick, all numbers are differences from the tick of the same package
//! before it (from 0 in the first), modulo 2^64; a list may leave zeros at its end out.
//!
//! ```text
//! tick      [1, package, number, t, [counter or null, …], [clock, …]] and, as far as there are any:
//!           [weight of the cores, …], [book of the cores, …], [beside, …], [cycles, …],
//!           [cache misses, …], null for one that is not
//! reading   [2, domain, t, count or null, split] and, of a device: [ns, …]
//! boundary  [3, what, request, connection, consumer, process, t, events, [clock, …]]
//! others    {"Host": …} {"Finished": …} {"Distrust": …} {"Mark": …} {"End": …} {"Published": …}
//! split     0 clocks · 1 exclusive · 2 utilisation · 3 partition · 4 equal · 5 unknown
//! what      0 start · 1 body · 2 head · 3 first · 4 chunk · 5 end · 6 abort
//! ```
//!
//! What is decoded is hostile: every list is bounded by what it is read into.

use std::{convert::Infallible, fmt::Display};

use minicbor as cbor;
use probe_common::{CONSUMERS, MAX_COUNTERS, MAX_PACKAGES};
use probe_ledger::{Cause, DomainId, Flag, Split};
use serde::{Deserialize, Serialize};

use super::{
    entry::{Distrust, End, Entry, Published, Reading},
    host::Host,
    watch::Stretch,
};
use crate::{
    boundary::{Boundary, Facts, Moment, RequestId, What},
    event::{ConnId, CoreBooks, Tick},
};

const TICK: u64 = 1;
const READING: u64 = 2;
const BOUNDARY: u64 = 3;

const SPLITS: [Split; 6] = [
    Split::Clocks,
    Split::Exclusive,
    Split::Utilisation,
    Split::Partition,
    Split::Equal,
    Split::Unknown,
];
const WHATS: [What; 7] =
    [What::Start, What::Body, What::Head, What::First, What::Chunk, What::End, What::Abort];

/// An item that is no entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoEntry;

/// What does not come often, to be written.
#[derive(Serialize)]
enum Told<'a> {
    Host(&'a Host),
    Finished(&'a Facts),
    Distrust { package: Option<usize>, begin: u64, end: u64, cause: &'a str },
    Mark(&'a str),
    End(&'a End),
    Published(&'a Published),
}

/// And as it is read.
#[derive(Deserialize)]
enum Read {
    Host(Box<Host>),
    Finished(Box<Facts>),
    Distrust { package: Option<usize>, begin: u64, end: u64, cause: String },
    Mark(String),
    End(End),
    Published(Box<Published>),
}

/// The numbers of a package's last tick.
#[derive(Clone, Copy, Default)]
struct Last {
    number: u64,
    t: u64,
    counter: [u64; MAX_COUNTERS],
    clock: [u64; CONSUMERS],
    weight: [u64; CONSUMERS],
    book: [u64; CONSUMERS],
    beside: [u64; CONSUMERS],
    cycles: [u64; CONSUMERS],
    misses: [u64; CONSUMERS],
}

/// Writes entries.
#[derive(Default)]
pub struct Encoder {
    last: [Last; MAX_PACKAGES],
}

type Out<'a> = cbor::Encoder<&'a mut Vec<u8>>;
type Written = Result<(), cbor::encode::Error<Infallible>>;

fn optional(out: &mut Out<'_>, n: Option<u64>) -> Written {
    match n {
        Some(n) => out.u64(n)?.ok(),
        None => out.null()?.ok(),
    }
}

fn difference(out: &mut Out<'_>, now: u64, before: &mut u64) -> Written {
    // The smaller of both ways round.
    let step = now.wrapping_sub(std::mem::replace(before, now)).cast_signed();
    out.i64(step)?.ok()
}

fn list(out: &mut Out<'_>, now: &[u64], before: &mut [u64]) -> Written {
    let moved = now.iter().zip(before.iter()).rposition(|(now, before)| now != before);
    let length = moved.map_or(0, |last| last + 1);
    out.array(length as u64)?;
    let steps = now.iter().zip(before).take(length);
    steps.into_iter().try_for_each(|(now, before)| difference(out, *now, before))
}

/// The number of a word. Every word has one: a test encodes them all.
fn number<T: PartialEq>(words: &[T], word: &T) -> u64 {
    words.iter().position(|w| w == word).unwrap_or(words.len()) as u64
}

impl Encoder {
    /// Appends an entry.
    ///
    /// # Errors
    /// Only what cannot be: an entry that has no form.
    pub fn entry(&mut self, entry: &Entry, bytes: &mut Vec<u8>) -> Result<(), String> {
        let entry = match entry {
            Entry::Tick(tick) => {
                let last = self.last.get_mut(tick.package);
                let last = last.ok_or_else(|| format!("there is no package {}", tick.package))?;
                return put_tick(tick, last, &mut Out::new(bytes)).map_err(told);
            }
            Entry::Reading(reading) => {
                return put_reading(reading, &mut Out::new(bytes)).map_err(told);
            }
            Entry::Boundary(boundary) => {
                return put_boundary(boundary, &mut Out::new(bytes)).map_err(told);
            }
            Entry::Host(host) => Told::Host(host),
            Entry::Finished(facts) => Told::Finished(facts),
            Entry::Distrust(Distrust { package, when, cause }) => {
                let cause = name(*cause);
                Told::Distrust { package: *package, begin: when.begin, end: when.end, cause }
            }
            Entry::Mark(flag) => Told::Mark(flag.name()),
            Entry::End(end) => Told::End(end),
            Entry::Published(published) => Told::Published(published),
        };
        entry.serialize(&mut minicbor_serde::Serializer::new(bytes)).map_err(told)
    }
}

fn told(error: impl Display) -> String {
    error.to_string()
}

fn put_tick(tick: &Tick, last: &mut Last, out: &mut Out<'_>) -> Written {
    let (weight, book) = tick.cores.as_ref().map(|c| (&c.weight, &c.book)).unzip();
    let Tick { beside, cycles, misses, .. } = tick;
    let lists = [weight, book, beside.as_deref(), cycles.as_deref(), misses.as_deref()];
    let more = lists.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
    out.array(6 + more as u64)?.u64(TICK)?.u64(tick.package as u64)?;
    difference(out, tick.number, &mut last.number)?;
    difference(out, tick.t, &mut last.t)?;
    let length = tick.counter.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
    out.array(length as u64)?;
    for (now, before) in tick.counter.iter().zip(&mut last.counter).take(length) {
        match now {
            Some(now) => difference(out, *now, before)?,
            None => out.null()?.ok()?,
        }
    }
    list(out, &tick.clock, &mut last.clock)?;
    let Last { weight, book, beside, cycles, misses, .. } = last;
    let before = [weight, book, beside, cycles, misses];
    lists.into_iter().zip(before).take(more).try_for_each(|(now, before)| match now {
        Some(now) => list(out, now, before),
        None => out.null()?.ok(),
    })
}

fn put_reading(reading: &Reading, out: &mut Out<'_>) -> Written {
    out.array(if reading.used.is_some() { 6 } else { 5 })?.u64(READING)?;
    out.u64(reading.domain.0 as u64)?.u64(reading.t)?;
    optional(out, reading.count)?;
    out.u64(number(&SPLITS, &reading.split))?;
    match &reading.used {
        Some(used) => list(out, &used[..], &mut [0; CONSUMERS - 1]),
        None => Ok(()),
    }
}

fn put_boundary(boundary: &Boundary, out: &mut Out<'_>) -> Written {
    let Boundary { what, request, conn, who, tgid, at, events } = boundary;
    out.array(9)?.u64(BOUNDARY)?.u64(number(&WHATS, what))?;
    for n in [request.0, conn.0, u64::from(*who), u64::from(*tgid), at.t, u64::from(*events)] {
        out.u64(n)?;
    }
    list(out, &at.clock, &mut [0; MAX_PACKAGES])
}

fn name(cause: Cause) -> &'static str {
    match cause {
        Cause::Suspended => Flag::Suspended.name(),
        Cause::Hotplug => Flag::Hotplug.name(),
    }
}

/// There are so many consumers and no more.
fn consumer(who: u32) -> Result<(), NoEntry> {
    if (who as usize) < CONSUMERS { Ok(()) } else { Err(NoEntry) }
}

/// Reads entries.
#[derive(Default)]
pub struct Decoder {
    last: [Last; MAX_PACKAGES],
}

struct In<'a>(cbor::Decoder<'a>);

impl In<'_> {
    fn null(&mut self) -> bool {
        const NULL: u8 = 0xf6;
        let null = self.0.input().get(self.0.position()) == Some(&NULL);
        null && self.0.null().is_ok()
    }

    fn number(&mut self) -> Result<u64, NoEntry> {
        self.0.u64().map_err(|_| NoEntry)
    }

    fn small<T: TryFrom<u64>>(&mut self) -> Result<T, NoEntry> {
        T::try_from(self.number()?).map_err(|_| NoEntry)
    }

    fn optional(&mut self) -> Result<Option<u64>, NoEntry> {
        if self.null() { Ok(None) } else { self.number().map(Some) }
    }

    /// What a difference leads to; `None` for null.
    fn step(&mut self, before: &mut u64) -> Result<Option<u64>, NoEntry> {
        if self.null() { Ok(None) } else { self.next(before).map(Some) }
    }

    fn next(&mut self, before: &mut u64) -> Result<u64, NoEntry> {
        let step = self.0.i64().map_err(|_| NoEntry)?;
        *before = before.wrapping_add_signed(step);
        Ok(*before)
    }

    fn array(&mut self) -> Result<usize, NoEntry> {
        let length = self.0.array().map_err(|_| NoEntry)?;
        length.and_then(|length| usize::try_from(length).ok()).ok_or(NoEntry)
    }

    fn list(&mut self, before: &mut [u64]) -> Result<(), NoEntry> {
        if self.perhaps(before)? { Ok(()) } else { Err(NoEntry) }
    }

    /// A list, or null: then it says false.
    fn perhaps(&mut self, before: &mut [u64]) -> Result<bool, NoEntry> {
        if self.null() {
            return Ok(false);
        }
        let length = self.array()?;
        let places = before.get_mut(..length).ok_or(NoEntry)?;
        places.iter_mut().try_for_each(|before| self.next(before).map(drop))?;
        Ok(true)
    }
}

impl Decoder {
    /// Takes the next entry off `bytes`; `None` at their end.
    ///
    /// # Errors
    /// They are no entry.
    pub fn next(&mut self, bytes: &mut &[u8]) -> Result<Option<Entry>, NoEntry> {
        let Some(first) = bytes.first() else { return Ok(None) };
        // The major type of an array.
        if first >> 5 == 4 {
            let mut input = In(cbor::Decoder::new(bytes));
            let length = input.array()?;
            let entry = self.frequent(length, &mut input)?;
            *bytes = &bytes[input.0.position()..];
            return Ok(Some(entry));
        }
        let mut input = minicbor_serde::Deserializer::new(bytes);
        let read = Read::deserialize(&mut input).map_err(|_| NoEntry)?;
        *bytes = &bytes[input.decoder().position()..];
        Ok(Some(match read {
            Read::Host(host) => Entry::Host(host),
            Read::Finished(facts) => {
                consumer(facts.who)?;
                Entry::Finished(facts)
            }
            Read::Distrust { package, begin, end, cause } => {
                let causes = [Cause::Suspended, Cause::Hotplug];
                let cause = causes.into_iter().find(|c| name(*c) == cause).ok_or(NoEntry)?;
                Entry::Distrust(Distrust { package, when: Stretch { begin, end }, cause })
            }
            Read::Mark(flag) => {
                Entry::Mark(Flag::ALL.into_iter().find(|f| f.name() == flag).ok_or(NoEntry)?)
            }
            Read::End(end) => Entry::End(end),
            Read::Published(published) => Entry::Published(published),
        }))
    }

    fn frequent(&mut self, length: usize, input: &mut In<'_>) -> Result<Entry, NoEntry> {
        match (input.number()?, length) {
            (TICK, 6..=11) => self.tick(length - 6, input).map(|tick| Entry::Tick(Box::new(tick))),
            (READING, 5 | 6) => {
                let domain = DomainId(input.small()?);
                let (t, count) = (input.number()?, input.optional()?);
                let split = *SPLITS.get(input.small::<usize>()?).ok_or(NoEntry)?;
                let used = if length == 6 {
                    let mut used = Box::new([0; CONSUMERS - 1]);
                    input.list(&mut used[..])?;
                    Some(used)
                } else {
                    None
                };
                Ok(Entry::Reading(Reading { domain, t, count, split, used }))
            }
            (BOUNDARY, 9) => {
                let what = *WHATS.get(input.small::<usize>()?).ok_or(NoEntry)?;
                let (request, conn) = (RequestId(input.number()?), ConnId(input.number()?));
                let (who, tgid, t) = (input.small()?, input.small()?, input.number()?);
                consumer(who)?;
                let (events, mut clock) = (input.small()?, [0; MAX_PACKAGES]);
                input.list(&mut clock)?;
                let at = Moment { t, clock };
                Ok(Entry::Boundary(Boundary { what, request, conn, who, tgid, at, events }))
            }
            _ => Err(NoEntry),
        }
    }

    fn tick(&mut self, lists: usize, input: &mut In<'_>) -> Result<Tick, NoEntry> {
        let package = input.small::<usize>()?;
        let last = self.last.get_mut(package).ok_or(NoEntry)?;
        let number = input.next(&mut last.number)?;
        let t = input.next(&mut last.t)?;
        let mut counter = [None; MAX_COUNTERS];
        let length = input.array()?;
        let places = counter.get_mut(..length).ok_or(NoEntry)?;
        for (now, before) in places.iter_mut().zip(&mut last.counter) {
            *now = input.step(before)?;
        }
        input.list(&mut last.clock)?;
        let Last { weight, book, beside, cycles, misses, .. } = last;
        let places = [weight, book, beside, cycles, misses];
        let mut have = [false; 5];
        for (have, before) in have.iter_mut().zip(places).take(lists) {
            *have = input.perhaps(before)?;
        }
        let cores = match have {
            [true, true, ..] => Some(CoreBooks { weight: last.weight, book: last.book }),
            [false, false, ..] => None,
            _ => return Err(NoEntry),
        };
        let [_, _, beside, cycles, misses] = have;
        Ok(Tick {
            package,
            t,
            number,
            counter,
            clock: last.clock,
            cores: cores.map(Box::new),
            beside: beside.then(|| Box::new(last.beside)),
            cycles: cycles.then(|| Box::new(last.cycles)),
            misses: misses.then(|| Box::new(last.misses)),
        })
    }
}

#[cfg(test)]
mod tests;

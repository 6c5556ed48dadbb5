//! Entries as CBOR items, and back.
//!
//! What comes a thousand times a second is an array that begins with its kind; the rest is a map of one key, the kind's
//! name, and carries the names of its fields. In a tick, all numbers are differences from the tick of the same package
//! before it (from 0 in the first), modulo 2^64; a list may leave zeros at its end out.
//!
//! ```text
//! tick      [1, package, number, t, [counter or null, …], [clock, …]] and, as far as there are any:
//!           [weight of the cores, …], [book of the cores, …], [beside, …], [cycles, …], null for one that is not
//! reading   [2, domain, t, count or null, split] and, of a device: [ns, …]
//! boundary  [3, what, request, connection, consumer, process, t, events, [clock, …]]
//! others    {"Host": …} {"Finished": …} {"Distrust": …} {"Mark": …} {"End": …}
//! split     0 clocks · 1 exclusive · 2 utilisation · 3 partition · 4 equal · 5 unknown
//! what      0 start · 1 body · 2 head · 3 first · 4 chunk · 5 end · 6 abort
//! ```
//!
//! What is decoded is hostile: every list is bounded by what it is read into.

use ciborium_ll::{Header, simple};
use probe_common::{CONSUMERS, MAX_COUNTERS, MAX_PACKAGES};
use probe_ledger::{Cause, DomainId, Flag, Split};
use serde::{Deserialize, Serialize};

use super::{
    entry::{Distrust, End, Entry, Reading},
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
/// Deepest nesting of an item.
const DEPTH: usize = 32;

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
}

/// And as it is read.
#[derive(Deserialize)]
enum Read {
    Host(Box<Host>),
    Finished(Box<Facts>),
    Distrust { package: Option<usize>, begin: u64, end: u64, cause: String },
    Mark(String),
    End(End),
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
}

/// Writes entries.
#[derive(Default)]
pub struct Encoder {
    last: [Last; MAX_PACKAGES],
}

struct Out<'a>(ciborium_ll::Encoder<&'a mut Vec<u8>>);

impl Out<'_> {
    fn push(&mut self, header: Header) -> Result<(), String> {
        self.0.push(header).map_err(|error| error.to_string())
    }

    fn number(&mut self, n: u64) -> Result<(), String> {
        self.push(Header::Positive(n))
    }

    fn optional(&mut self, n: Option<u64>) -> Result<(), String> {
        self.push(n.map_or(Header::Simple(simple::NULL), Header::Positive))
    }

    fn difference(&mut self, now: u64, before: &mut u64) -> Result<(), String> {
        let step = now.wrapping_sub(std::mem::replace(before, now));
        // The smaller of both ways round.
        let back = !step;
        self.push(if step <= back { Header::Positive(step) } else { Header::Negative(back) })
    }

    fn list(&mut self, now: &[u64], before: &mut [u64]) -> Result<(), String> {
        let moved = now.iter().zip(before.iter()).rposition(|(now, before)| now != before);
        let length = moved.map_or(0, |last| last + 1);
        self.push(Header::Array(Some(length)))?;
        now.iter()
            .zip(before)
            .take(length)
            .try_for_each(|(now, before)| self.difference(*now, before))
    }
}

fn place(index: Option<usize>) -> u64 {
    index.unwrap_or(0) as u64
}

impl Encoder {
    /// Appends an entry.
    ///
    /// # Errors
    /// Only what cannot be: an entry that has no form.
    pub fn entry(&mut self, entry: &Entry, bytes: &mut Vec<u8>) -> Result<(), String> {
        let told = match entry {
            Entry::Tick(tick) => return self.tick(tick, &mut Out(bytes.into())),
            Entry::Reading(reading) => return put_reading(reading, &mut Out(bytes.into())),
            Entry::Boundary(boundary) => return put_boundary(boundary, &mut Out(bytes.into())),
            Entry::Host(host) => Told::Host(host),
            Entry::Finished(facts) => Told::Finished(facts),
            Entry::Distrust(Distrust { package, when, cause }) => {
                let cause = name(*cause);
                Told::Distrust { package: *package, begin: when.begin, end: when.end, cause }
            }
            Entry::Mark(flag) => Told::Mark(flag.name()),
            Entry::End(end) => Told::End(end),
        };
        ciborium::into_writer(&told, bytes).map_err(|error| error.to_string())
    }

    fn tick(&mut self, tick: &Tick, out: &mut Out<'_>) -> Result<(), String> {
        let Some(last) = self.last.get_mut(tick.package) else {
            return Err(format!("there is no package {}", tick.package));
        };
        let (weight, book) = tick.cores.as_ref().map(|c| (&c.weight, &c.book)).unzip();
        let lists = [weight, book, tick.beside.as_deref(), tick.cycles.as_deref()];
        let more = lists.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
        out.push(Header::Array(Some(6 + more)))?;
        out.number(TICK)?;
        out.number(tick.package as u64)?;
        out.difference(tick.number, &mut last.number)?;
        out.difference(tick.t, &mut last.t)?;
        let length = tick.counter.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
        out.push(Header::Array(Some(length)))?;
        for (now, before) in tick.counter.iter().zip(&mut last.counter).take(length) {
            match now {
                Some(now) => out.difference(*now, before)?,
                None => out.optional(None)?,
            }
        }
        out.list(&tick.clock, &mut last.clock)?;
        let before = [&mut last.weight, &mut last.book, &mut last.beside, &mut last.cycles];
        lists.into_iter().zip(before).take(more).try_for_each(|(now, before)| match now {
            Some(now) => out.list(now, before),
            None => out.optional(None),
        })
    }
}

fn put_reading(reading: &Reading, out: &mut Out<'_>) -> Result<(), String> {
    out.push(Header::Array(Some(if reading.used.is_some() { 6 } else { 5 })))?;
    out.number(READING)?;
    out.number(reading.domain.0 as u64)?;
    out.number(reading.t)?;
    out.optional(reading.count)?;
    out.number(place(SPLITS.iter().position(|split| *split == reading.split)))?;
    match &reading.used {
        Some(used) => out.list(&used[..], &mut [0; CONSUMERS - 1]),
        None => Ok(()),
    }
}

fn put_boundary(boundary: &Boundary, out: &mut Out<'_>) -> Result<(), String> {
    let Boundary { what, request, conn, who, tgid, at, events } = boundary;
    out.push(Header::Array(Some(9)))?;
    out.number(BOUNDARY)?;
    out.number(place(WHATS.iter().position(|w| w == what)))?;
    for n in [request.0, conn.0, u64::from(*who), u64::from(*tgid), at.t, u64::from(*events)] {
        out.number(n)?;
    }
    out.list(&at.clock, &mut [0; MAX_PACKAGES])
}

fn name(cause: Cause) -> &'static str {
    match cause {
        Cause::Suspended => Flag::Suspended.name(),
        Cause::Hotplug => Flag::Hotplug.name(),
    }
}

/// Reads entries.
#[derive(Default)]
pub struct Decoder {
    last: [Last; MAX_PACKAGES],
}

struct In<'a, 'b>(ciborium_ll::Decoder<&'a mut &'b [u8]>);

impl In<'_, '_> {
    fn pull(&mut self) -> Result<Header, NoEntry> {
        self.0.pull().map_err(|_| NoEntry)
    }

    fn number(&mut self) -> Result<u64, NoEntry> {
        if let Header::Positive(n) = self.pull()? { Ok(n) } else { Err(NoEntry) }
    }

    fn small<T: TryFrom<u64>>(&mut self) -> Result<T, NoEntry> {
        T::try_from(self.number()?).map_err(|_| NoEntry)
    }

    fn optional(&mut self) -> Result<Option<u64>, NoEntry> {
        match self.pull()? {
            Header::Positive(n) => Ok(Some(n)),
            Header::Simple(simple::NULL) => Ok(None),
            _ => Err(NoEntry),
        }
    }

    /// What a difference leads to; `None` for null.
    fn step(&mut self, before: &mut u64) -> Result<Option<u64>, NoEntry> {
        *before = match self.pull()? {
            Header::Positive(step) => before.wrapping_add(step),
            Header::Negative(back) => before.wrapping_add(!back),
            Header::Simple(simple::NULL) => return Ok(None),
            _ => return Err(NoEntry),
        };
        Ok(Some(*before))
    }

    fn next(&mut self, before: &mut u64) -> Result<u64, NoEntry> {
        self.step(before)?.ok_or(NoEntry)
    }

    fn array(&mut self) -> Result<usize, NoEntry> {
        if let Header::Array(Some(length)) = self.pull()? { Ok(length) } else { Err(NoEntry) }
    }

    fn list(&mut self, before: &mut [u64]) -> Result<(), NoEntry> {
        if self.perhaps(before)? { Ok(()) } else { Err(NoEntry) }
    }

    /// A list, or null: then it says false.
    fn perhaps(&mut self, before: &mut [u64]) -> Result<bool, NoEntry> {
        let length = match self.pull()? {
            Header::Array(Some(length)) => length,
            Header::Simple(simple::NULL) => return Ok(false),
            _ => return Err(NoEntry),
        };
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
            let mut input = In(bytes.into());
            let length = input.array()?;
            return self.frequent(length, &mut input).map(Some);
        }
        let read = ciborium::de::from_reader_with_recursion_limit(bytes, DEPTH);
        Ok(Some(match read.map_err(|_| NoEntry)? {
            Read::Host(host) => Entry::Host(host),
            Read::Finished(facts) => Entry::Finished(facts),
            Read::Distrust { package, begin, end, cause } => {
                let causes = [Cause::Suspended, Cause::Hotplug];
                let cause = causes.into_iter().find(|c| name(*c) == cause).ok_or(NoEntry)?;
                Entry::Distrust(Distrust { package, when: Stretch { begin, end }, cause })
            }
            Read::Mark(flag) => {
                Entry::Mark(Flag::ALL.into_iter().find(|f| f.name() == flag).ok_or(NoEntry)?)
            }
            Read::End(end) => Entry::End(end),
        }))
    }

    fn frequent(&mut self, length: usize, input: &mut In<'_, '_>) -> Result<Entry, NoEntry> {
        match (input.number()?, length) {
            (TICK, 6..=10) => self.tick(length - 6, input).map(Entry::Tick),
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
                let (events, mut clock) = (input.small()?, [0; MAX_PACKAGES]);
                input.list(&mut clock)?;
                let at = Moment { t, clock };
                Ok(Entry::Boundary(Boundary { what, request, conn, who, tgid, at, events }))
            }
            _ => Err(NoEntry),
        }
    }

    fn tick(&mut self, lists: usize, input: &mut In<'_, '_>) -> Result<Tick, NoEntry> {
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
        let places = [&mut last.weight, &mut last.book, &mut last.beside, &mut last.cycles];
        let mut have = [false; 4];
        for (have, before) in have.iter_mut().zip(places).take(lists) {
            *have = input.perhaps(before)?;
        }
        let cores = match have {
            [true, true, ..] => Some(CoreBooks { weight: last.weight, book: last.book }),
            [false, false, ..] => None,
            _ => return Err(NoEntry),
        };
        let [_, _, beside, cycles] = have;
        Ok(Tick {
            package,
            t,
            number,
            counter,
            clock: last.clock,
            cores: cores.map(Box::new),
            beside: beside.then(|| Box::new(last.beside)),
            cycles: cycles.then(|| Box::new(last.cycles)),
        })
    }
}

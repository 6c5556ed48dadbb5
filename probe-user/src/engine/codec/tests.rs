//! Every entry comes back as it was written, and no bytes make the decoder panic or allocate beyond what they are.

use std::collections::BTreeMap;

use probe_common::FIRST_TARGET;
use proptest::{collection::vec, option, prelude::*, sample::select};

use super::*;
use crate::{
    boundary::Gaps,
    clock::Clock,
    engine::entry::Reading,
    export::example,
    record::{End as Outcome, TokenSource},
};

type Numbers<const N: usize> = Option<Box<[u64; N]>>;

/// Numbers as they come: small steps, and anything at all.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![0..1_000_000_u64, any::<u64>(), Just(u64::MAX), Just(0)]
}

fn numbers<const N: usize>() -> impl Strategy<Value = [u64; N]> {
    vec(number(), 0..=N).prop_map(|some| std::array::from_fn(|i| some.get(i).copied().unwrap_or(0)))
}

fn boxed<const N: usize>() -> impl Strategy<Value = Numbers<N>> {
    option::of(numbers().prop_map(Box::new))
}

fn tick() -> impl Strategy<Value = Entry> {
    let counter = vec(option::of(number()), MAX_COUNTERS);
    let cores = option::of((numbers(), numbers()));
    let lists = (cores, boxed(), boxed(), boxed());
    let whole = (0..MAX_PACKAGES, number(), number(), counter, numbers(), lists);
    whole.prop_map(|(package, number, t, counters, clock, (cores, beside, cycles, misses))| {
        let counter = std::array::from_fn(|i| counters[i]);
        let cores = cores.map(|(weight, book)| Box::new(CoreBooks { weight, book }));
        Entry::Tick(Box::new(Tick {
            package,
            t,
            number,
            counter,
            clock,
            cores,
            beside,
            cycles,
            misses,
        }))
    })
}

fn reading() -> impl Strategy<Value = Entry> {
    let what = (0..9_usize, number(), option::of(number()), select(&Split::ALL[..]), boxed());
    what.prop_map(|(domain, t, count, split, used)| {
        Entry::Reading(Reading { domain: DomainId(domain), t, count, split, used })
    })
}

fn moment() -> impl Strategy<Value = Moment> {
    (number(), numbers()).prop_map(|(t, clock)| Moment { t, clock })
}

fn who() -> impl Strategy<Value = u32> {
    0..u32::try_from(CONSUMERS).unwrap()
}

fn boundary() -> impl Strategy<Value = Entry> {
    let ids = (number(), number(), who(), any::<u32>());
    (select(&WHATS[..]), ids, moment(), any::<u32>()).prop_map(|(what, ids, at, events)| {
        let (request, conn, who, tgid) = ids;
        let (request, conn) = (RequestId(request), ConnId(conn));
        Entry::Boundary(Boundary { what, request, conn, who, tgid, at, events })
    })
}

fn finished() -> impl Strategy<Value = Entry> {
    let text = || option::of("[a-zé/\\x00]{0,9}");
    let words = (text(), text(), text());
    let counts = (option::of(number()), option::of(number()), option::of(any::<u16>()));
    (number(), who(), words, counts, vec(moment(), 2), option::of(moment())).prop_map(
        |(request, who, (path, model, external_id), (prompt, completion, status), ends, first)| {
            Entry::Finished(Box::new(Facts {
                request: RequestId(request),
                conn: ConnId(request),
                tgid: 7,
                who,
                method: None,
                path,
                status,
                model,
                stream: Some(request % 2 == 0),
                prompt_tokens: prompt,
                completion_tokens: completion,
                token_source: TokenSource::Usage,
                prompt_processed: prompt,
                prompt_cached: completion,
                timings: <_>::default(),
                arrived: completion,
                start: ends[0],
                body: first,
                head: None,
                first,
                end: ends[1],
                outcome: Outcome::Reset,
                external_id,
                bytes_in: request,
                bytes_out: 0,
                content_events: completion,
                gaps: completion.map(|n| Gaps { count: n, p50: n, p99: request }),
                flags: <_>::default(),
            }))
        },
    )
}

fn rare() -> impl Strategy<Value = Entry> {
    let cause = select(&[Cause::Suspended, Cause::Hotplug][..]);
    let stretch = (number(), number()).prop_map(|(begin, end)| Stretch { begin, end });
    let distrust = (option::of(0..MAX_PACKAGES), stretch, cause)
        .prop_map(|(package, when, cause)| Entry::Distrust(Distrust { package, when, cause }));
    let names = BTreeMap::from([(FIRST_TARGET, "a\u{1b}[2J".to_owned())]);
    let host = Host::new(&[], (1, 2), <_>::default(), names, Clock::at(-5));
    let published = Published { records: "00".repeat(32), summary: example::snapshot(3.5) };
    prop_oneof![
        distrust,
        select(&Flag::ALL[..]).prop_map(Entry::Mark),
        number().prop_map(|t| Entry::End(End { t })),
        Just(Entry::Host(Box::new(host))),
        Just(Entry::Published(Box::new(published))),
    ]
}

fn entries() -> impl Strategy<Value = Vec<Entry>> {
    vec(
        prop_oneof![4 => tick(), 2 => reading(), 2 => boundary(), 1 => finished(), 1 => rare()],
        0..24,
    )
}

fn encoded(entries: &[Entry]) -> Vec<u8> {
    let (mut encoder, mut bytes) = (Encoder::default(), Vec::new());
    for entry in entries {
        encoder.entry(entry, &mut bytes).unwrap();
    }
    bytes
}

fn decoded(mut bytes: &[u8]) -> Result<Vec<Entry>, NoEntry> {
    let (mut decoder, mut entries) = (Decoder::default(), Vec::new());
    while let Some(entry) = decoder.next(&mut bytes)? {
        entries.push(entry);
    }
    Ok(entries)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..<_>::default() })]

    #[test]
    fn entries_come_back_as_they_were_written(entries in entries()) {
        let again = decoded(&encoded(&entries));
        prop_assert_eq!(format!("{:?}", Ok::<_, NoEntry>(entries)), format!("{again:?}"));
    }

    #[test]
    fn changed_bytes_are_entries_or_refused(
        entries in entries(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..9),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = encoded(&entries);
        if bytes.is_empty() {
            return Ok(());
        }
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        // Whatever comes out is bounded by what went in.
        let most = bytes.len();
        prop_assert!(decoded(&bytes).map_or(0, |entries| entries.len()) <= most);
        bytes.truncate(cut.index(bytes.len()));
        prop_assert!(decoded(&bytes).map_or(0, |entries| entries.len()) <= most);
    }

    #[test]
    fn random_bytes_are_refused(bytes in vec(any::<u8>(), 1..512)) {
        // Few of them are an entry; none panics.
        prop_assert!(decoded(&bytes).map_or(0, |entries| entries.len()) < bytes.len());
    }
}

#[test]
fn a_consumer_that_cannot_be_and_a_package_that_is_not_there_are_no_entries() {
    let moment = Moment { t: 1, clock: [0; MAX_PACKAGES] };
    for (who, good) in [(CONSUMERS - 1, true), (CONSUMERS, false), (u32::MAX as usize, false)] {
        let (request, conn, who) = (RequestId(1), ConnId(1), u32::try_from(who).unwrap());
        let (what, at, events, tgid) = (What::Body, moment, 0, 1);
        let entry = Entry::Boundary(Boundary { what, request, conn, who, tgid, at, events });
        assert_eq!(decoded(&encoded(&[entry])).is_ok(), good, "{who}");
    }
    let mut bytes = Vec::new();
    // [1, 200, …]: a tick of package 200.
    Out::new(&mut bytes).array(6).unwrap().u64(TICK).unwrap().u64(200).unwrap();
    assert_eq!(decoded(&bytes).unwrap_err(), NoEntry);
}

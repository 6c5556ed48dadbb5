//! A run that never was, as entries: two domains of a package, ticks every millisecond, requests that overlap.

use std::collections::BTreeMap;

use probe_common::{CONSUMERS, FIRST_TARGET, KERNEL, MAX_COUNTERS, MAX_PACKAGES, OTHER};
use wattprobe::boundary::{Boundary, Facts, Flags, Gaps, Moment, RequestId, ServerTimings, What};
use wattprobe::engine::accountant::Accountant;
use wattprobe::engine::books;
use wattprobe::engine::core::Effect;
use wattprobe::engine::entry::{self, Entry};
use wattprobe::engine::host::{Brings, ENTRIES, Host, HostDomain, HostFeed, HostScope};
use wattprobe::engine::recorder::Recorder;
use wattprobe::event::{ConnId, Tick};
use wattprobe::record::{End, Quality, RequestRecord, TokenSource};
use wattprobe::snapshot::{Policies, SCHEMA, Snapshot};
use wattprobe::tape::Writer;

const MS: u64 = 1_000_000;
/// Ticks between two requests.
const EVERY: u64 = 100;
/// Ticks a request lasts.
const LASTS: u64 = 350;

fn domain(name: &str, slot: usize) -> HostDomain {
    HostDomain {
        name: name.to_owned(),
        source: "rapl-perf".to_owned(),
        quality: Quality::Measured,
        additive: true,
        scope: HostScope::Package(0),
        joules_per_count: 1.0 / 16384.0,
        bits: Some(32),
        wraps_after: None,
        period_ns: MS,
        quantum_nj: 61_036,
        max_watts: Some(1500.0),
        idle_error_watts: None,
        idle_watts: (slot == 0).then_some(5.0),
        class_ratio: 0.0,
        must_move: true,
        package: 0,
        feed: HostFeed::Kernel(slot),
        shared_by: None,
    }
}

/// What such a run is opened with.
pub(crate) fn host() -> Host {
    Host {
        entries: ENTRIES,
        version: "0.0.0".to_owned(),
        kernel: "6.1.0".to_owned(),
        packages: 1,
        cpus: 1,
        domains: vec![domain("package-0", 0), domain("dram-0", 1)],
        targets: BTreeMap::from([(FIRST_TARGET, "made".to_owned())]),
        policies: Policies { weight: "time".into(), share: "equal".into(), idle: "none".into() },
        brings: Brings { one_thread: true, ..Brings::default() },
        marks: Vec::new(),
        wall_offset_ns: 1_700_000_000_000_000_000,
        begin: 0,
    }
}

/// A run as the probe has it: its entries go on a tape and into the books, and what these make is published.
pub(crate) struct Run {
    recorder: Recorder,
    accounts: Accountant,
}

impl Run {
    pub(crate) fn begin(writer: Writer) -> Self {
        let accounts = Accountant::open(&host()).expect("its numbers make books");
        Self { recorder: Recorder::begin(writer, host()).expect("it is written"), accounts }
    }

    /// So many milliseconds; a frame is written where one is due. Each record is handed on.
    pub(crate) fn go(&mut self, milliseconds: u64, mut publish: impl FnMut(&RequestRecord)) {
        for n in 1..milliseconds {
            millisecond(n, |entry| self.give(entry, &mut publish));
            self.recorder.keep(n * MS);
        }
    }

    fn give(&mut self, entry: Entry, publish: &mut impl FnMut(&RequestRecord)) {
        self.recorder.record(&entry);
        let mut effects = Vec::new();
        self.accounts.take(entry, None, &mut effects);
        for effect in effects {
            if let Effect::Record(record) = effect {
                self.recorder.publish(&record);
                publish(&record);
            }
        }
    }

    /// It ends then; the summary is what it published.
    pub(crate) fn end(
        mut self,
        milliseconds: u64,
        mut publish: impl FnMut(&RequestRecord),
    ) -> Snapshot {
        self.give(Entry::End(entry::End { t: milliseconds * MS }), &mut publish);
        let summary = books::energy(&self.accounts).within(blank());
        assert!(self.recorder.finish(&summary).is_some());
        assert!(self.recorder.failure().is_none());
        summary
    }
}

/// What a summary says beside its energy.
fn blank() -> Snapshot {
    let text = |word: &str| word.to_owned();
    let books = books::energy(&Accountant::open(&host()).expect("its numbers make books"));
    Snapshot {
        schema: SCHEMA,
        started: text("2026-03-01T12:00:00.000000000Z"),
        ended: text("2026-03-01T12:00:06.000000000Z"),
        kernel: text("6.1.0"),
        requests: books.requests,
        in_flight: BTreeMap::new(),
        domains: books.domains,
        targets: books.targets,
        host: <_>::default(),
        events: <_>::default(),
        not_understood: <_>::default(),
        self_cost: <_>::default(),
        policies: books.policies,
        flags: vec![text("made")],
    }
}

fn at(n: u64, odd: u64) -> Moment {
    let mut clock = [0; MAX_PACKAGES];
    clock[0] = n * 700_000 + odd;
    Moment { t: n * MS + odd, clock }
}

/// The entries of one millisecond, and the numbers that make them uneven.
pub(crate) fn millisecond(n: u64, mut give: impl FnMut(Entry)) {
    let odd = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 50;
    let mut clock = [0; CONSUMERS];
    clock[0] = n * 500_000 + odd;
    clock[KERNEL as usize] = n * 20_000;
    clock[OTHER as usize] = n * 100_000 + odd;
    clock[FIRST_TARGET as usize] = n * 700_000 + odd;
    let mut counter = [None; MAX_COUNTERS];
    counter[0] = Some((n * 800 + odd / 100) & 0xffff_ffff);
    counter[1] = Some((n * 90 + odd / 900) & 0xffff_ffff);
    give(Entry::Tick(Box::new(Tick {
        package: 0,
        t: n * MS + odd,
        number: n,
        counter,
        clock,
        cores: None,
        beside: None,
        cycles: None,
        misses: None,
    })));
    let boundary = |request: u64, what| {
        let (request, conn) = (RequestId(request), ConnId(request));
        let (who, tgid, at) = (FIRST_TARGET, 7, at(n, odd + 1));
        Entry::Boundary(Boundary { what, request, conn, who, tgid, at, events: 0 })
    };
    let (request, within) = (n / EVERY, n % EVERY);
    let earlier = |ticks: u64| request.checked_sub(ticks).filter(|request| *request > 0);
    if request > 0 && within == 10 {
        give(boundary(request, What::Start));
        give(boundary(request, What::Body));
    }
    if let Some(request) = earlier(1).filter(|_| within == 20) {
        give(boundary(request, What::Head));
        give(boundary(request, What::First));
    }
    if let Some(request) = earlier(LASTS / EVERY).filter(|_| within == 10 + LASTS % EVERY) {
        give(boundary(request, What::End));
        give(Entry::Finished(Box::new(facts(request, at(n - LASTS, 1), at(n, odd + 2)))));
    }
}

fn facts(request: u64, start: Moment, end: Moment) -> Facts {
    Facts {
        request: RequestId(request),
        conn: ConnId(request),
        tgid: 7,
        who: FIRST_TARGET,
        method: Some("POST".to_owned()),
        path: Some("/v1/chat/completions".to_owned()),
        status: Some(200),
        model: Some("made".to_owned()),
        stream: Some(false),
        prompt_tokens: Some(100 + request % 50),
        completion_tokens: Some(20 + request % 7),
        token_source: TokenSource::Usage,
        prompt_processed: None,
        prompt_cached: None,
        timings: ServerTimings::default(),
        arrived: None,
        start,
        body: Some(start),
        head: None,
        first: None,
        end,
        outcome: End::Complete,
        external_id: None,
        bytes_in: 1000,
        bytes_out: 2000,
        content_events: None,
        gaps: Some(Gaps { count: 19, p50: 20 * MS, p99: 31 * MS + request % 7 }),
        flags: Flags::default(),
    }
}

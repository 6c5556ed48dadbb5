//! Synthetic books and records for tests: they grow with time and close to the nanojoule.
//!
//! Also compiled into the integration tests, which import `record` and `snapshot` at their root.

use std::collections::BTreeMap;

use crate::record::{self, End, Kind, Quality, RequestRecord, TokenSource};
use crate::snapshot::{
    self, ConsumerBook, DomainBook, Events, HostBooks, KernelBooks, KindBook, Kinds, Policies,
    ProgramCost, SelfCost, Snapshot, TargetBook,
};

/// Instant of second 0 of the example run, RFC 3339.
pub(crate) const STARTED: &str = "2026-03-01T12:00:00.000000000Z";

/// RFC 3339 of so many seconds into the example run.
pub(crate) fn instant(seconds: f64) -> String {
    let started: jiff::Timestamp = STARTED.parse().unwrap();
    let shifted = started + jiff::SignedDuration::from_secs_f64(seconds);
    format!("{shifted:.9}")
}

/// Request `number` of a mixed load: most complete, some aborted before anything was measured.
pub(crate) fn record(number: u64) -> RequestRecord {
    let size = (number % 7 + 1) as f64;
    let aborted = number.is_multiple_of(6);
    let known = |value: f64| (!aborted).then_some(value);
    let tokens = |value: u64| (!aborted).then_some(value);
    let joules = 1.75 * size;
    RequestRecord {
        schema: record::SCHEMA,
        request: number,
        target: "llama".into(),
        pid: 4242,
        path: Some(
            if number.is_multiple_of(5) { "/completion" } else { "/v1/chat/completions" }.into(),
        ),
        kind: Kind::Inference,
        status: (!aborted).then_some(200),
        model: Some("SmolLM2-135M".into()),
        stream: Some(number % 2 == 1),
        unread_s: known(0.00002 * size),
        start: instant(0.25 * number as f64),
        duration_s: 0.31 * size,
        ttft_s: known(0.02 * size),
        queue_s: known(0.001 * size),
        prefill_s: known(0.018 * size),
        decode_s: known(0.29 * size),
        itl_p50_s: known(0.018),
        itl_p99_s: known(0.031),
        end: if aborted { End::Aborted } else { End::Complete },
        prompt_tokens: tokens(12 + number % 9),
        cached_tokens: tokens(number % 3),
        completion_tokens: tokens(16 * (number % 7 + 1)),
        token_source: if aborted { TokenSource::None } else { TokenSource::Usage },
        joules: known(joules),
        joules_low: known(joules * 0.95),
        joules_high: known(joules * 1.05),
        error_edges_j: known(joules * 0.04),
        error_quantum_j: known(0.0),
        error_idle_j: known(joules * 0.01),
        error_weight_j: known(joules * 0.02),
        error_class_j: known(0.0),
        error_policy_j: known(joules * 0.02),
        error_gap_j: known(0.0),
        error_split_j: known(0.0),
        cpu_j: known(joules * 0.875),
        dram_j: known(joules * 0.125),
        gpu_j: None,
        idle_j: None,
        prefill_j: known(joules * 0.2),
        decode_j: known(joules * 0.8),
        cpu_s: Some(0.29 * size),
        mean_residents: Some(1.0 + (number % 3) as f64 / 2.0),
        quality: if aborted { Quality::Absent } else { Quality::Measured },
        sources: ["package-0=rapl-powercap", "dram-0=rapl-powercap"].map(Into::into).into(),
        weight: "time".into(),
        share: "equal".into(),
        idle: "none".into(),
        flags: Vec::new(),
        external_id: None,
    }
}

/// A health check between them.
pub(crate) fn check(number: u64) -> RequestRecord {
    RequestRecord {
        path: Some("/health".into()),
        kind: Kind::Check,
        model: None,
        stream: None,
        duration_s: 0.0004,
        ttft_s: Some(0.0003),
        queue_s: None,
        prefill_s: None,
        decode_s: None,
        itl_p50_s: None,
        itl_p99_s: None,
        end: End::Complete,
        status: Some(200),
        prompt_tokens: None,
        cached_tokens: None,
        completion_tokens: None,
        token_source: TokenSource::None,
        joules: Some(0.0005),
        joules_low: Some(0.0004),
        joules_high: Some(0.0006),
        prefill_j: None,
        decode_j: None,
        quality: Quality::Measured,
        ..record(number)
    }
}

/// Watts of a domain by consumer, then idle and residual.
struct Watts {
    llama: u64,
    other: u64,
    kernel: u64,
    own: u64,
    idle: u64,
    residual: u64,
}

fn domain(seconds: f64, additive: bool, watts: &Watts) -> DomainBook {
    let nj = |watts: u64| (watts as f64 * seconds * 1e9) as u64 / 16;
    let active = |w: u64| ConsumerBook { active_nj: nj(w), cpu_ns: nj(w) / 8 };
    let consumers = BTreeMap::from([
        ("llama".to_owned(), active(watts.llama)),
        ("other".to_owned(), active(watts.other)),
        ("kernel".to_owned(), active(watts.kernel)),
        ("self".to_owned(), active(watts.own)),
    ]);
    let (idle_nj, residual_nj) = (nj(watts.idle), nj(watts.residual));
    let measured_nj = idle_nj + residual_nj + consumers.values().map(|c| c.active_nj).sum::<u64>();
    DomainBook {
        source: "rapl-powercap".into(),
        quality: Quality::Measured,
        additive,
        measured_nj,
        idle_nj,
        idle_given_nj: 0,
        splits: vec![],
        residual_nj,
        consumers,
        void_windows: 0,
        void_causes: BTreeMap::new(),
        windows: (seconds * 1000.0) as u64,
        kernel_books: additive.then_some(KernelBooks {
            windows: (seconds * 1000.0) as u64,
            max_difference_units: 0,
            agree: true,
        }),
    }
}

/// The books so many seconds into the example run.
pub(crate) fn snapshot(seconds: f64) -> Snapshot {
    let package = Watts { llama: 480, other: 96, kernel: 24, own: 1, idle: 160, residual: 8 };
    let dram = Watts { llama: 48, other: 8, kernel: 2, own: 1, idle: 20, residual: 1 };
    let psys = Watts { llama: 600, other: 110, kernel: 30, own: 2, idle: 320, residual: 10 };
    let domains = BTreeMap::from([
        ("package-0".to_owned(), domain(seconds, true, &package)),
        ("dram-0".to_owned(), domain(seconds, true, &dram)),
        ("psys".to_owned(), domain(seconds, false, &psys)),
    ]);
    let llama: Vec<ConsumerBook> =
        domains.values().filter(|d| d.additive).map(|d| d.consumers["llama"]).collect();
    let charged: u64 = llama.iter().map(|c| c.active_nj).sum();
    let background_nj = charged / 10;
    let checks_nj = (charged - background_nj).min(1_000_000);
    let target = TargetBook {
        requests_nj: charged - background_nj,
        kinds: Kinds {
            inference: KindBook {
                requests: (seconds * 4.0) as u64,
                energy_nj: charged - background_nj - checks_nj,
            },
            check: KindBook { requests: seconds as u64, energy_nj: checks_nj },
            other: KindBook::default(),
        },
        background_nj,
        background_before_nj: background_nj / 4,
        background_waiting_nj: 0,
        background_after_nj: background_nj / 2,
        cpu_ns: domains["package-0"].consumers["llama"].cpu_ns,
    };
    let requests = (seconds * 4.0) as u64;
    let runs = (seconds * 20_000.0) as u64;
    let programs = BTreeMap::from([
        ("sched_switch".to_owned(), ProgramCost { runs, ns: runs * 180 }),
        ("tick".to_owned(), ProgramCost { runs: runs / 20, ns: runs * 60 }),
    ]);
    Snapshot {
        schema: snapshot::SCHEMA,
        started: STARTED.into(),
        ended: instant(seconds),
        kernel: "6.12.0".into(),
        requests: BTreeMap::from([
            ("complete".to_owned(), requests - requests / 6),
            ("aborted".to_owned(), requests / 6),
        ]),
        in_flight: BTreeMap::from([("llama".to_owned(), 1 + requests % 3)]),
        domains,
        targets: BTreeMap::from([("llama".to_owned(), target)]),
        host: HostBooks {
            processes: 42,
            listed_ns: 3_000_000_000,
            exited_ns: 200_000_000,
            unlisted_ns: 0,
        },
        events: Events {
            seen: runs,
            lost: 0,
            lost_by_kind: BTreeMap::from([("ring".to_owned(), 0), ("tick".to_owned(), 0)]),
            boundary: "tracepoint".to_owned(),
        },
        not_understood: BTreeMap::from([("compressed".to_owned(), 0), ("http2".to_owned(), 2)]),
        self_cost: SelfCost { cpu_s: seconds * 0.004, rss_bytes: 21_500_000, programs },
        policies: Policies { weight: "time".into(), share: "equal".into(), idle: "none".into() },
        flags: Vec::new(),
    }
}

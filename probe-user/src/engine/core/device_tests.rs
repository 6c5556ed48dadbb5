//! Devices in the pure middle: readings with who used them in, joules, flags and bars of requests out.
//!
//! The domains are those of GPUs that follow a script, found through the real library binding; the readings
//! are made up, so that every number is known.

use nvml_stub::{Gpu, NOT_SUPPORTED, Script, install};
use probe_ledger::{DomainId, Split};

use super::tests::{MS, io, records, tick};
use super::*;
use crate::{
    clock::Clock,
    engine::{host::Host, targets::Target},
    source::{Domain, Users, nvml},
    target::{Found, Selector},
};

/// The process of the target, and one of somebody else.
const OURS: u32 = 7;
const THEIRS: u32 = 8;

fn found(gpus: Vec<Gpu>) -> Vec<Domain> {
    let dir = tempfile::tempdir().unwrap();
    let installed = install(dir.path(), &Script::of(gpus), &[]).unwrap();
    nvml::domains(Some(&installed.library)).unwrap().domains
}

fn core(domains: &[Domain]) -> Core {
    let mut targets = Targets::default();
    let mut target = Target::new(0, "a".into(), Selector::Port(1));
    let _ = target.found(&Found { processes: [OURS].into(), ..<_>::default() });
    targets.0.push(target);
    let host = Host::new(domains, (1, 1), <_>::default(), targets.names(), Clock::start());
    let accounts = Accountant::open(&host).unwrap();
    Core::new(Parts { accounts, targets, slices: None, recorder: None })
}

/// What a GPU shows every 50 ms: counts in a millisecond, who used it, and until when it can be read, ms.
struct Shown {
    per_ms: u64,
    split: Split,
    /// Parts of the time, percent.
    used: Vec<(u32, u64)>,
    until: u64,
}

impl Shown {
    fn new(per_ms: u64, split: Split, used: &[(u32, u64)]) -> Self {
        Self { per_ms, split, used: used.to_vec(), until: u64::MAX }
    }
}

/// A second of 50 ms readings with a request from 200 ms to 800 ms; its record.
fn request(domains: &[Domain], shown: &[Shown]) -> RequestRecord {
    let mut core = core(domains);
    let mut effects = Vec::new();
    core.push(tick(1, 1, 0));
    core.push(io(150 * MS, 0, IoKind::Open, b""));
    core.push(io(200 * MS, 0, IoKind::Recv, b"GET /x HTTP/1.1\r\n\r\n"));
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
    core.push(io(800 * MS, 0, IoKind::Send, answer));
    for step in 0..=20 {
        let t = step * 50 + 1;
        for (index, gpu) in shown.iter().enumerate() {
            let ns = |(tgid, percent): &(u32, u64)| (*tgid, 50 * MS * percent / 100);
            let users = Users::Device(gpu.split, gpu.used.iter().map(ns).collect());
            let count = (t <= gpu.until).then_some((t - 1) * gpu.per_ms);
            core.taken(Taken { domain: DomainId(index), t: t * MS, count, users });
        }
        core.push(tick(step + 2, (t + 1) * MS, 0));
        core.advance(&mut effects);
    }
    core.finish(&mut effects);
    for index in 0..domains.len() {
        assert!(core.accounts.ledger.books(DomainId(index)).unwrap().closes());
    }
    records(&effects)[0].clone()
}

#[track_caller]
fn close(what: Option<f64>, expected: f64, off: f64) {
    let what = what.unwrap();
    assert!((what - expected).abs() <= off, "{what} is not {expected}");
}

#[test]
fn the_bar_of_a_request_is_the_measured_period_at_both_edges() {
    let domains = found(vec![Gpu::steady(200.0, 50.0)]);
    let period = domains[0].period_ns as f64 / 1e9;
    assert!(period >= 0.045, "{period}: it moves every 50 ms");
    let record = request(&domains, &[Shown::new(200, Split::Exclusive, &[(OURS, 100)])]);
    close(record.joules, 120.0, 1e-6);
    close(record.gpu_j, 120.0, 1e-6);
    assert_eq!((record.cpu_j, record.quality), (None, crate::record::Quality::Measured));
    let half = 0.689 * 2.0_f64.sqrt() * 200.0 * period;
    close(record.joules_high, 120.0 + half, 0.01);
    close(record.joules_low, (120.0 - half).max(0.0), 0.01);
    assert_eq!(*record.sources, ["gpu-0=nvml"]);
    assert!(record.flags.contains(&"gpu-exclusive".to_owned()), "{:?}", record.flags);
}

#[test]
fn of_four_gpus_each_gives_what_it_can_and_says_so() {
    let mut mig = Gpu::steady(300.0, 50.0);
    mig.mig = Some(vec![]);
    let steady = Gpu::steady(200.0, 50.0);
    let no_counter = steady.clone().failing("nvmlDeviceGetTotalEnergyConsumption", NOT_SUPPORTED);
    let domains = found(vec![steady.clone(), steady, no_counter, mig]);
    let both = [(OURS, 75), (THEIRS, 25)];
    let record = request(
        &domains,
        &[
            Shown::new(200, Split::Exclusive, &[(OURS, 100)]),
            Shown { until: 401, ..Shown::new(200, Split::Exclusive, &[(OURS, 100)]) },
            Shown::new(100_000_000, Split::Utilisation, &both),
            Shown::new(300, Split::Partition, &both),
        ],
    );
    // 120 J; 40 J until it was lost; 3/4 of 60 J; 3/4 of 180 J.
    close(record.gpu_j, 120.0 + 40.0 + 45.0 + 135.0, 0.3);
    assert_eq!(record.quality, crate::record::Quality::Integrated, "the worst of them");
    let has = |flag: &str| record.flags.iter().any(|f| f == flag);
    for flag in ["gpu-exclusive", "gpu-shared", "gpu-mig", "partial", "unfinished-window"] {
        assert!(has(flag), "{flag}: {:?}", record.flags);
    }
    assert!(!has("gpu-shared-equal"), "{:?}", record.flags);
    // What the lost one would have used in 400 ms at the power it had, and the rest of the one in MIG mode.
    assert!(record.joules_high.unwrap() >= 340.0 + 80.0 + 45.0, "{record:?}");
    // In MIG mode it may have been idle.
    assert!(record.joules_low.unwrap() <= 340.0 - 135.0, "{record:?}");
}

#[test]
fn a_guess_in_equal_parts_reaches_from_nothing_to_the_whole() {
    let domains = found(vec![Gpu::steady(200.0, 50.0)]);
    let halves = [(OURS, 50), (THEIRS, 50)];
    let record = request(&domains, &[Shown::new(200, Split::Equal, &halves)]);
    close(record.joules, 60.0, 1e-6);
    close(record.joules_low, 0.0, 0.0);
    assert!(record.joules_high.unwrap() >= 120.0, "{record:?}");
    assert!(record.flags.contains(&"gpu-shared-equal".to_owned()));
}

#[test]
fn a_gpu_that_others_use_costs_the_request_nothing() {
    let domains = found(vec![Gpu::steady(200.0, 50.0)]);
    let record = request(&domains, &[Shown::new(200, Split::Exclusive, &[(THEIRS, 100)])]);
    close(record.gpu_j, 0.0, 0.0);
    assert!(!record.flags.contains(&"gpu-exclusive".to_owned()), "{:?}", record.flags);
    let record = request(&domains, &[Shown::new(200, Split::Clocks, &[])]);
    close(record.gpu_j, 0.0, 0.0);
}

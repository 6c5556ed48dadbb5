//! The pure middle, fed with made-up events: joules, ends and books in numbers.

use probe_common::{CONSUMERS, FIRST_TARGET, MAX_COUNTERS, MAX_PACKAGES};

use super::*;
use crate::{
    clock::Clock,
    engine::{host::Host, targets::Target},
    event::{Io, Tick},
    record::{End, Kind, Quality},
    source::{Domain, ModelPower, Range, Reading, Scope},
    target::Selector,
};

pub(super) const MS: u64 = 1_000_000;

/// One package under the model: 1 W idle, 3 W more per busy thread.
pub(super) fn core() -> Core {
    core_with(None)
}

/// The same, writing a tape.
pub(super) fn core_with(tape: Option<crate::tape::Writer>) -> Core {
    let domain = Domain {
        name: "package-0".into(),
        source: "model".into(),
        quality: Quality::Modelled,
        additive: true,
        scope: Scope::Package(0),
        joules_per_count: 1e-9,
        range: Range::Bits(64),
        period_ns: 0,
        quantum_nj: 1,
        max_watts: 1000.0,
        idle_watts: Some(1.0),
        idle_error_watts: None,
        class_ratio: 0.5,
        reading: Reading::Model(ModelPower { min_watts: 1.0, max_watts: 4.0, threads: 1 }),
    };
    let domains = [domain];
    let mut targets = Targets::default();
    targets.0.push(Target::new(0, "a".into(), Selector::Port(1)));
    let host = Host::new(&domains, (1, 1), <_>::default(), targets.names(), Clock::start());
    let accounts = Accountant::open(&host).unwrap();
    Core::new(Parts {
        accounts,
        targets,
        slices: None,
        recorder: tape.map(|tape| Recorder::begin(tape, host).unwrap()),
    })
}

/// The machine under a power sensor that is integrated.
fn whole_machine(dir: &std::path::Path) -> Core {
    let root = probe_lab::fakeroot::FakeRoot::new(dir);
    root.cpus(&[0]).unwrap();
    root.hwmon(0, "power_meter", "ACPI000D:00", &[("power1_average", "5000000")]).unwrap();
    let roots = crate::roots::Roots { sysfs: root.sysfs(), procfs: root.procfs(), nvml: None };
    let topology = crate::topology::Topology::read(&roots).unwrap();
    let chosen = crate::source::select(&roots, &topology, &["hwmon".parse().unwrap()]).unwrap();
    let domains = chosen.domains;
    let mut targets = Targets::default();
    targets.0.push(Target::new(0, "a".into(), Selector::Port(1)));
    let host = Host::new(&domains, (1, 1), <_>::default(), targets.names(), Clock::start());
    let accounts = Accountant::open(&host).unwrap();
    Core::new(Parts { accounts, targets, slices: None, recorder: None })
}

pub(super) fn tick(number: u64, t: u64, busy: u64) -> Event {
    let mut clock = [0; CONSUMERS];
    clock[FIRST_TARGET as usize] = busy;
    let counter = [None; MAX_COUNTERS];
    let (cores, beside, cycles, misses) = (None, None, None, None);
    Event::Tick(Box::new(Tick {
        package: 0,
        t,
        number,
        counter,
        clock,
        cores,
        beside,
        cycles,
        misses,
    }))
}

pub(super) fn io(t: u64, busy: u64, kind: IoKind, payload: &[u8]) -> Event {
    let mut clock = [0; MAX_PACKAGES];
    clock[0] = busy;
    Event::Io(Io {
        t,
        conn: ConnId(1),
        who: FIRST_TARGET,
        tgid: 7,
        kind,
        offset: 0,
        len: u32::try_from(payload.len()).unwrap(),
        head: payload.len(),
        payload: payload.to_vec(),
        arrived: (kind == IoKind::Recv).then(|| t - MS),
        clock,
    })
}

pub(super) fn records(effects: &[Effect]) -> Vec<&RequestRecord> {
    let mut records = Vec::new();
    for effect in effects {
        if let Effect::Record(record) = effect {
            records.push(&**record);
        }
    }
    records
}

#[test]
fn a_request_costs_what_the_target_burned_between_its_body_and_its_end() {
    let mut core = core();
    let mut effects = Vec::new();
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
    // Busy all the time; resident from 20 ms to 70 ms: 50 ms × 3 W.
    core.push(tick(1, 10 * MS, 10 * MS));
    core.push(io(15 * MS, 15 * MS, IoKind::Open, b""));
    core.push(io(70 * MS, 70 * MS, IoKind::Send, answer));
    core.push(io(20 * MS, 20 * MS, IoKind::Recv, b"GET /x?secret HTTP/1.1\r\n\r\n"));
    core.push(tick(2, 110 * MS, 110 * MS));
    core.push(tick(3, 210 * MS, 110 * MS));
    core.advance(&mut effects);
    let records = records(&effects);
    assert_eq!(records.len(), 1);
    let record = records[0];
    assert_eq!((record.path.as_deref(), record.status), (Some("/x"), Some(200)));
    assert!((record.joules.unwrap() - 0.150).abs() < 1e-9, "{record:?}");
    assert!((record.joules_low.unwrap() - 0.075).abs() < 1e-6);
    assert_eq!(record.cpu_s, Some(0.050));
    assert_eq!(record.end, End::Complete);
    let books = core.accounts.ledger.target(consumer(FIRST_TARGET));
    assert_eq!((books.requests.0, books.background.0), (150 * MS, 150 * MS));
    assert_eq!(core.accounts.cpu_ns(FIRST_TARGET), 100 * MS);
}

#[test]
fn what_requests_cost_is_booked_by_what_they_were_for() {
    let mut core = core();
    let mut effects = Vec::new();
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
    let chat = b"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}";
    // Busy all the time, 3 W: a check of 10 ms, then a chat of 50 ms.
    core.push(tick(1, 10 * MS, 10 * MS));
    core.push(io(15 * MS, 15 * MS, IoKind::Open, b""));
    core.push(io(20 * MS, 20 * MS, IoKind::Recv, b"GET /health HTTP/1.1\r\n\r\n"));
    core.push(io(30 * MS, 30 * MS, IoKind::Send, answer));
    let later = |event| match event {
        Event::Io(io) => {
            Event::Io(Io { offset: if io.kind == IoKind::Recv { 24 } else { 40 }, ..io })
        }
        other => other,
    };
    core.push(later(io(40 * MS, 40 * MS, IoKind::Recv, chat)));
    core.push(later(io(90 * MS, 90 * MS, IoKind::Send, answer)));
    core.push(tick(2, 110 * MS, 110 * MS));
    core.finish(&mut effects);
    let kinds: Vec<_> = records(&effects).iter().map(|r| (r.kind, r.joules)).collect();
    assert_eq!(kinds, [(Kind::Check, Some(0.03)), (Kind::Inference, Some(0.15))]);
    let book = crate::engine::books::energy(&core.accounts).targets["a"];
    let (inference, check) = (book.kinds.inference, book.kinds.check);
    assert_eq!((inference.requests, inference.energy_nj), (1, 150 * MS));
    assert_eq!((check.requests, check.energy_nj), (1, 30 * MS));
    assert_eq!(inference.energy_nj + check.energy_nj, book.requests_nj);
}

#[test]
fn a_streams_timing_is_in_its_record() {
    let mut core = core();
    let mut effects = Vec::new();
    core.push(tick(1, 10 * MS, 10 * MS));
    core.push(io(15 * MS, 15 * MS, IoKind::Open, b""));
    let ask = b"POST /completion HTTP/1.1\r\nContent-Length: 15\r\n\r\n{\"stream\":true}";
    core.push(io(20 * MS, 20 * MS, IoKind::Recv, ask));
    let mut sent = 0;
    let mut send = |t: u64, text: &str| {
        let Event::Io(event) = io(t * MS, t * MS, IoKind::Send, text.as_bytes()) else { return };
        core.push(Event::Io(Io { offset: sent, ..event }));
        sent += text.len() as u64;
    };
    send(30, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n");
    send(60, "data: {\"content\":\"a\"}\n\n");
    send(70, "data: {\"content\":\"b\"}\n\n");
    send(90, "data: {\"content\":\"\",\"timings\":{\"prompt_ms\":35,\"predicted_ms\":30}}\n\n");
    core.push(io(91 * MS, 91 * MS, IoKind::Close, b""));
    core.push(tick(2, 110 * MS, 110 * MS));
    core.finish(&mut effects);
    let record = records(&effects)[0].clone();
    assert_eq!((record.duration_s, record.ttft_s), (0.07, Some(0.04)));
    assert_eq!(record.unread_s, Some(0.001));
    assert_eq!((record.queue_s, record.prefill_s), (Some(0.005), Some(0.035)));
    assert_eq!(record.decode_s, Some(0.03));
    assert!((record.itl_p50_s.unwrap() - 0.01).abs() < 0.01 / 64.0, "{record:?}");
    assert_eq!(record.itl_p50_s, record.itl_p99_s);
}

#[test]
fn bytes_that_are_not_parsed_are_an_effect_of_their_kind() {
    let mut core = core();
    let mut effects = Vec::new();
    core.push(io(15 * MS, 0, IoKind::Open, b""));
    core.push(io(20 * MS, 0, IoKind::Recv, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"));
    core.finish(&mut effects);
    let told = |e: &Effect| matches!(e, Effect::NotUnderstood { kind: NotUnderstood::Http2, .. });
    assert_eq!((effects.iter().filter(|e| told(e)).count(), records(&effects).len()), (1, 0));
}

#[test]
fn a_server_that_dies_resets_its_requests_and_the_books_still_close() {
    let mut core = core();
    let mut effects = Vec::new();
    let found = crate::target::Found { processes: [7].into(), ..<_>::default() };
    let _ = core.targets.0[0].found(&found);
    core.push(tick(1, 10 * MS, 0));
    core.push(io(20 * MS, 10 * MS, IoKind::Open, b""));
    core.push(io(20 * MS, 10 * MS, IoKind::Recv, b"GET / HTTP/1.1\r\n\r\n"));
    let exit = Process { t: 50 * MS, who: FIRST_TARGET, tgid: 7, change: ProcessChange::Exit };
    core.push(Event::Process(exit));
    core.push(tick(2, 110 * MS, 40 * MS));
    core.finish(&mut effects);
    assert_eq!(records(&effects)[0].end, End::Reset);
    assert!(effects.iter().any(|e| matches!(e, Effect::ProcessEnded(7))));
    assert!(effects.iter().any(|e| matches!(e, Effect::TargetLost(FIRST_TARGET))));
    assert!(core.accounts.ledger.books(probe_ledger::DomainId(0)).unwrap().closes());
}

#[test]
fn what_happens_after_the_last_tick_is_not_of_the_run() {
    let mut core = core();
    let mut effects = Vec::new();
    core.push(tick(1, 10 * MS, 10 * MS));
    core.push(io(20 * MS, 20 * MS, IoKind::Open, b""));
    core.push(io(20 * MS, 20 * MS, IoKind::Recv, b"GET /a HTTP/1.1\r\n\r\n"));
    core.push(tick(2, 100 * MS, 100 * MS));
    core.end_at(core.latest_tick());
    core.push(io(120 * MS, 120 * MS, IoKind::Send, b"HTTP/1.1 204 No Content\r\n\r\n"));
    core.push(io(121 * MS, 121 * MS, IoKind::Recv, b"GET /b HTTP/1.1\r\n\r\n"));
    core.finish(&mut effects);
    let [record] = records(&effects)[..] else { panic!("one record: {effects:?}") };
    assert_eq!((record.path.as_deref(), record.end), (Some("/a"), End::Interrupted));
    // 80 ms at 3 W.
    assert!((record.joules.unwrap() - 0.24).abs() < 1e-9, "{record:?}");
}

#[test]
fn a_request_that_was_never_read_to_its_end_has_no_joules_rather_than_none() {
    let mut core = core();
    let mut effects = Vec::new();
    core.push(tick(1, 10 * MS, 0));
    core.push(io(20 * MS, 10 * MS, IoKind::Open, b""));
    core.push(io(20 * MS, 10 * MS, IoKind::Recv, b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\n"));
    core.push(io(30 * MS, 10 * MS, IoKind::Close, b""));
    core.push(tick(2, 110 * MS, 40 * MS));
    core.finish(&mut effects);
    let record = records(&effects)[0].clone();
    assert_eq!((record.end, record.joules), (End::Aborted, None));
    assert!(record.flags.contains(&"never_resident".to_owned()));
}

#[test]
fn a_power_sensor_of_the_whole_machine_is_a_requests_joules_and_a_gap_in_it_is_void() {
    let dir = tempfile::tempdir().unwrap();
    let mut core = whole_machine(dir.path());
    let mut effects = Vec::new();
    let reading = |t: u64, count| Taken {
        domain: probe_ledger::DomainId(0),
        t,
        count: Some(count),
        users: <_>::default(),
    };
    let mut power = crate::source::Integrator::new(1_000 * MS);
    core.push(tick(1, 5 * MS, 0));
    // 5 W at 10 ms, at 110 ms and at 210 ms: 1 J. Then nothing for two seconds.
    for (n, t) in [(2, 10 * MS), (3, 110 * MS), (4, 210 * MS), (5, 2_210 * MS)] {
        core.taken(reading(t, power.push(t, 5_000_000)));
        core.push(tick(n, t + MS, t));
    }
    core.finish(&mut effects);
    let books = core.accounts.ledger.books(probe_ledger::DomainId(0)).unwrap();
    assert!(books.closes());
    assert_eq!(books.measured.0, 1_000 * MS, "{books:?}");
}

#[test]
fn a_run_of_so_many_requests_ends_with_the_last_of_them_and_interrupts_the_next() {
    let mut core = core();
    core.end_after(2);
    let mut effects = Vec::new();
    core.push(tick(1, 10 * MS, 10 * MS));
    core.push(io(20 * MS, 20 * MS, IoKind::Open, b""));
    for i in 0..4 {
        let (read, written) = (30 * MS + 20 * i * MS, 40 * MS + 20 * i * MS);
        core.push(counted(read, 26 * i, IoKind::Recv, b"GET /abcdefgh HTTP/1.1\r\n\r\n"));
        core.push(counted(written, 27 * i, IoKind::Send, b"HTTP/1.1 204 No Content\r\n\r\n"));
    }
    let mut other = counted(35 * MS, 0, IoKind::Recv, b"GET /other HTTP/1.1\r\n\r\n");
    if let Event::Io(io) = &mut other {
        io.conn = ConnId(2);
    }
    core.push(other);
    core.push(tick(2, 200 * MS, 200 * MS));
    core.advance(&mut effects);
    assert!(core.is_over());
    core.finish(&mut effects);
    let ends: Vec<_> = records(&effects).iter().map(|record| record.end).collect();
    assert_eq!(ends, [End::Complete, End::Complete, End::Interrupted]);
}

/// At a place in its direction; the target is busy all the time.
fn counted(t: u64, offset: u64, kind: IoKind, payload: &[u8]) -> Event {
    let Event::Io(io) = io(t, t, kind, payload) else { unreachable!("it is one") };
    Event::Io(Io { offset, ..io })
}

#[test]
fn a_clock_that_could_not_be_read_is_no_earlier_than_the_one_before() {
    let mut core = core();
    let mut effects = Vec::new();
    core.push(tick(1, 10 * MS, 10 * MS));
    core.push(io(20 * MS, 20 * MS, IoKind::Open, b""));
    core.push(io(50 * MS, 50 * MS, IoKind::Recv, b"GET / HTTP/1.1\r\n\r\n"));
    core.push(io(60 * MS, TORN, IoKind::Send, b"HTTP/1.1 204 No Content\r\n\r\n"));
    core.push(tick(2, 110 * MS, 110 * MS));
    core.push(tick(3, 210 * MS, 110 * MS));
    core.advance(&mut effects);
    assert_eq!(records(&effects).len(), 1);
    assert_eq!(core.accounts.ledger.anomalies().clocks_backwards, 0);
}

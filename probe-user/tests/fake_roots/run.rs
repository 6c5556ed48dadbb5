//! Four seconds of a machine through selection, readings, ledger and records, with made-up ticks: one target
//! has half of the on-CPU time, and one request of it lasts from 1 s to 3 s.

use std::collections::BTreeMap;

use probe_common::{CONSUMERS, FIRST_TARGET, MAX_COUNTERS, MAX_PACKAGES, OTHER};
use wattprobe::clock::Clock;
use wattprobe::engine::accountant::Accountant;
use wattprobe::engine::core::{Core, Effect, Parts, consumer};
use wattprobe::engine::host::Host;
use wattprobe::engine::samplers::Taken;
use wattprobe::engine::targets::{Target, Targets};
use wattprobe::event::{ConnId, Event, Io, IoKind, Tick};
use wattprobe::record::RequestRecord;
use wattprobe::source::{Reading, Selection, Sensor, Users, select_with};
use wattprobe::target::Selector;
use wattprobe::topology::Topology;

use crate::tree::{Tree, watts};

/// From tick to tick, ms.
const EVERY: u64 = 10;
/// The end, ms.
pub(crate) const END: u64 = 4_000;
const MS: u64 = 1_000_000;

/// What the kernel reads of a perf counter: by time in ms and true count.
pub(crate) type Perf = fn(u64, u64) -> Option<u64>;
/// What happens to the tree, told every 10 ms.
pub(crate) type Script = fn(&mut Tree, u64);

/// What came out.
pub(crate) struct Ran {
    pub selection: Selection,
    /// Joules measured and void windows, by domain.
    pub books: BTreeMap<String, (f64, u64)>,
    pub record: RequestRecord,
    /// Sources disagreed at some time.
    pub disagreed: bool,
}

/// Runs it; `Err` is what the user would read.
pub(crate) fn run(
    tree: &mut Tree,
    specs: &[&str],
    script: Script,
    perf: Perf,
) -> Result<Ran, String> {
    let text = |e: &dyn std::error::Error| e.to_string();
    let topology = Topology::read(&tree.roots()).map_err(|e| text(&e))?;
    let specs: Vec<_> = specs.iter().map(|s| s.parse().expect("a source")).collect();
    let selection =
        select_with(&tree.roots(), &topology, &specs, &|_| Ok(())).map_err(|e| text(&e))?;
    let packages = topology.packages.len();
    let mut sensors: Vec<(usize, Box<dyn Sensor>)> = vec![];
    for (index, domain) in selection.domains.iter().enumerate() {
        if let Reading::Polled(polled) = &domain.reading {
            sensors.push((index, polled.open().map_err(|e| text(&e))?));
        }
    }
    let mut targets = Targets::default();
    targets.0.push(Target::new(0, "a".into(), Selector::Port(1)));
    let (names, clock) = (targets.names(), Clock::start());
    let host = Host::new(&selection.domains, (packages, 1), <_>::default(), names, clock);
    let accounts = Accountant::open(&host).map_err(|e| text(&e))?;
    let mut core = Core::new(Parts { accounts, targets, slices: None, recorder: None });
    let mut effects = vec![];
    for ms in (EVERY..=END).step_by(EVERY as usize) {
        script(tree, ms);
        tree.advance(ms);
        for (index, sensor) in &mut sensors {
            let t = ms * MS;
            let count = sensor.read(&|| t).ok().map(|sensed| sensed.count);
            let domain = probe_ledger::DomainId(*index);
            core.taken(Taken { domain, t, count, users: Users::Cpus });
        }
        match ms {
            1_000 => {
                core.push(io(ms, IoKind::Open, packages, b""));
                core.push(io(ms, IoKind::Recv, packages, b"GET /x HTTP/1.1\r\n\r\n"));
            }
            3_000 => {
                let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
                core.push(io(ms, IoKind::Send, packages, answer));
            }
            _ => {}
        }
        for package in 0..packages {
            core.push(tick(&selection, package, ms, perf));
        }
        core.advance(&mut effects);
    }
    core.finish(&mut effects);
    let mut books = BTreeMap::new();
    for (fed, domain) in core.accounts.readings.domains().iter().zip(&selection.domains) {
        let book = core.accounts.ledger.books(fed.id).expect("it is there");
        assert!(book.closes(), "{}: the books do not close", domain.name);
        let target = book.consumers[consumer(FIRST_TARGET).0].active.joules();
        let active: f64 = book.consumers.iter().map(|c| c.active.joules()).sum();
        assert!((target - active / 2.0).abs() < 1e-6, "{}: {target} J of {active} J", domain.name);
        books.insert(domain.name.clone(), (book.measured.joules(), book.void_windows));
    }
    let record = effects.into_iter().find_map(|effect| match effect {
        Effect::Record(record) => Some(record.as_ref().clone()),
        _ => None,
    });
    let record = record.expect("the request has a record");
    Ok(Ran { selection, books, record, disagreed: core.accounts.check.ever() })
}

fn tick(selection: &Selection, package: usize, ms: u64, perf: Perf) -> Event {
    let mut counter = [None; MAX_COUNTERS];
    let here = selection.domains.iter().filter(
        |domain| matches!(&domain.reading, Reading::Kernel(event) if event.package == package),
    );
    for (place, domain) in counter.iter_mut().zip(here) {
        let joules = watts(&domain.name) as f64 * ms as f64 / 1e3;
        *place = perf(ms, (joules / domain.joules_per_count) as u64);
    }
    let mut clock = [0; CONSUMERS];
    (clock[FIRST_TARGET as usize], clock[OTHER as usize]) = (ms * MS / 2, ms * MS / 2);
    let (t, number) = (ms * MS, ms / EVERY);
    let (cores, beside, cycles, misses) = (None, None, None, None);
    Event::Tick(Box::new(Tick {
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
}

fn io(ms: u64, kind: IoKind, packages: usize, payload: &[u8]) -> Event {
    let mut clock = [0; MAX_PACKAGES];
    clock[..packages].fill(ms * MS / 2);
    Event::Io(Io {
        t: ms * MS,
        conn: ConnId(1),
        who: FIRST_TARGET,
        tgid: 7,
        kind,
        offset: 0,
        len: u32::try_from(payload.len()).expect("it is short"),
        head: payload.len(),
        payload: payload.to_vec(),
        arrived: None,
        clock,
    })
}

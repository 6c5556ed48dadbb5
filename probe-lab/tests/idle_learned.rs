//! Idle power that nobody tells: what the ledger learns of it on a machine whose true idle power is known.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use probe_lab::sim::{Arrivals, Host, Input, Load, Neighbour, Server, Use, run};
use probe_ledger::{
    Config, DomainId, DomainSpec, Ledger, Nanojoules, Nanos, Nanowatts, Policies, Range, Ratio,
    Sample, Scale, Scope, Window,
};

const SECOND: u64 = 1_000_000_000;

/// A server that is asked every few seconds.
fn seldom_asked(neighbours: Vec<Neighbour>) -> Load {
    let arrivals = Arrivals::Poisson { every_ns: 4 * SECOND };
    let server = Server { requests: 12, arrivals, ..Server::default() };
    Load { servers: vec![server], neighbours, least_ns: 60 * SECOND, ..Load::default() }
}

fn ledger(host: &Host, consumers: usize) -> Ledger {
    let specs = host.domains().into_iter().map(|domain| DomainSpec {
        scale: Scale::from_joules_per_count(domain.joules_per_count).unwrap(),
        range: Range::Bits(domain.bits),
        scope: Scope::Package(0),
        additive: true,
        idle: None,
        idle_error: None,
        max_power: Some(Nanowatts::from_watts(domain.max_mw as f64 * 1e-3)),
        period: Nanos(domain.period_ns),
        quantum: Nanojoules((domain.joules_per_count * 1e9).ceil() as u64),
        class: Ratio(0),
        expected_window: Nanos::from_millis(300),
        pulse: None,
        name: domain.name,
    });
    Ledger::new(Config {
        domains: specs.collect(),
        consumers,
        packages: 1,
        cpus: host.cores * host.threads(),
        horizon: Nanos::from_millis(10_000),
        patience: Nanos::from_millis(60_000),
        policies: Policies::default(),
    })
    .unwrap()
}

/// What is learned of each domain and the truth, in watts; `None` where nothing is.
fn learned(host: &Host, load: &Load, seed: u64) -> Vec<(Option<f64>, f64)> {
    let mut ledger = ledger(host, load.consumers());
    let truth = run(host, load, seed, &mut |input| {
        if let Input::Sample { domain, t, counter, clocks, .. } = input {
            let sample = Sample { t: Nanos(t), counter: Some(counter), clocks, weights: None };
            assert!(!matches!(ledger.sample(DomainId(domain), &sample), Window::Void(_)));
        }
    });
    let seconds = (truth.end - truth.begin) as f64 * 1e-9;
    let watts = |power: Nanowatts| power.0 as f64 * 1e-9;
    let domains = truth.domains.iter().enumerate().map(|(d, domain)| {
        let known = ledger.idle(DomainId(d)).inspect(|known| assert!(known.learned));
        let known = known.map(|known| watts(known.power));
        (known, domain.idle_pj as f64 * 1e-12 / seconds)
    });
    domains.collect()
}

#[test]
fn between_seldom_requests_the_true_idle_power_is_learned_to_two_percent() {
    let host = Host::default();
    for seed in 1..=5 {
        for (known, truth) in learned(&host, &seldom_asked(vec![]), seed) {
            let power = known.expect("there were quiet seconds");
            assert!((power / truth - 1.0).abs() < 0.02, "seed {seed}: {power} W for {truth} W");
        }
    }
}

#[test]
fn beside_a_program_that_never_rests_nothing_is_learned() {
    let host = Host::default();
    let does = Use { activity: 1_000, memory_mw: 0 };
    let busy = Neighbour { does, on_ns: SECOND, off_ns: SECOND / 20 };
    for (known, _) in learned(&host, &seldom_asked(vec![busy]), 1) {
        assert_eq!(known, None);
    }
}

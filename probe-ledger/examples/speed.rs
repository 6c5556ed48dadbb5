//! What a sample costs: `cargo run --release -p probe-ledger --example speed`.
//!
//! Five domains, fifteen consumers of which five were on CPU in each window, and 0, 4 or 64 residents; then the same
//! with a boundary in every tenth window.

use std::hint::black_box;
use std::time::Instant;

use probe_ledger::*;

const DOMAINS: usize = 5;
const CONSUMERS: usize = 15;
const TARGET: ConsumerId = ConsumerId(3);
const ROUNDS: u64 = 200_000;
const WINDOW: u64 = 1_000_000;

fn domain(i: usize) -> DomainSpec {
    DomainSpec {
        name: format!("package-{i}"),
        scale: Scale::RAPL,
        range: Range::Bits(64),
        scope: Scope::Package(0),
        additive: true,
        idle: Some(Nanowatts::from_watts(10.0)),
        idle_error: None,
        max_power: Some(Nanowatts::from_watts(1_000.0)),
        period: Nanos(WINDOW),
        quantum: Nanojoules(61_035),
        class: Ratio(0),
        expected_window: Nanos(2 * WINDOW),
        pulse: None,
    }
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures time; the library never does")]
fn run(residents: u64, boundaries: bool) -> Result<f64, Box<dyn std::error::Error>> {
    let mut ledger = Ledger::new(Config {
        domains: (0..DOMAINS).map(domain).collect(),
        consumers: CONSUMERS,
        packages: 1,
        cpus: 1,
        horizon: Nanos(1_000_000_000),
        patience: Nanos(1_000_000_000),
        policies: Policies::default(),
    })?;
    let mut clocks = [0u64; CONSUMERS];
    let mut next = residents;
    for request in (0..residents).map(RequestId) {
        let enter = Boundary { t: Nanos(0), clocks: &[0], request, change: Change::Enter };
        ledger.boundary(TARGET, &enter)?;
    }
    let begin = Instant::now();
    for round in 0..ROUNDS {
        let t = round * WINDOW;
        for (k, clock) in clocks.iter_mut().enumerate().take(5) {
            *clock += 300_000 + (round * 7 + k as u64) % 100_000;
        }
        if boundaries && residents > 0 && round % 10 == 9 {
            let clock = [clocks[3] - 150_000];
            let mut change = |request, change| {
                let (t, request) = (Nanos(t - WINDOW / 2), RequestId(request));
                ledger.boundary(TARGET, &Boundary { t, clocks: &clock, request, change })
            };
            change(next - residents, Change::Leave)?;
            change(next, Change::Enter)?;
            next += 1;
        }
        for d in 0..DOMAINS {
            let counter = Some(round * 400_000_000 + (round * 13) % 1_000);
            let sample = Sample { t: Nanos(t), counter, clocks: &clocks, weights: None };
            black_box(ledger.sample(DomainId(d), &sample));
        }
        black_box(ledger.settled());
    }
    let ns = begin.elapsed().as_nanos() as f64;
    Ok(ns / (ROUNDS * DOMAINS as u64) as f64)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("residents  boundaries          ns/sample");
    for residents in [0, 4, 64] {
        for boundaries in [false, true] {
            let often = if boundaries { "every 10th window" } else { "none" };
            println!("{residents:>9}  {often:<18} {:>10.0}", run(residents, boundaries)?);
        }
    }
    Ok(())
}

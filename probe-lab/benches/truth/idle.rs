//! Idle power of the simulated machine and its error, by the formula of `wattprobe calibrate`.

use probe_lab::sim;
use probe_lab::sim::{Domain, Host, Input, Load};
use probe_ledger::Nanowatts;

/// Intervals of a measurement, and 95 % of a mean of so many, in standard errors: as `wattprobe calibrate` has them.
const INTERVALS: u64 = 20;
const STUDENT: f64 = 2.093;
/// What a busy CPU may draw above idle in a package and in memory, W: likewise.
const BUSY_WATTS: [f64; 2] = [5.0, 1.0];

/// Idle power of a domain, and how far off it may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IdlePower {
    pub(crate) power: Nanowatts,
    pub(crate) error: Nanowatts,
}

/// Idle power of every domain as `wattprobe calibrate` finds it: mean power of the counters for so long, while nothing runs
/// but the kernel's own work and the probe. How far off that may be, by its formula:
///
/// ```text
/// spread of the intervals ⊕ what the counter is late at both ends / time ⊕ mean number of busy CPUs × what one draws
/// ```
pub(crate) fn calibrate(host: &Host, load: &Load, seed: u64, for_ns: u64) -> Vec<IdlePower> {
    let quiet =
        Load { servers: vec![], neighbours: vec![], least_ns: for_ns, quiet_ns: 0, ..load.clone() };
    let host = Host { pollers: vec![for_ns / INTERVALS], ..host.clone() };
    let domains = host.domains();
    let mut readings: Vec<(u64, Vec<u64>)> = Vec::new();
    let mut on_cpu = 0;
    let truth = sim::run(&host, &quiet, seed, &mut |input| {
        if let Input::Poll { t, counters, clocks, .. } = input {
            readings.push((t, counters.to_vec()));
            on_cpu = clocks.iter().sum();
        }
    });
    let busy = on_cpu as f64 / (truth.end - truth.begin) as f64;
    domains.iter().enumerate().map(|(d, domain)| idle(domain, d, &readings, busy)).collect()
}

fn idle(domain: &Domain, d: usize, readings: &[(u64, Vec<u64>)], busy: f64) -> IdlePower {
    let intervals = readings.windows(2).filter(|pair| pair[0].0 < pair[1].0);
    let (mut watts, mut joules, mut seconds) = (Vec::new(), 0.0, 0.0);
    for pair in intervals {
        let counts = pair[1].1[d].wrapping_sub(pair[0].1[d]) & domain.mask();
        let (j, s) =
            (counts as f64 * domain.joules_per_count, (pair[1].0 - pair[0].0) as f64 * 1e-9);
        watts.push(j / s);
        (joules, seconds) = (joules + j, seconds + s);
    }
    let (power, n) = (joules / seconds, watts.len() as f64);
    let squares: f64 = watts.iter().map(|w| (w - power).powi(2)).sum();
    let spread = STUDENT * (squares / (n - 1.0) / n).sqrt();
    let ends = domain.period_ns as f64 * 1e-9 * power + domain.joules_per_count;
    let memory = usize::from(domain.name.starts_with("dram"));
    let worked = if domain.scope == sim::Scope::Device { 0.0 } else { busy * BUSY_WATTS[memory] };
    IdlePower {
        power: Nanowatts::from_watts(power),
        error: Nanowatts::from_watts(spread.hypot(ends / seconds).hypot(worked)),
    }
}

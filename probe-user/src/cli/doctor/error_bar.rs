//! The error bar that a request of one second would have on this machine.
//!
//! Worked out by the ledger itself: every chosen domain is fed with a counter of constant power, sampled
//! at the pace the probe would sample it at, with one request of one second, alone on the machine. So
//! what `doctor` says is what the records of such a request would carry.

use probe_ledger::{
    Account, Boundary, Change, Config, ConsumerId, DomainId, Ledger, Nanos, Policies, Range,
    RequestId, Sample,
};

use crate::engine::host;
use crate::engine::setup::{POLL_NS, TICK_HZ};
use crate::source::{Domain, Pace, Reading};

/// Power of each domain in this reckoning, W. Edges and class scale with it, so that only the counter's
/// step weighs more at less.
pub(super) const WATTS: f64 = 50.0;

const SECOND: u64 = 1_000_000_000;
/// A request begins and ends at no particular phase of the sampling.
const ENTER: u64 = 2 * SECOND + 300_137;

/// Half the width of an error bar, relative to the energy.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Bars {
    /// Of the whole request; `None` where no domain is summed.
    pub(super) total: Option<f64>,
    /// By domain.
    pub(super) domains: Vec<Option<f64>>,
}

/// The bars of a request of one second, every domain at [`WATTS`].
pub(super) fn one_second(domains: &[Domain], packages: usize) -> Bars {
    let none = Bars { total: None, domains: vec![None; domains.len()] };
    let Some(account) = account(domains, packages) else { return none };
    let ratio = |e: &probe_ledger::Estimate| {
        let off = (e.energy.0 - e.low.0).max(e.high.0 - e.energy.0);
        off as f64 / e.energy.0.max(1) as f64
    };
    Bars {
        total: account.energy.as_ref().map(ratio),
        domains: account.domains.iter().map(|share| share.active.as_ref().map(ratio)).collect(),
    }
}

fn account(domains: &[Domain], packages: usize) -> Option<Account> {
    let specs = domains.iter().map(host::spec).collect::<Result<Vec<_>, _>>().ok()?;
    let policies = Policies::default();
    let horizon = Nanos(10 * SECOND);
    let config = Config {
        domains: specs,
        consumers: 1,
        packages,
        cpus: 1,
        horizon,
        patience: horizon,
        policies,
    };
    let mut ledger = Ledger::new(config).ok()?;
    let (server, request) = (ConsumerId(0), RequestId(1));
    let mut moments: Vec<(u64, Moment)> = Vec::new();
    for (index, domain) in domains.iter().enumerate() {
        let every = pace_ns(domain);
        let samples = (0..=4 * SECOND / every).map(|i| (i * every, Moment::Sample(index)));
        moments.extend(samples);
    }
    moments.push((ENTER, Moment::Change(Change::Enter)));
    moments.push((ENTER + SECOND, Moment::Change(Change::Leave)));
    moments.sort_by_key(|(t, _)| *t);
    for (t, moment) in moments {
        match moment {
            Moment::Sample(index) => {
                let counter = domains.get(index).map(|domain| count(domain, t));
                // One thread of the target computes throughout.
                let sample = Sample { t: Nanos(t), counter, clocks: &[t], weights: None };
                ledger.sample(DomainId(index), &sample);
            }
            Moment::Change(change) => {
                let clocks = vec![t; packages];
                let boundary = Boundary { t: Nanos(t), clocks: &clocks, request, change };
                ledger.boundary(server, &boundary).ok()?;
            }
        }
    }
    ledger.finish(Nanos(5 * SECOND));
    ledger.settled().pop()
}

enum Moment {
    Sample(usize),
    Change(Change),
}

/// How often the probe samples a domain while a request is in flight, ns.
fn pace_ns(domain: &Domain) -> u64 {
    match &domain.reading {
        Reading::Kernel(_) | Reading::Cores(_) | Reading::Model(_) => SECOND / u64::from(TICK_HZ),
        Reading::Polled(polled) => match polled.pace() {
            Pace::Loop => POLL_NS,
            Pace::Thread { every_ns, .. } => every_ns,
        },
    }
}

/// A power that this domain can have.
fn watts(domain: &Domain) -> f64 {
    (domain.idle_watts.unwrap_or(0.0) + WATTS).min(domain.max_watts / 1.5)
}

/// The raw counter at an instant.
fn count(domain: &Domain, t: u64) -> u64 {
    let joules = watts(domain) * t as f64 / SECOND as f64;
    let counts = (joules / domain.joules_per_count) as u64;
    match domain.range {
        Range::Max(most) => counts % most.saturating_add(1).max(1),
        Range::Bits(bits) => counts & u64::MAX.checked_shr(64 - bits.min(64)).unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::testing::Tree;
    use crate::source::{model, powercap};

    #[test]
    fn a_powercap_counter_is_good_to_its_period_at_both_edges() {
        let tree = Tree::new().cpus(&[0, 0]).zone("intel-rapl:0", "package-0", 0);
        let domains = powercap::domains(&tree.roots(), &tree.topology()).unwrap();
        let bars = one_second(&domains, 1);
        // 0.689 of 50 W for a millisecond at each edge, in quadrature, and a step of 61 uJ: 0.0487 J of 50 J.
        let ratio = bars.total.unwrap();
        assert!((ratio - 0.689 * 2.0_f64.sqrt() * 1e-3).abs() < 1e-5, "{ratio}");
        assert_eq!(bars.domains, [Some(ratio)]);
    }

    #[test]
    fn the_model_is_good_to_a_half() {
        let tree = Tree::new().cpus(&[0, 0]);
        let domains = model::domains(&model::lookup(None), &tree.topology());
        let ratio = one_second(&domains, 1).total.unwrap();
        assert!((ratio - 0.5).abs() < 1e-6, "{ratio}");
    }

    #[test]
    fn a_domain_that_is_not_summed_has_a_bar_of_its_own_only() {
        let tree = Tree::new().cpus(&[0]).zone("intel-rapl:0", "psys", 0);
        let bars = one_second(&powercap::domains(&tree.roots(), &tree.topology()).unwrap(), 1);
        assert_eq!(bars.total, None);
        // 0.566 of a step of 1 J at each edge, of 50 J.
        assert!(bars.domains[0].unwrap() > 0.011, "{:?}", bars.domains);
        assert_eq!(one_second(&[], 1).total, None, "nothing is measured");
    }
}

//! Metrics that are read off the latest snapshot at each scrape.
//!
//! The snapshot's sums are cumulative and are exposed as they are: nothing is added up here, so a
//! scrape can neither lose nor invent energy. A figure that the snapshot does not have gets no series.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

use super::contract::{self, Kind, Metric};
use super::labels::Labels;
use super::progress::Progress;
use crate::export::table::ledger::{consumer_names, cpu_ns};
use crate::export::units::{joules, seconds};
use crate::record::{self, Quality};
use crate::snapshot::{DomainBook, Snapshot, TargetBook};

/// The latest snapshot and which sources still move, shared with the scrapes.
#[derive(Clone, Debug, Default)]
pub struct Latest(Arc<RwLock<State>>);

#[derive(Debug, Default)]
struct State {
    snapshot: Option<Arc<Snapshot>>,
    progress: Progress,
}

impl Latest {
    /// Publishes a snapshot.
    pub fn set(&self, snapshot: &Arc<Snapshot>) {
        let mut state = self.0.write().unwrap_or_else(PoisonError::into_inner);
        state.progress.note(snapshot);
        state.snapshot = Some(Arc::clone(snapshot));
    }
}

type Sample = (Labels, f64);

impl Collector for Latest {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let (snapshot, stalled) = {
            let state = self.0.read().unwrap_or_else(PoisonError::into_inner);
            let Some(snapshot) = &state.snapshot else { return Ok(()) };
            (Arc::clone(snapshot), state.progress.stalled())
        };
        let snapshot = snapshot.as_ref();
        let mut write = |metric: &Metric, samples| family(&mut encoder, metric, samples);
        write(&contract::ENERGY, energy(snapshot))?;
        write(&contract::CONSUMER_ENERGY, consumer_energy(snapshot))?;
        write(&contract::TARGET_ENERGY, target_energy(snapshot))?;
        write(&contract::TARGET_BACKGROUND, target_background(snapshot))?;
        write(&contract::TARGET_REQUESTS, target_requests(snapshot))?;
        write(&contract::CONSUMER_CPU, consumer_cpu(snapshot))?;
        write(&contract::IN_FLIGHT, in_flight(snapshot))?;
        write(&contract::SOURCE_UP, source_up(snapshot, &stalled))?;
        write(&contract::VOID_WINDOWS, void_windows(snapshot))?;
        write(&contract::EVENTS_LOST, events_lost(snapshot))?;
        write(&contract::NOT_UNDERSTOOD, not_understood(snapshot))?;
        write(&contract::BPF_SECONDS, programs(snapshot, &contract::BPF_SECONDS))?;
        write(&contract::BPF_RUNS, programs(snapshot, &contract::BPF_RUNS))?;
        let own = &snapshot.self_cost;
        write(&contract::PROCESS_CPU, vec![(Labels::of(&contract::PROCESS_CPU, []), own.cpu_s)])?;
        let memory = (Labels::of(&contract::PROCESS_MEMORY, []), own.rss_bytes as f64);
        write(&contract::PROCESS_MEMORY, vec![memory])?;
        let build = [env!("CARGO_PKG_VERSION"), snapshot.kernel.as_str()];
        write(&contract::BUILD_INFO, vec![(Labels::of(&contract::BUILD_INFO, build), 1.0)])
    }
}

/// A counter or a gauge; histograms grow with the records and are registered.
fn family(encoder: &mut DescriptorEncoder, metric: &Metric, samples: Vec<Sample>) -> fmt::Result {
    if samples.is_empty() {
        return Ok(());
    }
    let unit = metric.unit.map(|unit| Unit::Other(unit.to_owned()));
    let gauge = metric.kind == Kind::Gauge;
    let kind = if gauge { MetricType::Gauge } else { MetricType::Counter };
    // The registry adds the full stop to the help of its own families.
    let help = format!("{}.", metric.help);
    let mut encoder = encoder.encode_descriptor(metric.stem(), &help, unit.as_ref(), kind)?;
    for (labels, value) in samples {
        let encoder = encoder.encode_family(&labels)?;
        if gauge {
            ConstGauge::new(value).encode(encoder)?;
        } else {
            ConstCounter::new(value).encode(encoder)?;
        }
    }
    Ok(())
}

/// Domains that something measures.
fn present(snapshot: &Snapshot) -> impl Iterator<Item = (&String, &DomainBook)> {
    snapshot.domains.iter().filter(|(_, book)| book.quality != Quality::Absent)
}

fn energy(snapshot: &Snapshot) -> Vec<Sample> {
    let of = |(name, book): (&String, &DomainBook)| {
        let additive = if book.additive { "true" } else { "false" };
        let values = [name.as_str(), &book.source, book.quality.as_str(), additive];
        (Labels::of(&contract::ENERGY, values), joules(book.measured_nj))
    };
    present(snapshot).map(of).collect()
}

fn consumer_energy(snapshot: &Snapshot) -> Vec<Sample> {
    let of = |(domain, book): (&String, &DomainBook)| {
        let sample = |consumer: &str, nj| {
            (Labels::of(&contract::CONSUMER_ENERGY, [consumer, domain]), joules(nj))
        };
        let mut samples: Vec<Sample> =
            book.consumers.iter().map(|(name, c)| sample(name, c.active_nj)).collect();
        samples.push(sample("idle", book.idle_nj));
        samples.push(sample("residual", book.residual_nj));
        samples
    };
    present(snapshot).flat_map(of).collect()
}

fn target_energy(snapshot: &Snapshot) -> Vec<Sample> {
    if !present(snapshot).any(|(_, book)| book.additive) {
        return Vec::new();
    }
    let sample =
        |target: &str, part, nj| (Labels::of(&contract::TARGET_ENERGY, [target, part]), joules(nj));
    let targets = snapshot.targets.iter();
    targets
        .flat_map(|(name, book)| {
            [
                sample(name, "requests", book.requests_nj),
                sample(name, "background", book.background_nj),
            ]
        })
        .collect()
}

fn target_background(snapshot: &Snapshot) -> Vec<Sample> {
    if !present(snapshot).any(|(_, book)| book.additive) {
        return Vec::new();
    }
    let sample = |target: &str, during, nj| {
        (Labels::of(&contract::TARGET_BACKGROUND, [target, during]), joules(nj))
    };
    let targets = snapshot.targets.iter();
    targets
        .flat_map(|(name, book)| {
            [
                sample(name, "before", book.background_before_nj),
                sample(name, "waiting", book.background_waiting_nj),
                sample(name, "after", book.background_after_nj),
            ]
        })
        .collect()
}

fn target_requests(snapshot: &Snapshot) -> Vec<Sample> {
    if !present(snapshot).any(|(_, book)| book.additive) {
        return Vec::new();
    }
    let of = |(name, book): (&String, &TargetBook)| {
        let kinds = book.kinds;
        record::Kind::ALL.map(|kind| {
            let labels = Labels::of(&contract::TARGET_REQUESTS, [name, kind.as_str()]);
            (labels, joules(kinds.of(kind).energy_nj))
        })
    };
    snapshot.targets.iter().flat_map(of).collect()
}

fn consumer_cpu(snapshot: &Snapshot) -> Vec<Sample> {
    let of = |name: &str| {
        let labels = Labels::of(&contract::CONSUMER_CPU, [name]);
        Some((labels, seconds(cpu_ns(snapshot, name)?)))
    };
    consumer_names(snapshot).into_iter().filter_map(of).collect()
}

fn in_flight(snapshot: &Snapshot) -> Vec<Sample> {
    let flights = snapshot.in_flight.iter();
    flights.map(|(target, n)| (Labels::of(&contract::IN_FLIGHT, [target]), *n as f64)).collect()
}

fn source_up(snapshot: &Snapshot, stalled: &BTreeSet<String>) -> Vec<Sample> {
    let of = |(name, book): (&String, &DomainBook)| {
        let up = book.quality != Quality::Absent && !stalled.contains(name);
        (Labels::of(&contract::SOURCE_UP, [&book.source, name]), f64::from(u8::from(up)))
    };
    snapshot.domains.iter().map(of).collect()
}

fn void_windows(snapshot: &Snapshot) -> Vec<Sample> {
    let of = |(name, book): (&String, &DomainBook)| {
        (Labels::of(&contract::VOID_WINDOWS, [name]), book.void_windows as f64)
    };
    present(snapshot).map(of).collect()
}

fn events_lost(snapshot: &Snapshot) -> Vec<Sample> {
    let events = &snapshot.events;
    let sample = |kind: &str, n: u64| (Labels::of(&contract::EVENTS_LOST, [kind]), n as f64);
    let mut samples: Vec<Sample> =
        events.lost_by_kind.iter().map(|(kind, n)| sample(kind, *n)).collect();
    let named: u64 = events.lost_by_kind.values().sum();
    if samples.is_empty() || events.lost > named {
        samples.push(sample("unnamed", events.lost.saturating_sub(named)));
    }
    samples
}

fn not_understood(snapshot: &Snapshot) -> Vec<Sample> {
    let of =
        |(kind, n): (&String, &u64)| (Labels::of(&contract::NOT_UNDERSTOOD, [kind]), *n as f64);
    snapshot.not_understood.iter().map(of).collect()
}

fn programs(snapshot: &Snapshot, metric: &Metric) -> Vec<Sample> {
    let counted = snapshot.self_cost.programs.iter().filter(|(_, cost)| cost.runs > 0);
    let value = |cost: &crate::snapshot::ProgramCost| {
        if metric.unit.is_some() { seconds(cost.ns) } else { cost.runs as f64 }
    };
    counted.map(|(name, cost)| (Labels::of(metric, [name]), value(cost))).collect()
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;
    use prometheus_client::registry::Registry;

    use super::*;
    use crate::export::example;

    fn exposed(snapshots: &[Snapshot]) -> String {
        let latest = Latest::default();
        let mut registry = Registry::default();
        registry.register_collector(Box::new(latest.clone()));
        for snapshot in snapshots {
            latest.set(&Arc::new(snapshot.clone()));
        }
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        text
    }

    fn sum(text: &str, name: &str, with: &str) -> f64 {
        let lines =
            text.lines().filter(|l| l.starts_with(&format!("{name}{{")) && l.contains(with));
        lines.map(|l| l.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
    }

    #[test]
    fn consumers_of_a_domain_add_up_to_what_it_counted() {
        let text = exposed(&[example::snapshot(10.0)]);
        for domain in ["package-0", "dram-0", "psys"] {
            let with = format!("domain=\"{domain}\"");
            let counted = sum(&text, "wattprobe_energy_joules_total", &with);
            let consumed = sum(&text, "wattprobe_consumer_energy_joules_total", &with);
            assert!(
                counted > 10.0 && (counted - consumed).abs() < 1e-9,
                "{domain}: {counted} {consumed}"
            );
        }
    }

    #[test]
    fn the_background_of_a_target_is_shown_by_what_it_was() {
        let mut snapshot = example::snapshot(10.0);
        let book = snapshot.targets.get_mut("llama").unwrap();
        (book.background_nj, book.background_before_nj) = (9_000_000_000, 4_000_000_000);
        (book.background_waiting_nj, book.background_after_nj) = (3_000_000_000, 1_500_000_000);
        let text = exposed(&[snapshot]);
        let name = "wattprobe_target_background_joules_total";
        for (during, joules) in [("before", 4.0), ("waiting", 3.0), ("after", 1.5)] {
            assert_eq!(sum(&text, name, &format!("during=\"{during}\"")), joules, "{text}");
        }
        assert_eq!(sum(&text, "wattprobe_target_energy_joules_total", "background"), 9.0);
        assert_eq!(sum(&text, name, "target=\"llama\""), 8.5, "the rest has no series of its own");
    }

    #[test]
    fn the_energy_of_requests_is_shown_by_what_they_were_for() {
        let text = exposed(&[example::snapshot(10.0)]);
        let name = "wattprobe_target_requests_joules_total";
        assert_eq!(sum(&text, name, "kind=\"check\""), 0.001, "{text}");
        assert_eq!(sum(&text, name, "kind=\"other\""), 0.0);
        let all = sum(&text, "wattprobe_target_energy_joules_total", "part=\"requests\"");
        assert!((sum(&text, name, "target=\"llama\"") - all).abs() < 1e-9, "{text}");
    }

    #[test]
    fn what_is_not_parsed_is_counted_by_why() {
        let text = exposed(&[example::snapshot(10.0)]);
        let name = "wattprobe_not_understood_total";
        assert_eq!(sum(&text, name, "kind=\"http2\""), 2.0, "{text}");
        assert!(text.contains("wattprobe_not_understood_total{kind=\"compressed\"} 0"), "{text}");
    }

    #[test]
    fn before_the_first_snapshot_there_is_no_series() {
        assert_eq!(exposed(&[]), "# EOF\n");
    }

    #[test]
    fn an_absent_domain_is_down_and_has_no_energy_series() {
        let mut snapshot = example::snapshot(10.0);
        snapshot.domains.get_mut("dram-0").unwrap().quality = Quality::Absent;
        let text = exposed(&[snapshot]);
        assert!(text.contains("wattprobe_source_up{source=\"rapl-powercap\",domain=\"dram-0\"} 0"));
        assert!(text.contains("wattprobe_source_up{source=\"rapl-powercap\",domain=\"psys\"} 1"));
        assert!(!text.contains("consumer=\"idle\",domain=\"dram-0\""), "{text}");
    }

    #[test]
    fn a_source_that_closes_no_window_for_ten_seconds_is_down() {
        let first = example::snapshot(10.0);
        let mut second = example::snapshot(25.0);
        second.domains.insert("dram-0".into(), first.domains["dram-0"].clone());
        let text = exposed(&[first, second]);
        assert_eq!(sum(&text, "wattprobe_source_up", "dram-0"), 0.0);
        assert_eq!(sum(&text, "wattprobe_source_up", "package-0"), 1.0);
    }

    #[test]
    fn programs_without_statistics_have_no_series() {
        let mut snapshot = example::snapshot(10.0);
        snapshot.self_cost.programs.get_mut("tick").unwrap().runs = 0;
        let text = exposed(&[snapshot]);
        assert!(!text.contains("program=\"tick\"") && text.contains("program=\"sched_switch\""));
    }

    #[test]
    fn losses_without_a_kind_are_not_dropped() {
        let mut snapshot = example::snapshot(10.0);
        snapshot.events.lost = 5;
        snapshot.events.lost_by_kind.insert("ring".into(), 3);
        let text = exposed(&[snapshot]);
        assert_eq!(sum(&text, "wattprobe_events_lost_total", "unnamed"), 2.0);
        assert_eq!(sum(&text, "wattprobe_events_lost_total", "kind"), 5.0);
    }
}

//! Metrics that grow with each settled request.

use std::time::SystemTime;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::exemplar::HistogramWithExemplars;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Metric as Encoded, Registry, Unit};

use super::contract::{self, Kind, Metric};
use super::labels::{Bounds, Labels, status};
use crate::record::{self, RequestRecord};

type Histograms = Family<Labels, Histogram, fn() -> Histogram>;
type WithExemplars =
    Family<Labels, HistogramWithExemplars<Labels>, fn() -> HistogramWithExemplars<Labels>>;

/// The families, registered under the names of the contract.
#[derive(Debug)]
pub struct RequestMetrics {
    bounds: Bounds,
    energy: WithExemplars,
    duration: Histograms,
    ttft: Histograms,
    itl: Histograms,
    uncertainty: Histograms,
    requests: Family<Labels, Counter>,
    tokens: Family<Labels, Counter>,
}

fn bounds_of(metric: &Metric) -> impl Iterator<Item = f64> + use<> {
    let bounds: &'static [f64] = match metric.kind {
        Kind::Histogram(bounds) => bounds,
        Kind::Counter | Kind::Gauge => &[],
    };
    bounds.iter().copied()
}

fn register(registry: &mut Registry, metric: &Metric, family: impl Encoded) {
    match metric.unit {
        Some(unit) => {
            registry.register_with_unit(
                metric.stem(),
                metric.help,
                Unit::Other(unit.into()),
                family,
            );
        }
        None => registry.register(metric.stem(), metric.help, family),
    }
}

impl RequestMetrics {
    /// Registers the families.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            bounds: Bounds::default(),
            energy: Family::new_with_constructor(|| {
                HistogramWithExemplars::new(bounds_of(&contract::REQUEST_ENERGY))
            }),
            duration: Family::new_with_constructor(|| {
                Histogram::new(bounds_of(&contract::REQUEST_DURATION))
            }),
            ttft: Family::new_with_constructor(|| {
                Histogram::new(bounds_of(&contract::REQUEST_TTFT))
            }),
            itl: Family::new_with_constructor(|| Histogram::new(bounds_of(&contract::REQUEST_ITL))),
            uncertainty: Family::new_with_constructor(|| {
                Histogram::new(bounds_of(&contract::UNCERTAINTY))
            }),
            requests: Family::default(),
            tokens: Family::default(),
        };
        register(registry, &contract::REQUEST_ENERGY, metrics.energy.clone());
        register(registry, &contract::REQUEST_DURATION, metrics.duration.clone());
        register(registry, &contract::REQUEST_TTFT, metrics.ttft.clone());
        register(registry, &contract::REQUEST_ITL, metrics.itl.clone());
        register(registry, &contract::UNCERTAINTY, metrics.uncertainty.clone());
        register(registry, &contract::REQUESTS, metrics.requests.clone());
        register(registry, &contract::TOKENS, metrics.tokens.clone());
        metrics
    }

    /// Adds one settled request. What it does not know is not observed; of a check nothing is, it is only counted: they
    /// come by the clock and would be most of what a histogram holds.
    pub fn observe(&mut self, record: &RequestRecord) {
        let network = self.bounds.admit(record);
        let (target, model, path) =
            (&*record.target, network.model.as_str(), network.path.as_str());
        let labels = |metric| Labels::of(metric, [target, model, path]);

        let (kind, end) = (record.kind.as_str(), record.end.as_str());
        let ended = [target, model, path, kind, &status(record.status), end];
        self.requests.get_or_create(&Labels::of(&contract::REQUESTS, ended)).inc();
        if record.kind == record::Kind::Check {
            return;
        }
        let duration = self.duration.get_or_create_owned(&labels(&contract::REQUEST_DURATION));
        duration.observe(record.duration_s);
        if let Some(ttft) = record.ttft_s {
            self.ttft.get_or_create_owned(&labels(&contract::REQUEST_TTFT)).observe(ttft);
        }
        for (percentile, gap) in [("50", record.itl_p50_s), ("99", record.itl_p99_s)] {
            if let Some(gap) = gap {
                let labels = Labels::of(&contract::REQUEST_ITL, [target, model, path, percentile]);
                self.itl.get_or_create_owned(&labels).observe(gap);
            }
        }
        for (kind, n) in [("prompt", record.prompt_tokens), ("completion", record.counted_tokens())]
        {
            if let Some(n) = n {
                let labels = Labels::of(&contract::TOKENS, [target, model, kind]);
                self.tokens.get_or_create(&labels).inc_by(n);
            }
        }
        let Some(joules) = record.joules.filter(|j| j.is_finite() && *j >= 0.0) else { return };
        self.energy.get_or_create_owned(&labels(&contract::REQUEST_ENERGY)).observe(
            joules,
            Some(Labels::exemplar(record.request)),
            ended_at(record),
        );
        if let Some(ratio) = uncertainty(record) {
            let labels = Labels::of(&contract::UNCERTAINTY, [target]);
            self.uncertainty.get_or_create_owned(&labels).observe(ratio);
        }
    }
}

/// Half of the error bar by the energy.
fn uncertainty(record: &RequestRecord) -> Option<f64> {
    let joules = record.joules.filter(|j| *j > 0.0)?;
    Some((record.joules_high? - record.joules_low?) / 2.0 / joules)
}

/// The instant of a record's last byte.
fn ended_at(record: &RequestRecord) -> Option<SystemTime> {
    let start: jiff::Timestamp = record.start.parse().ok()?;
    let duration = std::time::Duration::try_from_secs_f64(record.duration_s).ok()?;
    SystemTime::from(start).checked_add(duration)
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;

    use super::*;
    use crate::export::example;

    fn exposed(records: impl Iterator<Item = RequestRecord>) -> String {
        let mut registry = Registry::default();
        let mut metrics = RequestMetrics::register(&mut registry);
        for record in records {
            metrics.observe(&record);
        }
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        text
    }

    fn value(text: &str, start: &str) -> f64 {
        let line = text
            .lines()
            .find(|l| l.starts_with(start))
            .unwrap_or_else(|| panic!("{start}\n{text}"));
        line.rsplit(' ').next().unwrap().parse().unwrap()
    }

    #[test]
    fn histograms_count_and_sum_what_the_records_say() {
        let records: Vec<RequestRecord> = (1..=12).map(example::record).collect();
        let joules: f64 =
            records.iter().filter(|r| r.request % 5 != 0).filter_map(|r| r.joules).sum();
        let text = exposed(records.into_iter());
        let labels = "{target=\"llama\",model=\"SmolLM2-135M\",path=\"/v1/chat/completions\"}";
        assert_eq!(value(&text, &format!("wattprobe_request_energy_joules_count{labels}")), 8.0);
        let sum = value(&text, &format!("wattprobe_request_energy_joules_sum{labels}"));
        assert!((sum - joules).abs() < 1e-9, "{sum} {joules}");
        assert_eq!(
            value(&text, &format!("wattprobe_request_duration_seconds_count{labels}")),
            10.0
        );
        let tokens =
            "wattprobe_tokens_total{target=\"llama\",model=\"SmolLM2-135M\",kind=\"completion\"}";
        assert_eq!(value(&text, tokens), 560.0);
    }

    #[test]
    fn an_energy_bucket_names_the_record_it_saw_last() {
        let text = exposed(std::iter::once(example::record(1)));
        let line = text.lines().find(|l| l.contains("le=\"5.0\"")).unwrap();
        assert!(line.contains(" # {request=\"1\"} 3.5 1772366400.87"), "{line}");
    }

    #[test]
    fn checks_are_counted_and_no_histogram_sees_them() {
        let text = exposed([example::record(1), example::check(2), example::check(3)].into_iter());
        let checks = "path=\"/health\",kind=\"check\",status=\"200\",end=\"complete\"} 2";
        assert!(text.contains(checks), "{text}");
        let counts = |line: &&str| line.contains("_count{");
        assert!(text.lines().filter(counts).all(|line| line.ends_with(" 1")), "{text}");
        let path = |line: &str| line.contains("/health") && !line.contains("requests_total");
        assert!(!text.lines().any(path), "{text}");
    }

    #[test]
    fn a_stream_is_observed_with_its_median_and_its_99th_percentile() {
        let text = exposed(std::iter::once(example::record(1)));
        let sum = |percentile: &str| {
            let line = |line: &&str| {
                line.starts_with("wattprobe_request_itl_seconds_sum") && line.contains(percentile)
            };
            value(text.lines().find(line).unwrap(), "")
        };
        assert_eq!((sum("percentile=\"50\""), sum("percentile=\"99\"")), (0.018, 0.031));
    }

    #[test]
    fn a_request_without_energy_is_counted_and_not_observed_as_zero() {
        let text = exposed(std::iter::once(example::record(6)));
        assert!(text.contains("status=\"none\",end=\"aborted\"} 1"), "{text}");
        assert!(!text.contains("wattprobe_request_energy_joules_count"), "{text}");
        assert!(!text.contains("wattprobe_request_ttft_seconds_count"), "{text}");
    }
}

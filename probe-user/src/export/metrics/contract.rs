//! The metric table: every name, type, unit, label and meaning, declared here and nowhere else.
//!
//! Registration, METRICS.md and the dashboards' queries all come from it, so none can drift.

/// Kind of a metric, as OpenMetrics has it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// Cumulative and monotone; the name ends in `_total`.
    Counter,
    /// A present value.
    Gauge,
    /// A distribution over the given upper bounds.
    Histogram(&'static [f64]),
}

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Metric {
    /// Name as exposed.
    pub name: &'static str,
    /// Kind.
    pub kind: Kind,
    /// Unit; the name carries it.
    pub unit: Option<&'static str>,
    /// Label names, in order.
    pub labels: &'static [&'static str],
    /// One sentence without its full stop.
    pub help: &'static str,
}

impl Metric {
    /// The name of the OpenMetrics family: without a counter's `_total`.
    #[must_use]
    pub fn family(&self) -> &'static str {
        match self.kind {
            Kind::Counter => self.name.strip_suffix("_total").unwrap_or(self.name),
            Kind::Gauge | Kind::Histogram(_) => self.name,
        }
    }

    /// The family's name without its unit, as the encoder wants it.
    #[must_use]
    pub fn stem(&self) -> &'static str {
        let family = self.family();
        let bare = self.unit.and_then(|unit| family.strip_suffix(unit)?.strip_suffix('_'));
        bare.unwrap_or(family)
    }

    /// The series names that a query may use.
    #[must_use]
    pub fn series(&self) -> Vec<String> {
        match self.kind {
            Kind::Counter | Kind::Gauge => vec![self.name.to_owned()],
            Kind::Histogram(_) => {
                ["_bucket", "_sum", "_count"].map(|s| format!("{}{s}", self.name)).to_vec()
            }
        }
    }

    /// The word for the kind.
    #[must_use]
    pub fn kind_word(&self) -> &'static str {
        match self.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram(_) => "histogram",
        }
    }
}

const JOULES: &[f64] = &[
    0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0,
    200.0, 500.0, 1000.0, 2000.0, 5000.0, 10000.0,
];
const SECONDS: &[f64] = &[
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0,
];
const GAPS: &[f64] = &[
    0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.04, 0.05, 0.075, 0.1, 0.15, 0.2, 0.5, 1.0, 2.0, 5.0,
    10.0,
];
const RATIOS: &[f64] = &[0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0];

/// Energy of each domain.
pub const ENERGY: Metric = Metric {
    name: "wattprobe_energy_joules_total",
    kind: Kind::Counter,
    unit: Some("joules"),
    labels: &["domain", "source", "quality", "additive"],
    help: "Energy counted by a domain in valid windows; only domains with additive=\"true\" may be summed",
};
/// Energy of each consumer.
pub const CONSUMER_ENERGY: Metric = Metric {
    name: "wattprobe_consumer_energy_joules_total",
    kind: Kind::Counter,
    unit: Some("joules"),
    labels: &["consumer", "domain"],
    help: "Energy by who used it: a target by name, other, kernel, self, idle, residual; per domain their sum is wattprobe_energy_joules_total",
};
/// Requests and background of each target.
pub const TARGET_ENERGY: Metric = Metric {
    name: "wattprobe_target_energy_joules_total",
    kind: Kind::Counter,
    unit: Some("joules"),
    labels: &["target", "part"],
    help: "Active energy of a target over the additive domains, by part: requests, or background (no request in work)",
};
/// What the background of each target was.
pub const TARGET_BACKGROUND: Metric = Metric {
    name: "wattprobe_target_background_joules_total",
    kind: Kind::Counter,
    unit: Some("joules"),
    labels: &["target", "during"],
    help: "Of a target's background: before its first request (model load), waiting (requests resident, none in work: queued, a model loaded on demand), after (the second after a last byte); the rest is polling and keep-alive",
};
/// What the requests of each target were for.
pub const TARGET_REQUESTS: Metric = Metric {
    name: "wattprobe_target_requests_joules_total",
    kind: Kind::Counter,
    unit: Some("joules"),
    labels: &["target", "kind"],
    help: "Of a target's energy for requests, as far as it is settled, by what they were for: inference, check (health, metrics, which models there are), other",
};
/// CPU time of each consumer.
pub const CONSUMER_CPU: Metric = Metric {
    name: "wattprobe_consumer_cpu_seconds_total",
    kind: Kind::Counter,
    unit: Some("seconds"),
    labels: &["consumer"],
    help: "Time on CPU by consumer",
};
/// Energy per request.
pub const REQUEST_ENERGY: Metric = Metric {
    name: "wattprobe_request_energy_joules",
    kind: Kind::Histogram(JOULES),
    unit: Some("joules"),
    labels: &["target", "model", "path"],
    help: "Active energy of a settled request over the additive domains; requests without a figure, and checks, are not observed; the exemplar is the number of the record",
};
/// Duration per request.
pub const REQUEST_DURATION: Metric = Metric {
    name: "wattprobe_request_duration_seconds",
    kind: Kind::Histogram(SECONDS),
    unit: Some("seconds"),
    labels: &["target", "model", "path"],
    help: "First byte of a request to the last byte of its response; checks are not observed",
};
/// Time to first content.
pub const REQUEST_TTFT: Metric = Metric {
    name: "wattprobe_request_ttft_seconds",
    kind: Kind::Histogram(SECONDS),
    unit: Some("seconds"),
    labels: &["target", "model", "path"],
    help: "First byte of a request to its first content; requests without content, and checks, are not observed",
};
/// Gaps between content.
pub const REQUEST_ITL: Metric = Metric {
    name: "wattprobe_request_itl_seconds",
    kind: Kind::Histogram(GAPS),
    unit: Some("seconds"),
    labels: &["target", "model", "path", "percentile"],
    help: "Inter-token latency: of each stream the median (percentile=\"50\") and the 99th percentile (\"99\") of the gaps between its writes with content; streams of one write are not observed",
};
/// Width of the error bars.
pub const UNCERTAINTY: Metric = Metric {
    name: "wattprobe_request_energy_uncertainty_ratio",
    kind: Kind::Histogram(RATIOS),
    unit: Some("ratio"),
    labels: &["target"],
    help: "Half of a request's error bar divided by its energy; checks are not observed",
};
/// Requests.
pub const REQUESTS: Metric = Metric {
    name: "wattprobe_requests_total",
    kind: Kind::Counter,
    unit: None,
    labels: &["target", "model", "path", "kind", "status", "end"],
    help: "Requests by what they were for (inference, check, other) and how they ended (complete, aborted, reset, timeout, interrupted)",
};
/// Tokens.
pub const TOKENS: Metric = Metric {
    name: "wattprobe_tokens_total",
    kind: Kind::Counter,
    unit: None,
    labels: &["target", "model", "kind"],
    help: "Tokens by the server's own count, by kind: prompt, completion",
};
/// Requests in flight.
pub const IN_FLIGHT: Metric = Metric {
    name: "wattprobe_requests_in_flight",
    kind: Kind::Gauge,
    unit: None,
    labels: &["target"],
    help: "Requests that have started and not ended",
};
/// State of each source.
pub const SOURCE_UP: Metric = Metric {
    name: "wattprobe_source_up",
    kind: Kind::Gauge,
    unit: None,
    labels: &["source", "domain"],
    help: "1 while a domain's source closes windows, 0 when there is none or it has stalled for 10 s",
};
/// Windows charged to nobody.
pub const VOID_WINDOWS: Metric = Metric {
    name: "wattprobe_void_windows_total",
    kind: Kind::Counter,
    unit: None,
    labels: &["domain"],
    help: "Windows charged to nobody: their energy is implausible, the counter was stuck, the machine slept or CPUs went",
};
/// Lost kernel records.
pub const EVENTS_LOST: Metric = Metric {
    name: "wattprobe_events_lost_total",
    kind: Kind::Counter,
    unit: None,
    labels: &["kind"],
    help: "Records that the kernel side could not pass on; they cost time resolution, never joules",
};
/// What is not parsed.
pub const NOT_UNDERSTOOD: Metric = Metric {
    name: "wattprobe_not_understood_total",
    kind: Kind::Counter,
    unit: None,
    labels: &["kind"],
    help: "Connections whose bytes are not parsed, by why: tls, http2, websocket, upgrade, tunnel, pipeline, garbage; compressed: requests with a compressed body",
};
/// Time in each kernel program.
pub const BPF_SECONDS: Metric = Metric {
    name: "wattprobe_bpf_run_seconds_total",
    kind: Kind::Counter,
    unit: Some("seconds"),
    labels: &["program"],
    help: "Time spent in a kernel program; absent while the kernel keeps no statistics",
};
/// Runs of each kernel program.
pub const BPF_RUNS: Metric = Metric {
    name: "wattprobe_bpf_runs_total",
    kind: Kind::Counter,
    unit: None,
    labels: &["program"],
    help: "Runs of a kernel program; absent while the kernel keeps no statistics",
};
/// CPU of the probe.
pub const PROCESS_CPU: Metric = Metric {
    name: "process_cpu_seconds_total",
    kind: Kind::Counter,
    unit: Some("seconds"),
    labels: &[],
    help: "CPU time of the probe's own process",
};
/// Memory of the probe.
pub const PROCESS_MEMORY: Metric = Metric {
    name: "process_resident_memory_bytes",
    kind: Kind::Gauge,
    unit: Some("bytes"),
    labels: &[],
    help: "Resident memory of the probe's own process",
};
/// What runs here.
pub const BUILD_INFO: Metric = Metric {
    name: "wattprobe_build_info",
    kind: Kind::Gauge,
    unit: None,
    labels: &["version", "kernel"],
    help: "Always 1; the labels are the probe's version and the kernel's release",
};

/// The whole table, in the order of METRICS.md.
pub const CONTRACT: &[Metric] = &[
    ENERGY,
    CONSUMER_ENERGY,
    TARGET_ENERGY,
    TARGET_BACKGROUND,
    TARGET_REQUESTS,
    CONSUMER_CPU,
    REQUEST_ENERGY,
    REQUEST_DURATION,
    REQUEST_TTFT,
    REQUEST_ITL,
    UNCERTAINTY,
    REQUESTS,
    TOKENS,
    IN_FLIGHT,
    SOURCE_UP,
    VOID_WINDOWS,
    EVENTS_LOST,
    NOT_UNDERSTOOD,
    BPF_SECONDS,
    BPF_RUNS,
    PROCESS_CPU,
    PROCESS_MEMORY,
    BUILD_INFO,
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_follow_openmetrics() {
        let names: BTreeSet<&str> = CONTRACT.iter().map(|m| m.name).collect();
        assert_eq!(names.len(), CONTRACT.len());
        for metric in CONTRACT {
            assert_eq!(metric.name.ends_with("_total"), metric.kind == Kind::Counter, "{metric:?}");
            let carries = |unit: &str| metric.family().ends_with(&format!("_{unit}"));
            assert!(metric.unit.is_none_or(carries), "{metric:?}");
            assert!(!metric.help.ends_with('.') && !metric.help.contains('\n'), "{metric:?}");
        }
    }

    #[test]
    fn the_encoder_puts_the_name_together_again() {
        assert_eq!(ENERGY.family(), "wattprobe_energy_joules");
        assert_eq!(ENERGY.stem(), "wattprobe_energy");
        assert_eq!(IN_FLIGHT.stem(), "wattprobe_requests_in_flight");
        assert_eq!(REQUEST_TTFT.stem(), "wattprobe_request_ttft");
    }

    #[test]
    fn no_label_can_carry_an_identity_or_a_text() {
        for metric in CONTRACT {
            for label in metric.labels {
                assert!(
                    !["pid", "tgid", "command", "cmdline", "prompt", "request", "request_id"]
                        .contains(label)
                );
            }
        }
    }

    #[test]
    fn bucket_bounds_grow() {
        for metric in CONTRACT {
            if let Kind::Histogram(bounds) = metric.kind {
                assert!(bounds.windows(2).all(|pair| pair[0] < pair[1]), "{}", metric.name);
            }
        }
    }
}

//! What the dashboard of one server asks, in the order it is read: how much, for what, how sure.

use crate::export::metrics::contract as metric;
use crate::export::metrics::contract::Metric;

/// How a panel draws.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Draw {
    /// One number.
    Stat,
    /// Lines over time.
    Lines,
    /// Stacked areas over time: the parts of a whole.
    Stack,
    /// Present label values.
    Table,
}

/// One query.
#[derive(Clone, Debug)]
pub struct Query {
    /// PromQL with Grafana's variables.
    pub expr: String,
    /// Legend, with `{{label}}`.
    pub legend: &'static str,
}

/// One panel.
#[derive(Clone, Debug)]
pub struct Panel {
    /// Title.
    pub title: &'static str,
    /// What it shows and what it does not.
    pub description: &'static str,
    /// How it draws.
    pub draw: Draw,
    /// Grafana's name of the unit.
    pub unit: &'static str,
    /// Width of 24.
    pub width: u64,
    /// Queries.
    pub queries: Vec<Query>,
}

const SERVER: &str = "instance=\"$instance\"";
const TARGET: &str = "instance=\"$instance\",target=~\"$target\"";

fn rate(name: &str, labels: &str) -> String {
    format!("rate({name}{{{labels}}}[$__rate_interval])")
}

fn per_second(metric: &Metric, labels: &str) -> String {
    rate(metric.name, labels)
}

fn part(metric: &Metric, suffix: &str) -> String {
    rate(&format!("{}_{suffix}", metric.name), TARGET)
}

fn quantile(metric: &Metric, q: &str) -> String {
    format!("histogram_quantile({q}, sum by (le) ({}))", part(metric, "bucket"))
}

/// Growth by the second, summed but for one label.
fn by(label: &str, metric: &Metric, labels: &str) -> String {
    format!("sum by ({label}) ({})", per_second(metric, labels))
}

/// Over the streams, the median of one percentile of their gaps.
fn gap(percentile: &str) -> String {
    let name = format!("{}_bucket", metric::REQUEST_ITL.name);
    let rate = rate(&name, &format!("{TARGET},percentile=\"{percentile}\""));
    format!("histogram_quantile(0.5, sum by (le) ({rate}))")
}

/// Power of the requests that ended.
fn joules() -> String {
    part(&metric::REQUEST_ENERGY, "sum")
}

/// Their completion tokens by the second.
fn completion_tokens() -> String {
    per_second(&metric::TOKENS, &format!("{TARGET},kind=\"completion\""))
}

/// Both quantiles that matter.
fn quantiles(metric: &Metric) -> Vec<Query> {
    vec![ask(quantile(metric, "0.5"), "p50"), ask(quantile(metric, "0.95"), "p95")]
}

/// Consumers' power over the additive domains: `psys` and `core-*` overlap others.
fn consumer_power(labels: &str) -> String {
    let power = per_second(&metric::CONSUMER_ENERGY, labels);
    let energy = metric::ENERGY.name;
    format!(
        "sum by (consumer) ({power} and on (instance, domain) {energy}{{{SERVER},additive=\"true\"}})"
    )
}

fn ask(expr: String, legend: &'static str) -> Query {
    Query { expr, legend }
}

/// The dashboard's panels.
#[must_use]
pub fn server() -> Vec<Panel> {
    let mut panels = now();
    panels.extend(energy());
    panels.extend(requests());
    panels.extend(evidence());
    panels
}

fn now() -> Vec<Panel> {
    let (joules, tokens) = (joules(), completion_tokens());
    let completed = part(&metric::REQUEST_ENERGY, "count");
    let stat = |title, description, unit, expr: String| Panel {
        title,
        description,
        draw: Draw::Stat,
        unit,
        width: 4,
        queries: vec![ask(expr, "")],
    };
    let power = per_second(&metric::ENERGY, &format!("{SERVER},additive=\"true\""));
    vec![
        stat(
            "Power",
            "Sum of the additive domains: the part of the machine that is measured.",
            "watt",
            format!("sum({power})"),
        ),
        stat(
            "Energy per request",
            "Mean active energy of the requests that ended; idle is not in it where idle power is known.",
            "joule",
            format!("sum({joules}) / sum({completed})"),
        ),
        stat(
            "Energy per completion token",
            "Active energy of all requests by completion tokens of the server's own count.",
            "joule",
            format!("sum({joules}) / sum({tokens})"),
        ),
        stat(
            "Requests",
            "Requests that ended, of any kind and status.",
            "reqps",
            format!("sum({})", per_second(&metric::REQUESTS, TARGET)),
        ),
        stat(
            "In flight",
            "Requests that have started and not ended.",
            "short",
            format!("sum({}{{{TARGET}}})", metric::IN_FLIGHT.name),
        ),
        stat(
            "Lost records",
            "Kernel records lost in the range shown. They cost time resolution, never joules.",
            "short",
            format!("sum(increase({}{{{SERVER}}}[$__range]))", metric::EVENTS_LOST.name),
        ),
    ]
}

/// Lines over time, a third of the board wide.
fn lines(
    title: &'static str,
    description: &'static str,
    unit: &'static str,
    queries: Vec<Query>,
) -> Panel {
    Panel { title, description, draw: Draw::Lines, unit, width: 8, queries }
}

fn energy() -> Vec<Panel> {
    let rest = format!("{SERVER},consumer=~\"other|kernel|self|idle|residual\"");
    let background = per_second(&metric::TARGET_ENERGY, &format!("{TARGET},part=\"background\""));
    let told = per_second(&metric::TARGET_BACKGROUND, TARGET);
    let (joules, tokens) = (joules(), completion_tokens());
    vec![
        Panel {
            title: "Power by consumer",
            description: "Stacked, these are the counters: targets, other processes, the kernel, the probe, idle and what is charged to nobody.",
            draw: Draw::Stack,
            unit: "watt",
            width: 8,
            queries: vec![ask(consumer_power(SERVER), "{{consumer}}")],
        },
        Panel {
            title: "Where the energy goes",
            description: "The targets' power split into requests and background (no request in work), then the rest.",
            draw: Draw::Stack,
            unit: "watt",
            width: 8,
            queries: vec![
                ask(by("part", &metric::TARGET_ENERGY, TARGET), "{{part}}"),
                ask(consumer_power(&rest), "{{consumer}}"),
            ],
        },
        Panel {
            title: "Background of the targets",
            description: "Before the first request (model load), while requests waited and none was in work, in the second after a last byte (spinning), and the rest: polling and keep-alive.",
            draw: Draw::Stack,
            unit: "watt",
            width: 8,
            queries: vec![
                ask(by("during", &metric::TARGET_BACKGROUND, TARGET), "{{during}}"),
                ask(format!("sum({background}) - sum({told})"), "rest"),
            ],
        },
        lines(
            "Energy per request, quantiles",
            "From the histogram: exact to its buckets (1-2-5 steps).",
            "joule",
            quantiles(&metric::REQUEST_ENERGY),
        ),
        lines(
            "Energy per completion token by model",
            "Active energy by completion tokens; models without a token count have no line.",
            "joule",
            vec![ask(
                format!("sum by (model) ({joules}) / sum by (model) ({tokens})"),
                "{{model}}",
            )],
        ),
        lines(
            "Uncertainty of a request's energy",
            "Half of the error bar by the energy.",
            "percentunit",
            quantiles(&metric::UNCERTAINTY),
        ),
    ]
}

fn requests() -> Vec<Panel> {
    vec![
        lines(
            "Time to first content",
            "First byte of the request to the first content, seen from the server's side.",
            "s",
            quantiles(&metric::REQUEST_TTFT),
        ),
        lines(
            "Duration",
            "First byte of the request to the last byte of the response.",
            "s",
            quantiles(&metric::REQUEST_DURATION),
        ),
        lines(
            "Inter-token latency",
            "Median over the streams: of their own median gap between writes with content, and of their own 99th percentile.",
            "s",
            vec![ask(gap("50"), "p50"), ask(gap("99"), "p99")],
        ),
        lines(
            "Requests by kind",
            "Inference; checks: health, metrics, which models there are; anything else. Only the first and the last are in the panels above.",
            "reqps",
            vec![ask(by("kind", &metric::REQUESTS, TARGET), "{{kind}}")],
        ),
        lines(
            "Power of the requests by kind",
            "As far as it is settled.",
            "watt",
            vec![ask(by("kind", &metric::TARGET_REQUESTS, TARGET), "{{kind}}")],
        ),
        lines(
            "Requests in flight",
            "By target.",
            "short",
            vec![ask(
                format!("sum by (target) ({}{{{TARGET}}})", metric::IN_FLIGHT.name),
                "{{target}}",
            )],
        ),
        lines(
            "Requests by end",
            "Complete, aborted, reset, timeout, interrupted.",
            "reqps",
            vec![ask(by("end", &metric::REQUESTS, TARGET), "{{end}}")],
        ),
        lines(
            "Requests by status",
            "`none`: ended before there was an answer.",
            "reqps",
            vec![ask(by("status", &metric::REQUESTS, TARGET), "{{status}}")],
        ),
        lines(
            "Tokens",
            "By the server's own count.",
            "short",
            vec![ask(by("kind", &metric::TOKENS, TARGET), "{{kind}}")],
        ),
    ]
}

fn evidence() -> Vec<Panel> {
    let (seconds, runs) =
        (per_second(&metric::BPF_SECONDS, SERVER), per_second(&metric::BPF_RUNS, SERVER));
    let energy = metric::ENERGY.name;
    let up = metric::SOURCE_UP.name;
    vec![
        lines(
            "Losses, void windows, what is not parsed",
            "Losses cost time resolution; a void window is charged to nobody; requests on a connection that is not parsed are not told apart.",
            "short",
            vec![
                ask(by("kind", &metric::EVENTS_LOST, SERVER), "lost: {{kind}}"),
                ask(by("domain", &metric::VOID_WINDOWS, SERVER), "void: {{domain}}"),
                ask(by("kind", &metric::NOT_UNDERSTOOD, SERVER), "not parsed: {{kind}}"),
            ],
        ),
        lines(
            "The probe's own CPU",
            "Of one core: its process, and its programs in the kernel.",
            "percentunit",
            vec![
                ask(format!("sum({})", per_second(&metric::PROCESS_CPU, SERVER)), "process"),
                ask(format!("sum({seconds})"), "kernel programs"),
            ],
        ),
        lines(
            "Time per run of a kernel program",
            "Present while the kernel keeps BPF statistics.",
            "s",
            vec![ask(
                format!("sum by (program) ({seconds}) / sum by (program) ({runs})"),
                "{{program}}",
            )],
        ),
        Panel {
            title: "Sources",
            description: "What reads each domain and how good it is: measured, integrated, modelled.",
            draw: Draw::Table,
            unit: "joule",
            width: 12,
            queries: vec![ask(
                format!("max by (domain, source, quality, additive) ({energy}{{{SERVER}}})"),
                "",
            )],
        },
        lines(
            "Sources up",
            "0: nothing reads the domain, or its source has stalled.",
            "short",
            vec![ask(
                format!("min by (domain, source) ({up}{{{SERVER}}})"),
                "{{domain}} ({{source}})",
            )],
        )
        .wide(6),
        lines(
            "The probe's memory",
            "Resident memory of its process.",
            "bytes",
            vec![ask(format!("sum({}{{{SERVER}}})", metric::PROCESS_MEMORY.name), "resident")],
        )
        .wide(6),
        Panel {
            title: "Probe",
            description: "Version of the probe and release of the kernel.",
            draw: Draw::Table,
            unit: "short",
            width: 12,
            queries: vec![ask(
                format!("max by (version, kernel) ({}{{{SERVER}}})", metric::BUILD_INFO.name),
                "",
            )],
        },
        lines(
            "CPU by consumer",
            "Cores in use; targets with their whole process tree.",
            "short",
            vec![ask(by("consumer", &metric::CONSUMER_CPU, SERVER), "{{consumer}}")],
        )
        .wide(12),
    ]
}

impl Panel {
    fn wide(mut self, width: u64) -> Self {
        self.width = width;
        self
    }
}

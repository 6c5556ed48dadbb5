//! Lets a real Prometheus scrape a metrics address and asks it every query of the dashboard.
//!
//! Knows nothing but an address, so that it serves a synthetic probe and a running one alike. Other
//! integration tests may include it with `#[path]`.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use wattprobe::export::dashboard;

/// What the check found.
#[derive(Debug)]
pub(crate) struct Report {
    /// Panel, query and the values it returned, all at the same instant; no value is NaN.
    pub(crate) answers: Vec<(String, String, Vec<f64>)>,
    /// What `promtool check metrics` printed; empty when it has nothing to say.
    pub(crate) lint: String,
    /// Exemplars that Prometheus stored.
    pub(crate) exemplars: usize,
}

impl Report {
    /// Queries without an answer.
    fn empty(&self) -> Vec<String> {
        let empty = self.answers.iter().filter(|(_, _, values)| values.is_empty());
        empty.map(|(panel, expr, _)| format!("{panel}: {expr}")).collect()
    }

    /// Asserts that every query was answered, that promtool found nothing, and that the books close in
    /// Prometheus too: consumers, idle and residual add up to the power counted.
    #[track_caller]
    pub(crate) fn assert_holds(&self) {
        for (panel, expr, values) in &self.answers {
            println!("{panel}: {expr}\n    {values:?}");
        }
        println!("{} exemplars; promtool: {:?}", self.exemplars, self.lint);
        assert!(self.answers.len() >= 25, "{} queries", self.answers.len());
        assert_eq!(self.empty(), Vec::<String>::new(), "queries without an answer");
        assert_eq!(self.lint, "", "promtool check metrics");
        let of = |panel: &str| -> f64 {
            let answer = self.answers.iter().find(|(title, _, _)| title == panel);
            answer.map(|(_, _, values)| values.iter().sum()).expect("such a panel")
        };
        let (power, consumers) = (of("Power"), of("Power by consumer"));
        let apart = (power - consumers).abs();
        assert!(apart < 1e-3 * power, "{power} W counted, {consumers} W charged");
    }
}

/// Scrapes `metrics` once a second for `seconds` with that Prometheus, then asks every query of the dashboard; `promtool` lies
/// beside it.
///
/// `directory` holds Prometheus's files meanwhile. An error says what did not work.
pub(crate) fn check(
    prometheus: &Path,
    metrics: SocketAddr,
    seconds: u64,
    directory: &Path,
) -> Result<Report, String> {
    let lint = lint(&prometheus.with_file_name("promtool"), metrics)?;
    let server = Prometheus::start(prometheus, metrics, directory)?;
    server.wait_for_scrape()?;
    std::thread::sleep(Duration::from_secs(seconds));
    for sanity in ["up == 1", "scrape_samples_scraped > 40"] {
        if server.ask(sanity, None)?.is_empty() {
            return Err(format!("`{sanity}` does not hold: {}", server.log(directory)));
        }
    }
    let now = server.ask("vector(time())", None)?.first().copied();
    // The window must lie within what was scraped, or the rates come out too low.
    let interval = format!("{}s", seconds.saturating_sub(1).max(2));
    let mut answers = Vec::new();
    for question in dashboard::questions(&metrics.to_string(), &interval) {
        let values = server.ask(&question.expr, now)?;
        answers.push((question.panel, question.expr, values));
    }
    let exemplars = server.exemplars()?;
    Ok(Report { answers, lint, exemplars })
}

/// The exposition in the older format through `promtool check metrics`.
fn lint(promtool: &Path, metrics: SocketAddr) -> Result<String, String> {
    let (_, body) = get(metrics, "/metrics", "text/plain; version=0.0.4")?;
    let mut child = Command::new(promtool)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| format!("{}: {e}", promtool.display()))?;
    child.stdin.take().ok_or("no stdin")?.write_all(body.as_bytes()).map_err(|e| e.to_string())?;
    let output = child.wait_with_output().map_err(|e| e.to_string())?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).trim().to_owned();
    if output.status.success() { Ok(said) } else { Err(format!("promtool check metrics: {said}")) }
}

/// A Prometheus of our own; ended when dropped.
struct Prometheus {
    child: Child,
    address: SocketAddr,
}

impl Prometheus {
    fn start(program: &Path, metrics: SocketAddr, directory: &Path) -> Result<Self, String> {
        let config = directory.join("prometheus.yml");
        let text = format!(
            "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\n\
             scrape_configs:\n- job_name: wattprobe\n  static_configs: [{{targets: ['{metrics}']}}]\n"
        );
        std::fs::write(&config, text).map_err(|e| e.to_string())?;
        let free = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr());
        let address = free.map_err(|e| e.to_string())?;
        let log = std::fs::File::create(directory.join("log")).map_err(|e| e.to_string())?;
        let child = Command::new(program)
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", directory.join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--enable-feature=exemplar-storage")
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(|e| format!("{}: {e}", program.display()))?;
        let server = Self { child, address };
        for _ in 0..150 {
            if get(address, "/-/ready", "*/*").is_ok_and(|(status, _)| status == 200) {
                return Ok(server);
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        Err(format!("Prometheus did not start: {}", server.log(directory)))
    }

    /// Prometheus takes up new targets only every few seconds.
    fn wait_for_scrape(&self) -> Result<(), String> {
        for _ in 0..150 {
            if !self.ask("up", None)?.is_empty() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Err("Prometheus never scraped".into())
    }

    fn log(&self, directory: &Path) -> String {
        std::fs::read_to_string(directory.join("log")).unwrap_or_default()
    }

    fn data(&self, path: &str, query: &str, more: &str) -> Result<Value, String> {
        let (_, body) =
            get(self.address, &format!("{path}?query={}{more}", encoded(query)), "*/*")?;
        let answer: Value = serde_json::from_str(&body).map_err(|e| format!("{e}: {body}"))?;
        if answer["status"] != "success" {
            return Err(format!("{query}: {body}"));
        }
        Ok(answer)
    }

    /// The numbers an instant query returns; what is not a number is no answer.
    fn ask(&self, query: &str, at: Option<f64>) -> Result<Vec<f64>, String> {
        let at = at.map_or_else(String::new, |at| format!("&time={at:.3}"));
        let answer = self.data("/api/v1/query", query, &at)?;
        let series = answer["data"]["result"].as_array().cloned().unwrap_or_default();
        let values = series.iter().filter_map(|s| s["value"][1].as_str()?.parse::<f64>().ok());
        Ok(values.filter(|value| !value.is_nan()).collect())
    }

    fn exemplars(&self) -> Result<usize, String> {
        let query = "wattprobe_request_energy_joules_bucket";
        let answer = self.data("/api/v1/query_exemplars", query, "")?;
        let series = answer["data"].as_array().cloned().unwrap_or_default();
        Ok(series.iter().filter_map(|s| s["exemplars"].as_array()).map(Vec::len).sum())
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn encoded(query: &str) -> String {
    query
        .bytes()
        .map(|b| {
            if b.is_ascii_alphanumeric() { char::from(b).to_string() } else { format!("%{b:02X}") }
        })
        .collect()
}

/// A plain HTTP/1.0-style GET: status and body.
pub(crate) fn get(address: SocketAddr, path: &str, accept: &str) -> Result<(u16, String), String> {
    let (head, body) = get_whole(address, path, accept)?;
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or("no status")?;
    Ok((status, body))
}

/// Head and body.
pub(crate) fn get_whole(
    address: SocketAddr,
    path: &str,
    accept: &str,
) -> Result<(String, String), String> {
    let fetch = || {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        // HTTP/1.0: the answer is not chunked and ends with the connection.
        write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\nAccept: {accept}\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok::<String, std::io::Error>(text)
    };
    let text = fetch().map_err(|e| format!("GET http://{address}{path}: {e}"))?;
    let (head, body) = text.split_once("\r\n\r\n").ok_or("no end of head")?;
    Ok((head.to_owned(), body.to_owned()))
}

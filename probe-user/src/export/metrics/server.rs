//! HTTP: `/metrics`, `/healthz`, `/v1/requests`, on a thread of its own.
//!
//! A scrape takes a pointer to the latest snapshot and holds no lock while it writes it out; only the
//! request histograms are locked, one at a time. Stopping waits a second for answers under way and then drops what is left.

use std::collections::VecDeque;
use std::fmt::Display;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

use super::classic;
use crate::export::ExportError;
use crate::privilege;
use crate::record::RequestRecord;

/// Content type of the OpenMetrics text format.
pub const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// Content type of the older text format.
pub const CLASSIC: &str = "text/plain; version=0.0.4; charset=utf-8";
/// Records kept for `/v1/requests`.
pub const KEEP: usize = 1000;

const PATIENCE: Duration = Duration::from_secs(1);

/// What `/healthz` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Health {
    /// No snapshot yet.
    Starting,
    /// Snapshots arrive.
    Running,
    /// The run is over.
    Ended,
}

/// What the handlers see.
#[derive(Debug)]
pub struct Shared {
    registry: Registry,
    records: Mutex<VecDeque<Arc<RequestRecord>>>,
    health: AtomicU8,
}

impl Shared {
    /// Nothing yet.
    #[must_use]
    pub fn new(registry: Registry) -> Self {
        let health = AtomicU8::new(Health::Starting as u8);
        Self { registry, records: Mutex::default(), health }
    }

    /// Keeps a record for `/v1/requests`.
    pub fn push(&self, record: Arc<RequestRecord>) {
        let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        if records.len() == KEEP {
            records.pop_front();
        }
        records.push_back(record);
    }

    /// Changes what `/healthz` says.
    pub fn set_health(&self, health: Health) {
        self.health.store(health as u8, Ordering::Relaxed);
    }
}

/// The running endpoint; dropping it stops it.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Listens and serves.
    ///
    /// # Errors
    /// When the address cannot be listened on, or there is no thread to be had.
    pub fn start(
        address: impl ToSocketAddrs + Display,
        shared: Arc<Shared>,
    ) -> Result<Self, ExportError> {
        let listener = listen(address)?;
        let part = |part| move |source| ExportError::Serve { part, source };
        let bound = listener.local_addr().map_err(part("socket"))?;
        listener.set_nonblocking(true).map_err(part("socket"))?;
        let runtime =
            Builder::new_current_thread().enable_all().build().map_err(part("runtime"))?;
        let (stop, stopped) = oneshot::channel();
        let run = move || {
            // It answers strangers and needs nothing but its socket.
            let _ = privilege::renounce();
            serve(&runtime, listener, router(shared), stopped);
        };
        let thread = std::thread::Builder::new()
            .name("metrics".into())
            .spawn(run)
            .map_err(part("thread"))?;
        Ok(Self { address: bound, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops listening and ends the thread; the second time it does nothing.
    pub fn stop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

fn listen(address: impl ToSocketAddrs + Display) -> Result<TcpListener, ExportError> {
    TcpListener::bind(&address)
        .map_err(|source| ExportError::Bind { address: address.to_string(), source })
}

fn serve(runtime: &Runtime, listener: TcpListener, app: Router, stopped: oneshot::Receiver<()>) {
    runtime.block_on(async {
        let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
        let (ask, asked) = oneshot::channel::<()>();
        let server = axum::serve(listener, app).with_graceful_shutdown(async {
            let _ = asked.await;
        });
        let server = tokio::spawn(server.into_future());
        // An error is the sender's end: the owner is gone, which also means stop.
        let _ = stopped.await;
        let _ = ask.send(());
        let _ = tokio::time::timeout(PATIENCE, server).await;
    });
}

fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/", get(index))
        .route("/metrics", get(metrics))
        .route("/healthz", get(healthz))
        .route("/v1/requests", get(requests))
        .with_state(shared)
}

async fn index() -> &'static str {
    "wattprobe: /metrics (OpenMetrics), /healthz, /v1/requests?limit=N\n"
}

/// Only a client that accepts the older format and not the newer one gets the older one.
fn wants_classic(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let accepted: String = values.collect::<Vec<_>>().join(",");
    accepted.contains("text/plain") && !accepted.contains("application/openmetrics-text")
}

async fn metrics(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    let mut text = String::new();
    if encode(&mut text, &shared.registry).is_err() {
        return (StatusCode::INTERNAL_SERVER_ERROR, "metrics could not be encoded\n")
            .into_response();
    }
    if wants_classic(&headers) {
        return ([(header::CONTENT_TYPE, CLASSIC)], classic::from_openmetrics(&text))
            .into_response();
    }
    ([(header::CONTENT_TYPE, OPENMETRICS)], text).into_response()
}

async fn healthz(State(shared): State<Arc<Shared>>) -> (StatusCode, &'static str) {
    let health = shared.health.load(Ordering::Relaxed);
    if health == Health::Running as u8 {
        (StatusCode::OK, "ok\n")
    } else if health == Health::Starting as u8 {
        (StatusCode::SERVICE_UNAVAILABLE, "starting: no snapshot yet\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "ended\n")
    }
}

/// The `limit` of a query string: how many of the latest records.
fn limit(query: Option<&str>) -> Result<usize, String> {
    let mut pairs = query.unwrap_or_default().split('&').rev();
    match pairs.find_map(|pair| pair.strip_prefix("limit=")) {
        None => Ok(KEEP),
        Some(value) => value.parse().map_err(|_| {
            "limit must be a whole number, for example /v1/requests?limit=10\n".into()
        }),
    }
}

async fn requests(State(shared): State<Arc<Shared>>, RawQuery(query): RawQuery) -> Response {
    let limit = match limit(query.as_deref()) {
        Ok(limit) => limit,
        Err(text) => return (StatusCode::BAD_REQUEST, text).into_response(),
    };
    let records: Vec<Arc<RequestRecord>> = {
        let records = shared.records.lock().unwrap_or_else(PoisonError::into_inner);
        records.iter().skip(records.len().saturating_sub(limit)).cloned().collect()
    };
    let records: Vec<&RequestRecord> = records.iter().map(Arc::as_ref).collect();
    match serde_json::to_vec(&records) {
        Ok(json) => ([(header::CONTENT_TYPE, "application/json")], json).into_response(),
        Err(_) => {
            (StatusCode::INTERNAL_SERVER_ERROR, "records could not be encoded\n").into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn accepting(value: &'static str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_static(value));
        headers
    }

    #[test]
    fn openmetrics_is_the_default_and_the_older_format_is_for_those_who_ask() {
        let prometheus = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        assert!(!wants_classic(&accepting(prometheus)));
        assert!(!wants_classic(&accepting("*/*")));
        assert!(!wants_classic(&HeaderMap::new()));
        assert!(wants_classic(&accepting("text/plain; version=0.0.4")));
    }

    #[test]
    fn a_limit_is_a_whole_number() {
        assert_eq!(limit(None), Ok(KEEP));
        assert_eq!(limit(Some("a=b&limit=7")), Ok(7));
        assert!(limit(Some("limit=-1")).is_err());
        assert!(limit(Some("limit=many")).unwrap_err().contains("whole number"));
    }

    #[test]
    fn a_taken_address_is_one_clear_line() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let error = listen(address).unwrap_err().to_string();
        assert!(error.starts_with(&format!("cannot serve metrics on {address}: ")), "{error}");
        assert!(error.contains("in use") && error.contains("--metrics HOST:PORT"), "{error}");
        assert!(!error.contains('\n'));
    }
}

//! `--metrics ADDR`: the OpenMetrics endpoint.
//!
//! [`contract`] is the one table of names; [`requests`] grows with records, [`collector`] reads the
//! latest snapshot, [`server`] answers over HTTP from its own thread. No statics: the registry is
//! made here and handed down.

pub mod classic;
pub mod collector;
pub mod contract;
pub mod labels;
pub mod markdown;
pub mod progress;
pub mod requests;
pub mod server;

use std::fmt::Display;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::registry::Registry;

use self::collector::Latest;
use self::requests::RequestMetrics;
use self::server::{Health, Server, Shared};
use super::{ExportError, Sink};
use crate::record::RequestRecord;
use crate::snapshot::Snapshot;

/// Half the shortest interval that anybody scrapes at.
const PERIOD: Duration = Duration::from_millis(500);

/// Where the endpoint listens unless told otherwise.
pub const DEFAULT_ADDRESS: &str = "127.0.0.1:9847";

/// The metrics of a run and the endpoint that serves them.
pub struct Metrics {
    latest: Latest,
    requests: RequestMetrics,
    /// Settled since the last snapshot. They are counted after the books that hold them are shown, so
    /// that no scrape finds more energy in requests than was measured.
    waiting: Vec<Arc<RequestRecord>>,
    shared: Arc<Shared>,
    server: Server,
}

impl Metrics {
    /// Listens there and serves from now on.
    ///
    /// # Errors
    /// When the address cannot be listened on.
    pub fn serve(address: impl ToSocketAddrs + Display) -> Result<Self, ExportError> {
        let mut registry = Registry::default();
        let latest = Latest::default();
        registry.register_collector(Box::new(latest.clone()));
        let requests = RequestMetrics::register(&mut registry);
        let shared = Arc::new(Shared::new(registry));
        let server = Server::start(address, Arc::clone(&shared))?;
        Ok(Self { latest, requests, waiting: Vec::new(), shared, server })
    }

    /// Shows the books, then the requests that they hold.
    fn show(&mut self, snapshot: &Arc<Snapshot>) {
        self.latest.set(snapshot);
        for record in self.waiting.drain(..) {
            self.requests.observe(&record);
        }
    }

    /// Where it listens: the port that the system chose when 0 was asked for.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }
}

impl Sink for Metrics {
    fn period(&self) -> Option<Duration> {
        Some(PERIOD)
    }

    fn request(&mut self, record: &Arc<RequestRecord>) -> Result<(), ExportError> {
        self.waiting.push(Arc::clone(record));
        self.shared.push(Arc::clone(record));
        Ok(())
    }

    fn snapshot(&mut self, snapshot: &Arc<Snapshot>) -> Result<(), ExportError> {
        self.show(snapshot);
        self.shared.set_health(Health::Running);
        Ok(())
    }

    fn finish(&mut self, summary: &Snapshot) -> Result<(), ExportError> {
        self.show(&Arc::new(summary.clone()));
        self.shared.set_health(Health::Ended);
        self.server.stop();
        Ok(())
    }
}

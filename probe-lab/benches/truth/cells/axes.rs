//! What varies from cell to cell.

use probe_lab::rng::Rng;
use probe_lab::sim::methods::{POLL_NS, PROC_NS};
use probe_lab::sim::{Arrivals, Host, Load, Neighbour, Server, Tokens, Use};

/// Lengths of requests.
const LENGTHS_MS: [u64; 4] = [50, 200, 1_000, 10_000];
/// Clients that each wait for their answer.
const OVERLAPS: [usize; 4] = [1, 4, 16, 64];
/// Prompt tokens for each written one.
const PROMPT_RATIO: u64 = 4;
/// A run lasts as long as some windows of the slowest method,
const LEAST_RUN_MS: u64 = 16_000;
/// and every client asks so often at least: a service has a history.
const LEAST_TURNS: usize = 12;

/// What runs beside the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Beside {
    /// Nothing but the kernel and the probe.
    Nothing,
    /// Threads on half the cores, on and off, that do to the machine what the server does, whose own threads are as many
    /// as the other half.
    Apart,
    /// Likewise, but the server has a thread for each core: they share cores.
    Alike,
    /// Likewise, with threads whose power a nanosecond is another: 0.6 to 1.4 times, as their run draws it.
    Unlike,
}

/// A cell of the table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Axis {
    pub(crate) length_ms: u64,
    pub(crate) overlap: usize,
    pub(crate) beside: Beside,
}

impl Beside {
    pub(crate) const ALL: [Self; 4] = [Self::Nothing, Self::Apart, Self::Alike, Self::Unlike];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Nothing => "no neighbours",
            Self::Apart => "neighbours on half the cores, the server on the other half",
            Self::Alike => "neighbours on half the cores, the server on all",
            Self::Unlike => {
                "neighbours on half the cores, the server on all, other power a nanosecond"
            }
        }
    }

    /// Whether a bound is claimed beside it. One counter covers all of a package's cores: whose nanosecond drew more, no
    /// clock can see. On cores of its own a server that is alone errs little by that; else the table says how much.
    pub(crate) fn claimed(self, bound: Bound) -> bool {
        match (self, bound) {
            (Self::Nothing, _) | (_, Bound::Better) | (Self::Apart, Bound::Alone) => true,
            (Self::Apart, Bound::Overlapping) | (Self::Alike | Self::Unlike, _) => false,
        }
    }
}

/// What is promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bound {
    /// Of requests that are alone.
    Alone,
    /// Of those that overlap.
    Overlapping,
    /// Against today's methods.
    Better,
}

/// The machine of the table.
pub(crate) fn host() -> Host {
    Host { pollers: vec![POLL_NS, PROC_NS], ..Host::default() }
}

impl Axis {
    pub(crate) fn all() -> Vec<Self> {
        let mut all = Vec::new();
        for beside in Beside::ALL {
            for length_ms in LENGTHS_MS {
                all.extend(OVERLAPS.map(|overlap| Self { length_ms, overlap, beside }));
            }
        }
        all
    }

    /// A load whose requests take about that long when so many overlap: n clients with w tokens each, r prompt tokens
    /// for each, keep a server busy for w × (step + n × (token + r × prompt)).
    pub(crate) fn load(&self, requests: usize, seed: u64) -> Load {
        let mut server = Server::default();
        if self.beside == Beside::Apart {
            server.threads = host().cores / 2;
        }
        let costs = server.costs;
        let per_client = costs.token + PROMPT_RATIO * costs.prompt;
        let step = costs.step + self.overlap as u64 * per_client;
        let step_ns = step / server.threads as u64 + costs.sample_ns;
        let ns = self.length_ms * 1_000_000;
        let written = (ns / step_ns).max(1);
        let think_ns = ns / 10 + 10_000_000;
        let fill = self.overlap as u64 * LEAST_RUN_MS * 1_000_000 / (ns + think_ns);
        let server = Server {
            arrivals: Arrivals::Closed { clients: self.overlap, think_ns },
            prompt: Tokens { mean: written * PROMPT_RATIO, spread: 0.5 },
            completion: Tokens { mean: written, spread: 0.5 },
            requests: requests.max(fill as usize).max(LEAST_TURNS * self.overlap),
            ..server
        };
        let neighbours = self.neighbours(&server, seed);
        Load { servers: vec![server], neighbours, ..Load::default() }
    }

    fn neighbours(&self, server: &Server, seed: u64) -> Vec<Neighbour> {
        let does = match self.beside {
            Beside::Nothing => return Vec::new(),
            Beside::Apart | Beside::Alike => server.decode,
            Beside::Unlike => {
                let mut rng = Rng::new(seed ^ 0x6e65_6967_6862);
                let factor = |rng: &mut Rng| 600 + rng.below(801) as u64;
                Use {
                    activity: server.decode.activity * factor(&mut rng) / 1_000,
                    memory_mw: server.decode.memory_mw * factor(&mut rng) / 1_000,
                }
            }
        };
        let threads = host().cores / 2;
        vec![Neighbour { does, on_ns: 400_000_000, off_ns: 100_000_000 }; threads]
    }
}

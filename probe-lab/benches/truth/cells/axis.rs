//! The load of a cell: a scene, how long its requests are, how many of them overlap.

use probe_lab::rng::Rng;
use probe_lab::sim::methods::{POLL_NS, PROC_NS};
use probe_lab::sim::{Arrivals, Costs, Gpu, Host, Load, Neighbour, Server, Tokens, Use};

use crate::scene::{Extent, Scene};

/// Prompt tokens for each written one.
const PROMPT_RATIO: u64 = 4;
/// A run lasts as long as some windows of the slowest method,
const LEAST_RUN_MS: u64 = 16_000;
/// and every client asks so often at least: a service has a history.
const LEAST_TURNS: usize = 12;
/// What two servers make a GPU draw above idle, mW.
const GPU_MW: [u64; 2] = [200_000, 120_000];

/// A cell of the table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Axis {
    pub(crate) scene: Scene,
    pub(crate) length_ms: u64,
    pub(crate) overlap: usize,
}

/// The machine of the table.
pub(crate) fn host(scene: Scene) -> Host {
    let gpu = scene.gpu().then(Gpu::default);
    Host { gpu, pollers: vec![POLL_NS, PROC_NS], ..Host::default() }
}

impl Axis {
    pub(crate) fn all(extent: Extent) -> Vec<Self> {
        let mut all = Vec::new();
        for scene in extent.scenes().iter().copied() {
            for length_ms in extent.lengths_ms(scene).iter().copied() {
                let overlaps = extent.overlaps(scene).iter();
                all.extend(overlaps.map(|overlap| Self { scene, length_ms, overlap: *overlap }));
            }
        }
        all
    }

    /// A load whose requests take about that long when so many overlap: n clients with w tokens each, r prompt tokens
    /// for each, keep a server busy for w × (step + n × (token + r × prompt)).
    pub(crate) fn load(&self, requests: usize, seed: u64) -> Load {
        let server = self.server();
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
        let servers = if self.scene == Scene::Devices {
            let other = Server { gpu_mw: GPU_MW[1], ..server.clone() };
            vec![server, other]
        } else {
            vec![server]
        };
        Load { servers, neighbours, ..Load::default() }
    }

    fn server(&self) -> Server {
        let server = Server::default();
        let costs = server.costs;
        match self.scene {
            Scene::Nothing | Scene::Alike | Scene::Unlike => server,
            Scene::Apart => Server { threads: host(self.scene).cores / 2, ..server },
            // After a thousand tokens another one costs twice as much.
            Scene::Misfit => {
                Server { costs: Costs { attend: 800, hidden: true, ..costs }, ..server }
            }
            // The device takes as long for a step as the eight threads did, and one of them waits for it.
            Scene::Device | Scene::Devices => {
                let part = |cost: u64| cost / server.threads as u64;
                let costs = Costs {
                    step: part(costs.step),
                    token: part(costs.token),
                    context: part(costs.context),
                    prompt: part(costs.prompt),
                    ..costs
                };
                let (decode, prefill) = (server.spin, server.spin);
                Server { threads: 1, costs, decode, prefill, gpu_mw: GPU_MW[0], ..server }
            }
        }
    }

    fn neighbours(&self, server: &Server, seed: u64) -> Vec<Neighbour> {
        let does = match self.scene {
            Scene::Nothing | Scene::Misfit | Scene::Device | Scene::Devices => return Vec::new(),
            Scene::Apart | Scene::Alike => server.decode,
            Scene::Unlike => {
                let mut rng = Rng::new(seed ^ 0x6e65_6967_6862);
                let factor = |rng: &mut Rng| 600 + rng.below(801) as u64;
                Use {
                    activity: server.decode.activity * factor(&mut rng) / 1_000,
                    memory_mw: server.decode.memory_mw * factor(&mut rng) / 1_000,
                }
            }
        };
        let threads = host(self.scene).cores / 2;
        vec![Neighbour { does, on_ns: 400_000_000, off_ns: 100_000_000 }; threads]
    }
}

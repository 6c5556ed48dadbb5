//! A random machine under a random load, short.

use probe_lab::rng::Rng;
use probe_lab::sim::{Arrivals, Gpu, Host, Load, Neighbour, Rapl, Server, Ticks, Tokens, Use};

/// What the seed says.
pub(crate) fn draw(seed: u64) -> (Host, Load) {
    let mut rng = Rng::new(seed ^ 0x7275_7468);
    let mut pick = |low: usize, high: usize| low + rng.below(high - low + 1);
    let defaults = Host::default();
    let host = Host {
        packages: pick(1, 2),
        cores: pick(2, 6),
        smt: pick(0, 1) == 1,
        uncore_mw: pick(5_000, 40_000) as u64,
        memory_mw: pick(1_000, 8_000) as u64,
        gpu: (pick(0, 3) == 0).then(Gpu::default),
        rapl: Rapl {
            jitter_ns: pick(0, 300_000) as u64,
            near_wrap: pick(0, 3) == 0,
            ..defaults.rapl
        },
        ticks: Ticks {
            jitter_ns: pick(0, 100_000) as u64,
            lost: [0.0, 0.0, 0.02, 0.3][pick(0, 3)],
            ..defaults.ticks
        },
        ..defaults
    };
    let mut uses = |activity: (usize, usize), memory: usize| Use {
        activity: pick(activity.0, activity.1) as u64,
        memory_mw: pick(0, memory) as u64,
    };
    let (decode, prefill, spin) =
        (uses((600, 1_000), 2_500), uses((900, 1_400), 800), uses((300, 800), 10));
    let does = uses((300, 1_600), 2_500);
    let servers = (0..pick(1, 2)).map(|_| {
        let clients = [1, 2, 4, 9][pick(0, 3)];
        let arrivals = if pick(0, 1) == 0 {
            Arrivals::Closed { clients, think_ns: pick(100_000, 40_000_000) as u64 }
        } else {
            Arrivals::Poisson { every_ns: pick(5_000_000, 60_000_000) as u64 }
        };
        Server {
            threads: pick(1, 8),
            slots: pick(1, 8),
            chunk: pick(8, 512) as u64,
            decode,
            prefill,
            spin,
            spin_ns: pick(1, 20_000_000) as u64,
            gpu_mw: [0, 200_000][pick(0, 1)],
            arrivals,
            requests: pick(1, 12),
            prompt: Tokens { mean: pick(1, 120) as u64, spread: 0.9 },
            completion: Tokens { mean: pick(1, 20) as u64, spread: 0.9 },
            ..Server::default()
        }
    });
    let servers: Vec<Server> = servers.collect();
    let neighbour = Neighbour {
        does,
        on_ns: pick(1_000_000, 200_000_000) as u64,
        off_ns: pick(1, 100_000_000) as u64,
    };
    let neighbours = vec![neighbour; pick(0, 6)];
    (host, Load { servers, neighbours, ..Load::default() })
}

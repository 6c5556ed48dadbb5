//! A random machine under a random load, short.

use probe_lab::rng::Rng;
use probe_lab::sim::{
    Arrivals, CorePower, Costs, Gpu, Host, Load, Neighbour, Rapl, Scheduler, Server, Ticks, Tokens,
    Use,
};
use probe_ledger::Idle;

/// What is simulated, and what the ledgers know.
#[derive(Clone, Debug)]
pub(super) struct Drawn {
    pub(super) host: Host,
    pub(super) load: Load,
    /// What becomes of idle energy.
    pub(super) idle: Idle,
    pub(super) known: Known,
}

/// How ledgers come to know idle power.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    Calibrated,
    /// From a quiet time before the first request.
    Learned,
    /// Not at all: there is no quiet time.
    Unknown,
}

/// Quiet seconds from which a ledger learns idle power: five observations of a second each, of a sensor that moves
/// every tenth of a second of two.
const QUIET_NS: [u64; 2] = [8_000_000_000, 15_000_000_000];

/// A source of choices.
struct Pick(Rng);

impl Pick {
    fn from(&mut self, low: u64, high: u64) -> u64 {
        low + self.0.next_u64() % (high - low + 1)
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.0.below(of.len())]
    }

    fn part(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * f64::from(self.0.unit())
    }

    /// So many times out of a hundred.
    fn percent(&mut self, percent: u64) -> bool {
        self.from(1, 100) <= percent
    }
}

/// What the seed says.
pub(super) fn draw(seed: u64) -> Drawn {
    let mut pick = Pick(Rng::new(seed ^ 0x7275_7468));
    let host = host(&mut pick);
    let mut load = load(&mut pick);
    let idle = pick.one(&Idle::ALL);
    let known = match pick.from(1, 10) {
        1 => Known::Learned,
        2 => Known::Unknown,
        _ => Known::Calibrated,
    };
    if known == Known::Learned {
        load.quiet_ns = QUIET_NS[usize::from(host.gpu.is_some())];
    }
    Drawn { host, load, idle, known }
}

fn host(pick: &mut Pick) -> Host {
    let defaults = Host::default();
    Host {
        packages: pick.from(1, 2) as usize,
        cores: pick.from(2, 6) as usize,
        smt: pick.percent(50),
        core: core(pick),
        uncore_mw: pick.from(5_000, 40_000),
        memory_mw: pick.from(1_000, 8_000),
        scheduler: Scheduler {
            slice_ns: pick.from(500_000, 6_000_000),
            cut_short: pick.part(0.0, 0.3),
            balance_ns: pick.from(1_000_000, 10_000_000),
            restless: pick.part(0.0, 0.1),
            ..defaults.scheduler
        },
        gpu: pick.percent(25).then(|| Gpu {
            idle_mw: pick.from(10_000, 90_000),
            update_ns: (20_000_000, pick.from(20_000_000, 100_000_000)),
            sample_ns: pick.from(166_666_667, 1_000_000_000),
            ..Gpu::default()
        }),
        rapl: Rapl {
            jitter_ns: pick.from(0, 300_000),
            near_wrap: pick.percent(25),
            ..defaults.rapl
        },
        ticks: Ticks {
            jitter_ns: pick.from(0, 100_000),
            lost: pick.one(&[0.0, 0.0, 0.02, 0.3]),
            ..defaults.ticks
        },
        ..defaults
    }
}

fn core(pick: &mut Pick) -> CorePower {
    let defaults = CorePower::default();
    let c6_mw = pick.from(30, 400);
    CorePower {
        high_mhz: pick.from(10, 20) * 200,
        dynamic: defaults.dynamic * pick.part(0.5, 1.5),
        leakage: defaults.leakage * pick.part(0.5, 3.0),
        smt_power: pick.from(1_050, 1_500),
        smt_speed: pick.from(500, 750),
        c1_mw: c6_mw + pick.from(0, 2_000),
        c6_mw,
        c6_after_ns: pick.from(100_000, 2_000_000),
        ..defaults
    }
}

fn load(pick: &mut Pick) -> Load {
    let mut uses = |activity: (u64, u64), memory: u64| Use {
        activity: pick.from(activity.0, activity.1),
        memory_mw: pick.from(0, memory),
    };
    let (decode, prefill, spin) =
        (uses((600, 1_000), 2_500), uses((900, 1_400), 800), uses((300, 800), 10));
    let does = uses((300, 1_600), 2_500);
    let servers = pick.from(1, 2);
    let servers = (0..servers).map(|_| server(pick, decode, prefill, spin)).collect();
    let neighbour = Neighbour {
        does,
        on_ns: pick.from(1_000_000, 200_000_000),
        off_ns: pick.from(1, 100_000_000),
    };
    let neighbours = vec![neighbour; pick.from(0, 6) as usize];
    Load { servers, neighbours, ..Load::default() }
}

fn server(pick: &mut Pick, decode: Use, prefill: Use, spin: Use) -> Server {
    let arrivals = if pick.percent(50) {
        let clients = pick.one(&[1, 2, 4, 9]);
        Arrivals::Closed { clients, think_ns: pick.from(100_000, 40_000_000) }
    } else {
        Arrivals::Poisson { every_ns: pick.from(5_000_000, 60_000_000) }
    };
    // Some are long: a second or several.
    let times = if pick.percent(12) { 12 } else { 1 };
    Server {
        threads: pick.from(1, 8) as usize,
        slots: pick.from(1, 8) as usize,
        chunk: pick.from(8, 512),
        costs: costs(pick),
        decode,
        prefill,
        spin,
        spin_ns: pick.from(1, 20_000_000),
        gpu_mw: pick.one(&[0, 1]) * pick.from(50_000, 300_000),
        arrivals,
        requests: pick.from(1, 12) as usize,
        prompt: Tokens { mean: pick.from(1, 120), spread: 0.9 },
        completion: Tokens { mean: times * pick.from(1, 20), spread: 0.9 },
    }
}

fn costs(pick: &mut Pick) -> Costs {
    Costs {
        step: pick.from(4_000_000, 64_000_000),
        token: pick.from(100_000, 2_000_000),
        context: pick.from(0, 4_000),
        prompt: pick.from(100_000, 2_000_000),
        // Most servers cost what the prices can say.
        attend: if pick.percent(20) { pick.from(0, 8_000) } else { 0 },
        hidden: pick.percent(20),
        sample_ns: pick.from(20_000, 400_000),
        write_ns: pick.from(1_000, 20_000),
    }
}

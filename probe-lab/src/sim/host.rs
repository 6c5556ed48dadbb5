//! What the simulated machine is.
//!
//! The defaults are a server of 8 cores. Published figures they come from:
//!
//! | what | value | from |
//! |---|---|---|
//! | a core's idle states | C1 1.44 W, C6 0.1 W; busy 1 W at lowest, 4 W at nominal frequency | Yahya et al., AgileWatts, MICRO 2022 (Skylake server) |
//! | uncore awake, memory awake | about 30 W and 5.5 W; deep package states are off where latency counts | Antoniou et al., AgilePkgC, MICRO 2022 |
//! | time until C6 pays | 600 µs | Linux `drivers/idle/intel_idle.c`, `skx_cstates` |
//! | energy unit 2⁻¹⁴ J, of server memory 15.3 µJ; 32 bits; update about every 1 ms | | Intel SDM vol. 3B, 15.10; Hähnel et al., SIGMETRICS PER 40(3), 2012 |
//! | sibling threads | each at about 0.6 of its speed; the core draws about a fifth more | Marr et al., Intel Technology Journal 6(1), 2002: 1.2 to 1.3 times the throughput |
//! | a scheduler's slice | 3 ms | Linux `kernel/sched/fair.c` |
//! | GPU counter | moves every 20 to 100 ms in mJ | Yang et al., Part-time Power Measurements, SC 2024 |
//! | GPU use by process | percent of a sixth of a second to a second | NVML API reference, `nvmlDeviceGetProcessUtilization` and `nvmlUtilization_t` |
//! | counters of single cores | 15.3 µJ, update about every 1 ms | AMD PPR family 17h, `CORE_ENERGY_STAT` |

use super::domain::{Domain, Scope};

/// A machine.
#[derive(Clone, Debug)]
pub struct Host {
    /// Sockets.
    pub packages: usize,
    /// Cores of each.
    pub cores: usize,
    /// Whether each core has two threads.
    pub smt: bool,
    /// What a core draws.
    pub core: CorePower,
    /// What a package draws besides its cores, always.
    pub uncore_mw: u64,
    /// What a package's memory draws without traffic.
    pub memory_mw: u64,
    /// Who runs where and how long.
    pub scheduler: Scheduler,
    /// The counters of packages and memory.
    pub rapl: Rapl,
    /// A device, if there is one.
    pub gpu: Option<Gpu>,
    /// When the probe reads.
    pub ticks: Ticks,
    /// Periods of programs that poll from user space, ns.
    pub pollers: Vec<u64>,
}

/// Frequency, voltage and idle states of a core.
#[derive(Clone, Debug)]
pub struct CorePower {
    /// Lowest frequency.
    pub low_mhz: u64,
    /// Highest frequency with half the cores busy at most; each further quarter costs a step.
    pub high_mhz: u64,
    /// Distance of frequencies.
    pub step_mhz: u64,
    /// Voltage at the lowest frequency.
    pub low_volts: f64,
    /// Voltage at the highest frequency.
    pub high_volts: f64,
    /// Switched capacity: milliwatts per MHz and V² at activity 1,000.
    pub dynamic: f64,
    /// Leakage: milliwatts per volt.
    pub leakage: f64,
    /// Time from one look at the load to the next, ns.
    pub governor_ns: u64,
    /// What both threads together draw more than one, per thousand.
    pub smt_power: u64,
    /// Speed of a thread beside a busy one, per thousand.
    pub smt_speed: u64,
    /// Power of the shallow idle state.
    pub c1_mw: u64,
    /// Power of the deepest.
    pub c6_mw: u64,
    /// How long the deepest must last to pay: it is chosen at once where the last idle time was that long, else after
    /// that time, as Linux's `menu` governor goes by what it expects, ns.
    pub c6_after_ns: u64,
}

/// Slices and migrations.
#[derive(Clone, Debug)]
pub struct Scheduler {
    /// Mean slice where several want a CPU, ns.
    pub slice_ns: u64,
    /// Shortest slice, ns.
    pub shortest_ns: u64,
    /// Part of the slices that are cut short.
    pub cut_short: f64,
    /// Time between two looks for a better place for a task, ns.
    pub balance_ns: u64,
    /// Chance at each look that a task moves without need.
    pub restless: f64,
}

/// Counters of packages and memory.
#[derive(Clone, Debug)]
pub struct Rapl {
    /// Mean time between updates, ns.
    pub update_ns: u64,
    /// How much it varies, ns either way.
    pub jitter_ns: u64,
    /// A package's unit is 2 to the minus this, joules.
    pub unit_bits: u32,
    /// Memory's unit likewise.
    pub memory_unit_bits: u32,
    /// Width.
    pub bits: u32,
    /// Starts so close to its wrap that it wraps in the run.
    pub near_wrap: bool,
}

/// A device with a counter of millijoules.
#[derive(Clone, Debug)]
pub struct Gpu {
    /// What it draws idle.
    pub idle_mw: u64,
    /// Shortest and longest time between updates, ns.
    pub update_ns: (u64, u64),
    /// Time between two readings, ns.
    pub read_ns: u64,
    /// Time between two samples that the driver takes of who uses it, ns.
    pub sample_ns: u64,
}

/// When the kernel's tick reads counters and clocks.
#[derive(Clone, Debug)]
pub struct Ticks {
    /// While a request is in flight, and for a while after, ns.
    pub busy_ns: u64,
    /// Otherwise.
    pub idle_ns: u64,
    /// How long after the last byte it stays busy, ns.
    pub linger_ns: u64,
    /// A tick is late by up to this, ns.
    pub jitter_ns: u64,
    /// Part of the ticks that are lost on their way.
    pub lost: f64,
}

impl Default for Host {
    fn default() -> Self {
        Self {
            packages: 1,
            cores: 8,
            smt: true,
            core: CorePower::default(),
            uncore_mw: 30_000,
            memory_mw: 5_500,
            scheduler: Scheduler::default(),
            rapl: Rapl::default(),
            gpu: None,
            ticks: Ticks::default(),
            pollers: Vec::new(),
        }
    }
}

impl Default for CorePower {
    fn default() -> Self {
        Self {
            low_mhz: 800,
            high_mhz: 3_000,
            step_mhz: 200,
            low_volts: 0.7,
            high_volts: 1.05,
            // With the leakage: 1 W at 800 MHz, 4 W at 2,200 MHz.
            dynamic: 1.976,
            leakage: 322.0,
            governor_ns: 4_000_000,
            smt_power: 1_200,
            smt_speed: 600,
            c1_mw: 1_440,
            c6_mw: 100,
            c6_after_ns: 600_000,
        }
    }
}

impl Default for Scheduler {
    fn default() -> Self {
        Self {
            slice_ns: 3_000_000,
            shortest_ns: 10_000,
            cut_short: 0.1,
            balance_ns: 4_000_000,
            restless: 0.02,
        }
    }
}

impl Default for Rapl {
    fn default() -> Self {
        Self {
            update_ns: 1_000_000,
            jitter_ns: 50_000,
            unit_bits: 14,
            memory_unit_bits: 16,
            bits: 32,
            near_wrap: false,
        }
    }
}

impl Default for Gpu {
    fn default() -> Self {
        Self {
            idle_mw: 60_000,
            update_ns: (20_000_000, 100_000_000),
            read_ns: 20_000_000,
            sample_ns: 166_666_667,
        }
    }
}

impl Default for Ticks {
    fn default() -> Self {
        Self {
            busy_ns: 1_000_000,
            idle_ns: 100_000_000,
            linger_ns: 100_000_000,
            jitter_ns: 10_000,
            lost: 0.0,
        }
    }
}

impl Host {
    /// Hardware threads.
    #[must_use]
    pub fn cpus(&self) -> usize {
        self.packages * self.cores * self.threads()
    }

    /// Threads of a core.
    #[must_use]
    pub fn threads(&self) -> usize {
        if self.smt { 2 } else { 1 }
    }

    /// What a package draws when nothing runs and every core sleeps.
    #[must_use]
    pub fn floor_mw(&self) -> u64 {
        self.uncore_mw + self.core.c6_mw * self.cores as u64
    }

    /// The counters: `package-0`, …, `dram-0`, …, `gpu-0`.
    #[must_use]
    pub fn domains(&self) -> Vec<Domain> {
        let unit = |bits: u32| 0.5f64.powi(bits.cast_signed());
        let rapl = |kind: &str, package: usize, unit_bits: u32, max_mw: u64| Domain {
            name: format!("{kind}-{package}"),
            joules_per_count: unit(unit_bits),
            bits: self.rapl.bits,
            scope: Scope::Package(package),
            period_ns: self.rapl.update_ns + self.rapl.jitter_ns,
            max_mw,
        };
        let packages = (0..self.packages).map(|p| {
            rapl("package", p, self.rapl.unit_bits, self.floor_mw() + 20_000 * self.cores as u64)
        });
        let memories = (0..self.packages)
            .map(|p| rapl("dram", p, self.rapl.memory_unit_bits, self.memory_mw + 200_000));
        let gpus = self.gpu.iter().map(|gpu| Domain {
            name: "gpu-0".to_owned(),
            joules_per_count: 1e-3,
            bits: 64,
            scope: Scope::Device,
            period_ns: gpu.update_ns.1,
            max_mw: 2_000_000,
        });
        packages.chain(memories).chain(gpus).collect()
    }
}

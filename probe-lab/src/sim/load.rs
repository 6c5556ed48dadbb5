//! What runs on the machine.

/// Everything that runs.
#[derive(Clone, Debug, Default)]
pub struct Load {
    /// Inference servers: consumers 0, 1, …
    pub servers: Vec<Server>,
    /// Other programs: the consumer after the servers.
    pub neighbours: Vec<Neighbour>,
    /// Work of the kernel and of the probe: the last two consumers.
    pub kernel: Kernel,
    /// The run is at least this long, ns.
    pub least_ns: u64,
    /// For so long at first nobody comes, and no neighbour runs, ns.
    pub quiet_ns: u64,
}

/// What a thread does to the machine while it is on a CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Use {
    /// Dynamic power of its core: 1,000 is `CorePower::dynamic`.
    pub activity: u64,
    /// Power of memory at full speed.
    pub memory_mw: u64,
}

/// An inference server with continuous batching.
#[derive(Clone, Debug)]
pub struct Server {
    /// Threads that compute a step together.
    pub threads: usize,
    /// Sequences in a step, at most.
    pub slots: usize,
    /// Prompt tokens in a step, at most.
    pub chunk: u64,
    /// What steps cost.
    pub costs: Costs,
    /// Reading the weights and attending: bound by memory.
    pub decode: Use,
    /// Reading prompts: bound by arithmetic.
    pub prefill: Use,
    /// Waiting in a loop.
    pub spin: Use,
    /// How long threads spin after the last step, ns.
    pub spin_ns: u64,
    /// What the GPU draws above idle during a step, if it takes part.
    pub gpu_mw: u64,
    /// When requests come.
    pub arrivals: Arrivals,
    /// How many requests come.
    pub requests: usize,
    /// Prompts.
    pub prompt: Tokens,
    /// Completions.
    pub completion: Tokens,
}

/// Work of a step in nanoseconds of one thread at 3 GHz, over all threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Costs {
    /// However many sequences there are.
    pub step: u64,
    /// Of a token of a sequence in decode.
    pub token: u64,
    /// Of that, for each token before it.
    pub context: u64,
    /// Of a token of a prompt.
    pub prompt: u64,
    /// Of that, for each token before it.
    pub attend: u64,
    /// `step` is the time until the weights are read, and arithmetic goes on meanwhile: a step takes as long as the longer of the two.
    pub hidden: bool,
    /// Sampling after a step, ns of wall time.
    pub sample_ns: u64,
    /// Writing one sequence's token, ns of wall time.
    pub write_ns: u64,
}

/// When requests come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrivals {
    /// So many clients, each of which waits for its answer and then for about so long, ns.
    Closed {
        /// Clients.
        clients: usize,
        /// Mean time between an answer and the next request.
        think_ns: u64,
    },
    /// Independent of each other, with this mean distance, ns.
    Poisson {
        /// Mean distance.
        every_ns: u64,
    },
}

/// How many tokens: uniform within ± `spread` of `mean`, at least one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tokens {
    /// Mean.
    pub mean: u64,
    /// Relative spread.
    pub spread: f64,
}

/// Another program: threads that compute for a while and sleep for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// What it does.
    pub does: Use,
    /// Mean time it computes, ns.
    pub on_ns: u64,
    /// Mean time it sleeps, ns; 0: it never does.
    pub off_ns: u64,
}

/// Short work on every CPU, and the probe's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// Mean time between two pieces of work on a CPU, ns; 0: none.
    pub every_ns: u64,
    /// Mean length, ns; the scheduler's shortest slice at least.
    pub for_ns: u64,
    /// What it does.
    pub does: Use,
    /// Time between two rounds of the probe, ns; 0: none.
    pub probe_every_ns: u64,
    /// Length of a round, ns.
    pub probe_for_ns: u64,
}

impl Default for Server {
    /// A small model (160 MB of weights at 40 GB/s: 4 ms a step) on eight threads.
    fn default() -> Self {
        Self {
            threads: 8,
            slots: 64,
            chunk: 512,
            costs: Costs::default(),
            // Arithmetic on vectors draws more than waiting for memory: FIRESTARTER (Hackenberg et al., IGCC
            // 2013) against STREAM differ by about 1.4 times in core power.
            decode: Use { activity: 850, memory_mw: 1_500 },
            prefill: Use { activity: 1_200, memory_mw: 300 },
            spin: Use { activity: 500, memory_mw: 0 },
            spin_ns: 5_000_000,
            gpu_mw: 0,
            arrivals: Arrivals::Closed { clients: 1, think_ns: 20_000_000 },
            requests: 10,
            prompt: Tokens { mean: 100, spread: 0.4 },
            completion: Tokens { mean: 40, spread: 0.4 },
        }
    }
}

impl Default for Costs {
    fn default() -> Self {
        Self {
            step: 32_000_000,
            token: 800_000,
            context: 800,
            prompt: 800_000,
            attend: 0,
            hidden: false,
            sample_ns: 100_000,
            write_ns: 5_000,
        }
    }
}

impl Default for Kernel {
    fn default() -> Self {
        Self {
            every_ns: 50_000_000,
            for_ns: 30_000,
            does: Use { activity: 800, memory_mw: 200 },
            probe_every_ns: 25_000_000,
            probe_for_ns: 50_000,
        }
    }
}

impl Kernel {
    /// No work at all: for hand calculations.
    #[must_use]
    pub fn silent() -> Self {
        Self { every_ns: 0, probe_every_ns: 0, ..Self::default() }
    }
}

impl Load {
    /// Consumers: the servers, others, the kernel, the probe.
    #[must_use]
    pub fn consumers(&self) -> usize {
        self.servers.len() + 3
    }

    /// All neighbours.
    #[must_use]
    pub fn other(&self) -> usize {
        self.servers.len()
    }

    /// The kernel's own threads.
    #[must_use]
    pub fn kernel_consumer(&self) -> usize {
        self.servers.len() + 1
    }

    /// The probe.
    #[must_use]
    pub fn probe_consumer(&self) -> usize {
        self.servers.len() + 2
    }
}

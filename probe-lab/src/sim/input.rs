//! What a ledger, or another method, is told.

/// One thing that was seen, with the instant it happened at, ns.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// A counter of a package or its memory and all clocks, read at one instant.
    Sample {
        /// Place in `Host::domains`.
        domain: usize,
        /// The instant.
        t: u64,
        /// The raw counter.
        counter: u64,
        /// On-CPU time of each consumer on the domain's CPUs, cumulative ns.
        clocks: &'a [u64],
        /// What is known of the work besides its time.
        weights: Weights<'a>,
    },
    /// A device's counter was read, and its driver asked.
    Device {
        /// Place in `Host::domains`.
        domain: usize,
        /// The instant.
        t: u64,
        /// The raw counter.
        counter: u64,
        /// Each consumer's time on the device, as far as the driver tells, cumulative ns.
        clocks: &'a [u64],
        /// How that is known.
        users: Users,
    },
    /// A request of a server enters, has its first content, or leaves.
    Boundary {
        /// The server.
        consumer: usize,
        /// The instant.
        t: u64,
        /// On-CPU time of the server by package, cumulative ns.
        clocks: &'a [u64],
        /// Which request.
        request: u64,
        /// What it did.
        change: Change,
    },
    /// A server writes a token of a stream that is neither its first content nor its last byte.
    Chunk {
        /// The server.
        consumer: usize,
        /// The instant.
        t: u64,
        /// Which request.
        request: u64,
        /// Tokens written so far, this one included.
        tokens: u64,
    },
    /// What the last bytes of an answer say of its request; its `Leave` comes next.
    Finished(Facts),
    /// What a program sees that polls from user space.
    Poll {
        /// Which.
        poller: Poller,
        /// The instant.
        t: u64,
        /// Every domain's raw counter.
        counters: &'a [u64],
        /// On-CPU time of each consumer on all CPUs, cumulative ns.
        clocks: &'a [u64],
    },
}

/// What a machine may tell of a package's consumers besides their time: cumulative, in units of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weights<'a> {
    /// Tenths of nanoseconds, those beside a busy sibling as six.
    pub smt: &'a [u64],
    /// Cycles.
    pub cycles: &'a [u64],
    /// Misses of the last cache level: in proportion to memory's traffic.
    pub misses: &'a [u64],
    /// What each drew by the counters of single cores.
    pub drawn: &'a [u64],
}

/// How it is known who used a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Users {
    /// No process is there.
    Nobody,
    /// One process is, and all the time is its.
    Exclusive,
    /// By the percentages that the driver has sampled.
    Utilisation,
    /// It has not sampled any yet: in equal parts.
    Equal,
}

/// What a boundary does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It was read to its end.
    Enter,
    /// Its first content was written.
    First,
    /// Its last byte was written.
    Leave,
}

/// Who polls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Poller {
    /// The program with that place in `Host::pollers`.
    Timer(usize),
    /// The server itself, at that request's begin.
    Begin(u64),
    /// The server itself, at that request's end.
    End(u64),
}

/// What a server's answer says of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Which request.
    pub request: u64,
    /// The server.
    pub consumer: usize,
    /// Tokens of the prompt.
    pub prompt_tokens: u64,
    /// Tokens written.
    pub completion_tokens: u64,
    /// It entered and began to wait in the queue.
    pub queue: u64,
    /// Its first step began.
    pub prefill: u64,
    /// Its first content was written.
    pub decode: u64,
    /// Its last byte was written.
    pub end: u64,
}

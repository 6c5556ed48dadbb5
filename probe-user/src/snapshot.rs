//! The one immutable picture of the ledger that exporters see; at the end of a run it is the summary.
//!
//! All energy is integer nanojoules: for every domain measured = idle + residual + Σ active, for every
//! target Σ over additive domains of its active = requests + background.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::record::{Kind, Quality};

/// Version of the summary's shape.
pub const SCHEMA: u32 = 1;

/// What one consumer was charged in one domain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsumerBook {
    /// Active energy.
    pub active_nj: u64,
    /// On-CPU time on the CPUs of the domain.
    pub cpu_ns: u64,
}

/// The books of one domain.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DomainBook {
    /// Source that reads it.
    pub source: String,
    /// How its energy is obtained.
    pub quality: Quality,
    /// Whether it belongs to the additive set.
    pub additive: bool,
    /// Everything the counter counted in valid windows.
    pub measured_nj: u64,
    /// Idle part.
    pub idle_nj: u64,
    /// Of that, given to requests by the idle policy, as far as that is settled.
    #[serde(default)]
    pub idle_given_nj: u64,
    /// Measured minus charged.
    pub residual_nj: u64,
    /// How it was known who used it, where it is a device: `gpu-exclusive`, `gpu-shared`, `gpu-mig`,
    /// `gpu-shared-equal`, `gpu-users-unknown`, as many as there were; else empty.
    #[serde(default)]
    pub splits: Vec<String>,
    /// Targets by name, `other`, `kernel`, `self`.
    pub consumers: BTreeMap<String, ConsumerBook>,
    /// Windows that were charged to nobody.
    pub void_windows: u64,
    /// The same by cause: `reset`, `implausible`, `ambiguous`, `full`, `stuck`, `suspended`, `hotplug`, as many as there were.
    #[serde(default)]
    pub void_causes: BTreeMap<String, u64>,
    /// Windows closed.
    pub windows: u64,
    /// Kernel books against these, where the kernel reads the counter.
    pub kernel_books: Option<KernelBooks>,
}

/// How the kernel's own books compare with user space's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelBooks {
    /// Windows both sets have closed.
    pub windows: u64,
    /// Largest difference of a consumer, counter units.
    pub max_difference_units: u64,
    /// Equal to the bit.
    pub agree: bool,
}

/// Requests of one kind, and what they cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KindBook {
    /// Requests that ended and are settled.
    pub requests: u64,
    /// What they were charged, as far as it is known.
    pub energy_nj: u64,
}

/// Requests by what they were for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kinds {
    /// A model's work.
    pub inference: KindBook,
    /// Health and metrics checks.
    pub check: KindBook,
    /// Anything else.
    pub other: KindBook,
}

impl Kinds {
    /// The book of a kind.
    #[must_use]
    pub fn of(&self, kind: Kind) -> KindBook {
        match kind {
            Kind::Inference => self.inference,
            Kind::Check => self.check,
            Kind::Other => self.other,
        }
    }

    /// Adds a request.
    pub fn add(&mut self, kind: Kind, energy_nj: u64) {
        let book = match kind {
            Kind::Inference => &mut self.inference,
            Kind::Check => &mut self.check,
            Kind::Other => &mut self.other,
        };
        book.requests += 1;
        book.energy_nj = book.energy_nj.saturating_add(energy_nj);
    }
}

/// The books of one target over the additive domains.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetBook {
    /// Charged to requests.
    pub requests_nj: u64,
    /// Of that, by what they were for, as far as it is settled.
    #[serde(default)]
    pub kinds: Kinds,
    /// Charged while no request was in work: none was resident, or all of them waited.
    pub background_nj: u64,
    /// Of that, before its first request: model load, warm-up.
    #[serde(default)]
    pub background_before_nj: u64,
    /// Of that, while requests were resident and none was worked on: queued, a model loaded on demand.
    #[serde(default)]
    pub background_waiting_nj: u64,
    /// Of that, in the second after a last byte: spinning.
    #[serde(default)]
    pub background_after_nj: u64,
    /// On-CPU time.
    pub cpu_ns: u64,
}

/// Records from the kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Events {
    /// Read.
    pub seen: u64,
    /// Lost, all kinds together.
    pub lost: u64,
    /// Lost by kind.
    pub lost_by_kind: BTreeMap<String, u64>,
    /// The boundary rung: `fentry` or `tracepoint`.
    pub boundary: String,
}

/// On-CPU time of every process of the machine, by where the kernel side booked it. Closed slices only:
/// what runs at this instant is in the clocks, not here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostBooks {
    /// Processes in the table.
    pub processes: u64,
    /// Their time, all consumers together.
    pub listed_ns: u64,
    /// Time of processes that are gone.
    pub exited_ns: u64,
    /// Time of processes that found no room in the table.
    pub unlisted_ns: u64,
}

/// One kernel program's cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgramCost {
    /// Times it ran; 0 where the kernel keeps no statistics.
    pub runs: u64,
    /// Nanoseconds it took.
    pub ns: u64,
}

/// What the probe itself costs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SelfCost {
    /// CPU seconds of the probe's process.
    pub cpu_s: f64,
    /// Resident memory.
    pub rss_bytes: u64,
    /// Kernel programs by name.
    pub programs: BTreeMap<String, ProgramCost>,
}

/// The policies of the run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policies {
    /// `time`, `cycles`, `smt`.
    pub weight: Arc<str>,
    /// `equal`, `tokens`, `work`.
    pub share: Arc<str>,
    /// `none`, `even`, `proportional`.
    pub idle: Arc<str>,
}

impl From<probe_ledger::Policies> for Policies {
    fn from(policies: probe_ledger::Policies) -> Self {
        let probe_ledger::Policies { weight, share, idle } = policies;
        Self { weight: weight.name().into(), share: share.name().into(), idle: idle.name().into() }
    }
}

/// The books at one instant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// [`SCHEMA`].
    pub schema: u32,
    /// RFC 3339.
    pub started: String,
    /// RFC 3339; the instant of the snapshot, at the end of the run its end.
    pub ended: String,
    /// Kernel release.
    pub kernel: String,
    /// Requests by end.
    pub requests: BTreeMap<String, u64>,
    /// Requests in flight by target.
    pub in_flight: BTreeMap<String, u64>,
    /// Books by domain.
    pub domains: BTreeMap<String, DomainBook>,
    /// Books by target.
    pub targets: BTreeMap<String, TargetBook>,
    /// Every process's time, by where it is booked.
    pub host: HostBooks,
    /// Kernel records.
    pub events: Events,
    /// Connections and bodies that are not parsed, by why.
    #[serde(default)]
    pub not_understood: BTreeMap<String, u64>,
    /// The probe's own cost.
    #[serde(rename = "self")]
    pub self_cost: SelfCost,
    /// Policies.
    pub policies: Policies,
    /// What the reader should know, by name.
    pub flags: Vec<String>,
}

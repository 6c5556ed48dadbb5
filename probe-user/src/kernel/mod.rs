//! The only place that knows eBPF: loads the programs, hands out their events and maps, and takes them
//! away again. Dropping [`Probe`] detaches everything, and so does the end of the process, however it
//! comes, because every attachment is a file descriptor.
//!
//! Minimum kernel: 5.15 (`bpf_task_pt_regs`), with BTF and tracefs.

mod alive;
mod attach;
mod boundary;
mod btf;
mod connections;
mod decode;
mod doorbell;
mod error;
mod maps;
mod offsets;
mod probe;
mod sessions;
mod settings;
mod sweep;
mod timer;
mod tracefs;
mod uprobe;
mod verified;

pub use alive::alive;
pub use attach::CORE_PERIOD_NS;
pub use boundary::{BoundaryRung, fentry_forecast, tells_arrivals};
pub use btf::BtfError;
pub use error::KernelError;
pub use maps::{CoreCounter, KernelCounter, TickBooks};
pub use probe::Probe;
pub use settings::{Rung, Settings};
pub use sweep::sweep;
pub use tracefs::tracefs;
pub use verified::Verified;

/// Reads one record of the event ring: for the fuzz target, which has no ring.
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
#[must_use]
pub fn decode_record(bytes: &[u8]) -> Option<crate::event::Event> {
    decode::event(bytes, Vec::new)
}

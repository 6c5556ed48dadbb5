//! The only place that knows eBPF: loads the programs, hands out their events and maps, and takes them
//! away again. Dropping [`Probe`] detaches everything, and so does the end of the process, however it
//! comes, because every attachment is a file descriptor.
//!
//! Minimum kernel: 5.15 (`bpf_task_pt_regs`), with BTF and tracefs.

mod alive;
mod attach;
mod btf;
mod decode;
mod error;
mod maps;
mod offsets;
mod probe;
mod sweep;
mod timer;
mod tracefs;
mod verified;

pub use alive::alive;
pub use attach::CORE_PERIOD_NS;
pub use btf::BtfError;
pub use error::KernelError;
pub use maps::{CoreCounter, KernelCounter, TickBooks};
pub use probe::{Probe, Rung, Settings};
pub use sweep::sweep;
pub use tracefs::tracefs;
pub use verified::Verified;

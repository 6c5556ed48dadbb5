//! Forcing a context switch on every CPU.
//!
//! A clock slot learns who runs only when it sees a switch. A thread that was computing before the probe
//! attached may not be switched for a long time; moving this thread to every CPU in turn makes each
//! scheduler choose anew.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use super::error::KernelError;

/// Visits every CPU and returns to where this thread was allowed before. CPUs that this thread may not
/// use are left out.
///
/// # Errors
///
/// When the affinity can neither be read nor restored.
pub fn sweep(cpus: &[u32]) -> Result<(), KernelError> {
    let system =
        |what| move |errno: rustix::io::Errno| KernelError::System { what, source: errno.into() };
    let before = sched_getaffinity(None).map_err(system("sched_getaffinity"))?;
    for &cpu in cpus {
        let mut one = CpuSet::new();
        one.set(cpu as usize);
        // A CPU outside of our cgroup's set: nothing of ours can run there.
        let _ = sched_setaffinity(None, &one);
    }
    sched_setaffinity(None, &before).map_err(system("sched_setaffinity"))
}

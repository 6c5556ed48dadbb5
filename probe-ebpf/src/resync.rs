//! Resync: a timer on every CPU that compares the slice in progress with the task that runs.
//!
//! Some kernels do not report every `sched_switch` to programs (seen: none of those out of process 1 of
//! a virtual machine whose kernel shields it). Without this a task that then computes for seconds would
//! be charged to the one before it. The hook itself notices at its next switch; this bounds how long
//! that takes. A `perf_event` program on the software CPU clock: it runs in the timer's interrupt, where
//! no switch can be in progress. When it ran last is in the slot: user space sees by that that a CPU was away.

use core::ptr::addr_of_mut;

use aya_ebpf::{
    helpers::{bpf_get_current_task, bpf_get_smp_processor_id, bpf_ktime_get_ns},
    macros::perf_event,
    programs::PerfEventContext,
};

use crate::{beside, counts, maps::SLOTS, sched, task::Raw};

#[perf_event]
pub fn resync(_ctx: PerfEventContext) -> i32 {
    compare();
    0
}

/// The resync where cores have two threads.
#[perf_event]
pub fn resync_beside(_ctx: PerfEventContext) -> i32 {
    compare();
    beside::at_switch()
}

/// The resync where slices are weighed by cycles.
#[perf_event]
pub fn resync_cycles(_ctx: PerfEventContext) -> i32 {
    compare();
    counts::at_timer()
}

#[inline(always)]
fn compare() {
    // SAFETY: a helper without side effects.
    let cpu = unsafe { bpf_get_smp_processor_id() };
    if let Some(slot) = SLOTS.get_ptr_mut(cpu) {
        // SAFETY: helpers without side effects, and this CPU's slot.
        let task = unsafe {
            addr_of_mut!((*slot).resync).write_volatile(bpf_ktime_get_ns());
            bpf_get_current_task()
        };
        sched::catch_up(slot, cpu, Raw(task as *const u8));
    }
}

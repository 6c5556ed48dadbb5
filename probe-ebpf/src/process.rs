//! Processes: a target's children belong to it, a process's time outlives it.
//!
//! A dying task runs on for a while after `sched_process_exit`, so its entry stays until the kernel frees
//! the task; then its time moves to `EXITED`. A number can go to a new process before the old task is
//! freed: the fork folds whatever entry there is, because the number's former owner is gone, and the free
//! that comes late leaves the new entry alone, because it is not marked `dead`.

use aya_ebpf::{
    helpers::{bpf_get_smp_processor_id, bpf_ktime_get_ns},
    macros::{btf_tracepoint, raw_tracepoint},
    programs::{BtfTracePointContext, RawTracePointContext},
};
use probe_common::{Kind, Loss, Process, ProcessRecord, CONSUMERS, FIRST_TARGET};

use crate::{
    atomic, emit,
    maps::{EXITED, PROCESSES, SLOTS},
    task::{Raw, Task, Typed},
};

#[btf_tracepoint(function = "sched_process_fork")]
pub fn process_fork(ctx: BtfTracePointContext) -> i32 {
    fork(Typed(ctx.arg(0)), Typed(ctx.arg(1)))
}

#[raw_tracepoint(tracepoint = "sched_process_fork")]
pub fn process_fork_raw(ctx: RawTracePointContext) -> i32 {
    fork(Raw(ctx.arg(0)), Raw(ctx.arg(1)))
}

#[btf_tracepoint(function = "sched_process_exec")]
pub fn process_exec(ctx: BtfTracePointContext) -> i32 {
    exec(Typed(ctx.arg(0)))
}

#[raw_tracepoint(tracepoint = "sched_process_exec")]
pub fn process_exec_raw(ctx: RawTracePointContext) -> i32 {
    exec(Raw(ctx.arg(0)))
}

#[btf_tracepoint(function = "sched_process_exit")]
pub fn process_exit(ctx: BtfTracePointContext) -> i32 {
    exit(Typed(ctx.arg(0)))
}

#[raw_tracepoint(tracepoint = "sched_process_exit")]
pub fn process_exit_raw(ctx: RawTracePointContext) -> i32 {
    exit(Raw(ctx.arg(0)))
}

#[btf_tracepoint(function = "sched_process_free")]
pub fn process_free(ctx: BtfTracePointContext) -> i32 {
    free(Typed(ctx.arg(0)))
}

#[raw_tracepoint(tracepoint = "sched_process_free")]
pub fn process_free_raw(ctx: RawTracePointContext) -> i32 {
    free(Raw(ctx.arg(0)))
}

#[inline(always)]
fn fork(parent: impl Task, child: impl Task) -> i32 {
    let tgid = child.tgid();
    if child.pid() != tgid {
        // A thread: its process goes on.
        return 0;
    }
    fold(tgid);
    let Some(who) = target(parent.tgid()) else { return 0 };
    if PROCESSES.insert(tgid, Process { who, ..Process::default() }, 0).is_err() {
        emit::lost(Loss::ProcessTable);
    }
    record(Kind::Fork, who, parent.tgid(), tgid);
    0
}

#[inline(always)]
fn exec(task: impl Task) -> i32 {
    let tgid = task.tgid();
    if let Some(who) = target(tgid) {
        record(Kind::Exec, who, tgid, 0);
    }
    0
}

#[inline(always)]
fn exit(task: impl Task) -> i32 {
    if !task.group_dead() {
        return 0;
    }
    let tgid = task.tgid();
    let Some(entry) = PROCESSES.get_ptr_mut(tgid) else { return 0 };
    // SAFETY: the process is still running, so its entry stays; one writer, its last thread.
    let who = unsafe {
        (*entry).dead = 1;
        (*entry).who
    };
    if who >= FIRST_TARGET {
        record(Kind::Exit, who, tgid, 0);
    }
    0
}

#[inline(always)]
fn free(task: impl Task) -> i32 {
    let tgid = task.tgid();
    if task.pid() != tgid {
        return 0;
    }
    // The number may have a new owner already; that one is not dead.
    // SAFETY: a map value, read in place.
    if PROCESSES.get_ptr_mut(tgid).is_some_and(|entry| unsafe { (*entry).dead != 0 }) {
        fold(tgid);
    }
    0
}

/// Moves the time of a process that is gone to `EXITED` and forgets it.
#[inline(always)]
fn fold(tgid: u32) {
    let Some(entry) = PROCESSES.get_ptr_mut(tgid) else { return };
    // SAFETY: a map value; who is gone runs no more, so nobody adds to it after this.
    let Process { who, ns, .. } = unsafe { *entry };
    // A fork and a late free may meet here on two CPUs: whoever removes the entry adds its time.
    if PROCESSES.remove(tgid).is_ok() {
        if let Some(sum) = EXITED.get_ptr_mut(who & (CONSUMERS as u32 - 1)) {
            // SAFETY: other CPUs fold other processes, hence atomic.
            unsafe { atomic::add(sum, ns) };
        }
    }
}

/// The target a process belongs to.
#[inline(always)]
fn target(tgid: u32) -> Option<u32> {
    // SAFETY: the process is running, so its entry stays.
    watched(unsafe { (*PROCESSES.get_ptr(tgid)?).who })
}

/// The target that the current process, which has this number, belongs to.
///
/// The slice in progress on this CPU tells, which is there without a search: every system call of the machine asks. Where it is
/// not this process's, because a switch was not seen, the table does. A process that is adopted while it runs is known by
/// its next slice; user space makes all CPUs begin one after it has adopted.
#[inline(always)]
pub fn current_target(tgid: u32) -> Option<u32> {
    // SAFETY: a helper without side effects.
    let slot = SLOTS.get_ptr(unsafe { bpf_get_smp_processor_id() })?;
    // SAFETY: this CPU's slot. Whatever else ran here while this program lost the CPU, by now the slice is its own again.
    let (running, who) = unsafe { ((*slot).tgid, (*slot).who) };
    if running == tgid {
        watched(who)
    } else {
        target(tgid)
    }
}

#[inline(always)]
fn watched(who: u32) -> Option<u32> {
    if who >= FIRST_TARGET {
        Some(who)
    } else {
        None
    }
}

/// Sends a lifecycle record.
#[inline(always)]
pub fn record(kind: Kind, who: u32, tgid: u32, other: u32) {
    // SAFETY: a helper without side effects.
    let t = unsafe { bpf_ktime_get_ns() };
    let record = ProcessRecord { kind: kind as u32, who, t, tgid, other };
    // SAFETY: the record is on the stack and of this size.
    unsafe {
        emit::event((&raw const record).cast(), size_of::<ProcessRecord>() as u64, Loss::Process);
    }
}

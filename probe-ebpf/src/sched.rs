//! `sched_switch`: closes the slice of the task that leaves, opens that of the task that comes.
//!
//! Runs with the run queue locked and interrupts off. Two map lookups at most: whose the next process
//! is, and the book of the previous one.

use aya_ebpf::{
    helpers::{bpf_get_current_pid_tgid, bpf_get_smp_processor_id},
    macros::{btf_tracepoint, raw_tracepoint},
    programs::{BtfTracePointContext, RawTracePointContext},
};
use probe_common::{CpuSlot, Loss, Process, SliceRecord, CONSUMERS, FIRST_TARGET, IDLE};

use crate::{
    atomic, clock,
    emit::lost,
    maps::{CONTROL, PROCESSES, SLICES, SLOTS, UNBOOKED},
    task::{Raw, Task, Typed},
};

/// Tracepoint arguments: `(bool preempt, task *prev, task *next, …)`.
const PREV: usize = 1;
const NEXT: usize = 2;
/// `BPF_NOEXIST`, and what the kernel says when there is an entry all the same.
const NOEXIST: u64 = 1;
const EEXIST: i32 = -17;

#[btf_tracepoint(function = "sched_switch")]
pub fn sched_switch(ctx: BtfTracePointContext) -> i32 {
    hook(Typed(ctx.arg(PREV)), Typed(ctx.arg(NEXT)))
}

#[raw_tracepoint(tracepoint = "sched_switch")]
pub fn sched_switch_raw(ctx: RawTracePointContext) -> i32 {
    hook(Raw(ctx.arg(PREV)), Raw(ctx.arg(NEXT)))
}

#[inline(always)]
fn hook(prev: impl Task, next: impl Task) -> i32 {
    let _ = try_hook(prev, next);
    0
}

#[inline(always)]
fn try_hook(prev: impl Task, next: impl Task) -> Result<(), ()> {
    // SAFETY: a helper without side effects.
    let cpu = unsafe { bpf_get_smp_processor_id() };
    let slot = SLOTS.get_ptr_mut(cpu).ok_or(())?;
    catch_up(slot, cpu, prev);
    let tgid = next.tgid();
    let who = consumer(tgid, next);
    close(&clock::switch(slot, who, tgid), cpu);
    Ok(())
}

/// Where the slice in progress is not that of the task that runs, a switch was not seen: the running task's
/// slice begins now. Kernels may keep programs from running in some task's context, and a switch is
/// reported in the context of the task that leaves.
#[inline(always)]
pub fn catch_up(slot: *mut CpuSlot, cpu: u32, task: impl Task) {
    let running = task.tgid();
    // SAFETY: this CPU's slot, read where only it is written.
    let (tgid, start) = unsafe { ((*slot).tgid, (*slot).start) };
    if start == 0 || tgid == running {
        return;
    }
    lost(Loss::Switch);
    let who = consumer(running, task);
    close(&clock::switch(slot, who, running), cpu);
}

/// Accounts for a closed slice.
#[inline(always)]
fn close(closed: &clock::Closed, cpu: u32) {
    if closed.tgid != 0 {
        book(closed);
        if closed.who >= FIRST_TARGET {
            slice(closed, cpu);
        }
    }
}

/// Whose the process is; a process never seen before is entered into the table.
#[inline(always)]
fn consumer(tgid: u32, task: impl Task) -> u32 {
    if tgid == 0 {
        return IDLE;
    }
    if let Some(process) = PROCESSES.get_ptr_mut(tgid) {
        // SAFETY: entries go only with their process.
        return unsafe { (*process).who };
    }
    let who = task.first_consumer();
    let process = Process { who, ..Process::default() };
    // User space may adopt the process meanwhile, and another of its threads may come first: what is there
    // stays.
    if PROCESSES.insert(tgid, process, NOEXIST).is_err_and(|errno| errno != EEXIST) {
        lost(Loss::ProcessTable);
    }
    who
}

/// Adds a closed slice to its process's book.
#[inline(always)]
fn book(closed: &clock::Closed) {
    if let Some(process) = PROCESSES.get_ptr_mut(closed.tgid) {
        // SAFETY: threads of one process run on several CPUs, hence atomic.
        unsafe { atomic::add(&raw mut (*process).ns, closed.ns) };
    } else if let Some(row) = UNBOOKED.get_ptr_mut(0) {
        // SAFETY: this CPU's row; the index is masked.
        unsafe { *row.cast::<u64>().add(closed.who as usize & (CONSUMERS - 1)) += closed.ns };
    }
}

/// Writes a target's slice to the slice stream, when somebody asked for it.
#[inline(always)]
fn slice(closed: &clock::Closed, cpu: u32) {
    let Some(control) = CONTROL.get(0) else { return };
    if control.slices == 0 || closed.begin == 0 {
        return;
    }
    // The slice of a process whose end was not seen was closed in another's context: its thread is unknown.
    let current = bpf_get_current_pid_tgid();
    let pid = if (current >> 32) as u32 == closed.tgid { current as u32 } else { 0 };
    let Some(mut entry) = SLICES.reserve_untyped::<SliceRecord>(0) else {
        lost(Loss::Slice);
        return;
    };
    entry.write(SliceRecord {
        begin: closed.begin,
        end: closed.end,
        pid,
        tgid: closed.tgid,
        cpu,
        who: closed.who,
    });
    entry.submit(0);
}

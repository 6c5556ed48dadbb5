//! Time beside a busy sibling: how much of each consumer's time on a CPU the other thread of the core was not idle.
//!
//! Two threads of a core share what it can do, so a nanosecond beside a busy sibling is worth less than one alone. A
//! slice's part of it is its length less what the sibling's idle clock ran meanwhile. A second program at the context
//! switch, so that where cores have one thread the first one is as it was; loaded only where they have two.
//!
//! Of a slice at whose begin or end the sibling's clock could not be read nothing is charged, and that is counted.

use core::ptr::{addr_of, addr_of_mut, read_volatile, write_volatile};

use aya_ebpf::{
    helpers::bpf_get_smp_processor_id,
    macros::{btf_tracepoint, raw_tracepoint},
    programs::{BtfTracePointContext, RawTracePointContext},
};
use probe_common::{CpuSlot, Loss, WideTickRecord, CONSUMERS, IDLE, NO_SIBLING, TORN};

use crate::{
    atomic, clock,
    emit::lost,
    maps::{BESIDE, CORE_SCRATCH, SIBLING, SLOTS, TICK_SCRATCH},
};

const RETRIES: usize = 3;
const MASK: usize = CONSUMERS - 1;

#[btf_tracepoint(function = "sched_switch")]
pub fn beside_switch(_ctx: BtfTracePointContext) -> i32 {
    at_switch()
}

#[raw_tracepoint(tracepoint = "sched_switch")]
pub fn beside_switch_raw(_ctx: RawTracePointContext) -> i32 {
    at_switch()
}

/// Closes the slice that ended when `sched_switch`, which was attached first, or the resync has just written it down.
#[inline(always)]
pub fn at_switch() -> i32 {
    // SAFETY: a helper without side effects.
    let _ = close(unsafe { bpf_get_smp_processor_id() });
    0
}

#[inline(always)]
fn close(cpu: u32) -> Result<(), ()> {
    let sibling = SIBLING.get(cpu).copied().ok_or(())?;
    let state = BESIDE.get_ptr_mut(cpu).ok_or(())?;
    let slot = SLOTS.get_ptr(cpu).ok_or(())?;
    if sibling == NO_SIBLING {
        return Ok(());
    }
    let other = SLOTS.get_ptr(sibling).ok_or(())?;
    // SAFETY: this CPU's slot and state, which nothing else on this CPU writes while interrupts are off.
    unsafe {
        let (end, who) = ((*slot).start, (*slot).who);
        let start = (*state).start;
        if end <= start {
            return Ok(());
        }
        let idle = idle_at(other, end);
        if idle == TORN {
            lost(Loss::Torn);
        }
        let (seq, mut prev, mut prev_idle) = ((*state).seq, (*state).who, (*state).idle);
        let cells = addr_of_mut!((*state).ns).cast::<u64>();
        // A switch that was not seen: two slices have ended, the second of them that of the task that ran.
        let (mut start, middle) = (start, (*slot).prev_start);
        let caught_up = start != 0 && middle > start && middle < end;
        let idle_middle = if caught_up { idle_at(other, middle) } else { TORN };
        atomic::add(addr_of_mut!((*state).seq), 1);
        if caught_up {
            let cell = cells.add(prev as usize & MASK);
            let ns = shared(middle - start, prev_idle, idle_middle);
            write_volatile(cell, read_volatile(cell) + ns);
            start = middle;
            prev = (*slot).prev_who;
            prev_idle = idle_middle;
        }
        let ns = if start == 0 { 0 } else { shared(end - start, prev_idle, idle) };
        let cell = cells.add(prev as usize & MASK);
        write_volatile(cell, read_volatile(cell) + ns);
        write_volatile(addr_of_mut!((*state).prev_who), prev);
        write_volatile(addr_of_mut!((*state).prev_start), start);
        write_volatile(addr_of_mut!((*state).prev_idle), prev_idle);
        write_volatile(addr_of_mut!((*state).who), who);
        write_volatile(addr_of_mut!((*state).idle), idle);
        write_volatile(addr_of_mut!((*state).start), end);
        write_volatile(addr_of_mut!((*state).seq), seq + 2);
    }
    Ok(())
}

/// A CPU's idle clock, exact at that instant; `TORN` where it cannot be read, or before the CPU's first switch.
#[inline(always)]
fn idle_at(slot: *const CpuSlot, t: u64) -> u64 {
    // SAFETY: a map value.
    if unsafe { read_volatile(addr_of!((*slot).start)) } == 0 {
        return TORN;
    }
    clock::one(slot, t, IDLE).unwrap_or(TORN)
}

/// The part of a time in which the sibling was not idle, by its idle clock at both ends; none where one is not known.
#[inline(always)]
fn shared(time: u64, begin: u64, end: u64) -> u64 {
    if begin == TORN || end == TORN {
        return 0;
    }
    let idle = if end > begin { end - begin } else { 0 };
    if time > idle {
        time - idle
    } else {
        0
    }
}

/// Adds a CPU's time beside a busy sibling, exact at `now`, to this CPU's record. 0: it could not be read.
///
/// Between the two programs of a switch, and a virtual CPU may be away for long there, the slice that has begun is known
/// by the slot only: the one before it is then closed here, for this reading.
///
/// A global function, as `tick::read_counters`, and for its stack: it is verified once and not at every CPU.
#[no_mangle]
#[inline(never)]
pub extern "C" fn add_beside(cpu: u32, now: u64) -> u32 {
    let Some(sibling) = SIBLING.get(cpu).copied() else { return 1 };
    if sibling == NO_SIBLING {
        return 1;
    }
    let (Some(state), Some(slot)) = (BESIDE.get_ptr(cpu), SLOTS.get_ptr(cpu)) else { return 1 };
    let Some(other) = SLOTS.get_ptr(sibling) else { return 1 };
    let (Some(scratch), Some(whole)) = (CORE_SCRATCH.get_ptr_mut(0), TICK_SCRATCH.get_ptr_mut(0))
    else {
        return 0;
    };
    let record = whole.cast::<WideTickRecord>();
    // SAFETY: map values and this CPU's scratch, which no other program uses while a tick runs.
    unsafe {
        let idle_now = idle_at(other, now);
        if idle_now == TORN && read_volatile(addr_of!((*other).start)) != 0 {
            return 0;
        }
        for _ in 0..RETRIES {
            let seq = read_volatile(addr_of!((*state).seq));
            for k in 0..CONSUMERS {
                (*scratch).work[k] = read_volatile(addr_of!((*state).ns[k]));
            }
            let start = read_volatile(addr_of!((*state).start));
            let prev_start = read_volatile(addr_of!((*state).prev_start));
            let idle = read_volatile(addr_of!((*state).idle));
            let prev_idle = read_volatile(addr_of!((*state).prev_idle));
            let who = read_volatile(addr_of!((*state).who));
            let prev_who = read_volatile(addr_of!((*state).prev_who));
            // After the state: what it knows the slot has known before.
            let slot_seq = read_volatile(addr_of!((*slot).seq));
            let begun = read_volatile(addr_of!((*slot).start));
            let new = read_volatile(addr_of!((*slot).who));
            let again = read_volatile(addr_of!((*slot).seq));
            if (seq | slot_seq) & 1 != 0
                || again != slot_seq
                || read_volatile(addr_of!((*state).seq)) != seq
            {
                continue;
            }
            if prev_start > now {
                return 0;
            }
            let mut end = now;
            let mut idle_end = idle_now;
            let mut rest = 0;
            if start != 0 && begun > start && now >= begun {
                end = begun;
                idle_end = idle_at(other, begun);
                if idle_end == TORN && idle_now != TORN {
                    return 0;
                }
                rest = shared(now - begun, idle_end, idle_now);
            }
            let (who, ns) = if start == 0 {
                (IDLE, 0)
            } else if end >= start {
                (who, shared(end - start, idle, idle_end))
            } else if prev_start == 0 || prev_idle == TORN {
                // The slice before the switch was not charged.
                (IDLE, 0)
            } else {
                (prev_who, shared(start - now, idle_now, idle).wrapping_neg())
            };
            for k in 0..CONSUMERS {
                let sum = addr_of_mut!((*record).beside[k]);
                write_volatile(sum, read_volatile(sum).wrapping_add((*scratch).work[k]));
            }
            let to = addr_of_mut!((*record).beside).cast::<u64>();
            let cell = to.add(who as usize & MASK);
            write_volatile(cell, read_volatile(cell).wrapping_add(ns));
            let cell = to.add(new as usize & MASK);
            write_volatile(cell, read_volatile(cell).wrapping_add(rest));
            return 1;
        }
    }
    0
}

//! Counts: what a counter of the CPU moved while each consumer ran there: cycles for the weight `cycles`, and misses of the last
//! cache level, which is what memory is there for.
//!
//! A CPU's counter can be read on that CPU only. A second program at the context switch reads it when a slice ends, so that
//! the first one is as it was where nobody asks for counts; a slow timer reads it within long slices, and the tick on its own
//! CPU. Between two readings lies a *piece*. Of the piece in progress on another CPU the tick only knows for how long it
//! runs: it is taken to have what that consumer had there in a nanosecond before, and when the piece is closed the counter is
//! right. So an error lasts for 50 ms at most, with requests in flight for one tick, and the sums have none.
//!
//! A piece at whose begin or end the counter could not be read, or within which it did not count all the time, has no
//! count, which is not 0: `missed` counts it, and the next tick says that it knows none. Needs a PMU; any kernel.

use core::ptr::{addr_of, addr_of_mut, read_volatile, write_volatile};

use aya_ebpf::{
    bindings::bpf_perf_event_value,
    btf_maps::{Array, PerfEventArray},
    helpers::{bpf_get_smp_processor_id, bpf_ktime_get_ns, generated::bpf_perf_event_read_value},
    macros::{btf_tracepoint, raw_tracepoint},
    programs::{BtfTracePointContext, RawTracePointContext},
};
use probe_common::{CountState, Loss, WideTickRecord, CONSUMERS, IDLE, TORN};

use crate::{
    atomic,
    bound::or_else,
    clock,
    emit::lost,
    maps::{
        CORE_SCRATCH, CYCLES, CYCLE_EVENTS, MISSES, MISS_EVENTS, READ_MISSES, SLOTS, TICK_SCRATCH,
    },
    rate,
};

const RETRIES: usize = 3;
const MASK: usize = CONSUMERS - 1;
/// More than a piece has: the counter is another one than it was, or went back.
const MOST: u64 = 1 << 40;
/// A reader's instant is not longer before the last reading than this, ns.
const REACH: u64 = 1 << 22;

/// What is counted: a place in the scratch and in `TickState`.
const OF_CYCLES: usize = 0;
const OF_MISSES: usize = 1;

#[btf_tracepoint(function = "sched_switch")]
pub fn cycles_switch(_ctx: BtfTracePointContext) -> i32 {
    at_switch()
}

#[raw_tracepoint(tracepoint = "sched_switch")]
pub fn cycles_switch_raw(_ctx: RawTracePointContext) -> i32 {
    at_switch()
}

#[inline(always)]
fn at_switch() -> i32 {
    let _ = close(false, &CYCLES, &CYCLE_EVENTS);
    if READ_MISSES.load() != 0 {
        let _ = close(false, &MISSES, &MISS_EVENTS);
    }
    0
}

/// Closes the piece in progress on this CPU, in a timer's interrupt, where no switch can be in progress.
#[inline(always)]
pub fn at_timer() -> i32 {
    let _ = close(true, &CYCLES, &CYCLE_EVENTS);
    if READ_MISSES.load() != 0 {
        let _ = close(true, &MISSES, &MISS_EVENTS);
    }
    0
}

/// Closes the piece that ended at the instant `sched_switch`, which was attached first, or the resync has just written down.
/// Where no slice has ended a timer ends the piece now.
#[inline(always)]
fn close(
    timer: bool,
    states: &'static Array<CountState, 1>,
    events: &'static PerfEventArray,
) -> Result<(), ()> {
    // SAFETY: helpers without side effects.
    let (cpu, now) =
        unsafe { (bpf_get_smp_processor_id(), if timer { bpf_ktime_get_ns() } else { 0 }) };
    let state = states.get_ptr_mut(cpu).ok_or(())?;
    let slot = SLOTS.get_ptr(cpu).ok_or(())?;
    // SAFETY: this CPU's slot and state, which nothing else on this CPU writes while interrupts are off.
    unsafe {
        let (begun, who) = ((*slot).start, (*slot).who);
        let (start, prev) = ((*state).start, (*state).who);
        let end = if begun > start { begun } else { now };
        if begun == 0 || end <= start {
            return Ok(());
        }
        let (count, off) = read(events);
        // What was never read before has no begin, and nothing is told of the time before it.
        let more = count.wrapping_sub((*state).count);
        let known = start != 0
            && count != TORN
            && (*state).count != TORN
            && off == (*state).off
            && more < MOST;
        let moved = if known { more } else { 0 };
        let missed = u64::from(!known && start != 0 && prev != IDLE);
        let seq = (*state).seq;
        let cell = addr_of_mut!((*state).moved).cast::<u64>().add(prev as usize & MASK);
        atomic::add(addr_of_mut!((*state).seq), 1);
        write_volatile(cell, read_volatile(cell) + moved);
        write_volatile(addr_of_mut!((*state).missed), (*state).missed + missed);
        write_volatile(addr_of_mut!((*state).prev_who), prev);
        write_volatile(addr_of_mut!((*state).prev_start), start);
        write_volatile(addr_of_mut!((*state).prev_moved), moved);
        write_volatile(addr_of_mut!((*state).who), who);
        write_volatile(addr_of_mut!((*state).count), count);
        write_volatile(addr_of_mut!((*state).off), off);
        write_volatile(addr_of_mut!((*state).start), end);
        if known && prev != IDLE {
            let rates = addr_of_mut!((*state).rate).cast::<u64>();
            rate::learn(rates.add(prev as usize & MASK), moved, end - start);
            rate::learn(rates, moved, end - start);
        }
        write_volatile(addr_of_mut!((*state).seq), seq + 2);
    }
    Ok(())
}

/// This CPU's counter, and for how long it has not counted though it was to; `TORN`: it could not be read.
#[inline(always)]
fn read(events: &'static PerfEventArray) -> (u64, u64) {
    /// `BPF_F_CURRENT_CPU`.
    const HERE: u64 = 0xffff_ffff;
    let map = core::ptr::from_ref(events).cast_mut().cast();
    let mut value = bpf_perf_event_value { counter: 0, enabled: 0, running: 0 };
    // SAFETY: the map holds perf events; the buffer is of the size the helper wants.
    let failed = unsafe {
        bpf_perf_event_read_value(
            map,
            HERE,
            &raw mut value,
            size_of::<bpf_perf_event_value>() as u32,
        )
    };
    if failed != 0 {
        lost(Loss::Counter);
        return (TORN, 0);
    }
    (value.counter, value.enabled.wrapping_sub(value.running))
}

/// Begins a tick: nothing is summed yet.
///
/// # Safety
///
/// `record` must be this CPU's scratch.
#[inline(always)]
pub unsafe fn begin(record: *mut WideTickRecord) -> Result<(), ()> {
    let scratch = CORE_SCRATCH.get_ptr_mut(0).ok_or(())?;
    // SAFETY: this CPU's scratches, which no other program uses while a tick runs.
    unsafe {
        clock::zero(&raw mut (*record).cycles);
        clock::zero(&raw mut (*record).misses);
        for of in [OF_CYCLES, OF_MISSES] {
            write_volatile(addr_of_mut!((*scratch).missed[of]), 0);
            write_volatile(addr_of_mut!((*scratch).unknown[of]), 0);
        }
    }
    Ok(())
}

/// How many pieces are not known on the CPUs that were added.
#[inline(always)]
pub fn missed() -> Result<[u64; 2], ()> {
    let scratch = CORE_SCRATCH.get_ptr(0).ok_or(())?;
    // SAFETY: this CPU's scratch.
    Ok(unsafe { (*scratch).missed })
}

/// Whether cycles and misses are known of all time since there were so many pieces of which they are not: 1 or 0.
///
/// # Safety
///
/// `before` must be readable.
#[inline(always)]
pub unsafe fn known(before: *const [u64; 2]) -> Result<[u32; 2], ()> {
    let scratch = CORE_SCRATCH.get_ptr(0).ok_or(())?;
    // SAFETY: this CPU's scratch; the caller answers for `before`.
    let known = |of: usize| unsafe {
        u32::from((*scratch).unknown[of] == 0 && (*scratch).missed[of] == (*before)[of])
    };
    let misses = if READ_MISSES.load() != 0 { known(OF_MISSES) } else { 0 };
    Ok([known(OF_CYCLES), misses])
}

/// Adds a CPU's cycles, and misses if they are read, as of `now` to this CPU's record. 0: torn on every try.
#[inline(always)]
pub fn add(cpu: u32, now: u64) -> u32 {
    if add_cycles(cpu, now) == 0 {
        return 0;
    }
    if READ_MISSES.load() != 0 {
        add_misses(cpu, now)
    } else {
        1
    }
}

/// Cycles. A global function, as `beside::add_beside`.
#[no_mangle]
#[inline(never)]
pub extern "C" fn add_cycles(cpu: u32, now: u64) -> u32 {
    add_of::<OF_CYCLES>(cpu, now, &CYCLES)
}

/// Misses of the last cache level.
#[no_mangle]
#[inline(never)]
pub extern "C" fn add_misses(cpu: u32, now: u64) -> u32 {
    add_of::<OF_MISSES>(cpu, now, &MISSES)
}

/// What a counter moves for a consumer in a nanosecond on that CPU; 0: not known.
///
/// # Safety
///
/// `state` must be readable.
#[inline(always)]
unsafe fn price(state: *const CountState, who: u32) -> u64 {
    const { assert!(IDLE == 0) };
    // SAFETY: the caller answers for it; the index is masked.
    unsafe {
        let rates = addr_of!((*state).rate).cast::<u64>();
        or_else(rate::get(rates.add(who as usize & MASK)), rate::get(rates))
    }
}

/// Between the two programs of a switch the slice that has begun is known by the slot only: the one before it then ends where
/// that begins.
#[inline(always)]
fn add_of<const OF: usize>(cpu: u32, now: u64, states: &'static Array<CountState, 1>) -> u32 {
    let (Some(state), Some(slot)) = (states.get_ptr(cpu), SLOTS.get_ptr(cpu)) else { return 1 };
    let (Some(scratch), Some(record)) = (CORE_SCRATCH.get_ptr_mut(0), TICK_SCRATCH.get_ptr_mut(0))
    else {
        return 0;
    };
    // SAFETY: map values and this CPU's scratches, which no other program uses while a tick runs.
    unsafe {
        for _ in 0..RETRIES {
            let seq = read_volatile(addr_of!((*state).seq));
            for k in 0..CONSUMERS {
                (*scratch).work[k] = read_volatile(addr_of!((*state).moved[k]));
            }
            let start = read_volatile(addr_of!((*state).start));
            let prev_start = read_volatile(addr_of!((*state).prev_start));
            let prev_moved = read_volatile(addr_of!((*state).prev_moved));
            let count = read_volatile(addr_of!((*state).count));
            let missed = read_volatile(addr_of!((*state).missed));
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
            let (mut first, mut rest, mut unknown) = (0, 0, 0);
            let mut to = who;
            if start == 0 {
                // Nothing was read here yet. Whoever runs has a count that is not known.
                to = IDLE;
                if begun != 0 && new != IDLE {
                    unknown = 1;
                }
            } else if now >= start {
                let mut end = now;
                if begun > start && now >= begun {
                    end = begun;
                    if new != IDLE {
                        rest = rate::by(now - begun, price(state, new));
                    }
                }
                if who != IDLE {
                    first = rate::by(end - start, price(state, who));
                    if count == TORN {
                        unknown = 1;
                    }
                }
            } else {
                // The reading came after the instant: its part of the piece before is taken back.
                let (after, length) = (start - now, start - prev_start);
                if after >= REACH || prev_moved >= MOST {
                    return 0;
                }
                to = prev_who;
                if prev_start != 0 {
                    first = (prev_moved * after / length).wrapping_neg();
                }
            }
            let sums = if OF == OF_CYCLES {
                addr_of_mut!((*record).cycles)
            } else {
                addr_of_mut!((*record).misses)
            };
            for k in 0..CONSUMERS {
                let sum = addr_of_mut!((*sums)[k]);
                write_volatile(sum, read_volatile(sum).wrapping_add((*scratch).work[k]));
            }
            let cell = sums.cast::<u64>().add(to as usize & MASK);
            write_volatile(cell, read_volatile(cell).wrapping_add(first));
            let cell = sums.cast::<u64>().add(new as usize & MASK);
            write_volatile(cell, read_volatile(cell).wrapping_add(rest));
            (*scratch).missed[OF] = (*scratch).missed[OF].wrapping_add(missed);
            (*scratch).unknown[OF] |= unknown;
            return 1;
        }
    }
    0
}

//! Cycles: what each consumer's slices ran on every CPU, in cycles of the core and not in nanoseconds, for the weight `cycles`.
//!
//! A CPU's counter can be read on that CPU only. A second program at the context switch reads it when a slice ends, so that
//! the first one is as it was where nobody asks for cycles; a slow timer reads it within long slices, and the tick on its own
//! CPU. Between two readings lies a *piece*. Of the piece in progress on another CPU the tick only knows for how long it
//! runs: it is taken to have what that consumer had there in a nanosecond before, and when the piece is closed the counter is right. So
//! an error lasts for 50 ms at most, with requests in flight for one tick, and the sums have none.
//!
//! A piece at whose begin or end the counter could not be read, or within which it did not count all the time, has no
//! cycles, which is not 0: `missed` counts it, and the next tick says that it knows no cycles. Needs a PMU; any kernel.

use core::ptr::{addr_of, addr_of_mut, read_volatile, write_volatile};

use aya_ebpf::{
    bindings::bpf_perf_event_value,
    helpers::{bpf_get_smp_processor_id, bpf_ktime_get_ns, generated::bpf_perf_event_read_value},
    macros::{btf_tracepoint, raw_tracepoint},
    programs::{BtfTracePointContext, RawTracePointContext},
};
use probe_common::{CyclesState, Loss, WideTickRecord, CONSUMERS, IDLE, TORN};

use crate::{
    atomic,
    bound::or_else,
    emit::lost,
    maps::{CORE_SCRATCH, CYCLES, CYCLE_EVENTS, SLOTS, TICK_SCRATCH},
    rate,
};

const RETRIES: usize = 3;
const MASK: usize = CONSUMERS - 1;
/// More cycles than a piece has: the counter is another one than it was, or went back.
const MOST: u64 = 1 << 40;
/// A reader's instant is not longer before the last reading than this, ns.
const REACH: u64 = 1 << 22;

#[btf_tracepoint(function = "sched_switch")]
pub fn cycles_switch(_ctx: BtfTracePointContext) -> i32 {
    let _ = close(false);
    0
}

#[raw_tracepoint(tracepoint = "sched_switch")]
pub fn cycles_switch_raw(_ctx: RawTracePointContext) -> i32 {
    let _ = close(false);
    0
}

/// Closes the piece in progress on this CPU, in a timer's interrupt, where no switch can be in progress.
#[inline(always)]
pub fn at_timer() -> i32 {
    let _ = close(true);
    0
}

/// Closes the piece that ended at the instant `sched_switch`, which was attached first, or the resync has just written down.
/// Where no slice has ended a timer ends the piece now.
#[inline(always)]
fn close(timer: bool) -> Result<(), ()> {
    // SAFETY: helpers without side effects.
    let (cpu, now) =
        unsafe { (bpf_get_smp_processor_id(), if timer { bpf_ktime_get_ns() } else { 0 }) };
    let state = CYCLES.get_ptr_mut(cpu).ok_or(())?;
    let slot = SLOTS.get_ptr(cpu).ok_or(())?;
    // SAFETY: this CPU's slot and state, which nothing else on this CPU writes while interrupts are off.
    unsafe {
        let (begun, who) = ((*slot).start, (*slot).who);
        let (start, prev) = ((*state).start, (*state).who);
        let end = if begun > start { begun } else { now };
        if begun == 0 || end <= start {
            return Ok(());
        }
        let (count, off) = read();
        // What was never read before has no begin, and nothing is told of the time before it.
        let more = count.wrapping_sub((*state).count);
        let known = start != 0
            && count != TORN
            && (*state).count != TORN
            && off == (*state).off
            && more < MOST;
        let cycles = if known { more } else { 0 };
        let missed = u64::from(!known && start != 0 && prev != IDLE);
        let seq = (*state).seq;
        let cell = addr_of_mut!((*state).cycles).cast::<u64>().add(prev as usize & MASK);
        atomic::add(addr_of_mut!((*state).seq), 1);
        write_volatile(cell, read_volatile(cell) + cycles);
        write_volatile(addr_of_mut!((*state).missed), (*state).missed + missed);
        write_volatile(addr_of_mut!((*state).prev_who), prev);
        write_volatile(addr_of_mut!((*state).prev_start), start);
        write_volatile(addr_of_mut!((*state).prev_cycles), cycles);
        write_volatile(addr_of_mut!((*state).who), who);
        write_volatile(addr_of_mut!((*state).count), count);
        write_volatile(addr_of_mut!((*state).off), off);
        write_volatile(addr_of_mut!((*state).start), end);
        if known && prev != IDLE {
            let rates = addr_of_mut!((*state).rate).cast::<u64>();
            rate::learn(rates.add(prev as usize & MASK), cycles, end - start);
            rate::learn(rates, cycles, end - start);
        }
        write_volatile(addr_of_mut!((*state).seq), seq + 2);
    }
    Ok(())
}

/// This CPU's counter, and for how long it has not counted though it was to; `TORN`: it could not be read.
#[inline(always)]
fn read() -> (u64, u64) {
    /// `BPF_F_CURRENT_CPU`.
    const HERE: u64 = 0xffff_ffff;
    let map = addr_of!(CYCLE_EVENTS).cast_mut().cast();
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

/// What a consumer has in a nanosecond on that CPU; 0: not known.
///
/// # Safety
///
/// `state` must be readable.
#[inline(always)]
unsafe fn price(state: *const CyclesState, who: u32) -> u64 {
    const { assert!(IDLE == 0) };
    // SAFETY: the caller answers for it; the index is masked.
    unsafe {
        let rates = addr_of!((*state).rate).cast::<u64>();
        or_else(rate::get(rates.add(who as usize & MASK)), rate::get(rates))
    }
}

/// [`add_cycles`]: of a piece in progress the cycles are not known.
const UNKNOWN: u64 = 1 << 63;

/// Pieces of which the cycles are not known, of all CPUs together.
#[derive(Default)]
pub struct Missed {
    /// Closed ones.
    pub count: u64,
    flags: u64,
}

impl Missed {
    /// Adds what [`add_cycles`] said. Without a branch: the verifier walks every way through a loop over CPUs.
    #[inline(always)]
    pub fn add(&mut self, of: u64) {
        self.count = self.count.wrapping_add((of & !UNKNOWN) - 1);
        self.flags |= of;
    }

    /// Whether there is one now, or was one since there were `before`.
    #[inline(always)]
    pub fn since(&self, before: u64) -> bool {
        self.flags & UNKNOWN != 0 || self.count != before
    }
}

/// Adds a CPU's cycles as of `now` to this CPU's record, and says how many of its pieces are not known: one more than that,
/// with a flag if it is the one in progress. 0: torn on every try.
///
/// Between the two programs of a switch the slice that has begun is known by the slot only: the one before it then ends where
/// that begins. A global function, as `beside::add_beside`.
#[no_mangle]
#[inline(never)]
pub extern "C" fn add_cycles(cpu: u32, now: u64) -> u64 {
    let (Some(state), Some(slot)) = (CYCLES.get_ptr(cpu), SLOTS.get_ptr(cpu)) else { return 1 };
    let (Some(scratch), Some(whole)) = (CORE_SCRATCH.get_ptr_mut(0), TICK_SCRATCH.get_ptr_mut(0))
    else {
        return 0;
    };
    let record = whole.cast::<WideTickRecord>();
    // SAFETY: map values and this CPU's scratch, which no other program uses while a tick runs.
    unsafe {
        for _ in 0..RETRIES {
            let seq = read_volatile(addr_of!((*state).seq));
            for k in 0..CONSUMERS {
                (*scratch).work[k] = read_volatile(addr_of!((*state).cycles[k]));
            }
            let start = read_volatile(addr_of!((*state).start));
            let prev_start = read_volatile(addr_of!((*state).prev_start));
            let prev_cycles = read_volatile(addr_of!((*state).prev_cycles));
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
            let mut said = (missed & !UNKNOWN) + 1;
            let (mut first, mut rest) = (0, 0);
            let mut to = who;
            if start == 0 {
                // Nothing was read here yet. Whoever runs has cycles that are not known.
                to = IDLE;
                if begun != 0 && new != IDLE {
                    said |= UNKNOWN;
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
                        said |= UNKNOWN;
                    }
                }
            } else {
                // The reading came after the instant: its part of the piece before is taken back.
                let (after, length) = (start - now, start - prev_start);
                if after >= REACH || prev_cycles >= MOST {
                    return 0;
                }
                to = prev_who;
                if prev_start != 0 {
                    first = (prev_cycles * after / length).wrapping_neg();
                }
            }
            for k in 0..CONSUMERS {
                let sum = addr_of_mut!((*record).cycles[k]);
                write_volatile(sum, read_volatile(sum).wrapping_add((*scratch).work[k]));
            }
            let cells = addr_of_mut!((*record).cycles).cast::<u64>();
            let cell = cells.add(to as usize & MASK);
            write_volatile(cell, read_volatile(cell).wrapping_add(first));
            let cell = cells.add(new as usize & MASK);
            write_volatile(cell, read_volatile(cell).wrapping_add(rest));
            return said;
        }
    }
    0
}

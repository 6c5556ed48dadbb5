//! Core energy: closes the windows of a core's own energy counter, charges what it counted to who ran on the
//! core, and learns what each consumer draws there.
//!
//! A core's counter can be read on the core's own CPUs only, so nobody else can do this. A window ends at a
//! switch on one of them, so that the core's idle time and the next slice are apart, and at a slow timer, so
//! that a task that never leaves is seen too. Both come with interrupts off and never as an NMI, so of the
//! two CPUs of a core each can only meet the other, and that is what the lock is for. Loaded only where there
//! are such counters (AMD, Linux 6.14); the reading needs Linux 6.12, the lock 5.12.

use core::ptr::{addr_of, addr_of_mut};

use aya_ebpf::{
    bindings::bpf_perf_event_value,
    helpers::{bpf_get_smp_processor_id, bpf_ktime_get_ns, generated::bpf_perf_event_read_value},
    macros::{btf_tracepoint, perf_event, raw_tracepoint},
    programs::{BtfTracePointContext, PerfEventContext, RawTracePointContext},
};
use probe_common::{CoreState, CpuCore, Loss, CONSUMERS, CORE_LAG_NS, CORE_WINDOW_NS, IDLE};

use crate::{
    atomic,
    bound::or_else,
    clock,
    emit::lost,
    maps::{CoreScratch, CORES, CORE_ENERGY, CORE_OF, CORE_SCRATCH, SLOTS},
    rate, share,
};

/// A rate is not learned from a window in which the core was idle for more than three quarters of the time:
/// what it draws then is not the doing of who ran.
const BUSY_PART: u64 = 4;

#[btf_tracepoint(function = "sched_switch")]
pub fn core_switch(_ctx: BtfTracePointContext) -> i32 {
    at_switch()
}

#[raw_tracepoint(tracepoint = "sched_switch")]
pub fn core_switch_raw(_ctx: RawTracePointContext) -> i32 {
    at_switch()
}

#[perf_event]
pub fn core_timer(_ctx: PerfEventContext) -> i32 {
    // SAFETY: helpers without side effects.
    let (now, cpu) = unsafe { (bpf_ktime_get_ns(), bpf_get_smp_processor_id()) };
    let _ = close(cpu, now);
    0
}

/// The window ends at the instant that `sched_switch`, which was attached first, has just written down: so
/// the slice that begins has no part in it.
#[inline(always)]
fn at_switch() -> i32 {
    // SAFETY: a helper without side effects.
    let cpu = unsafe { bpf_get_smp_processor_id() };
    if let Some(slot) = SLOTS.get_ptr(cpu) {
        // SAFETY: this CPU's slot, which nobody writes now.
        let _ = close(cpu, unsafe { (*slot).start });
    }
    0
}

/// Closes the window of this CPU's core, if it is old enough and the sibling is not about to.
#[inline(always)]
fn close(cpu: u32, now: u64) -> Result<(), ()> {
    let of = CORE_OF.get(cpu).copied().ok_or(())?;
    if of.epoch == 0 {
        return Ok(());
    }
    let core = CORES.get_ptr_mut(of.core).ok_or(())?;
    // SAFETY: a map value; what is decided here is decided again under the lock.
    unsafe {
        if now < addr_of!((*core).t).read_volatile() + CORE_WINDOW_NS {
            return Ok(());
        }
        if !atomic::try_lock(addr_of_mut!((*core).lock)) {
            return Ok(());
        }
        let _ = close_locked(core, of, cpu, now);
        atomic::unlock(addr_of_mut!((*core).lock));
    }
    Ok(())
}

#[inline(always)]
unsafe fn close_locked(core: *mut CoreState, of: CpuCore, cpu: u32, now: u64) -> Result<(), ()> {
    let scratch = CORE_SCRATCH.get_ptr_mut(0).ok_or(())?;
    // SAFETY: this CPU's scratch, and the core is ours.
    unsafe {
        // Another event knows nothing of what this one counts from.
        let begin = if (*core).epoch == of.epoch { (*core).t } else { 0 };
        if now < begin + CORE_WINDOW_NS {
            return Ok(());
        }
        clock::zero(&raw mut (*scratch).clock);
        let (clocks, work) = (&raw mut (*scratch).clock, &raw mut (*scratch).work);
        let mut last = [IDLE; 2];
        for i in 0..2 {
            let of = if i == 0 { cpu } else { of.sibling };
            if i == 1 && of == cpu {
                break;
            }
            let slot = SLOTS.get_ptr(of).ok_or(())?;
            if !clock::add_all_by(slot, now, clocks, work) {
                // The window stays open; its energy comes with the next one.
                return Ok(());
            }
            last[i] = if (*slot).start >= now { (*slot).prev_who } else { (*slot).who };
        }
        let Some(counter) = read(of.core) else {
            // Nobody's: from when to when it was not read is not known.
            (*core).t = 0;
            lost(Loss::Counter);
            return Err(());
        };
        if begin != 0 {
            let delta = counter.wrapping_sub((*core).counter);
            charge(core, scratch, delta, now - begin);
        }
        (*core).t = now;
        (*core).last = last;
        (*core).epoch = of.epoch;
        (*core).counter = counter;
        for k in 0..CONSUMERS {
            if begin == 0 || (*clocks)[k] > (*core).clock[k] {
                (*core).clock[k] = (*clocks)[k];
            }
        }
    }
    Ok(())
}

/// The core's counter, on a CPU of the core.
#[inline(always)]
fn read(core: u32) -> Option<u64> {
    let map = addr_of!(CORE_ENERGY).cast_mut().cast();
    let mut value = bpf_perf_event_value { counter: 0, enabled: 0, running: 0 };
    // SAFETY: the map holds perf events; the buffer is of the size the helper wants.
    let failed = unsafe {
        bpf_perf_event_read_value(
            map,
            u64::from(core),
            &raw mut value,
            size_of::<bpf_perf_event_value>() as u32,
        )
    };
    (failed == 0).then_some(value.counter)
}

/// That part of a time.
#[inline(always)]
fn part(ns: u64, of: u64, whole: u64) -> u64 {
    (ns * of).checked_div(whole).unwrap_or(0)
}

/// Charges a window. The counter shows what was drawn up to half a millisecond ago, so a part of the window's
/// energy is that of who ran at the end of the one before, as far as it is known what he draws. Of the rest nobody is charged what the core draws while
/// nobody runs, for the time in which nobody did, and who ran shares in proportion to on-CPU time. Of the two CPUs of
/// a core it is not known when both were idle; the least that it can have been is taken.
#[inline(always)]
unsafe fn charge(core: *mut CoreState, scratch: *mut CoreScratch, delta: u64, length: u64) {
    // SAFETY: the core is ours, and so is this CPU's scratch.
    unsafe {
        let idle = addr_of_mut!((*core).idle_rate);
        let any = rate::get(addr_of!((*core).rate[IDLE as usize]));
        let (mut delta, mut shown, mut known) = (delta, length, true);
        let nobody = (*core).last[0] == IDLE && (*core).last[1] == IDLE;
        for i in 0..2 {
            let who = (*core).last[i] as usize & (CONSUMERS - 1);
            if who == IDLE as usize && (i == 1 || !nobody) {
                continue;
            }
            let price = if nobody {
                rate::get(idle)
            } else {
                or_else(rate::get(addr_of!((*core).rate[who])), any)
            };
            if price == 0 {
                known = false;
                continue;
            }
            let late = rate::by(CORE_LAG_NS, price);
            let late = if late < delta { late } else { delta };
            (*core).book[who] += late;
            delta -= late;
            shown = length - CORE_LAG_NS;
        }
        let used = &raw mut (*scratch).work;
        let sum = share::used(&raw const (*scratch).clock, &raw const (*core).clock, used);
        let Some(shares) = share::of(sum) else {
            (*core).book[IDLE as usize] += delta;
            // Not from what somebody left behind of whom nothing is known yet.
            if known || nobody {
                rate::learn(idle, delta, shown);
            }
            return;
        };
        let rest = if length > sum { length - sum } else { 0 };
        let nobody = rate::by(rest, rate::get(idle));
        let nobody = if nobody < delta { nobody } else { delta };
        (*core).book[IDLE as usize] += nobody;
        let delta = delta - nobody;
        let split = shares.split(delta);
        // Longer windows than anything but a lost timer makes would not fit.
        let learn = sum >= length / BUSY_PART && length < 1 << 31;
        if learn {
            rate::learn(addr_of_mut!((*core).rate[IDLE as usize]), delta, part(sum, shown, length));
        }
        for k in IDLE as usize + 1..CONSUMERS {
            let ns = (*used)[k];
            if ns == 0 {
                continue;
            }
            let units = split.part(ns);
            (*core).book[k] += units;
            if learn {
                rate::learn(addr_of_mut!((*core).rate[k]), units, part(ns, shown, length));
            }
        }
    }
}

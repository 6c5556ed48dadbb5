//! The tick: reads a package's energy counters and all its clocks at one instant, and charges the
//! window's energy to the consumers whose slices ran in it (the kernel books).
//!
//! A `perf_event` program on the software CPU clock, one CPU per package: the CPU the energy PMU names,
//! so that kernels before 6.7 can read the counter too. Minimum kernel 5.8 (ring buffer).

use aya_ebpf::{
    bindings::bpf_perf_event_value,
    btf_maps::PerfEventArray,
    helpers::{bpf_get_smp_processor_id, bpf_ktime_get_ns, generated::bpf_perf_event_read_value},
    macros::perf_event,
    programs::PerfEventContext,
};
use probe_common::{
    CoreTickRecord, Kind, Loss, TickRecord, TickState, WideTickRecord, CONSUMERS, HAVE_BESIDE,
    HAVE_CORES, HAVE_CYCLES, HAVE_MISSES, IDLE, MAX_COUNTERS, MAX_CPUS, MAX_PACKAGES,
};

use crate::{
    beside, clock, counts, emit,
    maps::{
        BOOKS, CONTROL, COUNTERS, ENERGY_0, ENERGY_1, ENERGY_2, ENERGY_3, ENERGY_4, ENERGY_5,
        ENERGY_6, ENERGY_7, LAST_IO, NR_CPUS, PACKAGE_OF, SLOTS, TICKS, TICK_SCRATCH,
    },
    share, weigh,
};

#[perf_event]
pub fn tick(_ctx: PerfEventContext) -> i32 {
    let _ = try_tick::<0>();
    0
}

/// The tick where cores have energy counters.
#[perf_event]
pub fn tick_cores(_ctx: PerfEventContext) -> i32 {
    let _ = try_tick::<HAVE_CORES>();
    0
}

/// The tick where cores have two threads, and no energy counters, which would know more.
#[perf_event]
pub fn tick_beside(_ctx: PerfEventContext) -> i32 {
    let _ = try_tick::<HAVE_BESIDE>();
    0
}

/// The tick where slices are weighed by cycles. This CPU's counter is read here; those of others are out of reach.
#[perf_event]
pub fn tick_cycles(_ctx: PerfEventContext) -> i32 {
    counts::at_timer();
    let _ = try_tick::<HAVE_CYCLES>();
    0
}

#[inline(always)]
fn try_tick<const HAVE: u32>() -> Result<(), ()> {
    // SAFETY: helpers without side effects.
    let (now, cpu) = unsafe { (bpf_ktime_get_ns(), bpf_get_smp_processor_id()) };
    let package = *PACKAGE_OF.get(cpu).ok_or(())? & (MAX_PACKAGES as u32 - 1);
    let state = TICKS.get_ptr_mut(package).ok_or(())?;
    if !due(state, now)? {
        return Ok(());
    }
    let whole = TICK_SCRATCH.get_ptr_mut(0).ok_or(())?;
    let record = whole.cast::<TickRecord>();
    // SAFETY: this CPU's scratch and this package's state; a tick does not interrupt itself.
    unsafe {
        (*record).kind = Kind::Tick as u32;
        (*record).package = package;
        (*record).t = now;
        (*record).number = (*state).number + 1;
        // Into the same scratch; what it returns is of no interest.
        read_counters(package);
        if HAVE != 0 {
            (*record).have = HAVE;
        }
        if HAVE == HAVE_BESIDE {
            clock::zero(&raw mut (*whole).beside);
        }
        if HAVE == HAVE_CYCLES {
            counts::begin(whole)?;
        }
        let read = if HAVE == HAVE_CORES {
            weigh::read_clocks(whole.cast(), package, now)
        } else {
            read_clocks::<HAVE>(record, package, now)
        };
        if !read {
            emit::lost(Loss::Torn);
            return Err(());
        }
        if HAVE == HAVE_CYCLES {
            let known = counts::known(&raw const (*state).missed)?;
            (*record).have = known[0] * HAVE_CYCLES | known[1] * HAVE_MISSES;
        }
        if (*state).number != 0 {
            charge(record, state, package);
        }
        (*state).number = (*record).number;
        (*state).valid = (*record).valid;
        (*state).counter = (*record).counter;
        // As in the ledger: a clock that went back stands still until it has caught up.
        for k in 0..CONSUMERS {
            if (*record).clock[k] > (*state).clock[k] {
                (*state).clock[k] = (*record).clock[k];
            }
        }
        let size = match HAVE {
            0 => size_of::<TickRecord>(),
            HAVE_CORES => size_of::<CoreTickRecord>(),
            _ => size_of::<WideTickRecord>(),
        };
        let sent = emit::event(record.cast(), size as u64, Loss::Tick);
        if HAVE == HAVE_CYCLES && sent {
            (*state).missed = counts::missed()?;
        }
    }
    Ok(())
}

/// Whether this expiry of the timer is a tick: each one while requests are in flight, else every n-th.
#[inline(always)]
fn due(state: *mut TickState, now: u64) -> Result<bool, ()> {
    let control = CONTROL.get(0).ok_or(())?;
    let last_io = *LAST_IO.get(0).ok_or(())?;
    // SAFETY: this package's state.
    unsafe {
        (*state).skipped += 1;
        let busy = control.in_flight > 0 || now.wrapping_sub(last_io) < control.linger_ns;
        if !busy && (*state).skipped < control.idle_divisor {
            return Ok(false);
        }
        (*state).skipped = 0;
    }
    Ok(true)
}

/// Every counter of the package into its place in this CPU's record.
///
/// A global function, as `capture::target_clock`: what an inlined one leaves behind on the stack would make the verifier
/// walk the loops after it twice.
#[no_mangle]
#[inline(never)]
pub extern "C" fn read_counters(package: u32) -> u32 {
    const { assert!(MAX_COUNTERS == 8) };
    let Some(whole) = TICK_SCRATCH.get_ptr_mut(0) else { return 0 };
    let record = whole.cast::<TickRecord>();
    let mask = COUNTERS.get(package).copied().unwrap_or(0);
    // SAFETY: this CPU's scratch; a tick does not interrupt itself.
    unsafe {
        (*record).valid = 0;
        read_counter(record, package, mask, &ENERGY_0, 0);
        read_counter(record, package, mask, &ENERGY_1, 1);
        read_counter(record, package, mask, &ENERGY_2, 2);
        read_counter(record, package, mask, &ENERGY_3, 3);
        read_counter(record, package, mask, &ENERGY_4, 4);
        read_counter(record, package, mask, &ENERGY_5, 5);
        read_counter(record, package, mask, &ENERGY_6, 6);
        read_counter(record, package, mask, &ENERGY_7, 7);
    }
    0
}

#[inline(always)]
unsafe fn read_counter(
    record: *mut TickRecord,
    package: u32,
    mask: u32,
    map: &'static PerfEventArray,
    i: usize,
) {
    let mut value = bpf_perf_event_value { counter: 0, enabled: 0, running: 0 };
    if mask & (1 << i) != 0 {
        let map = core::ptr::from_ref(map).cast_mut().cast();
        let size = size_of::<bpf_perf_event_value>() as u32;
        // SAFETY: the map holds perf events; the buffer is of the size the helper wants.
        let failed =
            unsafe { bpf_perf_event_read_value(map, package.into(), &raw mut value, size) };
        if failed == 0 {
            // SAFETY: the caller's record.
            unsafe { (*record).valid |= 1 << i };
        } else {
            emit::lost(Loss::Counter);
        }
    }
    // SAFETY: the caller's record.
    unsafe { (*record).counter[i] = value.counter };
}

/// False when a slot stayed torn: then there is no tick, and the next one closes a longer window.
#[inline(always)]
unsafe fn read_clocks<const HAVE: u32>(record: *mut TickRecord, package: u32, now: u64) -> bool {
    // SAFETY: the caller's record.
    unsafe {
        (*record).clock = [0; CONSUMERS];
        for cpu in 0..MAX_CPUS as u32 {
            if cpu >= NR_CPUS.load() {
                break;
            }
            if PACKAGE_OF.get(cpu).copied() != Some(package) {
                continue;
            }
            let Some(slot) = SLOTS.get_ptr(cpu) else { break };
            if !clock::add_all(slot, now, &raw mut (*record).clock) {
                return false;
            }
            if HAVE == HAVE_BESIDE && beside::add_beside(cpu, now) == 0 {
                return false;
            }
            if HAVE == HAVE_CYCLES && counts::add(cpu, now) == 0 {
                return false;
            }
        }
    }
    true
}

/// Kernel books: each counter's energy since the last tick, in proportion to on-CPU time.
#[inline(always)]
unsafe fn charge(record: *const TickRecord, state: *const TickState, package: u32) {
    let mut used = [0u64; CONSUMERS];
    // SAFETY: the caller's record and state.
    let sum = unsafe {
        share::used(&raw const (*record).clock, &raw const (*state).clock, &raw mut used)
    };
    let Some(shares) = share::of(sum) else { return };
    for i in 0..MAX_COUNTERS {
        // SAFETY: the caller's record and state.
        unsafe {
            if (*record).valid & (*state).valid & (1 << i) == 0 {
                continue;
            }
            let delta = (*record).counter[i].wrapping_sub((*state).counter[i]);
            let Some(row) = BOOKS.get_ptr_mut(package * MAX_COUNTERS as u32 + i as u32) else {
                continue;
            };
            let split = shares.split(delta);
            for k in IDLE as usize + 1..CONSUMERS {
                (*row)[k] += split.part(used[k]);
            }
        }
    }
}

//! The tick where cores have energy counters: clocks, and the same clocks weighed with what each consumer
//! draws on each core, so that a nanosecond on a 10 W core counts five times one on a 2 W core.
//!
//! The counters themselves cannot be read here: each only on the CPUs of its core (`core`). Their books lag by
//! up to a window of the core; the weights do not, since it is rates that are multiplied with clocks of this
//! instant.

use core::ptr::{addr_of, addr_of_mut};

use probe_common::{
    CoreState, CoreTickRecord, CoreWeights, CONSUMERS, IDLE, MAX_CPUS, RATE_BITS,
};

use crate::{
    clock,
    maps::{
        CORES, CORE_CLOCKS, CORE_OF, CORE_SCRATCH, CORE_WEIGHTS, NR_CPUS, PACKAGE_OF, SLOTS,
        USE_CORES,
    },
};

/// Whether cores have counters that are used: a constant to the verifier, which drops what is not.
#[inline(always)]
pub fn cores() -> bool {
    USE_CORES.load() != 0
}

/// Fills in clocks, weights and books. False when a slot stayed torn: then there is no tick, and what was
/// weighed so far comes with the next one.
#[inline(always)]
pub unsafe fn read_clocks(record: *mut CoreTickRecord, package: u32, now: u64) -> bool {
    let (Some(weights), Some(scratch)) =
        (CORE_WEIGHTS.get_ptr_mut(package), CORE_SCRATCH.get_ptr_mut(0))
    else {
        return false;
    };
    let mut known = Known { units: 0, ns: 0 };
    // SAFETY: the caller's record, this package's weights, this CPU's scratch.
    unsafe {
        (*record).tick.clock = [0; CONSUMERS];
        (*record).book = [0; CONSUMERS];
        for cpu in 0..MAX_CPUS as u32 {
            if cpu >= NR_CPUS.load() {
                break;
            }
            if PACKAGE_OF.get(cpu).copied() != Some(package) {
                continue;
            }
            let Some(slot) = SLOTS.get_ptr(cpu) else { break };
            (*scratch).clock = [0; CONSUMERS];
            let (one, copy) = (&raw mut (*scratch).clock, &raw mut (*scratch).work);
            if !clock::add_all_by(slot, now, one, copy) {
                return false;
            }
            for k in 0..CONSUMERS {
                (*record).tick.clock[k] += (*one)[k];
            }
            weigh(cpu, one, weights, &mut known);
            add_book(cpu, addr_of_mut!((*record).book));
        }
        if known.ns != 0 && known.units < 1 << 47 {
            (*weights).mean = (known.units << RATE_BITS) / known.ns;
        }
        (*record).weight = (*weights).weight;
    }
    true
}

/// What was weighed with a known rate.
struct Known {
    units: u64,
    ns: u64,
}

/// Weighs what a CPU's clocks have run since the last tick.
#[inline(always)]
unsafe fn weigh(
    cpu: u32,
    clock: *const [u64; CONSUMERS],
    weights: *mut CoreWeights,
    known: &mut Known,
) {
    let (Some(last), Some(of)) = (CORE_CLOCKS.get_ptr_mut(cpu), CORE_OF.get(cpu)) else { return };
    let core = CORES.get_ptr(of.core);
    // SAFETY: maps and the caller's buffers.
    unsafe {
        for k in IDLE as usize + 1..CONSUMERS {
            let (new, old) = ((*clock)[k], (*last)[k]);
            if new <= old {
                continue;
            }
            (*last)[k] = new;
            let ns = new - old;
            let rate = rate(core, k);
            // Rates are below 2^32.
            let by = |rate: u64| {
                if ns < 1 << 32 {
                    (ns * rate) >> RATE_BITS
                } else {
                    (ns >> RATE_BITS) * rate
                }
            };
            if rate != 0 {
                let units = by(rate);
                known.units += units;
                known.ns += ns;
                (*weights).weight[k] += units;
            } else {
                // Never 0: who was on CPU has a weight.
                let mean = (*weights).mean & 0xffff_ffff;
                (*weights).weight[k] += by(if mean != 0 { mean } else { 1 << RATE_BITS });
            }
        }
    }
}

/// A consumer's rate on a core, else the core's own; 0: not known.
#[inline(always)]
unsafe fn rate(core: Option<*const CoreState>, k: usize) -> u64 {
    let Some(core) = core else { return 0 };
    // SAFETY: a map value; a rate is one word, so it is never torn.
    unsafe {
        let own = addr_of!((*core).rate[k]).read_volatile();
        let rate =
            if own != 0 { own } else { addr_of!((*core).rate[IDLE as usize]).read_volatile() };
        rate & 0xffff_ffff
    }
}

/// Adds a core's book, with the CPU that stands for it.
#[inline(always)]
unsafe fn add_book(cpu: u32, sums: *mut [u64; CONSUMERS]) {
    if CORE_OF.get(cpu).map(|of| of.core) != Some(cpu) {
        return;
    }
    let Some(core) = CORES.get_ptr(cpu) else { return };
    // SAFETY: a map value and the caller's buffer.
    unsafe {
        for k in 0..CONSUMERS {
            (*sums)[k] += addr_of!((*core).book[k]).read_volatile();
        }
    }
}

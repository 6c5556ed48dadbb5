//! The tick where cores have energy counters: clocks, and the same clocks weighed with what each consumer
//! draws on each core, so that a nanosecond on a 10 W core counts five times one on a 2 W core.
//!
//! The counters themselves cannot be read here: each only on the CPUs of its core (`core`). Their books lag by
//! up to a window of the core; the weights do not, since it is rates that are multiplied with clocks of this
//! instant.

use core::ptr::{addr_of, addr_of_mut};

use probe_common::{
    CoreTickRecord, CoreWeights, CONSUMERS, IDLE, MAX_CPUS, RATE_BITS,
};

use crate::{
    bound::{negative, or_else},
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
        clock::zero(&raw mut (*record).tick.clock);
        clock::zero(&raw mut (*record).book);
        for cpu in 0..MAX_CPUS as u32 {
            if cpu >= NR_CPUS.load() {
                break;
            }
            if PACKAGE_OF.get(cpu).copied() != Some(package) {
                continue;
            }
            let Some(slot) = SLOTS.get_ptr(cpu) else { break };
            clock::zero(&raw mut (*scratch).clock);
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
        for k in 0..CONSUMERS {
            let weight = addr_of!((*weights).weight[k]).read_volatile();
            addr_of_mut!((*record).weight[k]).write_volatile(weight);
        }
    }
    true
}

/// What was weighed with a known rate.
struct Known {
    units: u64,
    ns: u64,
}

/// Weighs what a CPU's clocks have run since the last tick. There are many CPUs and consumers, so without a
/// branch.
#[inline(always)]
unsafe fn weigh(
    cpu: u32,
    clock: *const [u64; CONSUMERS],
    weights: *mut CoreWeights,
    known: &mut Known,
) {
    let (Some(last), Some(of)) = (CORE_CLOCKS.get_ptr_mut(cpu), CORE_OF.get(cpu)) else { return };
    // A CPU whose core has no counter: the rates of a core that never learns any.
    let Some(core) = CORES.get_ptr(of.core).or_else(|| CORES.get_ptr(cpu)) else { return };
    // SAFETY: maps and the caller's buffers. A rate is one word, so it is never torn.
    unsafe {
        let any = addr_of!((*core).rate[IDLE as usize]).read_volatile() & RATE_MASK;
        // Never 0: who was on CPU has a weight.
        let mean = or_else((*weights).mean & RATE_MASK, 1 << RATE_BITS);
        for k in IDLE as usize + 1..CONSUMERS {
            let (new, old) = ((*clock)[k], (*last)[k]);
            // A clock that went back stands still.
            let ns = new.wrapping_sub(old);
            let ns = ns & !negative(ns);
            (*last)[k] = old.wrapping_add(ns);
            let own = addr_of!((*core).rate[k]).read_volatile() & RATE_MASK;
            let rate = or_else(own, any);
            let unknown = negative(rate.wrapping_sub(1));
            let units = by(ns, or_else(rate, mean));
            known.units += units & !unknown;
            known.ns += ns & !unknown;
            (*weights).weight[k] += units;
        }
    }
}

/// Rates are below 2^32.
const RATE_MASK: u64 = 0xffff_ffff;

/// `ns × rate`, in counter units; in two halves, so that days in one window do not overflow.
#[inline(always)]
fn by(ns: u64, rate: u64) -> u64 {
    (ns >> 32) * (rate << (32 - RATE_BITS)) + (((ns & RATE_MASK) * rate) >> RATE_BITS)
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

//! The tick where cores have energy counters: clocks, and the same clocks weighed with what each consumer
//! draws on each core, so that a nanosecond on a 10 W core counts five times one on a 2 W core.
//!
//! The counters themselves cannot be read here: each only on the CPUs of its core (`core`). Their books lag by
//! up to a window of the core; the weights do not, since it is rates that are multiplied with clocks of this
//! instant.

use core::ptr::{addr_of, addr_of_mut};

use probe_common::{CoreTickRecord, CoreWeights, CONSUMERS, IDLE, MAX_CPUS, RATE_BITS};

use crate::{
    bound::{negative, or_else},
    clock,
    maps::{CORES, CORE_CLOCKS, CORE_OF, CORE_WEIGHTS, NR_CPUS, PACKAGE_OF, SLOTS},
    rate,
};

/// Fills in clocks, weights and books. False when a slot stayed torn: then there is no tick, and nothing is
/// weighed. Two walks over the CPUs, since the verifier takes every way through the one with every way
/// through the other.
#[inline(always)]
pub unsafe fn read_clocks(record: *mut CoreTickRecord, package: u32, now: u64) -> bool {
    // SAFETY: the caller's record, this package's clocks.
    unsafe {
        clock::zero(addr_of_mut!((*record).tick.clock));
        for cpu in 0..MAX_CPUS as u32 {
            if cpu >= NR_CPUS.load() {
                break;
            }
            if PACKAGE_OF.get(cpu).copied() != Some(package) {
                continue;
            }
            let Some(slot) = SLOTS.get_ptr(cpu) else { break };
            let Some(clocks) = CORE_CLOCKS.get_ptr_mut(cpu) else { break };
            let one = addr_of_mut!((*clocks).now);
            clock::zero(one);
            if !clock::add_all(slot, now, one) {
                return false;
            }
        }
    }
    let Some(weights) = CORE_WEIGHTS.get_ptr_mut(package) else { return false };
    let mut known = Known { units: 0, ns: 0 };
    // SAFETY: the caller's record, this package's weights.
    unsafe {
        clock::zero(addr_of_mut!((*record).book));
        for cpu in 0..MAX_CPUS as u32 {
            if cpu >= NR_CPUS.load() {
                break;
            }
            if PACKAGE_OF.get(cpu).copied() != Some(package) {
                continue;
            }
            weigh(cpu, record, weights, &mut known);
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

/// Weighs what a CPU's clocks have run since the last tick, and adds the book of the core that it stands
/// for. There are many CPUs and consumers, so without a branch.
#[inline(always)]
unsafe fn weigh(
    cpu: u32,
    record: *mut CoreTickRecord,
    weights: *mut CoreWeights,
    known: &mut Known,
) {
    let (Some(clocks), Some(of)) = (CORE_CLOCKS.get_ptr_mut(cpu), CORE_OF.get(cpu)) else { return };
    // A CPU whose core has no counter: the rates of a core that never learns any.
    let Some(core) = CORES.get_ptr(of.core).or_else(|| CORES.get_ptr(cpu)) else { return };
    // Whether it does not stand for a core: all ones, which masks the book.
    let other = negative(u64::from(of.core ^ cpu).wrapping_neg());
    // SAFETY: maps and the caller's buffers. A rate is one word, so it is never torn.
    unsafe {
        let any = rate::get(addr_of!((*core).rate[IDLE as usize]));
        // Never 0: who was on CPU has a weight.
        let mean = or_else(rate::get(addr_of!((*weights).mean)), 1 << RATE_BITS);
        for k in 0..CONSUMERS {
            let (new, old) = ((*clocks).now[k], (*clocks).weighed[k]);
            (*record).tick.clock[k] = (*record).tick.clock[k].wrapping_add(new);
            (*record).book[k] += addr_of!((*core).book[k]).read_volatile() & !other;
            if k == IDLE as usize {
                continue;
            }
            // A clock that went back stands still.
            let ns = new.wrapping_sub(old);
            let ns = ns & !negative(ns);
            (*clocks).weighed[k] = old.wrapping_add(ns);
            let own = rate::get(addr_of!((*core).rate[k]));
            let learned = or_else(own, any);
            let unknown = negative(learned.wrapping_sub(1));
            let units = rate::by(ns, or_else(learned, mean));
            known.units += units & !unknown;
            known.ns += ns & !unknown;
            (*weights).weight[k] += units;
        }
    }
}

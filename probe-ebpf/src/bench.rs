//! Yardsticks for `cargo xtask bench kernel`, never attached by the probe: what a `sched_switch` program
//! costs when it does nothing, and when it only reads the clock.

use aya_ebpf::{helpers::bpf_ktime_get_ns, macros::btf_tracepoint, programs::BtfTracePointContext};

#[btf_tracepoint(function = "sched_switch")]
pub fn bench_empty(_ctx: BtfTracePointContext) -> i32 {
    0
}

#[btf_tracepoint(function = "sched_switch")]
pub fn bench_clock(_ctx: BtfTracePointContext) -> i32 {
    // SAFETY: a helper without side effects. The result decides the return value, so the call stays.
    i32::from(unsafe { bpf_ktime_get_ns() } == 0)
}

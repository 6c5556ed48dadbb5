//! Yardsticks for `cargo xtask bench kernel`, never attached by the probe: what a `sched_switch` program
//! costs when it does nothing, and when it only reads the clock; what a program on a system call costs that does nothing.

use aya_ebpf::{
    helpers::bpf_ktime_get_ns,
    macros::{btf_tracepoint, tracepoint},
    programs::{BtfTracePointContext, TracePointContext},
};

#[btf_tracepoint(function = "sched_switch")]
pub fn bench_empty(_ctx: BtfTracePointContext) -> i32 {
    0
}

#[btf_tracepoint(function = "sched_switch")]
pub fn bench_clock(_ctx: BtfTracePointContext) -> i32 {
    // SAFETY: a helper without side effects. The result decides the return value, so the call stays.
    i32::from(unsafe { bpf_ktime_get_ns() } == 0)
}

#[tracepoint(category = "syscalls", name = "sys_exit_read")]
pub fn bench_call(_ctx: TracePointContext) -> i32 {
    0
}

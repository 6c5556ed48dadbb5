//! wattprobe's kernel side: clocks at every context switch, energy at every tick, boundaries at the
//! socket system calls. One file per hook family; `maps` says who writes and who reads what.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]

mod arrival;
mod atomic;
mod bench;
mod beside;
mod bound;
mod capture;
mod clock;
mod conn;
mod core_energy;
mod counts;
mod emit;
mod function;
mod maps;
mod process;
mod rate;
mod regs;
mod resync;
mod sched;
mod share;
mod socket;
mod task;
mod tick;
mod tls;
mod weigh;

#[cfg(not(test))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

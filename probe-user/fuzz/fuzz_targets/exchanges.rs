#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| wattprobe_fuzz::exchanges::run(bytes));

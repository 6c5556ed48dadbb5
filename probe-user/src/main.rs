//! The wattprobe command.
fn main() {}

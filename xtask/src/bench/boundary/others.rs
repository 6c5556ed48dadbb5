//! What system calls take while a probe is attached, with every kind of hooks that this kernel allows: `lab-flood` times them,
//! and judges.
//!
//! Where a kernel does not allow functions to be hooked, a guest's does: `cargo xtask vm --scenario others --kvm`.

use anyhow::Result;

use super::run::Bench;
use crate::process;

pub(super) fn run(bench: &Bench<'_>, rounds: usize) -> Result<()> {
    let mut flood = bench.program("lab-flood");
    flood.arg("others").args(["--rounds", &rounds.to_string()]);
    process::run(flood.arg("--probe").arg(bench.paths.binary("release", "wattprobe")))
}

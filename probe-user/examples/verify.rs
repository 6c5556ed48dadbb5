//! What the running kernel's verifier makes of the committed object, through both kinds of hooks: one line
//! of JSON per program. The truth machine runs it on every kernel; needs root.

use std::error::Error;

use serde_json::json;
use wattprobe::{
    kernel::{Probe, Rung, Settings},
    roots::Roots,
    topology::Topology,
};

fn main() -> Result<(), Box<dyn Error>> {
    let roots = Roots::default();
    let cpus: Vec<u32> = Topology::read(&roots)?.online().collect();
    let highest = cpus.iter().max().ok_or("no CPU is online")?;
    let package_of = vec![0; usize::try_from(*highest)? + 1];
    for (name, rung) in [("tp_btf", Rung::Best), ("raw_tp", Rung::Raw)] {
        let mut probe = Probe::load(&Settings {
            rung,
            package_of: &package_of,
            roots: &roots,
            slice_bytes: None,
            tick_hz: 100,
            idle_divisor: 1,
        })?;
        probe.attach_processes()?;
        probe.attach_clocks()?;
        probe.attach_ticks(&cpus[..1])?;
        probe.attach_resync(&cpus)?;
        probe.attach_sockets()?;
        for program in probe.verified() {
            if rung == Rung::Best && program.program.ends_with("_raw") {
                return Err(format!(
                    "{} was loaded: this kernel refused its tp_btf twin",
                    program.program
                )
                .into());
            }
            println!(
                "{}",
                json!({
                    "rung": name,
                    "program": program.program,
                    "verified_insns": program.instructions,
                    "xlated_bytes": program.translated,
                    "jited_bytes": program.jitted,
                })
            );
        }
    }
    Ok(())
}

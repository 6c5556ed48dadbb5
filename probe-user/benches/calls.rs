//! What a system call of a process that nobody watches costs with the probe: part of `cargo xtask bench kernel`.
//!
//! Two programs sit on the return of `read`: one that does nothing, and the probe's, which looks up whose the call is and
//! finds that it is no target's. The kernel's own statistics (`bpf_stats`) say what each run took.

use std::{fs::File, io::Read};

use aya::{Ebpf, programs::TracePoint};
use wattprobe::{
    kernel::{Probe, Settings},
    roots::Roots,
    topology::Topology,
};

static OBJECT: &[u8] = aya::include_bytes_aligned!("../../probe-ebpf/wattprobe.bpf.o");

/// Bound on the probe's cost as a multiple of an empty program's.
const BOUND: f64 = 1.9;
const CALLS: usize = 500_000;
const RUNS: usize = 5;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> Result<()> {
    let topology = Topology::read(&Roots::default())?;
    let package_of = vec![0; topology.online().count()];
    let mut probe = Probe::load(&Settings::plain(&package_of, &Roots::default()))?;
    let mut yardstick = Ebpf::load(OBJECT)?;
    let program: &mut TracePoint =
        yardstick.program_mut("bench_call").ok_or("no such program")?.try_into()?;
    program.load()?;
    program.attach("syscalls", "sys_exit_read")?;
    // They say whose slice is in progress.
    probe.attach_clocks()?;
    probe.attach_sockets()?;
    println!("{CALLS} reads by a process that is not watched, {RUNS} runs; ns a run");
    println!("{:>8} {:>8} {:>14}", "empty", "probe", "probe/empty");
    let (mut zeros, mut byte) = (File::open("/dev/zero")?, [0]);
    let mut ratios = Vec::new();
    for _ in 0..RUNS {
        let before = costs(&yardstick, &probe)?;
        for _ in 0..CALLS {
            zeros.read_exact(&mut byte)?;
        }
        let after = costs(&yardstick, &probe)?;
        let ns = |i: usize| (after[i].1 - before[i].1) as f64 / (after[i].0 - before[i].0) as f64;
        let (empty, own) = (ns(0), ns(1));
        println!("{empty:>8.0} {own:>8.0} {:>14.2}", own / empty);
        ratios.push(own / empty);
    }
    ratios.sort_by(f64::total_cmp);
    let median = ratios[RUNS / 2];
    println!("median probe/empty {median:.2}, at most {BOUND}");
    if median > BOUND {
        return Err(format!("a call costs {median:.2} empty programs, more than {BOUND}").into());
    }
    Ok(())
}

/// Runs and nanoseconds of both programs.
fn costs(yardstick: &Ebpf, probe: &Probe) -> Result<[(u64, u64); 2]> {
    let info = yardstick.program("bench_call").ok_or("no such program")?.info()?;
    let empty = (info.run_count(), u64::try_from(info.run_time().as_nanos())?);
    let own = probe.costs().remove("on_read").ok_or("the probe has no such program")?;
    Ok([empty, (own.runs, own.ns)])
}

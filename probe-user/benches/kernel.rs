//! What a context switch costs with the probe: `cargo xtask bench kernel`.
//!
//! Two processes pass a byte back and forth. Three programs sit on `sched_switch` at once, so that all see
//! the same switches in the same run: one that does nothing, one that reads the clock once, and the
//! probe's. The kernel's own statistics (`bpf_stats`) say what each run took. Machines differ and
//! are shared; the ratios are what counts.

use std::{
    io::{Read, Write},
    process::{Child, Command, Stdio},
};

use aya::{Btf, Ebpf, programs::BtfTracePoint};
use wattprobe::{
    kernel::{Probe, Settings, sweep},
    roots::Roots,
    topology::Topology,
};

static OBJECT: &[u8] = aya::include_bytes_aligned!("../../probe-ebpf/wattprobe.bpf.o");

/// Bound on the probe's cost as a multiple of a clock read's.
const BOUND: f64 = 2.2;
const ROUNDS: usize = 200_000;
const RUNS: usize = 5;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> Result<()> {
    if std::env::args().any(|arg| arg == "--echo") {
        return echo();
    }
    let topology = Topology::read(&Roots::default())?;
    let cpus: Vec<u32> = (0..).take(topology.online().count()).collect();
    let package_of = vec![0; cpus.len()];
    let mut probe = Probe::load(&Settings::plain(&package_of, &Roots::default()))?;
    let btf = Btf::from_sys_fs()?;
    let mut yardsticks = Ebpf::load(OBJECT)?;
    for name in ["bench_empty", "bench_clock"] {
        let program: &mut BtfTracePoint =
            yardsticks.program_mut(name).ok_or("no such program")?.try_into()?;
        program.load("sched_switch", &btf)?;
        program.attach()?;
    }
    probe.attach_processes()?;
    probe.attach_clocks()?;
    sweep(&cpus)?;
    println!("{ROUNDS} round trips between two processes, {RUNS} runs; ns per sched_switch");
    println!(
        "{:>24} {:>8} {:>8} {:>8} {:>14} {:>14}",
        "", "empty", "clock", "probe", "probe/clock", "probe/empty"
    );
    let mut ratios = Vec::new();
    for run in 0..RUNS {
        // The odd runs make the echo a target, so that both kinds of slice are measured.
        let mut child = Command::new(std::env::current_exe()?)
            .arg("--echo")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let target = run % 2 == 1;
        if target {
            probe.adopt(child.id(), probe_common::FIRST_TARGET)?;
        }
        let before = costs(&yardsticks, &probe)?;
        ping(&mut child)?;
        let after = costs(&yardsticks, &probe)?;
        let ns: Vec<f64> = before
            .iter()
            .zip(&after)
            .map(|(b, a)| (a.1 - b.1) as f64 / (a.0 - b.0) as f64)
            .collect();
        let what = if target { "one is a target" } else { "neither is a target" };
        ratios.push(ns[2] / ns[1]);
        println!(
            "{what:>24} {:>8.0} {:>8.0} {:>8.0} {:>14.2} {:>14.2}",
            ns[0],
            ns[1],
            ns[2],
            ns[2] / ns[1],
            ns[2] / ns[0]
        );
    }
    ratios.sort_by(f64::total_cmp);
    let median = ratios[RUNS / 2];
    println!("median probe/clock {median:.2}, at most {BOUND}");
    if median > BOUND {
        return Err(format!("the probe costs {median:.2} clock reads, more than {BOUND}").into());
    }
    Ok(())
}

/// Runs and nanoseconds of the three programs.
fn costs(yardsticks: &Ebpf, probe: &Probe) -> Result<[(u64, u64); 3]> {
    let of = |name| -> Result<(u64, u64)> {
        let info = yardsticks.program(name).ok_or("no such program")?.info()?;
        Ok((info.run_count(), u64::try_from(info.run_time().as_nanos())?))
    };
    let own = probe.costs().remove("sched_switch").ok_or("the probe's program is not typed")?;
    Ok([of("bench_empty")?, of("bench_clock")?, (own.runs, own.ns)])
}

fn ping(child: &mut Child) -> Result<()> {
    let (Some(mut to), Some(mut from)) = (child.stdin.take(), child.stdout.take()) else {
        return Err("the echo has no pipes".into());
    };
    let mut byte = [0];
    for _ in 0..ROUNDS {
        to.write_all(&byte)?;
        from.read_exact(&mut byte)?;
    }
    drop(to);
    child.wait()?;
    Ok(())
}

fn echo() -> Result<()> {
    let (mut input, mut output) = (std::io::stdin().lock(), std::io::stdout().lock());
    let mut byte = [0];
    while input.read(&mut byte)? == 1 {
        output.write_all(&byte)?;
        output.flush()?;
    }
    Ok(())
}

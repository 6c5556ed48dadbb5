//! The steps of a scenario, one after another.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use super::machine::{MODULE_ORDER, load_module, loopback_up, mount_all, power_off, set_sysctl};
use super::report::{Findings, Report};
use super::scenario::{Others, Scenario, Step};
use super::{burn, end_to_end, measure, model};
use crate::flood::others;

const SCENARIO: &str = "/scenario.json";
const RESULTS: &str = "/dev/ttyS1";
const VERIFY: &str = "/bin/verify";
const FLOOD: &str = "/bin/lab-flood";
const PROBE: &str = "/bin/wattprobe";

/// What this program is, by the name that it was started under.
///
/// # Errors
/// With words for the console.
pub fn main(mut args: impl Iterator<Item = String>) -> anyhow::Result<()> {
    let path = args.next().unwrap_or_default();
    let name = Path::new(&path).file_name().and_then(|n| n.to_str()).unwrap_or_default();
    if name.starts_with("burn-") {
        return Ok(burn::main(&path, args)?);
    }
    anyhow::ensure!(
        std::process::id() == 1,
        "lab-guest is process 1 of a virtual machine; `cargo xtask vm` starts it there"
    );
    if let Err(e) = init() {
        eprintln!("lab-guest: {e:#}");
    }
    Ok(power_off()?)
}

fn init() -> anyhow::Result<()> {
    mount_all()?;
    let mut report = Report::on_port(Path::new(RESULTS))?;
    report.begin()?;
    let mut found = Findings::default();
    let ended = carry_out(&mut report, &mut found);
    // What was found before a step failed is told all the same.
    report.findings(&found)?;
    if let Err(e) = ended {
        eprintln!("lab-guest: {e:#}");
        report.error(&format!("{e:#}"))?;
    }
    report.done()?;
    Ok(report.drain()?)
}

fn carry_out(report: &mut Report<fs::File>, found: &mut Findings) -> anyhow::Result<()> {
    let scenario = Scenario::parse(&fs::read_to_string(SCENARIO)?)?;
    eprintln!("lab-guest: {}", scenario.name);
    for step in &scenario.steps {
        match step {
            Step::Load => load(&scenario)?,
            Step::Sysctl(name, value) => set_sysctl(name, value)?,
            Step::Measure(m) => {
                measure::run(m, scenario.has_memory(), scenario.flags_of(&m.name), found)?;
            }
            Step::Model(m) => model::run(m, found)?,
            Step::Verify => verify(report)?,
            Step::EndToEnd(tests) => end_to_end::run(tests, scenario.emulated, found)?,
            Step::Others(calls) => others(calls, found)?,
        }
    }
    Ok(())
}

fn load(scenario: &Scenario) -> anyhow::Result<()> {
    for name in MODULE_ORDER {
        let params = scenario.modules.get(name).map_or("", String::as_str);
        let loaded = load_module(name, params)?;
        eprintln!("lab-guest: module {name}: {}", if loaded { "loaded" } else { "not given" });
        anyhow::ensure!(loaded || name != "simrapl", "the machine was not given simrapl.ko");
    }
    Ok(())
}

/// Figures: by rung, what a call that is no socket's takes with the probe, over what it takes without.
fn others(calls: &Others, found: &mut Findings) -> anyhow::Result<()> {
    loopback_up()?;
    let seen = others::measure(Path::new(FLOOD), Path::new(PROBE), calls.rounds)?;
    for (rung, ratio) in seen.ratios() {
        found.figure(format!("others.{rung}.getppid"), ratio);
    }
    found.text("others", format!("\n{seen}"));
    Ok(())
}

fn verify(report: &mut Report<fs::File>) -> anyhow::Result<()> {
    let out = Command::new(VERIFY).stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
    for line in String::from_utf8(out.stdout)?.lines() {
        report.verify(&serde_json::from_str(line)?)?;
    }
    anyhow::ensure!(out.status.success(), "{VERIFY} failed: {}", out.status);
    Ok(())
}

//! ACPI power meters (`power_meter`, Documentation/hwmon/acpi_power_meter.rst): power averaged over an
//! interval, by default a second.
//!
//! A meter measures the machine, as `system`, unless its `power1_oem_info` (or label) is one of NVIDIA
//! Grace's: "Grace Power Socket N" is the whole socket with its memory, `package-N`; "CPU Power Socket N" and
//! "SysIO Power Socket N" are rails within it, `core-N` and `sysio-N`; "Module Power Socket N" holds the
//! GPU as well, `module-N`. Only the first is summed. Of several unnamed meters nobody knows whether
//! they overlap: none is then used.

use super::chip::Chip;
use super::cpu::package;
use super::{Class, Domain, HwmonInput, Scope, longest_gap_ns, power};
use crate::source::Kind;
use crate::topology::Topology;

/// Where a meter does not say.
const INTERVAL_MS: u64 = 1_000;
/// An interval beyond this is garbage.
const MOST_MS: u64 = 600_000;
/// Relative error of a meter that states no accuracy.
const RATIO: f64 = 0.10;

pub(super) fn domains(chips: &[Chip], topology: &Topology) -> Vec<Domain> {
    let meters: Vec<_> = chips.iter().filter(|c| c.name == "power_meter").collect();
    let (mut found, mut whole) = (Vec::<Domain>::new(), Vec::new());
    for chip in meters {
        // What feeds a battery meter's machine is not its battery's charging current.
        if chip.text("power1_is_battery").is_some_and(|is| is == "1") {
            continue;
        }
        let label = chip.text("power1_oem_info").or_else(|| chip.text("power1_label"));
        let label = label.unwrap_or_default();
        match label.split_once(" Power Socket ") {
            Some((rail, number)) => {
                let Some(package) = package(topology, number) else { continue };
                let domain = rail_of(chip, rail, package);
                found.extend(domain.filter(|d| found.iter().all(|other| other.name != d.name)));
            }
            None => whole.extend(meter(chip, "system".to_owned(), Scope::Machine, 20_000.0)),
        }
    }
    if let [_] = whole.as_slice() {
        found.append(&mut whole);
    }
    found
}

fn rail_of(chip: &Chip, rail: &str, package: usize) -> Option<Domain> {
    let (name, additive) = match rail {
        "Grace" => (Kind::Package.domain(package, 0), true),
        "CPU" => (Kind::Core.domain(package, 0), false),
        "SysIO" => (format!("sysio-{package}"), false),
        "Module" => (format!("module-{package}"), false),
        _ => return None,
    };
    let domain = meter(chip, name, Scope::Package(package), 5_000.0)?;
    Some(Domain { additive, ..domain })
}

fn meter(chip: &Chip, name: String, scope: Scope, max_watts: f64) -> Option<Domain> {
    let file = ["power1_average", "power1_input"].into_iter().find(|file| chip.has(file))?;
    let interval = chip.number("power1_average_interval").filter(|ms| (1..=MOST_MS).contains(ms));
    let period_ns = interval.unwrap_or(INTERVAL_MS) * 1_000_000;
    let ratio = chip.text("power1_accuracy").and_then(|text| error(&text)).unwrap_or(RATIO);
    let input = HwmonInput {
        path: chip.dir.join(file),
        longest_gap_ns: Some(longest_gap_ns(period_ns)),
        card: None,
    };
    Some(power(name, scope, input, &Class { period_ns, ratio, max_watts }))
}

/// What is left of an accuracy: `95.0%` errs by 5 %. Between 1 % and 50 %: firmware that claims
/// more or less does not mean it. The kernel prints the fraction without leading zeros, so it says nothing.
fn error(accuracy: &str) -> Option<f64> {
    let percent = accuracy.strip_suffix('%')?.split('.').next()?.parse::<u32>().ok()?;
    let wrong = 100_u32.checked_sub(percent)?;
    Some((f64::from(wrong) / 100.0).clamp(0.01, 0.5))
}

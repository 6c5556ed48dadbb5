//! Graphics cards of Intel and AMD.
//!
//! - `xe` (sysfs-driver-intel-xe-hwmon) counts the energy of the `card` where it can, else of the `pkg`;
//!   `i915` (sysfs-driver-intel-i915-hwmon) counts `energy1`. Both drivers show chips of discrete cards only.
//! - `amdgpu` shows power, averaged or of the instant. Only for an APU it has the voltage `vddnb`
//!   (`in1_label`): its power is then the whole socket's, within the package, so it is `igpu-N` and
//!   never summed. `boot_vga` tells nothing of the kind.
//!
//! Cards are numbered by PCI address from `gpu-0`; where another source has such a number already,
//! [`crate::source::select()`] continues with the next free one.

use std::path::Path;

use super::chip::Chip;
use super::{Card, Class, Domain, HwmonInput, Scope, energy, longest_gap_ns, power};

/// Energy registers of Intel's cards: their update period is not published; taken generously.
const INTEL: Class = Class { period_ns: 10_000_000, ratio: 0.0, max_watts: 3_000.0 };
/// `amdgpu` averages in firmware over an unpublished time of milliseconds to a second; accuracy is not published.
const AMD: Class = Class { period_ns: 1_000_000_000, ratio: 0.10, max_watts: 3_000.0 };

pub(super) fn domains(chips: &[Chip], procfs: &Path) -> Vec<Domain> {
    let (mut cards, mut built_in) = (0, 0);
    let mut found = Vec::new();
    for chip in chips {
        let card = Card { address: chip.pci.clone(), procfs: procfs.to_path_buf() };
        let name = format!("gpu-{cards}");
        match chip.name.as_str() {
            "xe" => found.extend(counted(chip, intel_xe(chip), name, card)),
            "i915" => found.extend(counted(chip, Some(1), name, card)),
            "amdgpu" if chip.text("in1_label").as_deref() == Some("vddnb") => {
                let domain = shown(chip, format!("igpu-{built_in}"), card);
                found.extend(domain.map(|d| Domain { additive: false, ..d }));
                built_in += 1;
                continue;
            }
            "amdgpu" => found.extend(shown(chip, name, card)),
            _ => continue,
        }
        cards = found.iter().filter(|d| d.name.starts_with("gpu-")).count();
    }
    found
}

/// Its energy input for the card, else for the package.
fn intel_xe(chip: &Chip) -> Option<u32> {
    let inputs = chip.inputs("energy", "_input");
    let of = |wanted: &str| {
        let label = |k: &u32| chip.text(&format!("energy{k}_label"));
        inputs.iter().copied().find(|k| label(k).as_deref() == Some(wanted))
    };
    of("card").or_else(|| of("pkg"))
}

fn counted(chip: &Chip, input: Option<u32>, name: String, card: Card) -> Option<Domain> {
    let file = format!("energy{}_input", input?);
    let path = chip.has(&file).then(|| chip.dir.join(file))?;
    let input = HwmonInput { path, longest_gap_ns: None, card: Some(card) };
    Some(energy(name, Scope::Device, input, &INTEL))
}

fn shown(chip: &Chip, name: String, card: Card) -> Option<Domain> {
    let file = ["power1_average", "power1_input"].into_iter().find(|file| chip.has(file))?;
    let longest_gap_ns = Some(longest_gap_ns(AMD.period_ns));
    let input = HwmonInput { path: chip.dir.join(file), longest_gap_ns, card: Some(card) };
    Some(power(name, Scope::Device, input, &AMD))
}

//! Chips of the hwmon class: where each keeps its files, and what the small ones say.
//!
//! Facility: `/sys/class/hwmon/hwmonN` (Documentation/hwmon/sysfs-interface.rst). Older drivers, the
//! ACPI power meter among them, keep `name` and all else in `hwmonN/device`. Files are hostile: each is
//! read up to a bound, and what is not as it should be is not there.

use std::io;
use std::path::{Path, PathBuf};

use crate::files;
use crate::roots::Roots;
use crate::source::SourceError;
use crate::source::sensor::parse_number;

/// Chips one machine can plausibly have, and files of a chip.
const MOST: usize = 4096;
/// A name or a label is shorter.
const LONGEST: u64 = 256;

/// One chip.
#[derive(Clone, Debug)]
pub(super) struct Chip {
    /// Where its files are.
    pub(super) dir: PathBuf,
    /// Its driver's name for it.
    pub(super) name: String,
    /// Address of its PCI device, such as `0000:03:00.0`.
    pub(super) pci: Option<String>,
    number: u32,
}

impl Chip {
    /// The chips there are: those on PCI by address, then the others by number.
    ///
    /// # Errors
    /// Where there is no such class.
    pub(super) fn all(roots: &Roots) -> Result<Vec<Self>, SourceError> {
        let class = roots.sys("class/hwmon");
        let entries = match std::fs::read_dir(&class) {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                return Err(SourceError::NoHwmon { path: class });
            }
            Err(source) => return Err(SourceError::Read { path: class, source }),
        };
        let mut chips: Vec<_> =
            entries.flatten().take(MOST).filter_map(|entry| Self::at(&entry.path())).collect();
        let order = |chip: &Self| (chip.pci.is_none(), chip.pci.clone(), chip.number);
        chips.sort_by_key(order);
        Ok(chips)
    }

    fn at(class: &Path) -> Option<Self> {
        let number = class.file_name()?.to_str()?.strip_prefix("hwmon")?.parse().ok()?;
        let device = class.join("device");
        let pci = std::fs::canonicalize(&device).ok().and_then(|device| address(&device));
        [class.to_path_buf(), device].into_iter().find_map(|dir| {
            let name = text(&dir.join("name"))?;
            Some(Self { dir, name, pci: pci.clone(), number })
        })
    }

    /// What a small file says, trimmed.
    pub(super) fn text(&self, file: &str) -> Option<String> {
        text(&self.dir.join(file))
    }

    /// The number in a file.
    pub(super) fn number(&self, file: &str) -> Option<u64> {
        parse_number(self.text(file)?.as_bytes())
    }

    /// Whether there is such a file.
    pub(super) fn has(&self, file: &str) -> bool {
        self.dir.join(file).exists()
    }

    /// The numbers `K` of files such as `energyK_input`, ascending.
    pub(super) fn inputs(&self, kind: &str, end: &str) -> Vec<u32> {
        let Ok(entries) = std::fs::read_dir(&self.dir) else { return vec![] };
        let number = |name: &str| name.strip_prefix(kind)?.strip_suffix(end)?.parse::<u32>().ok();
        let names = entries.flatten().take(MOST).filter_map(|e| e.file_name().into_string().ok());
        let mut numbers: Vec<_> = names.filter_map(|name| number(&name)).collect();
        numbers.sort_unstable();
        numbers
    }
}

/// The beginning of a file, trimmed; `None` where it cannot be read or is empty.
pub(in crate::source) fn text(path: &Path) -> Option<String> {
    let text = files::beginning(path, LONGEST).ok()?.trim().to_owned();
    (!text.is_empty()).then_some(text)
}

/// `0000:03:00.0`, if the directory is that of a PCI device.
fn address(device: &Path) -> Option<String> {
    let name = device.file_name()?.to_str()?;
    let shape: Vec<_> = name.split([':', '.']).map(str::len).collect();
    let hex = |c: char| c.is_ascii_hexdigit() || matches!(c, ':' | '.');
    (shape == [4, 2, 2, 1] && name.chars().all(hex)).then(|| name.to_owned())
}

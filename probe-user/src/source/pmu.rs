//! What a PMU says of itself in sysfs: its type, its events, their scale and unit, which CPU reads it.
//!
//! Facility: `/sys/bus/event_source/devices/PMU/{type,format/*,events/*,cpumask}`, described in the
//! kernel's `Documentation/ABI/testing/sysfs-bus-event_source-devices-{events,format}`. The parsers
//! are pure and take any bytes: a broken tree is an error that names the file, never a panic.

use std::io;
use std::path::{Path, PathBuf};

use super::SourceError;
use crate::files;
use crate::roots::Roots;
use crate::topology::{excerpt, parse_cpu_list};

/// Where PMUs are listed.
const DEVICES: &str = "bus/event_source/devices";

/// The numbers `perf_event_open` wants for one event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attr {
    /// `config`, `config1`, `config2`, `config3`.
    pub config: [u64; 4],
}

/// One PMU's directory.
#[derive(Clone, Debug)]
pub struct Pmu {
    /// Its name.
    pub name: String,
    /// `perf_event_attr.type`.
    pub type_: u32,
    /// The CPUs that must read it, where it says so.
    pub cpumask: Option<Vec<u32>>,
    dir: PathBuf,
}

impl Pmu {
    /// Reads a PMU's type and cpumask.
    ///
    /// # Errors
    /// [`SourceError::NoPmu`] when the machine has none of that name.
    pub fn read(roots: &Roots, name: &str) -> Result<Self, SourceError> {
        let dir = roots.sys(DEVICES).join(name);
        let path = dir.join("type");
        let type_ = match optional(&path)? {
            None => {
                return Err(SourceError::NoPmu {
                    pmu: name.into(),
                    found: list(&roots.sys(DEVICES)),
                });
            }
            Some(text) => text
                .trim()
                .parse()
                .map_err(|_| SourceError::garbage(&path, &text, "the number of a PMU type"))?,
        };
        let path = dir.join("cpumask");
        let cpumask = optional(&path)?
            .map(|t| {
                parse_cpu_list(&t).map_err(|_| SourceError::garbage(&path, &t, "a list of CPUs"))
            })
            .transpose()?;
        // An empty mask is how some PMUs say "any CPU".
        Ok(Self { name: name.into(), type_, cpumask: cpumask.filter(|m| !m.is_empty()), dir })
    }

    /// Names of its events, sorted, without their `.scale`, `.unit` and `.snapshot` files.
    #[must_use]
    pub fn events(&self) -> Vec<String> {
        let side = |n: &String| {
            [".scale", ".unit", ".snapshot", ".per-pkg"].iter().any(|s| n.ends_with(s))
        };
        list(&self.dir.join("events")).into_iter().filter(|n| !side(n)).collect()
    }

    /// Whether it has an event.
    #[must_use]
    pub fn has(&self, event: &str) -> bool {
        self.dir.join("events").join(event).exists()
    }

    /// The numbers of one event.
    ///
    /// # Errors
    /// [`SourceError::NoEvent`] when the PMU has none of that name, else what is wrong with the tree.
    pub fn attr(&self, event: &str) -> Result<Attr, SourceError> {
        let path = self.dir.join("events").join(event);
        let text = optional(&path)?.ok_or_else(|| SourceError::NoEvent {
            pmu: self.name.clone(),
            event: event.into(),
            found: self.events(),
        })?;
        let mut attr = Attr::default();
        for term in text.trim().split(',').filter(|t| !t.is_empty()) {
            let (field, value) = term.split_once('=').unwrap_or((term, "1"));
            let value = parse_number(value)
                .ok_or_else(|| SourceError::garbage(&path, &text, "terms such as event=0x02"))?;
            // The config words may be named outright, as in perf's own syntax.
            let layout = match WORDS.iter().position(|w| *w == field) {
                Some(word) => Field { word, bits: vec![(0, 63)] },
                None => self.field(field, &path)?,
            };
            layout.put(&mut attr, value).ok_or_else(|| {
                SourceError::garbage(&path, &text, "values that fit the bits of the PMU's format")
            })?;
        }
        Ok(attr)
    }

    fn field(&self, name: &str, event: &Path) -> Result<Field, SourceError> {
        if name.contains('/') || name.starts_with('.') {
            return Err(SourceError::garbage(event, name, "the name of a field"));
        }
        let path = self.dir.join("format").join(name);
        let text = optional(&path)?.ok_or_else(|| {
            SourceError::garbage(event, name, "a field that the PMU's format declares")
        })?;
        Field::parse(&text)
            .ok_or_else(|| SourceError::garbage(&path, &text, "bits such as config:0-7"))
    }

    /// Joules per count from `.scale` and `.unit`; `None` where the PMU declares neither.
    ///
    /// # Errors
    /// [`SourceError::NotJoules`] for an event that counts something else.
    pub fn joules_per_count(&self, event: &str) -> Result<Option<f64>, SourceError> {
        let events = self.dir.join("events");
        let path = events.join(format!("{event}.unit"));
        let Some(unit) = optional(&path)? else { return Ok(None) };
        if !unit.trim().eq_ignore_ascii_case("joules") {
            return Err(SourceError::NotJoules {
                pmu: self.name.clone(),
                event: event.into(),
                unit: excerpt(&unit),
            });
        }
        let path = events.join(format!("{event}.scale"));
        let Some(text) = optional(&path)? else { return Ok(Some(1.0)) };
        match text.trim().parse::<f64>() {
            Ok(scale) if scale.is_finite() && scale > 0.0 => Ok(Some(scale)),
            _ => Err(SourceError::garbage(&path, &text, "a positive scale")),
        }
    }
}

/// Names of all PMUs, sorted; empty where sysfs has none.
#[must_use]
pub fn names(roots: &Roots) -> Vec<String> {
    list(&roots.sys(DEVICES))
}

/// The config words of an event.
const WORDS: [&str; 4] = ["config", "config1", "config2", "config3"];

/// Where a field of an event goes: which word, and which of its bits, lowest part first.
#[derive(Debug, PartialEq, Eq)]
struct Field {
    word: usize,
    bits: Vec<(u32, u32)>,
}

impl Field {
    /// Parses `config1:0-7,32-35`.
    fn parse(text: &str) -> Option<Self> {
        let (word, ranges) = text.trim().split_once(':')?;
        let word = WORDS.iter().position(|w| *w == word)?;
        let mut bits = Vec::new();
        for range in ranges.split(',') {
            let (low, high) = range.split_once('-').unwrap_or((range, range));
            let (low, high) = (low.trim().parse::<u32>().ok()?, high.trim().parse::<u32>().ok()?);
            if low > high || high > 63 || bits.len() == 64 {
                return None;
            }
            bits.push((low, high));
        }
        Some(Self { word, bits })
    }

    /// Spreads a value over the bits; `None` if it does not fit.
    fn put(&self, attr: &mut Attr, mut value: u64) -> Option<()> {
        let word = attr.config.get_mut(self.word)?;
        for &(low, high) in &self.bits {
            let width = high - low + 1;
            let mask = u64::MAX >> (64 - width);
            *word = (*word & !(mask << low)) | ((value & mask) << low);
            value = value.checked_shr(width).unwrap_or(0);
        }
        (value == 0).then_some(())
    }
}

fn parse_number(text: &str) -> Option<u64> {
    let text = text.trim();
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

/// A small text file that may be missing; everything else that goes wrong is an error.
fn optional(path: &Path) -> Result<Option<String>, SourceError> {
    match files::text(path) {
        Ok(text) => Ok(Some(text)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(SourceError::Read { path: path.into(), source }),
    }
}

fn list(dir: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let mut names: Vec<_> =
        entries.flatten().filter_map(|e| e.file_name().into_string().ok()).collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::testing::Tree;

    #[test]
    fn an_event_is_spread_over_the_bits_its_format_names() {
        let tree = Tree::new();
        tree.write("bus/event_source/devices/cpu/type", "4\n");
        tree.write("bus/event_source/devices/cpu/format/event", "config:0-7,32-35\n");
        tree.write("bus/event_source/devices/cpu/format/umask", "config:8-15\n");
        tree.write("bus/event_source/devices/cpu/format/edge", "config1:18\n");
        tree.write("bus/event_source/devices/cpu/events/x", "event=0x3c1,umask=2,edge\n");
        let pmu = Pmu::read(&tree.roots(), "cpu").unwrap();
        assert_eq!(pmu.type_, 4);
        assert_eq!(pmu.cpumask, None);
        assert_eq!(pmu.attr("x").unwrap().config, [0x3_0000_02c1, 1 << 18, 0, 0]);
    }

    #[test]
    fn scale_and_unit_give_joules_per_count() {
        let tree = Tree::new().power_pmu(&["energy-pkg"], "0");
        let pmu = Pmu::read(&tree.roots(), "power").unwrap();
        assert_eq!(pmu.joules_per_count("energy-pkg").unwrap(), Some(2f64.powi(-32)));
        assert_eq!(pmu.events(), ["energy-pkg"]);
        assert_eq!(pmu.attr("energy-pkg").unwrap().config[0], 2);
        tree.write("bus/event_source/devices/power/events/energy-pkg.unit", "Celsius");
        let error = pmu.joules_per_count("energy-pkg").unwrap_err();
        assert!(error.to_string().contains(",scale=JOULES_PER_COUNT"), "{error}");
    }

    #[test]
    fn a_missing_pmu_or_event_lists_what_there_is() {
        let tree = Tree::new().power_pmu(&["energy-pkg", "energy-ram"], "0");
        let text = Pmu::read(&tree.roots(), "msr").unwrap_err().to_string();
        assert!(text.contains("power"), "{text}");
        let pmu = Pmu::read(&tree.roots(), "power").unwrap();
        let text = pmu.attr("energy-gpu").unwrap_err().to_string();
        assert!(text.contains("energy-pkg, energy-ram"), "{text}");
    }

    #[test]
    fn broken_trees_are_errors_that_name_the_file() {
        for (file, content) in [
            ("type", "power"),
            ("type", ""),
            ("cpumask", "first"),
            ("format/event", "config:0-64"),
            ("format/event", "config:9-3"),
            ("format/event", "config"),
            ("format/event", "config9:0-7"),
            ("format/event", "config:0-1"),
            ("events/energy-pkg", "event=two"),
            ("events/energy-pkg", "../event=2"),
            ("events/energy-pkg", "nofield=2"),
            ("events/energy-pkg.scale", "NaN"),
            ("events/energy-pkg.scale", "-1"),
        ] {
            let tree = Tree::new().power_pmu(&["energy-pkg"], "0");
            tree.write("bus/event_source/devices/power/events/energy-pkg", "event=0x04");
            tree.write(&format!("bus/event_source/devices/power/{file}"), content);
            let error = Pmu::read(&tree.roots(), "power")
                .and_then(|p| p.attr("energy-pkg").and_then(|_| p.joules_per_count("energy-pkg")))
                .unwrap_err();
            let text = error.to_string();
            assert!(text.contains("bus/event_source/devices/power/"), "{file}={content}: {text}");
        }
    }
}

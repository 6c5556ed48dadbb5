//! RAPL through powercap: zones found in sysfs, and the reader of one zone.
//!
//! Facility: `/sys/class/powercap/CONTROL:I[:J]/{name,energy_uj,max_energy_range_uj}`, Linux 3.13;
//! `energy_uj` is root-only since 5.10. The class directory lists all zones flat, the nesting is in
//! the names: `intel-rapl:0:2` lies within `intel-rapl:0`. The control type `intel-rapl-mmio` shows
//! the same registers a second time. A failed read is a value with its reason, never a zero.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use super::kind::RAPL_PERIOD_NS;
use super::sensor::{NumberFile, parse_number};
use super::{
    Domain, Kind, Polled, Quality, Range, ReadError, Reading, Sensed, Sensor, SourceError, Users,
};
use crate::files;
use crate::roots::Roots;
use crate::topology::Topology;

/// Zones one machine can plausibly have; the rest of a larger tree is ignored.
const MAX_ZONES: usize = 256;
/// Names that are looked at in the class directory.
const MAX_ENTRIES: usize = 65_536;

/// One zone's counter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PowercapZone {
    /// Its `energy_uj`.
    pub path: PathBuf,
    /// Largest value before it starts again from zero, µJ.
    pub max_uj: u64,
}

impl PowercapZone {
    /// Opens the zone and reads it once, so that a missing permission shows at once.
    ///
    /// # Errors
    /// [`ReadError`], by what helps against it.
    pub fn open(&self) -> Result<OpenZone, ReadError> {
        let file = NumberFile::open(&self.path, self.max_uj)?;
        file.read().map(|_| OpenZone(file))
    }
}

/// An open zone; counts are microjoules.
#[derive(Debug)]
pub struct OpenZone(NumberFile);

impl Sensor for OpenZone {
    fn read(&mut self, now: &dyn Fn() -> u64) -> Result<Sensed, ReadError> {
        let begin = now();
        let count = self.0.read()?;
        Ok(Sensed { begin, end: now(), count, users: Users::Cpus })
    }
}

/// A zone as its directory describes it.
struct Zone {
    /// Directory name without the control type: `0`, `0:2`.
    place: String,
    mmio: bool,
    kind: Kind,
    /// As the kernel calls it.
    name: String,
    /// Package number for a package zone.
    physical_id: Option<i32>,
    counter: PowercapZone,
}

/// The domains of all RAPL zones: packages and their memory first, second views of a register last
/// and not additive (`package-0-mmio`). Two zones of one name in one place are one register shown twice, since
/// dies have names of their own: the second is not additive (`package-0-again-1`).
///
/// # Errors
/// [`SourceError::NoPowercap`] where there is no zone, or what is broken in the tree.
pub fn domains(roots: &Roots, topology: &Topology) -> Result<Vec<Domain>, SourceError> {
    let dir = roots.sys("class/powercap");
    let mut zones = zones(&dir)?;
    zones.sort_by_cached_key(|zone| (zone.mmio, number(&zone.place)));
    let mut domains: Vec<Domain> = Vec::new();
    let mut seen = BTreeSet::new();
    for zone in &zones {
        let package = zones
            .iter()
            .find(|z| z.mmio == zone.mmio && z.place == top(&zone.place))
            .and_then(|z| z.physical_id)
            .map_or(Some(0), |id| topology.package_by_physical_id(id));
        // A zone of a package without online CPUs: nobody's time could be set against it.
        let Some(package) = package else { continue };
        let same = |mmio: bool| {
            let base = zone.kind.domain(package, 0);
            let alike =
                |d: &&Domain| d.name.starts_with(&base) && d.name.ends_with("-mmio") == mmio;
            domains.iter().filter(alike).count()
        };
        let again =
            zone.kind.additive() && !seen.insert((zone.mmio, inside(&zone.place), &zone.name));
        let (name, additive) = match (zone.mmio, same(false)) {
            (_, unit) if again => (format!("{}-again-{unit}", zone.kind.domain(package, 0)), false),
            (true, 1..) => (format!("{}-mmio", zone.kind.domain(package, same(true))), false),
            (_, unit) => (zone.kind.domain(package, unit), zone.kind.additive()),
        };
        domains.push(domain(zone, name, package, additive));
    }
    if domains.is_empty() {
        return Err(SourceError::NoPowercap { path: dir });
    }
    domains.sort_by_key(|d| !d.additive);
    Ok(domains)
}

fn domain(zone: &Zone, name: String, package: usize, additive: bool) -> Domain {
    Domain {
        name,
        source: "rapl-powercap".to_owned(),
        quality: Quality::Measured,
        additive,
        scope: zone.kind.scope(package),
        joules_per_count: 1e-6,
        range: Range::Max(zone.counter.max_uj),
        period_ns: RAPL_PERIOD_NS,
        quantum_nj: zone.kind.quantum_nj(),
        max_watts: zone.kind.max_watts(),
        idle_watts: None,
        idle_error_watts: None,
        class_ratio: 0.0,
        reading: Reading::Polled(Polled::Powercap(zone.counter.clone())),
    }
}

/// The place around a place: `0` of `0:2`, nothing of `0`.
fn inside(place: &str) -> Option<&str> {
    place.rsplit_once(':').map(|(around, _)| around)
}

/// The outermost zone of a place: `0` of `0:2`.
fn top(place: &str) -> &str {
    place.split_once(':').map_or(place, |(first, _)| first)
}

fn zones(dir: &Path) -> Result<Vec<Zone>, SourceError> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            return Err(SourceError::NoPowercap { path: dir.into() });
        }
        Err(source) => return Err(SourceError::Read { path: dir.into(), source }),
    };
    let mut places: Vec<(bool, String)> = Vec::new();
    for entry in entries.flatten().take(MAX_ENTRIES) {
        let Ok(name) = entry.file_name().into_string() else { continue };
        let Some((control, place)) = name.split_once(':') else { continue };
        let mmio = match control {
            "intel-rapl" => false,
            "intel-rapl-mmio" => true,
            _ => continue,
        };
        places.push((mmio, place.to_owned()));
    }
    // The order of a directory is any; which zones are read must not be: the outermost first.
    places.sort_by_cached_key(|(mmio, place)| (*mmio, place.matches(':').count(), number(place)));
    let mut zones = Vec::new();
    for (mmio, place) in places.into_iter().take(MAX_ZONES) {
        let control = if mmio { "intel-rapl-mmio" } else { "intel-rapl" };
        zones.extend(zone(&dir.join(format!("{control}:{place}")), &place, mmio)?);
    }
    Ok(zones)
}

/// A place's numbers, so that zone 10 comes after zone 9; what is no number comes last.
fn number(place: &str) -> Vec<u32> {
    place.split(':').map(|part| part.parse().unwrap_or(u32::MAX)).collect()
}

fn zone(dir: &Path, place: &str, mmio: bool) -> Result<Option<Zone>, SourceError> {
    let name = read(&dir.join("name"))?;
    let name = name.trim();
    let Some(kind) = Kind::of_zone(name) else { return Ok(None) };
    let number = name.strip_prefix("package-").map(|n| n.split_once('-').map_or(n, |(n, _)| n));
    let physical_id = match number.map(str::parse::<i32>) {
        Some(Err(_)) => return Err(SourceError::garbage(&dir.join("name"), name, "package-N")),
        Some(Ok(id)) => Some(id),
        None => None,
    };
    let path = dir.join("max_energy_range_uj");
    let text = read(&path)?;
    let max_uj = parse_number(text.as_bytes())
        .filter(|&max| max > 0)
        .ok_or_else(|| SourceError::garbage(&path, &text, "the counter's range in microjoules"))?;
    let counter = PowercapZone { path: dir.join("energy_uj"), max_uj };
    let name = name.to_owned();
    Ok(Some(Zone { place: place.to_owned(), mmio, kind, name, physical_id, counter }))
}

fn read(path: &Path) -> Result<String, SourceError> {
    files::text(path).map_err(|source| SourceError::Read { path: path.to_path_buf(), source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Scope;
    use crate::source::testing::Tree;

    fn names(domains: &[Domain]) -> Vec<(&str, bool)> {
        domains.iter().map(|d| (d.name.as_str(), d.additive)).collect()
    }

    fn file(domain: &Domain) -> &PowercapZone {
        match &domain.reading {
            Reading::Polled(Polled::Powercap(zone)) => zone,
            other => panic!("{other:?}"),
        }
    }

    fn read(zone: &mut OpenZone) -> Result<u64, ReadError> {
        zone.read(&|| 0).map(|sensed| sensed.count)
    }

    #[test]
    fn nested_zones_take_the_package_of_their_parent() {
        let tree = Tree::new()
            .cpus(&[0, 1])
            .zone("intel-rapl:0", "package-1", 5)
            .zone("intel-rapl:0:0", "core", 1)
            .zone("intel-rapl:0:1", "dram", 2)
            .zone("intel-rapl:1", "package-0", 7)
            .zone("intel-rapl:1:0", "dram", 3)
            .zone("intel-rapl:2", "psys", 9);
        let domains = domains(&tree.roots(), &tree.topology()).unwrap();
        assert_eq!(
            names(&domains),
            [
                ("package-1", true),
                ("dram-1", true),
                ("package-0", true),
                ("dram-0", true),
                ("core-1", false),
                ("psys", false)
            ]
        );
        assert_eq!(domains[2].scope, Scope::Package(0));
        assert_eq!(domains[2].range, Range::Max(262_143_328_850));
        assert_eq!(read(&mut file(&domains[2]).open().unwrap()).unwrap(), 7);
    }

    #[test]
    fn the_mmio_view_of_a_register_is_not_added_to_it() {
        let tree = Tree::new()
            .cpus(&[0])
            .zone("intel-rapl-mmio:0", "package-0", 5)
            .zone("intel-rapl:0", "package-0", 5)
            .zone("intel-rapl:0:0", "core", 5);
        let found = domains(&tree.roots(), &tree.topology()).unwrap();
        assert_eq!(
            names(&found),
            [("package-0", true), ("core-0", false), ("package-0-mmio", false)]
        );
        let tree = Tree::new().cpus(&[0]).zone("intel-rapl-mmio:0", "package-0", 5);
        let found = domains(&tree.roots(), &tree.topology()).unwrap();
        assert_eq!(names(&found), [("package-0", true)]);
    }

    #[test]
    fn two_dies_of_a_package_are_both_additive_and_keep_their_children_apart() {
        let tree = Tree::new()
            .cpus(&[0])
            .zone("intel-rapl:0", "package-0-die-0", 5)
            .zone("intel-rapl:0:0", "dram", 5)
            .zone("intel-rapl:1", "package-0-die-1", 5)
            .zone("intel-rapl:1:0", "dram", 5);
        let found = domains(&tree.roots(), &tree.topology()).unwrap();
        assert_eq!(
            names(&found),
            [
                ("package-0", true),
                ("dram-0", true),
                ("package-0-die-1", true),
                ("dram-0-die-1", true)
            ]
        );
    }

    #[test]
    fn a_package_that_is_listed_twice_is_summed_once() {
        let tree = Tree::new()
            .cpus(&[0])
            .zone("intel-rapl:0", "package-0", 5)
            .zone("intel-rapl:10", "package-0", 5)
            .zone("intel-rapl:9", "package-0", 5);
        let found = domains(&tree.roots(), &tree.topology()).unwrap();
        assert_eq!(
            names(&found),
            [("package-0", true), ("package-0-again-1", false), ("package-0-again-2", false)]
        );
        assert!(file(&found[1]).path.ends_with("intel-rapl:9/energy_uj"));
    }

    #[test]
    fn unknown_zones_and_other_control_types_are_ignored() {
        let tree = Tree::new().cpus(&[0]).zone("dtpm:0", "package-0", 5).zone(
            "intel-rapl:0",
            "battery",
            5,
        );
        let error = domains(&tree.roots(), &tree.topology()).unwrap_err();
        assert!(matches!(error, SourceError::NoPowercap { .. }), "{error}");
    }

    #[test]
    fn broken_zones_are_errors_that_name_the_file() {
        for (file, content) in [
            ("name", "package-one"),
            ("max_energy_range_uj", "0"),
            ("max_energy_range_uj", "lots"),
            ("max_energy_range_uj", "99999999999999999999999"),
        ] {
            let tree = Tree::new().cpus(&[0]).zone("intel-rapl:0", "package-0", 5);
            tree.write(&format!("class/powercap/intel-rapl:0/{file}"), content);
            let error = domains(&tree.roots(), &tree.topology()).unwrap_err();
            assert!(error.to_string().contains(file), "{file}: {error}");
        }
        let tree = Tree::new().cpus(&[0]).zone("intel-rapl:0", "package-0", 5);
        tree.remove("class/powercap/intel-rapl:0/max_energy_range_uj");
        let error = domains(&tree.roots(), &tree.topology()).unwrap_err();
        assert!(matches!(error, SourceError::Read { .. }), "{error}");
    }

    #[test]
    fn a_reading_that_is_no_number_is_an_error_and_never_zero() {
        let energy = "class/powercap/intel-rapl:0/energy_uj";
        for content in ["", "\n", "-1", "12 34", "1e6", "262143328851", "18446744073709551616"] {
            let tree = Tree::new().cpus(&[0]).zone("intel-rapl:0", "package-0", 5);
            let domains = domains(&tree.roots(), &tree.topology()).unwrap();
            tree.write(energy, content);
            let error = file(&domains[0]).open().unwrap_err();
            assert!(matches!(error, ReadError::Garbage { .. }), "{content:?}: {error}");
        }
    }

    #[test]
    fn an_open_zone_follows_the_counter_and_tells_when_it_breaks() {
        let tree = Tree::new().cpus(&[0]).zone("intel-rapl:0", "package-0", 5);
        let domains = domains(&tree.roots(), &tree.topology()).unwrap();
        let mut open = file(&domains[0]).open().unwrap();
        assert_eq!(read(&mut open).unwrap(), 5);
        tree.write("class/powercap/intel-rapl:0/energy_uj", "1000006\n");
        assert_eq!(read(&mut open).unwrap(), 1_000_006);
        tree.write("class/powercap/intel-rapl:0/energy_uj", "?");
        assert!(matches!(read(&mut open), Err(ReadError::Garbage { .. })));
    }

    #[test]
    fn a_zone_that_is_gone_says_so() {
        let tree = Tree::new().cpus(&[0]).zone("intel-rapl:0", "package-0", 5);
        let domains = domains(&tree.roots(), &tree.topology()).unwrap();
        tree.remove("class/powercap/intel-rapl:0/energy_uj");
        assert!(matches!(file(&domains[0]).open(), Err(ReadError::Vanished { .. })));
    }
}

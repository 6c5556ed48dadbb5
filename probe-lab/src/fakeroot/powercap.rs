//! Powercap zones: `/sys/class/powercap` (Documentation/power/powercap/powercap.rst).

use std::io;

use super::Built;

/// A zone and the zones inside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone {
    control: &'static str,
    name: String,
    energy_uj: u64,
    max_uj: u64,
    children: Vec<Self>,
}

/// What Intel's package counters wrap at: 2^32 - 1 units of 61.035 µJ.
const INTEL_MAX_UJ: u64 = 262_143_328_850;

impl Zone {
    fn new(control: &'static str, name: impl Into<String>) -> Self {
        Self {
            control,
            name: name.into(),
            energy_uj: 1_000_000,
            max_uj: INTEL_MAX_UJ,
            children: Vec::new(),
        }
    }

    /// `package-N`.
    #[must_use]
    pub fn package(number: usize) -> Self {
        Self::new("intel-rapl", format!("package-{number}"))
    }

    /// `psys`: the whole platform, packages included.
    #[must_use]
    pub fn psys() -> Self {
        Self::new("intel-rapl", "psys")
    }

    /// `package-N` once more, through the memory-mapped interface of client parts.
    #[must_use]
    pub fn mmio(number: usize) -> Self {
        Self::new("intel-rapl-mmio", format!("package-{number}"))
    }

    /// Puts a zone inside: `core`, `uncore`, `dram`.
    #[must_use]
    pub fn child(mut self, name: &str) -> Self {
        self.children.push(Self::new(self.control, name));
        self
    }

    /// Sets the energy counted so far.
    #[must_use]
    pub fn energy_uj(mut self, microjoules: u64) -> Self {
        self.energy_uj = microjoules;
        self
    }

    /// Sets where the counter wraps.
    #[must_use]
    pub fn max_uj(mut self, microjoules: u64) -> Self {
        self.max_uj = microjoules;
        self
    }

    fn write(&self, built: &Built, above: &str, id: &str) -> io::Result<()> {
        let dir = format!("{above}/{id}");
        for (file, value) in [
            ("name", self.name.clone()),
            ("energy_uj", self.energy_uj.to_string()),
            ("max_energy_range_uj", self.max_uj.to_string()),
            ("enabled", "1".to_owned()),
        ] {
            built.write(built.sys(format!("{dir}/{file}")), &format!("{value}\n"))?;
        }
        built.link(&format!("class/powercap/{id}"), &dir)?;
        for (i, child) in self.children.iter().enumerate() {
            child.write(built, &dir, &format!("{id}:{i}"))?;
        }
        Ok(())
    }
}

pub(super) fn write(built: &Built, zones: &[Zone]) -> io::Result<()> {
    let mut controls: Vec<(&str, usize)> = Vec::new();
    for zone in zones {
        let at = controls.iter().position(|c| c.0 == zone.control);
        let at = match at {
            Some(at) => at,
            None => {
                let dir = format!("devices/virtual/powercap/{}", zone.control);
                built.write(built.sys(format!("{dir}/enabled")), "1\n")?;
                built.link(&format!("class/powercap/{}", zone.control), &dir)?;
                controls.push((zone.control, 0));
                controls.len() - 1
            }
        };
        let (control, number) = controls[at];
        let above = format!("devices/virtual/powercap/{control}");
        zone.write(built, &above, &format!("{control}:{number}"))?;
        controls[at].1 += 1;
    }
    Ok(())
}

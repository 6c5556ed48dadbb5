//! PMUs: `/sys/bus/event_source/devices` (Documentation/ABI/testing/sysfs-bus-event_source-*).

use std::io;

use super::Built;

/// A PMU with its events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pmu {
    name: String,
    kind: Option<u32>,
    cpumask: Option<String>,
    formats: Vec<(String, String)>,
    events: Vec<Event>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Event {
    name: String,
    encoding: String,
    scale: Option<String>,
    unit: Option<String>,
}

/// The scale of every energy event of the kernel's `power` PMU: 2^-32 J.
const POWER_SCALE: &str = "2.3283064365386962890625e-10";

impl Pmu {
    /// A PMU without events, with the format `event` in the low byte of its configuration.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            kind: None,
            cpumask: None,
            formats: vec![("event".into(), "config:0-7".into())],
            events: Vec::new(),
        }
    }

    /// RAPL's PMU with some of its events: `energy-cores`, `energy-pkg`, `energy-ram`,
    /// `energy-gpu`, `energy-psys`.
    #[must_use]
    pub fn power(events: &[&str], cpumask: &str) -> Self {
        let code = |event: &str| match event {
            "energy-cores" => "event=0x01",
            "energy-pkg" => "event=0x02",
            "energy-ram" => "event=0x03",
            "energy-gpu" => "event=0x04",
            _ => "event=0x05",
        };
        let pmu = Self::new("power").cpumask(cpumask);
        events.iter().fold(pmu, |pmu, e| pmu.event(e, code(e)).scale(POWER_SCALE).unit("Joules"))
    }

    /// The PMU `msr` of every x86, with its time stamp counter.
    #[must_use]
    pub fn msr() -> Self {
        Self::new("msr").format("event", "config:0-63").event("tsc", "event=0x00")
    }

    /// Sets the number in `type`; without it, numbers are given out from 8.
    #[must_use]
    pub fn kind(mut self, kind: u32) -> Self {
        self.kind = Some(kind);
        self
    }

    /// Sets the CPUs that must read the PMU.
    #[must_use]
    pub fn cpumask(mut self, cpus: &str) -> Self {
        self.cpumask = Some(cpus.to_owned());
        self
    }

    /// Adds or replaces a format field.
    #[must_use]
    pub fn format(mut self, name: &str, bits: &str) -> Self {
        self.formats.retain(|f| f.0 != name);
        self.formats.push((name.to_owned(), bits.to_owned()));
        self
    }

    /// Adds an event, such as `event=0x02`.
    #[must_use]
    pub fn event(mut self, name: &str, encoding: &str) -> Self {
        self.events.push(Event {
            name: name.to_owned(),
            encoding: encoding.to_owned(),
            scale: None,
            unit: None,
        });
        self
    }

    /// Sets the scale of the event added last.
    #[must_use]
    pub fn scale(mut self, scale: &str) -> Self {
        if let Some(event) = self.events.last_mut() {
            event.scale = Some(scale.to_owned());
        }
        self
    }

    /// Sets the unit of the event added last.
    #[must_use]
    pub fn unit(mut self, unit: &str) -> Self {
        if let Some(event) = self.events.last_mut() {
            event.unit = Some(unit.to_owned());
        }
        self
    }

    pub(super) fn write(&self, built: &Built, number: usize) -> io::Result<()> {
        let dir = format!("devices/{}", self.name);
        let put = |file: &str, value: &str| {
            built.write(built.sys(format!("{dir}/{file}")), &format!("{value}\n"))
        };
        let given = u32::try_from(number).unwrap_or(u32::MAX).saturating_add(8);
        put("type", &self.kind.unwrap_or(given).to_string())?;
        if let Some(cpus) = &self.cpumask {
            put("cpumask", cpus)?;
        }
        for (name, bits) in &self.formats {
            put(&format!("format/{name}"), bits)?;
        }
        for event in &self.events {
            let file = format!("events/{}", event.name);
            put(&file, &event.encoding)?;
            if let Some(scale) = &event.scale {
                put(&format!("{file}.scale"), scale)?;
            }
            if let Some(unit) = &event.unit {
                put(&format!("{file}.unit"), unit)?;
            }
        }
        built.link(&format!("bus/event_source/devices/{}", self.name), &dir)
    }
}

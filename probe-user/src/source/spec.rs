//! What a user may write after `--source`: `auto`, a source's name, or `perf:PMU/EVENT/[,scale=J]`.
//!
//! Pure text to value; whether the machine has such a source is found out by [`super::select()`].

use std::fmt;
use std::str::FromStr;

use super::core_perf;

/// What `--source` takes.
pub const NAMES: &str = "auto, amd-core-perf, rapl-perf, rapl-powercap, nvml, hwmon, battery, model or \
                         perf:PMU/EVENT/[,scale=JOULES_PER_COUNT]";

/// One `--source` of the command line.
#[derive(Clone, Debug, PartialEq)]
pub enum SourceSpec {
    /// The best rung of each domain.
    Auto,
    /// AMD's counters of single cores, through the perf PMU `power_core`.
    AmdCorePerf,
    /// RAPL through the perf PMU `power`.
    RaplPerf,
    /// RAPL through powercap zones.
    RaplPowercap,
    /// NVIDIA GPUs through the driver's library.
    Nvml,
    /// Sensors of the hwmon class.
    Hwmon,
    /// The machine's batteries, discharging: of the contract's `hwmon`, under a label of its own.
    Battery,
    /// No sensor: published watts per thread × busy clock.
    Model,
    /// Any perf counter.
    Perf(PerfSpec),
}

/// `perf:PMU/EVENT/` with an optional scale.
#[derive(Clone, Debug, PartialEq)]
pub struct PerfSpec {
    /// Name of the PMU below `/sys/bus/event_source/devices`.
    pub pmu: String,
    /// Name of the event below the PMU's `events`.
    pub event: String,
    /// Joules per count, if the user declared it; else the PMU's own `.scale` is used.
    pub scale: Option<f64>,
}

/// Why a text is no source.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// No such name.
    #[error("unknown source {0:?}; use {NAMES}")]
    Unknown(String),
    /// `perf:` without PMU and event.
    #[error("{0:?} names no event; write perf:PMU/EVENT/, for example perf:power/energy-pkg/")]
    Shape(String),
    /// A name that is no file name.
    #[error("{0:?} is no name of a PMU or event; use letters, digits, '_', '-' and '.'")]
    Name(String),
    /// Something else than a scale after the event.
    #[error("unknown option {0:?} of a perf source; the only one is ,scale=JOULES_PER_COUNT")]
    Option(String),
    /// The scale is no positive number.
    #[error(
        "scale {0:?} is not a positive number of joules per count; write for example ,scale=1e-9"
    )]
    Scale(String),
}

impl FromStr for SourceSpec {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        match text {
            "auto" => Ok(Self::Auto),
            core_perf::NAME => Ok(Self::AmdCorePerf),
            "rapl-perf" => Ok(Self::RaplPerf),
            "rapl-powercap" => Ok(Self::RaplPowercap),
            "nvml" => Ok(Self::Nvml),
            "hwmon" => Ok(Self::Hwmon),
            "battery" => Ok(Self::Battery),
            "model" => Ok(Self::Model),
            _ => match text.strip_prefix("perf:") {
                Some(rest) => parse_perf(rest).map(Self::Perf),
                None => Err(SpecError::Unknown(text.into())),
            },
        }
    }
}

fn parse_perf(rest: &str) -> Result<PerfSpec, SpecError> {
    let shape = || SpecError::Shape(format!("perf:{rest}"));
    let (pmu, rest_of) = rest.split_once('/').ok_or_else(shape)?;
    let (event, options) = rest_of.split_once('/').ok_or_else(shape)?;
    for name in [pmu, event] {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        if name.is_empty() {
            return Err(shape());
        }
        if name.starts_with('.') || !name.chars().all(plain) || name.len() > 128 {
            return Err(SpecError::Name(name.into()));
        }
    }
    let mut scale = None;
    for option in options.split(',').skip(usize::from(options.starts_with(','))) {
        match option.split_once('=') {
            Some(("scale", value)) if scale.is_none() => scale = Some(parse_scale(value)?),
            None if option.is_empty() && options.is_empty() => {}
            _ => return Err(SpecError::Option(option.into())),
        }
    }
    Ok(PerfSpec { pmu: pmu.into(), event: event.into(), scale })
}

fn parse_scale(text: &str) -> Result<f64, SpecError> {
    match text.parse::<f64>() {
        Ok(scale) if scale.is_finite() && scale > 0.0 => Ok(scale),
        _ => Err(SpecError::Scale(text.into())),
    }
}

impl fmt::Display for SourceSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::AmdCorePerf => f.write_str(core_perf::NAME),
            Self::RaplPerf => f.write_str("rapl-perf"),
            Self::RaplPowercap => f.write_str("rapl-powercap"),
            Self::Nvml => f.write_str("nvml"),
            Self::Hwmon => f.write_str("hwmon"),
            Self::Battery => f.write_str("battery"),
            Self::Model => f.write_str("model"),
            Self::Perf(spec) => spec.fmt(f),
        }
    }
}

/// The label of the source in records and metrics; the scale is no part of it.
impl fmt::Display for PerfSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "perf:{}/{}/", self.pmu, self.event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn perf(pmu: &str, event: &str, scale: Option<f64>) -> SourceSpec {
        SourceSpec::Perf(PerfSpec { pmu: pmu.into(), event: event.into(), scale })
    }

    #[test]
    fn every_name_of_this_version_is_read_back_as_it_is_shown() {
        for text in [
            "auto",
            "amd-core-perf",
            "rapl-perf",
            "rapl-powercap",
            "nvml",
            "hwmon",
            "battery",
            "model",
            "perf:power/energy-pkg/",
        ] {
            assert_eq!(text.parse::<SourceSpec>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_perf_source_takes_an_optional_scale() {
        assert_eq!("perf:msr/tsc/".parse(), Ok(perf("msr", "tsc", None)));
        assert_eq!("perf:msr/tsc/,scale=1e-9".parse(), Ok(perf("msr", "tsc", Some(1e-9))));
        assert_eq!("perf:msr/tsc/scale=0.5".parse(), Ok(perf("msr", "tsc", Some(0.5))));
    }

    #[test]
    fn nonsense_is_refused_with_what_to_write_instead() {
        for (text, error) in [
            ("rapl", SpecError::Unknown("rapl".into())),
            ("", SpecError::Unknown(String::new())),
            ("perf:msr", SpecError::Shape("perf:msr".into())),
            ("perf:msr/tsc", SpecError::Shape("perf:msr/tsc".into())),
            ("perf://", SpecError::Shape("perf://".into())),
            ("perf:../tsc/", SpecError::Name("..".into())),
            ("perf:m r/tsc/", SpecError::Name("m r".into())),
            ("perf:msr/tsc/,period=1", SpecError::Option("period=1".into())),
            ("perf:msr/tsc/,", SpecError::Option(String::new())),
            ("perf:msr/tsc/,scale=1,scale=2", SpecError::Option("scale=2".into())),
            ("perf:msr/tsc/,scale=-1", SpecError::Scale("-1".into())),
            ("perf:msr/tsc/,scale=inf", SpecError::Scale("inf".into())),
            ("perf:msr/tsc/,scale=", SpecError::Scale(String::new())),
        ] {
            assert_eq!(text.parse::<SourceSpec>(), Err(error), "{text}");
        }
    }
}

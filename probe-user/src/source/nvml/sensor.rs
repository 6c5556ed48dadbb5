//! One reading of a GPU: its counter, or its power integrated, and who used it.

use super::device::{Fault, Gpus, Power};
use super::usage::Usage;
use super::{EVERY_NS, Meter};
use crate::source::integrate::Integrator;
use crate::source::{ReadError, Sensed, Sensor};

/// Power readings further apart are not integrated over: several misses, or a thread that did not run.
const LONGEST_GAP_NS: u64 = 10 * EVERY_NS;

/// An open GPU. Counts are millijoules of a counter, nanojoules of power that is integrated.
pub struct GpuSensor {
    index: u32,
    meter: Meter,
    gpu: Box<dyn Gpus>,
    energy: Integrator,
    usage: Usage,
    /// Instant of the last reading.
    last: Option<u64>,
}

impl GpuSensor {
    pub(super) fn new(index: u32, meter: Meter, mig: bool, gpu: Box<dyn Gpus>) -> Self {
        let (energy, usage) = (Integrator::new(LONGEST_GAP_NS), Usage::new(mig));
        Self { index, meter, gpu, energy, usage, last: None }
    }

    fn count(&mut self, now: &dyn Fn() -> u64) -> Result<(u64, u64, u64), Fault> {
        let begin = now();
        let which = match self.meter {
            Meter::Energy { .. } => {
                let mj = self.gpu.energy_mj()?;
                return Ok((begin, now(), mj));
            }
            Meter::Instant => Power::Instant,
            Meter::Average => Power::Average,
        };
        let power = self.gpu.power_mw(which).inspect_err(|_| self.energy.missed())?;
        let end = now();
        let t = u64::midpoint(begin, end);
        Ok((begin, end, self.energy.push(t, power.saturating_mul(1_000))))
    }
}

impl Sensor for GpuSensor {
    fn read(&mut self, now: &dyn Fn() -> u64) -> Result<Sensed, ReadError> {
        let (begin, end, count) = self.count(now).map_err(|fault| {
            let what = match fault {
                Fault::Unsupported => "the driver does not support the call any more".to_owned(),
                Fault::Nothing => "the driver has no reading".to_owned(),
                Fault::Failed(what) => what,
            };
            ReadError::Gpu { index: self.index, what }
        })?;
        let t = u64::midpoint(begin, end);
        let elapsed = self.last.map_or(0, |last| t.saturating_sub(last));
        let users = self.usage.users(self.gpu.as_ref(), t, elapsed);
        self.last = Some(t);
        Ok(Sensed { begin, end, count, users })
    }

    fn busy(&mut self) -> Option<f64> {
        self.gpu.busy_percent().ok().map(|percent| f64::from(percent) / 100.0)
    }
}

//! What the GPUs do, as data.

use serde::{Deserialize, Serialize};

/// A machine's GPUs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Script {
    /// Version of the driver.
    pub driver: String,
    /// By index.
    pub gpus: Vec<Gpu>,
    /// How long `nvmlInit_v2` takes, s.
    pub init_s: f64,
}

/// One GPU.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Gpu {
    /// Product name.
    pub name: String,
    /// Power over time; 0 W before the first step.
    pub power: Vec<Step>,
    /// How often the energy counter moves, ms.
    pub update_ms: f64,
    /// What `nvmlDeviceGetPowerUsage` averages over, ms.
    pub average_ms: f64,
    /// Whether the field of instant power is there.
    pub instant: bool,
    /// How often the use of each process is sampled, ms; `None`: it is not.
    pub utilisation_ms: Option<f64>,
    /// Who is on it.
    pub processes: Vec<Process>,
    /// Its instances, if it is in MIG mode.
    pub mig: Option<Vec<Instance>>,
    /// Calls that fail.
    pub faults: Vec<Fault>,
    /// Calls that take their time.
    pub hangs: Vec<Hang>,
}

/// Power from an instant on.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Step {
    /// Seconds since the library was initialised.
    pub from_s: f64,
    /// Power, W.
    pub watts: f64,
}

/// A process on a GPU.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// Part of the time its kernels ran, percent.
    pub utilisation: u32,
    /// How much later than the GPU's own times it is sampled, ms.
    #[serde(default)]
    pub sampled_after_ms: f64,
    /// Whether it draws rather than computes.
    pub graphics: bool,
    /// GPU instance it runs in, in MIG mode.
    pub instance: Option<u32>,
}

/// A GPU instance of MIG.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Instance {
    /// Its number.
    pub id: u32,
    /// Compute slices, of seven.
    pub slices: u32,
}

/// A call that fails from an instant on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Fault {
    /// Its C name, or `*`: all calls on this GPU.
    pub call: String,
    /// Seconds since the library was initialised.
    pub from_s: f64,
    /// What it returns.
    pub code: u32,
}

/// A call that takes its time from an instant on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Hang {
    /// Its C name.
    pub call: String,
    /// Seconds since the library was initialised.
    pub from_s: f64,
    /// How long it takes, s.
    pub for_s: f64,
}

impl Script {
    /// These GPUs under a driver of today.
    #[must_use]
    pub fn of(gpus: Vec<Gpu>) -> Self {
        Self { driver: "570.86.16".to_owned(), gpus, init_s: 0.0 }
    }
}

impl Gpu {
    /// A healthy one of constant power whose counter moves this often; nobody is on it.
    #[must_use]
    pub fn steady(watts: f64, update_ms: f64) -> Self {
        Self {
            name: "NVIDIA Stub 100".to_owned(),
            power: vec![Step { from_s: 0.0, watts }],
            update_ms,
            average_ms: 1000.0,
            instant: true,
            utilisation_ms: Some(100.0),
            processes: Vec::new(),
            mig: None,
            faults: Vec::new(),
            hangs: Vec::new(),
        }
    }

    /// With one more process that computes.
    #[must_use]
    pub fn process(mut self, pid: u32, utilisation: u32) -> Self {
        self.processes.push(Process {
            pid,
            utilisation,
            sampled_after_ms: 0.0,
            graphics: false,
            instance: None,
        });
        self
    }

    /// With a call that fails from the beginning.
    #[must_use]
    pub fn failing(mut self, call: &str, code: u32) -> Self {
        self.faults.push(Fault { call: call.to_owned(), from_s: 0.0, code });
        self
    }

    /// Power at an instant, W.
    #[must_use]
    pub fn watts(&self, t: f64) -> f64 {
        self.power.iter().rfind(|step| step.from_s <= t).map_or(0.0, |step| step.watts)
    }

    /// Energy from the beginning to an instant, J.
    #[must_use]
    pub fn joules(&self, t: f64) -> f64 {
        let ends = self.power.iter().skip(1).map(|step| step.from_s).chain([f64::INFINITY]);
        let part = |(step, end): (&Step, f64)| step.watts * (end.min(t) - step.from_s).max(0.0);
        self.power.iter().zip(ends).map(part).sum()
    }

    /// What the energy counter shows, mJ.
    #[must_use]
    pub fn counter(&self, t: f64) -> u64 {
        let update = self.update_ms / 1e3;
        let moved = if update > 0.0 { (t / update).floor() * update } else { t };
        // Counted since the driver was loaded, which is long ago.
        7_000_000 + (self.joules(moved) * 1e3) as u64
    }

    /// What `nvmlDeviceGetUtilizationRates` shows, percent: all its processes together; nothing in MIG mode.
    #[must_use]
    pub fn busy_percent(&self) -> Option<u32> {
        let sum = self.processes.iter().fold(0, |sum: u32, p| sum.saturating_add(p.utilisation));
        self.mig.is_none().then_some(sum.min(100))
    }

    /// What `nvmlDeviceGetPowerUsage` shows, mW.
    #[must_use]
    pub fn average_mw(&self, t: f64) -> u32 {
        let from = (t - self.average_ms / 1e3).max(0.0);
        if t <= from {
            return (self.watts(t) * 1e3) as u32;
        }
        ((self.joules(t) - self.joules(from)) / (t - from) * 1e3) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn energy_is_the_integral_of_power_at_the_last_update() {
        let mut gpu = Gpu::steady(100.0, 50.0);
        gpu.power.push(Step { from_s: 1.0, watts: 300.0 });
        assert!((gpu.joules(2.0) - 400.0).abs() < 1e-9);
        assert_eq!(gpu.counter(1.049) - gpu.counter(0.0), 100_000);
        assert_eq!(gpu.counter(1.051) - gpu.counter(0.0), 115_000);
        assert_eq!(gpu.average_mw(1.5), 200_000, "half a second of each");
        assert_eq!(gpu.watts(0.99), 100.0);
    }
}

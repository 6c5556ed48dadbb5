//! What a domain draws while nobody runs: told by its source, calibrated, or learned from quiet windows.
//!
//! A *quiet* window is one in which all consumers together were on CPU for at most a twentieth of one CPU's time, or half a
//! percent of all CPUs' where that is more (the probe's own ticks and the kernel's housekeeping on every CPU fit in): what
//! cores draw in that time is the most by which the estimate can be too high on their account, some 2 % of an idle
//! server with 128 CPUs. A device counts as one CPU: nobody keeps house on it. Quiet windows that follow each other make a stretch; the first after a
//! busy one is left out, since a sensor shows late what was drawn before. Each stretch of a second is one observation, its
//! mean power. Once there are five of the last [`KEPT`], their lower quartile is the idle power: devices that work while
//! CPUs are quiet only add, so the low ones are the idle ones. It holds for the windows that close *after*: nothing that was
//! charged is charged anew, and the same samples teach the same. On a machine whose CPUs poll instead of sleeping, that is
//! what idling costs there, and it is learned as such.

use crate::unit::{NANO, Nanojoules, Nanos, Nanowatts, clamp};

/// A window is quiet if the CPUs were busy for at most this part of its length,
const QUIET: u64 = 20;
/// or for at most this part of all their time.
const QUIET_OF_ALL: u64 = 200;
/// Length of an observation, and in periods of the sensor if that is more.
const SPAN: u64 = 1_000_000_000;
const PERIODS: u64 = 20;
/// Observations before anything is believed, and how many are kept.
const ENOUGH: usize = 5;
const KEPT: usize = 32;

/// Idle power of a domain and how well it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdlePower {
    /// The power.
    pub power: Nanowatts,
    /// Half of its 95 % interval, or of what was observed. `None`: nobody said.
    pub error: Option<Nanowatts>,
    /// It was learned in this run, not told.
    pub learned: bool,
}

impl IdlePower {
    /// What the idle energy of so long may be off by, as far as somebody said.
    pub(crate) fn off(self, length: Nanos) -> Nanojoules {
        let error = self.error.map_or(0, |error| error.over(length));
        Nanojoules(clamp(error.div_ceil(u128::from(NANO))))
    }
}

/// Learns a domain's idle power.
#[derive(Debug)]
pub(crate) struct Learner {
    /// CPUs whose work its domain's energy is; 1 of a device.
    cpus: u64,
    /// The window before was quiet.
    settled: bool,
    energy: u64,
    length: u64,
    /// Mean powers, nW, in the order they were seen; the oldest is replaced.
    seen: Vec<u64>,
    next: usize,
    known: Option<IdlePower>,
}

impl Learner {
    pub(crate) fn new(cpus: usize) -> Self {
        Self {
            cpus: cpus as u64,
            settled: false,
            energy: 0,
            length: 0,
            seen: Vec::new(),
            next: 0,
            known: None,
        }
    }

    /// What is known now.
    pub(crate) fn known(&self) -> Option<IdlePower> {
        self.known
    }

    /// A valid window: how long the CPUs were busy in it, all together.
    pub(crate) fn window(&mut self, energy: Nanojoules, length: Nanos, busy: u64, period: Nanos) {
        let quiet =
            busy <= (length.0 / QUIET).max((length.0 / QUIET_OF_ALL).saturating_mul(self.cpus));
        let settled = std::mem::replace(&mut self.settled, quiet);
        if !quiet || !settled {
            (self.energy, self.length) = (0, 0);
            return;
        }
        self.energy = self.energy.saturating_add(energy.0);
        self.length = self.length.saturating_add(length.0);
        if self.length < SPAN.max(period.0.saturating_mul(PERIODS)) {
            return;
        }
        // nJ over ns are watts.
        let power = clamp(u128::from(self.energy) * u128::from(NANO) / u128::from(self.length));
        (self.energy, self.length) = (0, 0);
        match self.seen.get_mut(self.next) {
            Some(oldest) => *oldest = power,
            None => self.seen.push(power),
        }
        self.next = (self.next + 1) % KEPT;
        self.estimate();
    }

    /// What happened cannot be told: a stretch does not go on over it.
    pub(crate) fn interrupt(&mut self) {
        (self.settled, self.energy, self.length) = (false, 0, 0);
    }

    fn estimate(&mut self) {
        let n = self.seen.len();
        if n < ENOUGH {
            return;
        }
        let mut sorted = self.seen.clone();
        sorted.sort_unstable();
        let [least, power, most] = [sorted[0], sorted[n / 4], sorted[3 * n / 4]];
        let error = (most - power).max(power - least);
        let (power, error) = (Nanowatts(power), Some(Nanowatts(error)));
        self.known = Some(IdlePower { power, error, learned: true });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    /// Windows of 100 ms at a power in mW, busy for so many milliseconds.
    fn tell(learner: &mut Learner, windows: usize, milliwatts: u64, busy: u64) {
        for _ in 0..windows {
            let (energy, length) = (Nanojoules(milliwatts * 100 * 1_000), Nanos(100 * MS));
            learner.window(energy, length, busy * MS, Nanos(MS));
        }
    }

    #[test]
    fn five_quiet_seconds_after_the_first_window_teach_the_power() {
        let mut learner = Learner::new(2);
        tell(&mut learner, 50, 12_500, 2);
        assert_eq!(learner.known(), None);
        tell(&mut learner, 1, 12_500, 2);
        let known = learner.known().unwrap();
        assert_eq!((known.power, known.error), (Nanowatts(12_500_000_000), Some(Nanowatts(0))));
        assert!(known.learned);
    }

    #[test]
    fn busy_windows_never_teach_however_many() {
        let mut learner = Learner::new(2);
        tell(&mut learner, 100_000, 80_000, 6);
        assert_eq!(learner.known(), None);
    }

    #[test]
    fn of_many_cpus_some_may_keep_house() {
        for (cpus, busy, learns) in
            [(10, 5, true), (10, 6, false), (128, 64, true), (128, 65, false)]
        {
            let mut learner = Learner::new(cpus);
            tell(&mut learner, 51, 12_500, busy);
            assert_eq!(learner.known().is_some(), learns, "{busy} ms of 100 on {cpus} CPUs");
        }
    }

    #[test]
    fn stretches_shorter_than_a_second_do_not_add_up() {
        let mut learner = Learner::new(2);
        for _ in 0..1_000 {
            tell(&mut learner, 10, 10_000, 0);
            tell(&mut learner, 1, 90_000, 100);
        }
        assert_eq!(learner.known(), None);
    }

    #[test]
    fn a_device_that_works_half_of_the_time_does_not_raise_it() {
        let mut learner = Learner::new(2);
        for _ in 0..20 {
            tell(&mut learner, 11, 10_000, 0);
            tell(&mut learner, 1, 90_000, 100);
            tell(&mut learner, 11, 15_000, 0);
            tell(&mut learner, 1, 90_000, 100);
        }
        let known = learner.known().unwrap();
        assert_eq!(
            (known.power, known.error),
            (Nanowatts(10_000_000_000), Some(Nanowatts(5_000_000_000)))
        );
    }

    #[test]
    fn it_follows_a_machine_that_idles_at_another_power_from_then_on() {
        let mut learner = Learner::new(2);
        tell(&mut learner, 1_000, 10_000, 0);
        tell(&mut learner, 400, 20_000, 0);
        assert_eq!(learner.known().map(|k| k.power), Some(Nanowatts(20_000_000_000)));
    }
}

//! A domain's state between two samples: counter, clocks, carried fractions. Turns samples into windows.
//!
//! It knows nothing of requests or of who is charged.

use crate::book::Anomalies;
use crate::broken::Broken;
use crate::counter::Delta;
use crate::domain::{DomainSpec, Scope};
use crate::idle::{IdlePower, Learner};
use crate::pulse::{Beat, Pulse};
use crate::sample::{Cause, Sample, Void};
use crate::scale::Accumulator;
use crate::split::Split;
use crate::unit::{NANO, Nanojoules, Nanos, Nanowatts, clamp};
use crate::weighing::Weighing;

/// A domain's counter and clocks as of its last sample.
#[derive(Debug)]
pub(crate) struct Meter {
    pub(crate) spec: DomainSpec,
    last: Option<(Nanos, u64)>,
    energy: Accumulator,
    /// Idle energy due and not yet taken off, attojoules.
    idle_due: u128,
    /// Its idle power, where it is not told.
    learner: Learner,
    /// Clocks at the beginning of the window.
    pub(crate) from: Vec<u64>,
    /// On-CPU time in the window last read.
    pub(crate) used: Vec<u64>,
    /// Clocks as far as any sample has shown them, with a counter or without.
    pub(crate) latest: Vec<u64>,
    /// How it is known who uses it.
    pub(crate) split: Split,
    /// What the window's energy is shared by instead, where weights come with the samples.
    pub(crate) weighing: Weighing,
    /// Nobody waits for it until it samples again.
    pub(crate) stalled: bool,
    pub(crate) pulse: Pulse,
    /// Time that no window may touch.
    broken: Broken,
}

/// The interval between two samples.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Interval {
    pub(crate) begin: Nanos,
    pub(crate) end: Nanos,
}

impl Interval {
    pub(crate) fn length(self) -> Nanos {
        self.end.since(self.begin)
    }

    /// The shortest that holds both.
    pub(crate) fn with(self, other: Self) -> Self {
        Self { begin: self.begin.min(other.begin), end: self.end.max(other.end) }
    }

    /// Whether they have more than an instant in common.
    pub(crate) fn overlaps(self, other: Self) -> bool {
        self.begin < other.end && other.begin < self.end
    }
}

/// What a sample says.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Reading {
    Stale,
    Held,
    First(Nanos),
    Valid(Interval, Energy),
    Void(Interval, Void),
}

/// A valid window's energy: `total = idle + active`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Energy {
    pub(crate) total: Nanojoules,
    pub(crate) idle: Nanojoules,
    pub(crate) active: Nanojoules,
    /// What idle energy was taken off by.
    pub(crate) by: Option<IdlePower>,
    pub(crate) units: u64,
}

impl Meter {
    pub(crate) fn new(spec: DomainSpec, consumers: usize, cpus: usize) -> Self {
        Self {
            last: None,
            energy: Accumulator::new(spec.scale),
            idle_due: 0,
            learner: Learner::new(cpus),
            from: vec![0; consumers],
            used: vec![0; consumers],
            latest: vec![0; consumers],
            split: Split::Clocks,
            weighing: Weighing::default(),
            stalled: false,
            pulse: Pulse::default(),
            broken: Broken::default(),
            spec,
        }
    }

    /// When it was last read.
    pub(crate) fn last_t(&self) -> Option<Nanos> {
        self.last.map(|(t, _)| t)
    }

    /// Reads a sample whose counter is there and whose clocks are as many as the consumers. Afterwards `from` and
    /// `used` describe the window. `room` is what the books can still hold.
    pub(crate) fn read(
        &mut self,
        sample: &Sample<'_>,
        counter: u64,
        room: Nanojoules,
        seen: &mut Anomalies,
    ) -> Reading {
        let Some((begin, previous)) = self.last else {
            self.last = Some((sample.t, counter));
            self.from.copy_from_slice(sample.clocks);
            self.pulse.begin(sample.t, sample.clocks);
            self.weighing.advance(sample.weights.as_ref(), seen);
            return Reading::First(sample.t);
        };
        if sample.t <= begin {
            return Reading::Stale;
        }
        let interval = Interval { begin, end: sample.t };
        let cause = self.broken.touches(interval);
        let beat = match cause {
            Some(_) => {
                self.pulse.begin(sample.t, sample.clocks);
                Beat::Close
            }
            None => self.pulse.beat(&self.spec, sample.t, counter != previous, sample.clocks),
        };
        if beat == Beat::Hold {
            return Reading::Held;
        }
        self.last = Some((sample.t, counter));
        self.advance_clocks(sample.clocks, seen);
        self.weighing.advance(sample.weights.as_ref(), seen);
        match (cause, beat) {
            (Some(cause), _) => {
                self.learner.interrupt();
                return Reading::Void(interval, cause.into());
            }
            (None, Beat::Stuck) => {
                self.learner.interrupt();
                return Reading::Void(interval, Void::Stuck);
            }
            (None, Beat::Close | Beat::Hold) => {}
        }
        match self.judge(previous, counter, interval.length(), room) {
            Ok(energy) => Reading::Valid(interval, energy),
            Err(void) => {
                self.learner.interrupt();
                Reading::Void(interval, void)
            }
        }
    }

    /// Takes in how far a sample shows the clocks, whatever becomes of its counter.
    pub(crate) fn show(&mut self, clocks: &[u64]) {
        for (latest, now) in self.latest.iter_mut().zip(clocks) {
            *latest = (*latest).max(*now);
        }
    }

    /// No window that touches this time is valid.
    pub(crate) fn distrust(&mut self, time: Interval, cause: Cause) {
        self.broken.add(time, cause);
    }

    /// On-CPU time of all consumers in the window last read.
    pub(crate) fn on_cpu(&self) -> u64 {
        self.used.iter().fold(0, |sum, used| sum.saturating_add(*used))
    }

    /// The sensor's period as far as it is known.
    pub(crate) fn period(&self) -> Nanos {
        self.pulse.period(&self.spec)
    }

    /// The idle power that holds now: told, else learned.
    pub(crate) fn idle_power(&self) -> Option<IdlePower> {
        let told = |power| IdlePower { power, error: self.spec.idle_error, learned: false };
        self.spec.idle.map(told).or_else(|| self.learner.known())
    }

    /// A valid window teaches the windows after it. Not where the power is told; nor of what is not summed, since counters
    /// of single cores know by themselves what is drawn with nobody on them; nor of a device whose users are unknown.
    fn learn(&mut self, total: Nanojoules, length: Nanos) {
        let unseen = self.spec.scope == Scope::Device
            && !matches!(self.split, Split::Clocks | Split::Utilisation);
        if self.spec.idle.is_some() || !self.spec.additive {
            return;
        }
        if unseen {
            self.learner.interrupt();
            return;
        }
        self.learner.window(total, length, self.on_cpu(), self.pulse.period(&self.spec));
    }

    /// A clock that went backwards stands still until it has caught up, so that no time counts twice.
    fn advance_clocks(&mut self, now: &[u64], seen: &mut Anomalies) {
        for ((from, used), now) in self.from.iter_mut().zip(&mut self.used).zip(now) {
            // The previous window's end; exact, since it was reached by `checked_sub` below.
            *from = from.saturating_add(*used);
            *used = now.checked_sub(*from).unwrap_or_else(|| {
                seen.clocks_backwards += 1;
                0
            });
        }
    }

    fn judge(
        &mut self,
        previous: u64,
        now: u64,
        length: Nanos,
        room: Nanojoules,
    ) -> Result<Energy, Void> {
        let (spec, period) = (&self.spec, self.period());
        // A stale sensor may deliver the energy of one more period in a window.
        let bound = spec.max_power.map(|power| {
            let nj = power.over(length.saturating_add(period)) / u128::from(NANO);
            Nanojoules(clamp(nj)).saturating_add(spec.quantum)
        });
        // Only a counter that went backwards needs the bound in counts.
        let most = bound.filter(|_| now < previous).map(|b| spec.scale.counts(b));
        let units = match spec.range.step(Some(previous), now, most) {
            Delta::Step(units) | Delta::Wrapped(units) => units,
            // `previous` is given, so `First` cannot be.
            Delta::Reset | Delta::First => return Err(Void::Reset),
        };
        let (total, energy) = self.energy.next(units).ok_or(Void::Implausible)?;
        if let Some(bound) = bound {
            if total > bound {
                return Err(Void::Implausible);
            }
            let last = clamp(spec.range.modulus() - 1);
            if bound >= spec.scale.energy(last) {
                return Err(Void::Ambiguous);
            }
        }
        if total > room {
            return Err(Void::Full);
        }
        self.energy = energy;
        let by = self.idle_power();
        let idle = by.map_or(Nanojoules::ZERO, |by| self.take_idle(by.power, total, length));
        self.learn(total, length);
        Ok(Energy { total, idle, active: Nanojoules(total.0 - idle.0), by, units })
    }

    /// `min(E, idle power × |w|)`. What a window could not cover is still due in the next ones, up to one
    /// sensor period: a sensor that updates in lumps (nothing in one window, two updates in the next)
    /// would otherwise lose idle energy to whoever runs under the lump. With a period of 0 nothing but the
    /// fraction of a nanojoule is carried.
    fn take_idle(&mut self, power: Nanowatts, total: Nanojoules, length: Nanos) -> Nanojoules {
        let nano = u128::from(NANO);
        let due = self.idle_due.saturating_add(power.over(length));
        let idle = Nanojoules(clamp(due / nano).min(total.0));
        let carried = power.over(self.period()).saturating_add(nano - 1);
        self.idle_due = (due - u128::from(idle.0) * nano).min(carried);
        idle
    }
}

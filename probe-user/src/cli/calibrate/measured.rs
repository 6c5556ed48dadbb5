//! One domain while its idle power is measured.

use probe_ledger::Delta;

use super::CalibrateError;
use super::idle_error::{Seen, idle_error, watts_per_cpu};
use super::quiet::{DeviceUse, QUIET};
use crate::calibration::IdleDomain;
use crate::clock::Clock;
use crate::source::{Domain, OpenCounter, Polled, Reading, Scope, Sensor};

/// Student's factor for a mean of [`super::INTERVALS`].
const STUDENT: f64 = 2.093;

/// An open counter of either kind.
enum Open {
    Perf(OpenCounter),
    Polled(Box<dyn Sensor>),
}

/// A domain, its open counter and what was seen of it.
pub(super) struct Measured<'a> {
    domain: &'a Domain,
    open: Open,
    last: (u64, u64),
    watts: Vec<f64>,
    joules: f64,
    seconds: f64,
    device: DeviceUse,
}

impl<'a> Measured<'a> {
    /// Opens it and reads it once; `None` for what is not calibrated. `sight`: every process of the machine can be looked into.
    pub(super) fn open(
        domain: &'a Domain,
        clock: Clock,
        sight: bool,
    ) -> Result<Option<Self>, CalibrateError> {
        let open = match &domain.reading {
            Reading::Kernel(event) => Open::Perf(event.open().map_err(|e| failed(domain, &e))?),
            Reading::Polled(polled) => Open::Polled(polled.open().map_err(|e| failed(domain, &e))?),
            Reading::Cores(_) | Reading::Model(_) => return Ok(None),
        };
        Self::begin(domain, open, clock, sight).map(Some)
    }

    fn begin(
        domain: &'a Domain,
        open: Open,
        clock: Clock,
        sight: bool,
    ) -> Result<Self, CalibrateError> {
        let mut this = Self {
            domain,
            open,
            last: (0, 0),
            watts: vec![],
            joules: 0.0,
            seconds: 0.0,
            device: DeviceUse::default(),
        };
        this.last = this.read(clock)?;
        // What that said of users is of a time before the measurement.
        this.device = DeviceUse::default();
        if let Reading::Polled(polled) = &domain.reading
            && (hides_users(polled) || polled.needs_sight() && !sight)
        {
            this.device.unknowable();
        }
        Ok(this)
    }

    fn read(&mut self, clock: Clock) -> Result<(u64, u64), CalibrateError> {
        match &mut self.open {
            Open::Perf(counter) => {
                let before = clock.now();
                let count = counter.read().map_err(|e| failed(self.domain, &e))?;
                Ok((u64::midpoint(before, clock.now()), count))
            }
            Open::Polled(sensor) => {
                let sensed = sensor.read(&|| clock.now()).map_err(|e| failed(self.domain, &e))?;
                let t = sensed.t();
                self.device.heard(&sensed.users, t.saturating_sub(self.last.0));
                Ok((t, sensed.count))
            }
        }
    }

    /// Asks a device's driver how busy it is.
    pub(super) fn look(&mut self) {
        if let Open::Polled(sensor) = &mut self.open
            && self.domain.scope == Scope::Device
        {
            self.device.look(sensor.busy());
        }
    }

    /// Ends an interval.
    pub(super) fn step(&mut self, clock: Clock) -> Result<(), CalibrateError> {
        let (before, from) = self.last;
        let (t, count) = self.read(clock)?;
        self.last = (t, count);
        let seconds = t.saturating_sub(before) as f64 / 1e9;
        let most = self.most(seconds);
        let counts = match self.domain.range.step(Some(from), count, most) {
            Delta::Step(n) | Delta::Wrapped(n) if most.is_none_or(|most| n <= most) => n,
            _ => return Err(failed(self.domain, &"it jumped or went backwards")),
        };
        if seconds <= 0.0 {
            return Err(failed(self.domain, &"no time passed"));
        }
        let joules = counts as f64 * self.domain.joules_per_count;
        self.watts.push(joules / seconds);
        (self.joules, self.seconds) = (self.joules + joules, self.seconds + seconds);
        Ok(())
    }

    /// The most counts that it can have moved: a counter that is late delivers a period more. `None`: nobody knows.
    fn most(&self, seconds: f64) -> Option<u64> {
        let Domain { max_watts, period_ns, quantum_nj, joules_per_count, .. } = self.domain;
        let period = *period_ns as f64 / 1e9;
        let joules = max_watts * (seconds + period) + *quantum_nj as f64 / 1e9;
        max_watts.is_finite().then(|| (joules / joules_per_count).ceil() as u64)
    }

    /// What it was, with so many CPUs busy on average.
    ///
    /// # Errors
    /// When its counter cannot stand still and did.
    pub(super) fn idle(&self, busy_cpus: f64) -> Result<IdleDomain, CalibrateError> {
        let domain = self.domain;
        if self.joules == 0.0 && domain.must_move() {
            let (domain, seconds) = (domain.name.clone(), self.seconds);
            return Err(CalibrateError::Still { domain, seconds });
        }
        let (watts, n) = (self.joules / self.seconds, self.watts.len() as f64);
        let squares: f64 = self.watts.iter().map(|w| (w - watts).powi(2)).sum();
        Ok(IdleDomain {
            domain: domain.name.clone(),
            source: domain.source.clone(),
            joules_per_count: domain.joules_per_count,
            watts,
            error_watts: idle_error(&Seen {
                spread: STUDENT * (squares / (n - 1.0) / n).sqrt(),
                // At both ends the counter may be one update and one step late.
                ends: (domain.period_ns as f64 * watts + domain.quantum_nj as f64) / 1e9,
                seconds: self.seconds,
                busy_cpus,
                watts_per_cpu: watts_per_cpu(domain),
            }),
            intervals: self.watts.len() as u64,
        })
    }

    /// Whether nobody used it, where it is a device.
    ///
    /// # Errors
    /// Somebody did, or may have.
    pub(super) fn quiet(&self) -> Result<(), CalibrateError> {
        let domain = self.domain.name.clone();
        match self.device.share() {
            Some(share) if share > QUIET => Err(CalibrateError::DeviceBusy { domain, share }),
            Some(_) => Ok(()),
            None => Err(CalibrateError::DeviceUnknown { domain }),
        }
    }
}

/// Whether nothing tells who uses a device.
fn hides_users(polled: &Polled) -> bool {
    let Polled::Hwmon(input) = polled else { return false };
    input.card.as_ref().is_some_and(|card| card.address.is_none())
}

fn failed(domain: &Domain, why: &dyn std::fmt::Display) -> CalibrateError {
    CalibrateError::Read { domain: domain.name.clone(), why: why.to_string() }
}

#[cfg(test)]
mod tests {
    use probe_ledger::Split;

    use super::*;
    use crate::source::testing::Tree;
    use crate::source::{ReadError, Sensed, Users, powercap};

    /// A counter that says, one second after the other, what it was told to.
    struct Told(Vec<u64>, Users);

    impl Sensor for Told {
        fn read(&mut self, _: &dyn Fn() -> u64) -> Result<Sensed, ReadError> {
            let t = (100 - self.0.len() as u64) * 1_000_000_000;
            Ok(Sensed { begin: t, end: t, count: self.0.remove(0), users: self.1.clone() })
        }
    }

    /// RAPL's package and memory, µJ, bounds of power and all.
    fn rapl() -> Vec<Domain> {
        let tree = Tree::new().cpus(&[0]).zone("intel-rapl:0", "package-0", 0).zone(
            "intel-rapl:0:0",
            "dram",
            0,
        );
        powercap::domains(&tree.roots(), &tree.topology()).unwrap()
    }

    /// A counter of 64 bits under a declared scale, so that no power is too much for it.
    fn declared(joules_per_count: f64) -> Domain {
        Domain {
            source: "perf:msr/tsc/".to_owned(),
            range: crate::source::Range::Bits(64),
            period_ns: 0,
            max_watts: f64::INFINITY,
            joules_per_count,
            ..rapl().remove(0)
        }
    }

    fn measured<'a>(
        domain: &'a Domain,
        counts: &[u64],
        users: Users,
    ) -> Result<Measured<'a>, CalibrateError> {
        let clock = Clock::at(0);
        let open = Open::Polled(Box::new(Told(counts.to_vec(), users)));
        let mut measured = Measured::begin(domain, open, clock, true)?;
        counts.iter().skip(1).try_for_each(|_| measured.step(clock))?;
        Ok(measured)
    }

    fn idle(domain: &Domain, counts: &[u64]) -> Result<IdleDomain, String> {
        let found = measured(domain, counts, Users::Cpus).and_then(|measured| measured.idle(0.1));
        found.map_err(|e| e.to_string())
    }

    #[test]
    fn the_power_is_the_mean_and_its_error_holds_spread_ends_and_work() {
        // 10, 12 and 11 W; a millisecond late by 11 mW and 61 µJ over 3 s; a tenth of a CPU at 5 W.
        let found = idle(&rapl()[0], &[5_000_000, 15_000_000, 27_000_000, 38_000_000]).unwrap();
        assert!((found.watts - 11.0).abs() < 1e-9, "{found:?}");
        let spread = 2.093 * (2.0_f64 / 2.0 / 3.0).sqrt();
        let error = (spread.powi(2) + (0.011_061_036_f64 / 3.0).powi(2) + 0.25).sqrt();
        assert!((found.error_watts - error).abs() < 1e-9, "{found:?} is not {error}");
        assert_eq!(found.intervals, 3);
    }

    #[test]
    fn a_package_or_memory_that_did_not_move_is_dead_and_not_idle() {
        let mut domains = rapl();
        for domain in &domains {
            let error = idle(domain, &[7, 7, 7]).unwrap_err();
            assert!(error.contains("did not move in 2 s; choose"), "{error}");
        }
        // Graphics may be off.
        domains[0].name = "igpu-0".to_owned();
        assert_eq!(idle(&domains[0], &[7, 7, 7]).unwrap().watts, 0.0);
    }

    #[test]
    fn a_counter_that_goes_back_has_wrapped_only_where_it_wraps() {
        let back = idle(&declared(1e-9), &[1_000_000, 999_000, 2_000_000]).unwrap_err();
        assert!(back.contains("went backwards"), "{back}");
        let wrapped = idle(&declared(1e-9), &[u64::MAX, 999_999_999, 1_999_999_999]).unwrap();
        assert!((wrapped.watts - 1.0).abs() < 1e-9, "{wrapped:?}");
        let crate::source::Range::Max(most) = rapl()[0].range else { panic!("not powercap") };
        let wrapped = idle(&rapl()[0], &[most - 5_000_000, 4_999_999, 14_999_999]).unwrap();
        assert!((wrapped.watts - 10.0).abs() < 1e-6, "{wrapped:?}");
        let back = idle(&rapl()[0], &[9_000_000, 1_000_000]).unwrap_err();
        assert!(back.contains("went backwards"), "{back}");
    }

    #[test]
    fn a_counter_that_moves_seldom_may_deliver_a_period_at_once() {
        let domain = Domain { period_ns: 2_000_000_000, max_watts: 10.0, ..rapl().remove(0) };
        let found = idle(&domain, &[0, 0, 27_000_000]).unwrap();
        assert!((found.watts - 13.5).abs() < 1e-9, "{found:?}");
        let error = idle(&domain, &[0, 0, 31_000_000]).unwrap_err();
        assert!(error.contains("jumped"), "{error}");
    }

    #[test]
    fn a_device_that_somebody_used_or_may_have_used_is_not_idle() {
        let gpu = Domain { scope: Scope::Device, name: "gpu-0".to_owned(), ..rapl().remove(0) };
        let quiet = |split, used: &[(u32, u64)]| {
            let users = Users::Device(split, used.to_vec());
            let found = measured(&gpu, &[0, 1_000_000, 2_000_000], users).unwrap();
            found.quiet().map_err(|e| e.to_string())
        };
        assert_eq!(quiet(Split::Clocks, &[]), Ok(()));
        assert_eq!(quiet(Split::Utilisation, &[(7, 10_000_000)]), Ok(()), "1 %");
        let error = quiet(Split::Utilisation, &[(7, 300_000_000)]).unwrap_err();
        assert!(error.starts_with("gpu-0 was used for 30.0 % of the time"), "{error}");
        let error = quiet(Split::Exclusive, &[(7, 1_000_000_000)]).unwrap_err();
        assert!(error.contains("nothing tells whether") && error.contains("--force"), "{error}");
    }
}

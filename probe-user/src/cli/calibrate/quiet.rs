//! Whether the machine was quiet while it was measured: its CPUs by `/proc/stat`, its devices by who used them.

use probe_ledger::Split;

use crate::files;
use crate::roots::Roots;
use crate::source::Users;

/// The most that the CPUs, or a device, may be busy, of all their time.
pub(in crate::cli) const QUIET: f64 = 0.02;

/// All time and idle time of all CPUs so far, clock ticks; `None` where procfs does not say.
pub(super) fn busy(roots: &Roots) -> Option<(u64, u64)> {
    let text = files::beginning(&roots.proc("stat"), 1024).ok()?;
    let line = text.lines().next()?.strip_prefix("cpu ")?;
    // user nice system idle iowait irq softirq steal; guest time is in user already.
    let ticks: Option<Vec<u64>> =
        line.split_whitespace().take(8).map(|word| word.parse().ok()).collect();
    let ticks = ticks.filter(|ticks| ticks.len() >= 5)?;
    let all = ticks.iter().try_fold(0u64, |sum, t| sum.checked_add(*t))?;
    Some((all, ticks[3].checked_add(ticks[4])?))
}

/// The busy part of the time between two looks.
pub(super) fn busy_share(from: (u64, u64), to: (u64, u64)) -> Option<f64> {
    let (all, idle) = (to.0.checked_sub(from.0)?, to.1.saturating_sub(from.1));
    (all > 0).then(|| all.saturating_sub(idle) as f64 / all as f64)
}

/// What was heard of the use of one device.
#[derive(Clone, Debug, Default)]
pub(super) struct DeviceUse {
    /// By its processes, and of how much time that was told, ns.
    used: u64,
    told: u64,
    /// There were processes, and nothing was told of what they did.
    untold: bool,
    /// By its driver, summed over so many looks.
    busy: f64,
    looks: u32,
    /// A look gave nothing.
    silent: bool,
}

impl DeviceUse {
    /// Who used it in the time since the reading before, ns.
    pub(super) fn heard(&mut self, users: &Users, elapsed: u64) {
        let Users::Device(split, list) = users else { return };
        // Of the others, what each is given is a guess, or all of the time.
        if !matches!(split, Split::Clocks | Split::Utilisation) {
            self.untold = true;
            return;
        }
        let used = list.iter().fold(0, |sum: u64, (_, ns)| sum.saturating_add(*ns));
        self.used = self.used.saturating_add(used);
        self.told = self.told.saturating_add(elapsed);
    }

    /// Nobody can be said to have used it, or not.
    pub(super) fn unknowable(&mut self) {
        self.untold = true;
    }

    /// What its driver says of the latest time.
    pub(super) fn look(&mut self, busy: Option<f64>) {
        self.looks += 1;
        self.silent |= busy.is_none();
        self.busy += busy.unwrap_or(0.0);
    }

    /// The part of the time that it was used, the larger of both answers; `None` where it had processes and there is no answer.
    pub(super) fn share(&self) -> Option<f64> {
        let driver = (self.looks > 0 && !self.silent).then(|| self.busy / f64::from(self.looks));
        if self.untold && driver.is_none() {
            return None;
        }
        let told = if self.told > 0 { self.used as f64 / self.told as f64 } else { 0.0 };
        Some(told.max(driver.unwrap_or(0.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn busy_time_is_what_is_neither_idle_nor_waiting() {
        assert_eq!(busy_share((1_000, 900), (2_000, 1_870)), Some(0.03));
        assert_eq!(busy_share((1_000, 900), (1_000, 900)), None);
        assert_eq!(busy_share((1_000, 900), (10, 9)), None);
    }

    fn heard(split: Split, list: &[(u32, u64)], looks: &[Option<f64>]) -> Option<f64> {
        let mut device = DeviceUse::default();
        device.heard(&Users::Device(split, list.to_vec()), 1_000);
        looks.iter().for_each(|busy| device.look(*busy));
        device.share()
    }

    #[test]
    fn a_device_that_nobody_is_on_is_quiet_and_one_of_the_cpus_is_never_asked() {
        assert_eq!(heard(Split::Clocks, &[], &[]), Some(0.0));
        assert_eq!(heard(Split::Clocks, &[], &[None]), Some(0.0));
        let mut none = DeviceUse::default();
        none.heard(&Users::Cpus, 1_000);
        assert_eq!(none.share(), Some(0.0));
    }

    #[test]
    fn what_processes_are_told_to_have_used_adds_up() {
        assert_eq!(heard(Split::Utilisation, &[(7, 300), (8, 50)], &[]), Some(0.35));
    }

    #[test]
    fn of_processes_without_a_known_use_the_driver_must_speak_at_every_look() {
        for split in [Split::Exclusive, Split::Partition, Split::Equal, Split::Unknown] {
            assert_eq!(heard(split, &[(7, 1_000)], &[]), None, "{split:?}");
            assert_eq!(heard(split, &[(7, 1_000)], &[Some(0.0), None]), None, "{split:?}");
            assert_eq!(heard(split, &[(7, 1_000)], &[Some(0.0), Some(0.0)]), Some(0.0));
            assert_eq!(heard(split, &[(7, 1_000)], &[Some(0.5), Some(0.0)]), Some(0.25));
        }
    }

    #[test]
    fn the_driver_is_believed_where_processes_are_out_of_sight() {
        assert_eq!(heard(Split::Clocks, &[], &[Some(1.0)]), Some(1.0));
    }
}

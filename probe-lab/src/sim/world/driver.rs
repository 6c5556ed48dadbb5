//! A device's driver: what it tells of who uses the device, which is less than what is true.
//!
//! As NVML has it: the processes that are there are listed, and of each that did something in a period of the driver's own
//! there is a percentage of that. What was said last of a process holds until it is stale.

use crate::sim::input::Users;

/// What was said longer ago than this says nothing of now, ns: as the probe has it.
const STALE_NS: u64 = 3_000_000_000;

/// The driver, and what the probe has made of it so far.
#[derive(Debug)]
pub(super) struct Driver {
    /// Consumers that are there.
    there: Vec<usize>,
    /// When it sampled last, and each consumer's time on the device then, ns.
    sampled: u64,
    before: Vec<u64>,
    /// By consumer: when it was last said to have used how many percent.
    said: Vec<Option<(u64, u64)>>,
    read: u64,
    clocks: Vec<u64>,
}

impl Driver {
    pub(super) fn new(there: Vec<usize>, consumers: usize, now: u64) -> Self {
        Self {
            there,
            sampled: now,
            before: vec![0; consumers],
            said: vec![None; consumers],
            read: now,
            clocks: vec![0; consumers],
        }
    }

    /// It samples.
    pub(super) fn sample(&mut self, now: u64, used: &[u64]) {
        let period = (now - self.sampled).max(1);
        for who in &self.there {
            let ns = used[*who] - self.before[*who];
            let percent = ((100 * ns + period / 2) / period).min(100);
            if percent > 0 {
                self.said[*who] = Some((now, percent));
            }
        }
        self.sampled = now;
        self.before.copy_from_slice(used);
    }

    /// The probe asks who used the device since it asked last.
    pub(super) fn ask(&mut self, now: u64) -> (&[u64], Users) {
        let elapsed = now - self.read;
        self.read = now;
        let fresh = |(t, _): &(u64, u64)| now - t <= STALE_NS;
        let said = |who: usize| self.said[who].filter(fresh).map(|(_, percent)| percent);
        let users = match self.there[..] {
            [] => Users::Nobody,
            [_] => Users::Exclusive,
            _ if self.there.iter().any(|who| said(*who).is_some()) => Users::Utilisation,
            _ => Users::Equal,
        };
        for who in &self.there {
            self.clocks[*who] += match users {
                Users::Nobody => 0,
                Users::Exclusive => elapsed,
                Users::Utilisation => elapsed * said(*who).unwrap_or(0) / 100,
                Users::Equal => elapsed / self.there.len() as u64,
            };
        }
        (&self.clocks, users)
    }
}

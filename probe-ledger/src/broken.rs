//! Time in which what a counter shows is worthless, and why. A short list: a window between two such times is as good as any.

use crate::meter::Interval;
use crate::sample::Cause;

/// With more of them the two oldest become one, with what lies between them.
const MOST: usize = 16;

/// One domain's, in order of their begin; none of them overlap.
#[derive(Debug, Default)]
pub(crate) struct Broken {
    times: Vec<(Interval, Cause)>,
}

impl Broken {
    /// Adds one. Those that it overlaps become part of it, for its cause.
    pub(crate) fn add(&mut self, time: Interval, cause: Cause) {
        let mut whole = time;
        self.times.retain(|(other, _)| {
            let apart = !other.overlaps(time);
            if !apart {
                whole = whole.with(*other);
            }
            apart
        });
        let place = self.times.partition_point(|(other, _)| other.begin <= whole.begin);
        self.times.insert(place, (whole, cause));
        if self.times.len() > MOST {
            let (oldest, _) = self.times.remove(0);
            let (next, _) = &mut self.times[0];
            *next = next.with(oldest);
        }
    }

    /// Why a window is worthless that no earlier one follows; `None`: it is not.
    pub(crate) fn touches(&mut self, window: Interval) -> Option<Cause> {
        self.times.retain(|(time, _)| time.end > window.begin);
        let touched = self.times.iter().rfind(|(time, _)| time.overlaps(window));
        touched.map(|(_, cause)| *cause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unit::Nanos;

    fn time(begin: u64, end: u64) -> Interval {
        Interval { begin: Nanos(begin), end: Nanos(end) }
    }

    #[test]
    fn only_times_that_overlap_become_one_for_the_last_cause() {
        let mut broken = Broken::default();
        broken.add(time(10, 20), Cause::Suspended);
        broken.add(time(40, 50), Cause::Suspended);
        broken.add(time(15, 25), Cause::Hotplug);
        let causes: Vec<_> =
            [0, 10, 20, 25, 40, 45, 50].map(|t| broken.touches(time(t, t + 5))).into();
        let (suspended, hotplug) = (Some(Cause::Suspended), Some(Cause::Hotplug));
        assert_eq!(causes, [None, hotplug, hotplug, None, suspended, suspended, None]);
        assert!(broken.times.is_empty(), "all of it is past");
    }

    #[test]
    fn of_many_times_the_oldest_become_one_and_none_is_forgotten() {
        let mut broken = Broken::default();
        for i in 0..100 {
            broken.add(time(100 * i, 100 * i + 10), Cause::Hotplug);
            assert!(broken.times.len() <= MOST);
        }
        let worthless = (0..1_000).filter(|i| broken.touches(time(10 * i, 10 * i + 10)).is_some());
        // The first 85 are one of 8,410; the other 15 are 10 each.
        assert_eq!(worthless.count(), 841 + 15);
    }
}

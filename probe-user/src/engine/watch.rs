//! What happens to the machine during a run and makes readings worthless: it was suspended, or CPUs went away or came.
//!
//! Pure but for the files it reads; the driver asks it and acts. A suspend shows in `CLOCK_BOOTTIME`, which goes
//! on, against `CLOCK_MONOTONIC`, which does not; the distance is taken as an interval, so that a reader
//! that lost its CPU between two clocks sees no suspend. CPUs are looked up once a second in
//! `/sys/devices/system/cpu/online`; where the CPU that ticked for a package is gone, another takes over: the
//! one that the PMU's cpumask names by then, else the lowest of the package. A CPU that was away for less
//! than that is told by its tick, which died with it.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    clock::Asleep,
    files,
    roots::Roots,
    source::{PerfEvent, pmu::Pmu},
    topology::{Topology, parse_cpu_list},
};

/// How often the list of CPUs is read.
pub const LOOK_NS: u64 = 1_000_000_000;
/// A package ticks ten times a second at least: without a tick for so long, something is wrong.
pub const STALL_NS: u64 = 1_000_000_000;
/// And for so long after that was seen, the probe itself running: a machine that stood still as a whole (a
/// virtual one that was paused) ticks by then.
pub const CONFIRM_NS: u64 = 300_000_000;

/// The machine as it was when it was last looked at.
#[derive(Debug)]
pub struct Watch {
    asleep: Asleep,
    /// Before the clocks were compared last.
    compared: u64,
    online: BTreeSet<u32>,
    looked: u64,
    /// Ticks that were late, by package: the last one before, and when it was first found late.
    late: BTreeMap<usize, (u64, u64)>,
}

/// A stretch of time, `CLOCK_MONOTONIC` ns, in which something happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// Not before this.
    pub begin: u64,
    /// Not after this.
    pub end: u64,
}

/// CPUs that went away or came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hotplug {
    /// When.
    pub when: Stretch,
    /// Gone.
    pub gone: BTreeSet<u32>,
    /// Come.
    pub come: BTreeSet<u32>,
}

impl Watch {
    /// Begins with the machine as it is.
    #[must_use]
    pub fn new(now: u64, asleep: Asleep, online: impl IntoIterator<Item = u32>) -> Self {
        Self {
            asleep,
            compared: now,
            online: online.into_iter().collect(),
            looked: now,
            late: BTreeMap::new(),
        }
    }

    /// The CPUs that were online at the last look.
    pub fn online(&self) -> impl Iterator<Item = u32> + '_ {
        self.online.iter().copied()
    }

    /// When the machine was suspended since the last call, if it was. `before` and `after` enclose the
    /// reading of `asleep`.
    pub fn suspended(&mut self, before: u64, asleep: Asleep, after: u64) -> Option<Stretch> {
        let begin = std::mem::replace(&mut self.compared, before);
        let longer = asleep.least > self.asleep.most;
        if longer {
            self.asleep = asleep;
            return Some(Stretch { begin, end: after });
        }
        self.asleep.most = self.asleep.most.min(asleep.most);
        None
    }

    /// Since when a package does not tick, though the CPU that should tick for it is online: that was offline
    /// between two looks. `last` is its last tick. Told once; again only where what took over does not tick either.
    pub fn stalled(&mut self, package: usize, cpu: u32, last: u64, now: u64) -> Option<Stretch> {
        if now.saturating_sub(last) <= STALL_NS || !self.online.contains(&cpu) {
            self.late.remove(&package);
            return None;
        }
        let late = self.late.entry(package).or_insert((last, now));
        if late.0 != last {
            *late = (last, now);
        }
        if now.saturating_sub(late.1) < CONFIRM_NS {
            return None;
        }
        // What takes over has as long before it is found late.
        late.1 = now.saturating_add(STALL_NS);
        Some(Stretch { begin: last, end: now })
    }

    /// Looks for CPUs that went away or came, once a second. A list that cannot be read changes nothing.
    pub fn hotplug(&mut self, now: u64, roots: &Roots) -> Option<Hotplug> {
        if now.saturating_sub(self.looked) < LOOK_NS {
            return None;
        }
        let begin = std::mem::replace(&mut self.looked, now);
        let text = files::text(&roots.sys("devices/system/cpu/online")).ok()?;
        let online: BTreeSet<u32> = parse_cpu_list(&text).ok()?.into_iter().collect();
        if online.is_empty() || online == self.online {
            return None;
        }
        let gone = self.online.difference(&online).copied().collect();
        let come = online.difference(&self.online).copied().collect();
        self.online = online;
        Some(Hotplug { when: Stretch { begin, end: now }, gone, come })
    }
}

/// The package, by its index in the topology of the run's begin, that a CPU belongs to now.
#[must_use]
pub fn package_now(first: &Topology, now: &Topology, cpu: u32) -> Option<usize> {
    if let Some(package) = first.package_of(cpu) {
        return Some(package);
    }
    match now.packages.get(now.package_of(cpu)?)?.physical_id {
        Some(id) => first.package_by_physical_id(id),
        None => Some(0),
    }
}

/// The CPU that should tick for a package, by its index in the topology of the run's begin, now that the
/// machine is `now`; `None` where none of its CPUs is online. `events` are the package's counters.
#[must_use]
pub fn place<'a>(
    package: usize,
    first: &Topology,
    now: &Topology,
    events: impl IntoIterator<Item = &'a PerfEvent>,
    roots: &Roots,
) -> Option<u32> {
    let here: Vec<u32> =
        now.online().filter(|cpu| package_now(first, now, *cpu) == Some(package)).collect();
    let named = events.into_iter().filter(|event| event.named).find_map(|event| {
        let mask = Pmu::read(roots, &event.pmu).ok()?.cpumask?;
        mask.into_iter().find(|cpu| here.contains(cpu))
    });
    named.or_else(|| here.iter().min().copied())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::testing::Tree;

    fn asleep(least: i128, most: i128) -> Asleep {
        Asleep { least, most }
    }

    #[test]
    fn a_suspend_is_seen_and_a_reader_that_lost_its_cpu_sees_none() {
        let mut watch = Watch::new(100, asleep(5, 9), [0]);
        assert_eq!(watch.suspended(200, asleep(4, 7), 201), None);
        // 3 s between two clocks that were read: still not more than before.
        assert_eq!(watch.suspended(300, asleep(-3_000_000_000, 8), 302), None);
        let stretch = Stretch { begin: 300, end: 402 };
        assert_eq!(watch.suspended(400, asleep(1_000, 1_002), 402), Some(stretch));
        assert_eq!(watch.suspended(500, asleep(1_000, 1_002), 502), None);
    }

    #[test]
    fn cpus_that_go_and_come_are_told_once_a_second_and_garbage_is_no_news() {
        let tree = Tree::new().cpus(&[0, 0, 1, 1]);
        let online = "devices/system/cpu/online";
        let mut watch = Watch::new(0, asleep(0, 0), [0, 1, 2, 3]);
        tree.write(online, "0,2-3,4\n");
        assert_eq!(watch.hotplug(LOOK_NS - 1, &tree.roots()), None);
        let seen = watch.hotplug(LOOK_NS, &tree.roots()).unwrap();
        assert_eq!(seen.when, Stretch { begin: 0, end: LOOK_NS });
        assert_eq!((seen.gone, seen.come), ([1].into(), [4].into()));
        for garbage in ["", "all", "\u{fffd}"] {
            tree.write(online, garbage);
            assert_eq!(watch.hotplug(u64::MAX - 5, &tree.roots()), None);
        }
        assert_eq!(watch.online().collect::<Vec<_>>(), [0, 2, 3, 4]);
    }

    #[test]
    fn a_cpu_that_was_away_between_two_looks_is_told_by_its_tick_once() {
        let mut watch = Watch::new(0, asleep(0, 0), [0, 1]);
        let last = 5_000_000_000;
        let late = last + STALL_NS + 1;
        assert_eq!(watch.stalled(0, 1, last, last + STALL_NS), None);
        // Found late, but perhaps all of the machine stood still: it ticks again at once.
        assert_eq!(watch.stalled(0, 1, last, late), None);
        assert_eq!(watch.stalled(0, 1, late + 5, late + CONFIRM_NS), None);
        // Found late, and late still.
        let late = late + 5 + STALL_NS + 1;
        let last = late - STALL_NS - 1;
        assert_eq!(watch.stalled(0, 1, last, late), None);
        assert_eq!(watch.stalled(0, 1, last, late + CONFIRM_NS - 1), None);
        let end = late + CONFIRM_NS;
        let stretch = Stretch { begin: last, end };
        assert_eq!(watch.stalled(0, 1, last, end), Some(stretch));
        // What takes over has time to tick; then it is told again.
        assert_eq!(watch.stalled(0, 1, last, end + STALL_NS + CONFIRM_NS - 1), None);
        let end = end + STALL_NS + CONFIRM_NS;
        assert_eq!(watch.stalled(0, 1, last, end), Some(Stretch { begin: last, end }));
        // A CPU that is known to be offline is the list's business; another package's tick is not this one's.
        assert_eq!(watch.stalled(0, 7, last, end + 10 * STALL_NS), None);
        assert_eq!(watch.stalled(1, 0, end, end + 1), None);
    }

    #[test]
    fn another_cpu_of_the_package_takes_over_the_one_the_mask_names() {
        let tree = Tree::new().cpus(&[0, 0, 0, 1]).power_pmu(&["energy-pkg"], "0,3");
        let first = tree.topology();
        let domains = crate::source::perf::rapl(&tree.roots(), &first).unwrap();
        let events: Vec<_> = domains
            .iter()
            .map(|d| match &d.reading {
                crate::source::Reading::Kernel(event) => event,
                other => panic!("{other:?}"),
            })
            .collect();
        tree.write("devices/system/cpu/online", "1-3");
        tree.write("bus/event_source/devices/power/cpumask", "2,3");
        let now = tree.topology();
        let of = |package: usize| events.iter().copied().filter(move |e| e.package == package);
        assert_eq!(place(0, &first, &now, of(0), &tree.roots()), Some(2));
        assert_eq!(place(0, &first, &now, [], &tree.roots()), Some(1));
        assert_eq!(place(1, &first, &now, of(1), &tree.roots()), Some(3));
        // The second package is gone altogether.
        tree.write("devices/system/cpu/online", "1-2");
        assert_eq!(place(1, &first, &tree.topology(), of(1), &tree.roots()), None);
    }

    #[test]
    fn a_cpu_that_was_offline_at_first_belongs_to_the_package_it_names() {
        let tree = Tree::new().cpus(&[3, 5, 5]);
        tree.write("devices/system/cpu/online", "0-1");
        let first = tree.topology();
        tree.write("devices/system/cpu/online", "0-2");
        assert_eq!(package_now(&first, &tree.topology(), 2), Some(1));
    }
}

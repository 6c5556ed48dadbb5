//! What happens to the machine during a run and makes readings worthless: it was suspended, or CPUs went away or came.
//!
//! Pure but for the files it reads; the driver asks it and acts. A suspend shows in `CLOCK_BOOTTIME`, which goes
//! on, against `CLOCK_MONOTONIC`, which does not; the distance is taken as an interval, so that a reader
//! that lost its CPU between two clocks sees no suspend. CPUs are looked up once a second in
//! `/sys/devices/system/cpu/online`. One that was away for less than that is told by the timer that runs on every
//! CPU, which died with it.

use std::collections::BTreeSet;

use crate::{
    clock::Asleep,
    files,
    roots::Roots,
    topology::{Topology, parse_cpu_list},
};

/// How often the list of CPUs is read.
pub const LOOK_NS: u64 = 1_000_000_000;
/// A CPU's timer runs twenty times a second: without it for so long, something is wrong.
pub const SILENT_NS: u64 = 1_000_000_000;
/// And for so long after that was seen, the probe itself running: a machine that stood still as a whole (a
/// virtual one that was paused) goes on by then.
pub const CONFIRM_NS: u64 = 300_000_000;

/// The machine as it was when it was last looked at.
#[derive(Debug)]
pub struct Watch {
    asleep: Asleep,
    /// Before the clocks were compared last.
    compared: u64,
    online: BTreeSet<u32>,
    looked: u64,
    next: u64,
    /// CPUs whose timer was found silent at the last look, and when it had run last.
    suspected: BTreeSet<(u32, u64)>,
    /// Those that were told and are silent still.
    told: BTreeSet<(u32, u64)>,
}

/// A stretch of time, `CLOCK_MONOTONIC` ns, in which something happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// Not before this.
    pub begin: u64,
    /// Not after this.
    pub end: u64,
}

/// CPUs that went away or came. Those that did both within one look are in both sets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hotplug {
    /// Nothing of it was before this, `CLOCK_MONOTONIC` ns.
    pub begin: u64,
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
            next: now.saturating_add(LOOK_NS),
            suspected: BTreeSet::new(),
            told: BTreeSet::new(),
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

    /// Looks for CPUs that went away or came, once a second. `resynced` says when the timer that runs on every CPU
    /// ran there last: a CPU that is online while its timer is silent was away between two looks, so it both
    /// went and came. That is told once. A list that cannot be read changes nothing.
    pub fn hotplug(
        &mut self,
        now: u64,
        roots: &Roots,
        resynced: impl Fn(u32) -> Option<u64>,
    ) -> Option<Hotplug> {
        if now < self.next {
            return None;
        }
        let listed = files::text(&roots.sys("devices/system/cpu/online"));
        let listed = listed.ok().and_then(|text| parse_cpu_list(&text).ok()).unwrap_or_default();
        let online: BTreeSet<u32> = listed.into_iter().collect();
        let online = if online.is_empty() { self.online.clone() } else { online };
        let stayed = self.online.intersection(&online);
        let silent: BTreeSet<(u32, u64)> = stayed
            .filter_map(|cpu| Some((*cpu, resynced(*cpu)?)))
            .filter(|(_, last)| now.saturating_sub(*last) > SILENT_NS)
            .collect();
        let (bounced, suspected) = silent
            .difference(&self.told)
            .copied()
            .partition::<BTreeSet<_>, _>(|of| self.suspected.contains(of));
        self.next = now.saturating_add(if suspected.is_empty() { LOOK_NS } else { CONFIRM_NS });
        self.suspected = suspected;
        self.told.retain(|of| silent.contains(of));
        self.told.extend(&bounced);
        // A CPU that came has no timer yet, and perhaps none can be opened any more.
        let come = online.difference(&self.online).copied();
        self.told.extend(come.filter_map(|cpu| Some((cpu, resynced(cpu)?))));
        let mut gone: BTreeSet<u32> = self.online.difference(&online).copied().collect();
        let mut come: BTreeSet<u32> = online.difference(&self.online).copied().collect();
        // Each was there when its timer ran last; where it has had none for long, at the look before.
        let fresh = self.looked.saturating_sub(SILENT_NS);
        let left = gone.iter().filter_map(|cpu| resynced(*cpu)).filter(|last| *last >= fresh);
        let begin = left.chain(bounced.iter().map(|of| of.1)).fold(self.looked, u64::min);
        self.looked = now;
        self.online = online;
        gone.extend(bounced.iter().map(|of| of.0));
        come.extend(bounced.iter().map(|of| of.0));
        (!gone.is_empty() || !come.is_empty()).then_some(Hotplug { begin, gone, come })
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
        let alive = |_| None;
        assert_eq!(watch.hotplug(LOOK_NS - 1, &tree.roots(), alive), None);
        let seen = watch.hotplug(LOOK_NS, &tree.roots(), alive).unwrap();
        assert_eq!((seen.begin, seen.gone, seen.come), (0, [1].into(), [4].into()));
        for (look, garbage) in (2..).zip(["", "all", "\u{fffd}"]) {
            tree.write(online, garbage);
            assert_eq!(watch.hotplug(look * LOOK_NS, &tree.roots(), alive), None);
        }
        assert_eq!(watch.online().collect::<Vec<_>>(), [0, 2, 3, 4]);
    }

    #[test]
    fn a_cpu_that_left_was_there_when_its_timer_ran_last() {
        let tree = Tree::new().cpus(&[0, 0]);
        let mut watch = Watch::new(0, asleep(0, 0), [0, 1]);
        assert_eq!(watch.hotplug(LOOK_NS, &tree.roots(), |_| Some(LOOK_NS)), None);
        tree.write("devices/system/cpu/online", "0");
        let last = LOOK_NS - 40_000_000;
        let seen = watch.hotplug(2 * LOOK_NS, &tree.roots(), |cpu| (cpu == 1).then_some(last));
        assert_eq!(seen.unwrap().begin, last);
        // Back, and away again without a timer in between: what it had before is long ago.
        let without = |cpu| (cpu == 1).then_some(last);
        tree.write("devices/system/cpu/online", "0-1");
        assert!(watch.hotplug(9 * LOOK_NS, &tree.roots(), without).is_some());
        tree.write("devices/system/cpu/online", "0");
        let seen = watch.hotplug(10 * LOOK_NS, &tree.roots(), without).unwrap();
        assert_eq!((seen.begin, seen.gone), (9 * LOOK_NS, [1].into()));
    }

    #[test]
    fn a_cpu_that_was_away_between_two_looks_is_told_by_its_timer_once() {
        let tree = Tree::new().cpus(&[0, 0]);
        let mut watch = Watch::new(0, asleep(0, 0), [0, 1]);
        let mut look = |now: u64, last: u64| {
            watch.hotplug(now, &tree.roots(), |cpu| Some(if cpu == 1 { last } else { now }))
        };
        let (last, late) = (5_000_000_000, 5_000_000_000 + SILENT_NS + 1);
        assert_eq!(look(late - 1, last), None);
        // Found late, but perhaps all of the machine stood still: it ran again at once.
        assert_eq!(look(late + LOOK_NS, last), None);
        assert_eq!(look(late + LOOK_NS + CONFIRM_NS, late + LOOK_NS + 5), None);
        // Found late, and late still.
        let (last, late) = (late + LOOK_NS + 5, late + 3 * LOOK_NS + CONFIRM_NS);
        assert_eq!(look(late, last), None);
        assert_eq!(look(late + CONFIRM_NS - 1, last), None);
        let told = Hotplug { begin: last, gone: [1].into(), come: [1].into() };
        assert_eq!(look(late + CONFIRM_NS, last), Some(told));
        // What was told is no news; another time is.
        assert_eq!(look(late + CONFIRM_NS + LOOK_NS, last), None);
        assert_eq!(look(late + CONFIRM_NS + 2 * LOOK_NS, last), None);
        let (last, late) = (last + LOOK_NS, late + 9 * LOOK_NS);
        assert_eq!(look(late, last), None);
        assert!(look(late + CONFIRM_NS, last).is_some());
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

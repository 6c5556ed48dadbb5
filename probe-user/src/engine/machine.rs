//! What the run does when something happens to the machine: CPUs go and come, or it sleeps.

use probe_ledger::{Cause, Flag};

use super::{
    Engine,
    watch::{Hotplug, LOOK_NS, Stretch},
};
use crate::topology::Topology;

impl Engine<'_> {
    pub(super) fn look_at_machine(&mut self) {
        self.look_for_suspend();
        let Self { watch, probe, .. } = self;
        let now = self.clock.now();
        if let Some(seen) = watch.hotplug(now, &self.roots, |cpu| probe.resynced(cpu)) {
            self.hotplug(&seen);
        } else if self.unsettled.is_some_and(|when| now >= when) {
            self.settle(false);
        }
    }

    /// Before events are handled: none that was handled yet is later than the comparison before this one.
    pub(super) fn look_for_suspend(&mut self) {
        let before = self.clock.now();
        let asleep = self.clock.asleep();
        if let Some(when) = self.watch.suspended(before, asleep, self.clock.now()) {
            self.core.distrust(None, when, Cause::Suspended);
            (self.report)("the machine was suspended: that time is charged to nobody");
        }
    }

    /// CPUs went away or came: what was on those that went finds another place. What finds none is said; its domains
    /// then have no readings, and nothing is made up for them.
    fn hotplug(&mut self, seen: &Hotplug) {
        self.core.happened(Flag::Hotplug);
        (self.report)(&format!("CPUs went offline: {:?}, came online: {:?}", seen.gone, seen.come));
        self.cpus = self.watch.online().collect();
        let touched = self.places.lose(&mut self.probe, &seen.gone);
        if let Ok(now) = Topology::read(&self.roots) {
            self.places.come(&mut self.probe, &seen.come, &now);
        }
        let come: Vec<u32> = seen.come.iter().copied().collect();
        if let Err(error) = self.probe.move_resync(&self.cpus, &come) {
            (self.report)(&format!("missed switches are not noticed on all CPUs: {error}"));
        }
        self.settle(true);
        // To the new places' first reading: none of theirs has been handled yet.
        let when = Stretch { begin: seen.begin, end: self.clock.now() };
        for package in touched {
            self.core.distrust(Some(package), when, Cause::Hotplug);
        }
    }

    /// Finds places for what has none; says what finds none, if that is news.
    fn settle(&mut self, news: bool) {
        let troubles = match Topology::read(&self.roots) {
            Ok(now) => self.places.settle(&mut self.probe, &now, &self.roots),
            Err(error) => vec![format!("what CPUs there are now cannot be read: {error}")],
        };
        let settled = troubles.is_empty();
        if news {
            troubles.iter().for_each(|trouble| (self.report)(trouble));
        } else if settled {
            (self.report)("every package and core that was measured at first is measured again");
        }
        self.unsettled = (!settled).then(|| self.clock.now().saturating_add(LOOK_NS));
    }
}

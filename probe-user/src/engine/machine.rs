//! What the run does when something happens to the machine: CPUs go and come, or it sleeps.

use probe_ledger::{Cause, Flag};

use super::{
    Engine,
    places::Settled,
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
        } else if self.unsettled.as_ref().is_some_and(|(when, _)| now >= *when) {
            self.settle();
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
        let stayed = self.watch.online().filter(|cpu| !seen.come.contains(cpu)).collect();
        self.places.lose(&mut self.probe, &seen.gone, &seen.come, &stayed, seen.begin);
        let come: Vec<u32> = seen.come.iter().copied().collect();
        if let Err(error) = self.probe.move_resync(&self.cpus, &come) {
            (self.report)(&format!("missed switches are not noticed on all CPUs: {error}"));
        }
        if let Err(error) = self.cycles.renew(&mut self.probe, &come) {
            (self.report)(&format!(
                "cycles are not counted on all CPUs, so energy is shared by time: {error}"
            ));
        }
        self.unsettled = None;
        self.settle();
    }

    /// Finds places for what has none, and tells what finds none once.
    fn settle(&mut self) {
        let settled = match Topology::read(&self.roots) {
            Ok(now) => self.places.settle(&mut self.probe, &now, &self.roots),
            Err(error) => Settled {
                troubles: vec![format!("what CPUs there are now cannot be read: {error}")],
                moved: Vec::new(),
            },
        };
        for (package, begin) in settled.moved {
            // To the new place's first reading, which has not been handled yet.
            let when = Stretch { begin, end: self.clock.now() };
            self.core.distrust(Some(package), when, Cause::Hotplug);
        }
        let told = self.unsettled.take().map(|(_, told)| told);
        let (news, again) = (told.as_ref() != Some(&settled.troubles), settled.troubles.is_empty());
        if news {
            settled.troubles.iter().for_each(|trouble| (self.report)(trouble));
        }
        if !again {
            let when = self.clock.now().saturating_add(LOOK_NS);
            self.unsettled = Some((when, settled.troubles));
        } else if told.is_some() {
            (self.report)("every package and core that was measured at first is measured again");
        }
    }
}

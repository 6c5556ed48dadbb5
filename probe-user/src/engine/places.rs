//! Where the kernel side works for a run: the CPU that ticks for each package, the counters read there, and those
//! of single cores.
//!
//! A CPU that goes offline takes its timers and perf events with it, and neither comes back when it does. So
//! what was there is opened anew on a CPU that can stand in for it: the one that the PMU's cpumask names by then,
//! else the lowest of the package, or the other thread of the core. What finds no place has no reading until a
//! CPU comes, and a counter without reading is missing, never zero.

use std::{collections::BTreeSet, os::fd::AsFd};

use super::{EngineError, watch::package_now};
use crate::{
    kernel::{CoreCounter, KernelCounter, Probe},
    roots::Roots,
    source::{OpenCounter, OpenError, PerfEvent, core_perf, pmu::Pmu},
    topology::Topology,
};

/// A counter that the tick of its package reads.
pub struct Place {
    /// Package.
    pub package: usize,
    /// Place among the package's counters.
    pub slot: usize,
    /// What it was opened for.
    pub event: PerfEvent,
    /// Open as long as the kernel reads it.
    pub counter: OpenCounter,
    /// Its CPU has gone.
    pub lost: bool,
}

/// A core with a counter of its own.
pub struct CorePlace {
    /// The CPU that stands for it, online or not.
    pub key: u32,
    /// Its CPUs.
    pub cpus: Vec<u32>,
    /// What the counter was opened for.
    pub event: PerfEvent,
    /// Open as long as the kernel reads it; `None`: its CPU has gone.
    pub counter: Option<OpenCounter>,
}

/// All places of a run.
pub struct Places {
    first: Topology,
    ticking: Vec<Option<u32>>,
    counters: Vec<Place>,
    cores: Vec<CorePlace>,
    /// CPUs that have gone since the cores' timers were put where they are.
    dead: Vec<u32>,
}

impl Places {
    /// Begins with everything in its place.
    #[must_use]
    pub fn new(
        first: Topology,
        ticking: &[u32],
        counters: Vec<Place>,
        cores: Vec<CorePlace>,
    ) -> Self {
        let ticking = ticking.iter().copied().map(Some).collect();
        Self { first, ticking, counters, cores, dead: Vec::new() }
    }

    /// The CPUs that tick.
    #[must_use]
    pub fn ticking(&self) -> Vec<u32> {
        self.ticking.iter().copied().flatten().collect()
    }

    /// The CPUs that close the cores' windows.
    #[must_use]
    pub fn cores(&self) -> Vec<u32> {
        let read = self.cores.iter().filter(|core| core.counter.is_some());
        read.map(|core| core.event.cpu).collect()
    }

    /// The CPUs that a tick may move to.
    #[must_use]
    pub fn spare(&self) -> Vec<u32> {
        self.first.online().filter(|cpu| !self.ticking.contains(&Some(*cpu))).collect()
    }

    /// Books CPUs that came online to their packages.
    pub fn come(&self, probe: &mut Probe, come: &BTreeSet<u32>, now: &Topology) {
        for cpu in come {
            // A CPU above those of the beginning is in no clock.
            if let Some(package) = package_now(&self.first, now, *cpu) {
                let _ = probe.set_package(*cpu, package);
            }
        }
    }

    /// What was on CPUs that have gone is lost. Returns the packages that a reading of theirs is lost with.
    pub fn lose(&mut self, probe: &mut Probe, gone: &BTreeSet<u32>) -> BTreeSet<usize> {
        let mut touched = BTreeSet::new();
        for (package, ticking) in self.ticking.iter_mut().enumerate() {
            if ticking.take_if(|cpu| gone.contains(cpu)).is_some() {
                touched.insert(package);
            }
        }
        probe.lose_ticks(|cpu| gone.contains(&cpu));
        for place in self.counters.iter_mut().filter(|place| gone.contains(&place.event.cpu)) {
            place.lost = true;
            probe.drop_counter(place.package, place.slot);
            touched.insert(place.package);
        }
        for core in self.cores.iter_mut().filter(|core| gone.contains(&core.event.cpu)) {
            core.counter = None;
        }
        self.dead.extend(gone);
        touched
    }

    /// Whether something has no place that had one.
    #[must_use]
    pub fn incomplete(&self) -> bool {
        self.ticking.iter().any(Option::is_none)
            || self.counters.iter().any(|place| place.lost)
            || self.cores.iter().any(|core| core.counter.is_none())
    }

    /// Finds new places for what has lost its own. Returns what could not be placed and why, a line each.
    pub fn settle(&mut self, probe: &mut Probe, now: &Topology, roots: &Roots) -> Vec<String> {
        let mut troubles = Vec::new();
        for package in 0..self.ticking.len() {
            if let Err(error) = self.settle_package(package, probe, now, roots) {
                troubles.push(format!(
                    "package {package} is not measured whole: {error}; it is tried again every second"
                ));
            }
        }
        if let Err(error) = self.settle_cores(probe, now, roots) {
            troubles.push(format!(
                "a core's energy is not counted: {error}; it is tried again every second"
            ));
        }
        troubles
    }

    fn settle_package(
        &mut self,
        package: usize,
        probe: &mut Probe,
        now: &Topology,
        roots: &Roots,
    ) -> Result<(), EngineError> {
        let lost = |p: &Place| p.package == package && p.lost;
        let ticking = self.ticking.get(package).copied().flatten();
        if ticking.is_some() && !self.counters.iter().any(lost) {
            return Ok(());
        }
        let here: Vec<u32> = now
            .online()
            .filter(|cpu| package_now(&self.first, now, *cpu) == Some(package))
            .collect();
        let lowest = here.iter().min().copied().ok_or(EngineError::Offline)?;
        let events = self.counters.iter().map(|p| (&p.event, lost(p)));
        let seats = seats(events, &here, roots);
        let named = seats.iter().copied().flatten().next();
        let mut candidates = ticking.into_iter().chain(named).chain(here.iter().copied());
        let to = candidates.find(|cpu| probe.prepare_tick(*cpu).is_ok()).unwrap_or(lowest);
        let mut trouble = None;
        let mut anew = BTreeSet::new();
        for (index, (place, seat)) in self.counters.iter_mut().zip(seats).enumerate() {
            if !lost(place) {
                continue;
            }
            let seat = if place.event.named { seat } else { Some(to) };
            let Some(cpu) = seat else {
                trouble = Some(EngineError::Offline);
                continue;
            };
            let event = PerfEvent { cpu, ..place.event.clone() };
            match event.open() {
                Ok(counter) => place.counter = counter,
                // Then the kernel itself must have moved it: it does for a PMU that names its CPUs.
                Err(OpenError::Permission { .. }) if event.named => {}
                Err(error) => {
                    trouble = Some(error.into());
                    continue;
                }
            }
            (place.event, place.lost) = (event, false);
            anew.insert(index);
        }
        if ticking.is_none() || !anew.is_empty() {
            let anew = anew.into_iter().filter_map(|index| self.counters.get(index));
            let anew: Vec<KernelCounter<'_>> = anew.map(Place::for_kernel).collect();
            let place = self.ticking.get_mut(package).ok_or(EngineError::Offline)?;
            probe.move_tick(place.take(), to, &anew)?;
            *place = Some(to);
        }
        trouble.map_or(Ok(()), Err)
    }

    fn settle_cores(
        &mut self,
        probe: &mut Probe,
        now: &Topology,
        roots: &Roots,
    ) -> Result<(), EngineError> {
        if self.cores.is_empty() {
            return Ok(());
        }
        let mut changed = self.new_threads(now, roots);
        let mut trouble = None;
        let online: BTreeSet<u32> = now.online().collect();
        for (index, core) in self.cores.iter_mut().enumerate() {
            let cpu = core.cpus.iter().find(|cpu| online.contains(cpu));
            let (None, Some(&cpu)) = (&core.counter, cpu) else { continue };
            let event = PerfEvent { cpu, ..core.event.clone() };
            match event.open() {
                Ok(counter) => (core.event, core.counter) = (event, Some(counter)),
                Err(error) => trouble = Some(error.into()),
            }
            changed.insert(index);
        }
        if !changed.is_empty() {
            let changed: Vec<&CorePlace> =
                changed.into_iter().filter_map(|index| self.cores.get(index)).collect();
            let keys: Vec<u32> = changed.iter().map(|core| core.key).collect();
            probe.pause_cores(&keys)?;
            let counters: Vec<CoreCounter<'_>> =
                changed.into_iter().filter_map(CorePlace::for_kernel).collect();
            probe.set_cores(&counters)?;
        }
        // On CPUs that were lost the timer has died; where nothing else was, it runs.
        probe.move_cores(&self.cores(), &std::mem::take(&mut self.dead))?;
        trouble.map_or(Ok(()), Err)
    }

    /// CPUs that were offline when the run began: threads of a core that is known, or cores. Returns which cores
    /// are new or have a new thread.
    fn new_threads(&mut self, now: &Topology, roots: &Roots) -> BTreeSet<usize> {
        let known: BTreeSet<u32> =
            self.cores.iter().flat_map(|core| core.cpus.iter().copied()).collect();
        let mut changed = BTreeSet::new();
        for cpu in now.online().filter(|cpu| !known.contains(cpu)) {
            // Where that cannot be read, its joules are shared by the mean of the other cores.
            let Ok(threads) = core_perf::threads(roots, now, cpu) else { continue };
            let of = |core: &CorePlace| core.cpus.iter().any(|other| threads.contains(other));
            if let Some(index) = self.cores.iter().position(of) {
                self.cores[index].cpus.push(cpu);
                changed.insert(index);
            } else if let Some(like) = self.cores.first() {
                let event = PerfEvent { cpu, ..like.event.clone() };
                self.cores.push(CorePlace { key: cpu, cpus: vec![cpu], event, counter: None });
            }
        }
        changed
    }
}

/// For each event that is lost and whose PMU names its CPUs: the CPU that is named for it now, of those that are
/// `here`. A mask has one CPU for each die, so that of another die's event is not free.
fn seats<'a>(
    events: impl Iterator<Item = (&'a PerfEvent, bool)> + Clone,
    here: &[u32],
    roots: &Roots,
) -> Vec<Option<u32>> {
    let place = |event: &'a PerfEvent, cpu| (&*event.pmu, &*event.event, cpu);
    let kept = events.clone().filter(|(_, lost)| !lost);
    let mut taken: BTreeSet<_> = kept.map(|(event, _)| place(event, event.cpu)).collect();
    let mut seat = |event: &'a PerfEvent| {
        let mask = Pmu::read(roots, &event.pmu).ok()?.cpumask?;
        let free = |cpu: &u32| here.contains(cpu) && !taken.contains(&place(event, *cpu));
        let cpu = mask.into_iter().find(free)?;
        taken.insert(place(event, cpu));
        Some(cpu)
    };
    events.map(|(event, lost)| if lost && event.named { seat(event) } else { None }).collect()
}

impl Place {
    /// As the kernel side takes it.
    #[must_use]
    pub fn for_kernel(&self) -> KernelCounter<'_> {
        let fd = self.counter.as_fd();
        KernelCounter { package: self.package, slot: self.slot, fd }
    }
}

impl CorePlace {
    /// As the kernel side takes it; `None` where it has no counter.
    #[must_use]
    pub fn for_kernel(&self) -> Option<CoreCounter<'_>> {
        let fd = self.counter.as_ref()?.as_fd();
        Some(CoreCounter { key: self.key, cpus: &self.cpus, fd })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::{Reading, perf, testing::Tree};

    fn events(tree: &Tree) -> Vec<PerfEvent> {
        let event = |reading| match reading {
            Reading::Kernel(event) => event,
            other => panic!("{other:?}"),
        };
        let domains = perf::rapl(&tree.roots(), &tree.topology()).unwrap();
        domains.into_iter().map(|domain| event(domain.reading)).collect()
    }

    fn seats_of(events: &[PerfEvent], lost: &[u32], here: &[u32], tree: &Tree) -> Vec<Option<u32>> {
        let events = events.iter().map(|event| (event, lost.contains(&event.cpu)));
        seats(events, here, &tree.roots())
    }

    #[test]
    fn a_counter_follows_the_cpu_that_the_mask_names() {
        let tree = Tree::new().cpus(&[0, 0, 0, 1]).power_pmu(&["energy-pkg", "energy-ram"], "0,3");
        let events = events(&tree);
        let mask = |mask| tree.write("bus/event_source/devices/power/cpumask", mask);
        mask("2,3");
        let both = [Some(2), None, Some(2), None];
        assert_eq!(seats_of(&events, &[0], &[1, 2], &tree), both);
        // Named, but not of this package; and nothing is lost.
        assert_eq!(seats_of(&events, &[0], &[1], &tree), [None; 4]);
        assert_eq!(seats_of(&events, &[], &[1, 2], &tree), [None; 4]);
    }

    #[test]
    fn a_dies_counter_never_takes_another_dies_place() {
        let tree = Tree::new().cpus(&[0, 0, 0, 0]).power_pmu(&["energy-pkg"], "0,2");
        let events = events(&tree);
        let mask = |mask| tree.write("bus/event_source/devices/power/cpumask", mask);
        mask("0,3");
        assert_eq!(seats_of(&events, &[2], &[0, 1, 3], &tree), [None, Some(3)]);
        // All of the second die is gone: the first one's joules must not count twice.
        mask("0");
        assert_eq!(seats_of(&events, &[2], &[0, 1], &tree), [None, None]);
        // Both have lost their CPUs.
        mask("1,3");
        assert_eq!(seats_of(&events, &[0, 2], &[1, 3], &tree), [Some(1), Some(3)]);
    }
}

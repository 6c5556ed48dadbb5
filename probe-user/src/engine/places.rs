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

/// A perf event that the kernel side reads.
pub struct Held {
    /// What it was opened for.
    event: PerfEvent,
    /// Open as long as the kernel reads it; `None`: never opened yet.
    counter: Option<OpenCounter>,
    lost: Option<Lost>,
}

/// Its CPU has gone.
#[derive(Clone, Copy)]
struct Lost {
    /// No other CPU was there to take it over.
    orphan: bool,
}

/// A counter that the tick of its package reads.
pub struct Place {
    /// Package.
    pub package: usize,
    /// Place among the package's counters.
    pub slot: usize,
    /// Its event.
    pub held: Held,
}

/// A core with a counter of its own.
pub struct CorePlace {
    /// The CPU that stands for it, online or not.
    pub key: u32,
    /// Its CPUs.
    pub cpus: Vec<u32>,
    /// Its event.
    pub held: Held,
}

/// All places of a run.
pub struct Places {
    first: Topology,
    ticking: Vec<Option<u32>>,
    /// By package: since when something of it has been lost, `CLOCK_MONOTONIC` ns.
    since: Vec<Option<u64>>,
    counters: Vec<Place>,
    cores: Vec<CorePlace>,
    /// CPUs that have gone since the cores' timers were put where they are.
    dead: BTreeSet<u32>,
    /// CPUs that have come and are in no package yet.
    come: BTreeSet<u32>,
}

/// What became of what was lost.
#[derive(Default)]
pub struct Settled {
    /// What found no place and why, a line each.
    pub troubles: Vec<String>,
    /// Packages of which something found one, and since when it had been lost.
    pub moved: Vec<(usize, u64)>,
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
        let since = vec![None; ticking.len()];
        let ticking = ticking.iter().copied().map(Some).collect();
        let (dead, come) = (BTreeSet::new(), BTreeSet::new());
        Self { first, ticking, since, counters, cores, dead, come }
    }

    /// The CPUs that tick.
    #[must_use]
    pub fn ticking(&self) -> Vec<u32> {
        self.ticking.iter().copied().flatten().collect()
    }

    /// The CPUs that close the cores' windows.
    #[must_use]
    pub fn cores(&self) -> Vec<u32> {
        let read = self.cores.iter().filter(|core| core.held.lost.is_none());
        read.map(|core| core.held.event.cpu).collect()
    }

    /// The CPUs that a tick may move to.
    #[must_use]
    pub fn spare(&self) -> Vec<u32> {
        self.first.online().filter(|cpu| !self.ticking.contains(&Some(*cpu))).collect()
    }

    /// Those that the cores' timers may move to.
    #[must_use]
    pub fn spare_cores(&self) -> Vec<u32> {
        let cpus = self.cores.iter().flat_map(|core| core.cpus.iter().copied());
        cpus.filter(|cpu| !self.cores().contains(cpu)).collect()
    }

    /// What was on CPUs that have gone is lost, since `begin` at the earliest; `stayed` were online all the time. CPUs
    /// that have come wait for their package.
    pub fn lose(
        &mut self,
        probe: &mut Probe,
        gone: &BTreeSet<u32>,
        come: &BTreeSet<u32>,
        stayed: &BTreeSet<u32>,
        begin: u64,
    ) {
        self.come.extend(come);
        self.dead.extend(gone);
        let mut touched = BTreeSet::new();
        for (package, ticking) in self.ticking.iter_mut().enumerate() {
            if ticking.take_if(|cpu| gone.contains(cpu)).is_some() {
                touched.insert(package);
            }
        }
        probe.lose_ticks(|cpu| gone.contains(&cpu));
        for place in self.counters.iter_mut().filter(|place| gone.contains(&place.held.event.cpu)) {
            let near = |cpu: &u32| self.first.package_of(*cpu) == Some(place.package);
            place.held.lost = Some(Lost { orphan: !stayed.iter().any(near) });
            probe.drop_counter(place.package, place.slot);
            touched.insert(place.package);
        }
        for package in touched {
            if let Some(since) = self.since.get_mut(package) {
                *since = Some(since.map_or(begin, |since| since.min(begin)));
            }
        }
        let mut paused = Vec::new();
        for core in self.cores.iter_mut().filter(|core| gone.contains(&core.held.event.cpu)) {
            let orphan = !core.cpus.iter().any(|cpu| stayed.contains(cpu));
            core.held.lost = Some(Lost { orphan });
            paused.push(core.key);
        }
        if !paused.is_empty() {
            // Best effort: what a dead event shows is refused in the kernel.
            let _ = probe.pause_cores(&paused);
        }
    }

    /// Finds new places for what has lost its own.
    pub fn settle(&mut self, probe: &mut Probe, now: &Topology, roots: &Roots) -> Settled {
        let mut settled = Settled::default();
        for cpu in std::mem::take(&mut self.come) {
            // A CPU above those of the beginning is in no clock.
            if let Some(package) = package_now(&self.first, now, cpu) {
                let _ = probe.set_package(cpu, package);
            }
        }
        for package in 0..self.ticking.len() {
            let Some(since) = self.since.get(package).copied().flatten() else { continue };
            match self.settle_package(package, probe, now, roots) {
                Ok(moved) => settled.moved.extend(moved.then_some((package, since))),
                Err(error) => settled.troubles.push(format!(
                    "package {package} is not measured: {error}; it is tried again every second"
                )),
            }
            let lost = |place: &Place| place.package == package && place.held.lost.is_some();
            let ticks = self.ticking.get(package).is_some_and(Option::is_some);
            if let Some(place) = self.counters.iter().find(|place| lost(place)) {
                let event = &place.held.event;
                settled.troubles.push(format!(
                    "perf:{}/{}/ of package {package} is not read: its CPU has gone and none is named for it, or the kernel \
                     refuses to open it again without CAP_SYS_ADMIN (kernel.perf_event_paranoid above 2); it is tried again \
                     every second",
                    event.pmu, event.event
                ));
            } else if ticks && let Some(since) = self.since.get_mut(package) {
                *since = None;
            }
        }
        if let Err(error) = self.settle_cores(probe, now, roots) {
            settled.troubles.push(format!(
                "a core's energy is not counted: {error}; it is tried again every second"
            ));
        }
        settled
    }

    /// True where something of the package has found another place.
    fn settle_package(
        &mut self,
        package: usize,
        probe: &mut Probe,
        now: &Topology,
        roots: &Roots,
    ) -> Result<bool, EngineError> {
        let lost = |p: &Place| p.package == package && p.held.lost.is_some();
        let ticking = self.ticking.get(package).copied().flatten();
        let here: Vec<u32> = now
            .online()
            .filter(|cpu| package_now(&self.first, now, *cpu) == Some(package))
            .collect();
        let lowest = here.iter().min().copied().ok_or(EngineError::Offline)?;
        let events = self.counters.iter().map(|p| (&p.held.event, lost(p)));
        let seats = seats(events, &here, roots);
        let named = seats.iter().copied().flatten().next();
        let mut candidates = ticking.into_iter().chain(named).chain(here.iter().copied());
        let to = candidates.find(|cpu| probe.prepare_tick(*cpu).is_ok()).unwrap_or(lowest);
        let mut anew = Vec::new();
        for (index, (place, seat)) in self.counters.iter_mut().zip(seats).enumerate() {
            let Some(why) = place.held.lost.as_mut().filter(|_| place.package == package) else {
                continue;
            };
            let Some(cpu) = (if place.held.event.named { seat } else { Some(to) }) else {
                why.orphan = true;
                continue;
            };
            // What is refused is told by what is still lost afterwards.
            if let Ok(found) = place.held.anew(cpu) {
                anew.push((index, found));
            }
        }
        if ticking.is_some() && anew.is_empty() {
            return Ok(false);
        }
        let counters = anew.iter().filter_map(|(index, found)| {
            let place = self.counters.get(*index)?;
            let fd = found.counter.as_ref().or(place.held.counter.as_ref())?.as_fd();
            Some(KernelCounter { package, slot: place.slot, fd })
        });
        let counters: Vec<KernelCounter<'_>> = counters.collect();
        let place = self.ticking.get_mut(package).ok_or(EngineError::Offline)?;
        probe.move_tick(place.take(), to, &counters)?;
        *place = Some(to);
        drop(counters);
        for (index, found) in anew {
            if let Some(place) = self.counters.get_mut(index) {
                place.held.take(found);
            }
        }
        Ok(true)
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
        self.new_threads(now, roots);
        let online: BTreeSet<u32> = now.online().collect();
        let mut anew = Vec::new();
        let mut trouble = None;
        for (index, core) in self.cores.iter_mut().enumerate() {
            let Some(why) = core.held.lost.as_mut() else { continue };
            let Some(&cpu) = core.cpus.iter().find(|cpu| online.contains(cpu)) else {
                why.orphan = true;
                continue;
            };
            match core.held.anew(cpu) {
                Ok(found) => anew.push((index, found)),
                Err(error) => trouble = Some(error.into()),
            }
        }
        if !anew.is_empty() {
            let place = |index: &usize| self.cores.get(*index);
            let keys: Vec<u32> =
                anew.iter().filter_map(|(index, _)| Some(place(index)?.key)).collect();
            probe.pause_cores(&keys)?;
            let counters = anew.iter().filter_map(|(index, found)| {
                let CorePlace { key, cpus, held } = place(index)?;
                let fd = found.counter.as_ref().or(held.counter.as_ref())?.as_fd();
                Some(CoreCounter { key: *key, cpus, fd })
            });
            probe.set_cores(&counters.collect::<Vec<_>>())?;
            for (index, found) in anew {
                if let Some(core) = self.cores.get_mut(index) {
                    core.held.take(found);
                }
            }
        }
        // On CPUs that were lost the timer has died; where nothing else was, it runs.
        let dead: Vec<u32> = std::mem::take(&mut self.dead).into_iter().collect();
        probe.move_cores(&self.cores(), &dead)?;
        trouble.map_or(Ok(()), Err)
    }

    /// CPUs that were offline when the run began: threads of a core that is known, which then is handed over anew, or
    /// cores. Those above the CPUs of the beginning are in no clock, so in no core.
    fn new_threads(&mut self, now: &Topology, roots: &Roots) {
        let known: BTreeSet<u32> =
            self.cores.iter().flat_map(|core| core.cpus.iter().copied()).collect();
        let highest = self.first.online().max().unwrap_or(0);
        for cpu in now.online().filter(|cpu| *cpu <= highest && !known.contains(cpu)) {
            // Where that cannot be read, its joules are shared by the mean of the other cores.
            let Ok(threads) = core_perf::threads(roots, now, cpu) else { continue };
            let of = |core: &&mut CorePlace| core.cpus.iter().any(|other| threads.contains(other));
            if let Some(core) = self.cores.iter_mut().find(of) {
                core.cpus.push(cpu);
                core.held.lost.get_or_insert(Lost { orphan: false });
            } else if let Some(like) = self.cores.first() {
                let event = PerfEvent { cpu, ..like.held.event.clone() };
                let held = Held { event, counter: None, lost: Some(Lost { orphan: true }) };
                self.cores.push(CorePlace { key: cpu, cpus: vec![cpu], held });
            }
        }
    }
}

/// Another place for an event; without a counter the old one has moved there.
struct Found {
    event: PerfEvent,
    counter: Option<OpenCounter>,
}

impl Held {
    /// Opens it.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn open(event: PerfEvent) -> Result<Self, OpenError> {
        let counter = Some(event.open()?);
        Ok(Self { event, counter, lost: None })
    }

    /// Its descriptor, if it was ever opened.
    #[must_use]
    pub fn counter(&self) -> Option<&OpenCounter> {
        self.counter.as_ref()
    }

    /// Opens it on another CPU. Where that is refused the kernel itself may have moved it: it does for a PMU that names
    /// its CPUs, as long as there was one that could take it over.
    fn anew(&self, cpu: u32) -> Result<Found, OpenError> {
        let event = PerfEvent { cpu, ..self.event.clone() };
        let moved =
            event.named && self.counter.is_some() && self.lost.is_some_and(|lost| !lost.orphan);
        match event.open() {
            Ok(counter) => Ok(Found { event, counter: Some(counter) }),
            Err(OpenError::Permission { .. }) if moved => Ok(Found { event, counter: None }),
            Err(error) => Err(error),
        }
    }

    fn take(&mut self, found: Found) {
        self.event = found.event;
        if found.counter.is_some() {
            self.counter = found.counter;
        }
        self.lost = None;
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
    pub fn for_kernel(&self) -> Option<KernelCounter<'_>> {
        let fd = self.held.counter()?.as_fd();
        Some(KernelCounter { package: self.package, slot: self.slot, fd })
    }
}

impl CorePlace {
    /// As the kernel side takes it.
    #[must_use]
    pub fn for_kernel(&self) -> Option<CoreCounter<'_>> {
        let fd = self.held.counter()?.as_fd();
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

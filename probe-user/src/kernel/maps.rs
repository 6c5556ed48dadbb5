//! Typed access to the programs' maps.

use std::{
    collections::BTreeMap,
    os::fd::{AsFd, AsRawFd, BorrowedFd},
};

use aya::{
    Ebpf, Pod,
    maps::{Array, HashMap, Map, MapData, MapError, PerCpuArray},
};
use probe_common::{
    CONSUMERS, Control, CoreState, CpuCore, CpuSlot, LOSSES, MAX_COUNTERS, NO_CORE, NO_SIBLING,
    Process, TickState,
};

use super::{connections::Connections, error::KernelError, sessions::Sessions};
use crate::snapshot::HostBooks;

/// An energy counter for the tick to read.
pub struct KernelCounter<'a> {
    /// Package whose tick reads it.
    pub package: usize,
    /// Its place among the package's counters.
    pub slot: usize,
    /// The perf event.
    pub fd: BorrowedFd<'a>,
}

/// A core with an energy counter of its own.
pub struct CoreCounter<'a> {
    /// The CPU that stands for it.
    pub key: u32,
    /// Its CPUs: at most two, among them that one, online or not.
    pub cpus: &'a [u32],
    /// The perf event, opened on one of them.
    pub fd: BorrowedFd<'a>,
}

/// The kernel books of one counter, with the number of the tick they were closed at.
#[derive(Clone, Copy, Debug)]
pub struct TickBooks {
    /// Last tick of the package.
    pub tick: u64,
    /// Charged to each consumer, counter units.
    pub charged: [u64; CONSUMERS],
}

/// The maps that hold the energy counters, by slot.
const ENERGY: [&str; MAX_COUNTERS] = [
    "ENERGY_0", "ENERGY_1", "ENERGY_2", "ENERGY_3", "ENERGY_4", "ENERGY_5", "ENERGY_6", "ENERGY_7",
];

/// The maps user space works with.
pub(super) struct Maps {
    control: Array<MapData, Control>,
    processes: HashMap<MapData, u32, Process>,
    exited: Array<MapData, u64>,
    unbooked: PerCpuArray<MapData, [u64; CONSUMERS]>,
    lost: PerCpuArray<MapData, [u64; LOSSES]>,
    ticks: Array<MapData, TickState>,
    books: Array<MapData, [u64; CONSUMERS]>,
    pub(super) connections: Connections,
    package_of: Array<MapData, u32>,
    counters: Array<MapData, u32>,
    /// Kept open: the kernel takes events out of the array when its descriptor is closed.
    /// By slot.
    energy: Vec<MapData>,
    core_of: Array<MapData, CpuCore>,
    cores: Array<MapData, CoreState>,
    /// As `energy`.
    core_energy: MapData,
    /// Of the core that was handed over last.
    epoch: u64,
    sibling: Array<MapData, u32>,
    /// As `energy`; by CPU.
    cycle_events: MapData,
    /// As `cycle_events`.
    miss_events: MapData,
    slots: Array<MapData, CpuSlot>,
    pub(super) sessions: Sessions,
}

fn events(bpf: &mut Ebpf, name: &'static str) -> Result<MapData, KernelError> {
    match take(bpf, name)? {
        Map::PerfEventArray(map) => Ok(map),
        _ => Err(KernelError::Mismatch(format!("perf event array {name}"))),
    }
}

fn take(bpf: &mut Ebpf, name: &'static str) -> Result<Map, KernelError> {
    bpf.take_map(name).ok_or_else(|| KernelError::Mismatch(format!("map {name}")))
}

fn array<V: Pod>(bpf: &mut Ebpf, name: &'static str) -> Result<Array<MapData, V>, KernelError> {
    Array::try_from(take(bpf, name)?).map_err(|e| KernelError::map(name, e))
}

fn per_cpu<V: Pod>(
    bpf: &mut Ebpf,
    name: &'static str,
) -> Result<PerCpuArray<MapData, V>, KernelError> {
    PerCpuArray::try_from(take(bpf, name)?).map_err(|e| KernelError::map(name, e))
}

pub(super) fn hash<K: Pod, V: Pod>(
    bpf: &mut Ebpf,
    name: &'static str,
) -> Result<HashMap<MapData, K, V>, KernelError> {
    HashMap::try_from(take(bpf, name)?).map_err(|e| KernelError::map(name, e))
}

impl Maps {
    pub(super) fn take(bpf: &mut Ebpf) -> Result<Self, KernelError> {
        let energy = ENERGY.into_iter().map(|name| events(bpf, name)).collect::<Result<_, _>>()?;
        Ok(Self {
            control: array(bpf, "CONTROL")?,
            processes: hash(bpf, "PROCESSES")?,
            exited: array(bpf, "EXITED")?,
            unbooked: per_cpu(bpf, "UNBOOKED")?,
            lost: per_cpu(bpf, "LOST")?,
            ticks: array(bpf, "TICKS")?,
            books: array(bpf, "BOOKS")?,
            connections: Connections::take(bpf)?,
            package_of: array(bpf, "PACKAGE_OF")?,
            counters: array(bpf, "COUNTERS")?,
            energy,
            core_of: array(bpf, "CORE_OF")?,
            cores: array(bpf, "CORES")?,
            core_energy: events(bpf, "CORE_ENERGY")?,
            epoch: 0,
            sibling: array(bpf, "SIBLING")?,
            cycle_events: events(bpf, "CYCLE_EVENTS")?,
            miss_events: events(bpf, "MISS_EVENTS")?,
            slots: array(bpf, "SLOTS")?,
            sessions: Sessions::take(bpf)?,
        })
    }

    pub(super) fn set_control(&mut self, control: Control) -> Result<(), KernelError> {
        self.control.set(0, control, 0).map_err(|e| KernelError::map("CONTROL", e))
    }

    pub(super) fn set_package(&mut self, cpu: u32, package: u32) -> Result<(), KernelError> {
        self.package_of.set(cpu, package, 0).map_err(|e| KernelError::map("PACKAGE_OF", e))
    }

    /// Hands the counters to the ticks; none runs for their packages. What a package's last tick read of another
    /// event in the place of one is forgotten: the next tick begins with this one.
    pub(super) fn set_counters(
        &mut self,
        counters: &[KernelCounter<'_>],
    ) -> Result<(), KernelError> {
        for counter in counters {
            let package = u32::try_from(counter.package).unwrap_or(u32::MAX);
            let map = self.energy.get(counter.slot);
            let map = map.ok_or_else(|| KernelError::Mismatch(format!("slot {}", counter.slot)))?;
            let mut state =
                self.ticks.get(&package, 0).map_err(|e| KernelError::map("TICKS", e))?;
            state.valid &= !(1 << counter.slot);
            self.ticks.set(package, state, 0).map_err(|e| KernelError::map("TICKS", e))?;
            put_event(map.fd().as_fd(), package, counter.fd)?;
            let name = "COUNTERS";
            let mask = self.counters.get(&package, 0).map_err(|e| KernelError::map(name, e))?;
            self.counters
                .set(package, mask | 1 << counter.slot, 0)
                .map_err(|e| KernelError::map(name, e))?;
        }
        Ok(())
    }

    /// Lets the tick of a package not read one of its counters any more.
    pub(super) fn drop_counter(&mut self, package: usize, slot: usize) -> Result<(), KernelError> {
        let error = |e| KernelError::map("COUNTERS", e);
        let package = u32::try_from(package).unwrap_or(u32::MAX);
        let mask = self.counters.get(&package, 0).map_err(error)?;
        self.counters.set(package, mask & !(1 << slot), 0).map_err(error)
    }

    /// No CPU below this one is in a core that has a counter.
    pub(super) fn no_cores(&mut self, cpus: u32) -> Result<(), KernelError> {
        let none = |cpu| CpuCore { core: NO_CORE, sibling: cpu, epoch: 0 };
        (0..cpus).try_for_each(|cpu| self.set_core(cpu, none(cpu)))
    }

    /// Closes no window of these cores any more; their books stay.
    pub(super) fn pause_cores(&mut self, keys: &[u32], cpus: u32) -> Result<(), KernelError> {
        for cpu in 0..cpus {
            let of = self.core_of.get(&cpu, 0).map_err(|e| KernelError::map("CORE_OF", e))?;
            if keys.contains(&of.core) {
                self.set_core(cpu, CpuCore { epoch: 0, ..of })?;
            }
        }
        Ok(())
    }

    /// Hands cores' counters to the core programs, which close no window of theirs yet.
    pub(super) fn set_cores(&mut self, cores: &[CoreCounter<'_>]) -> Result<(), KernelError> {
        for &CoreCounter { key, cpus, fd } in cores {
            let (one, two) = match *cpus {
                [one] => (one, one),
                [one, two] => (one, two),
                _ => {
                    let (what, found) = ("threads of one core", cpus.len());
                    return Err(KernelError::TooLarge { what, found, limit: 2 });
                }
            };
            put_event(self.core_energy.fd().as_fd(), key, fd)?;
            self.epoch += 1;
            // The epoch last: who sees it sees the rest.
            for epoch in [0, self.epoch] {
                for (cpu, sibling) in [(one, two), (two, one)] {
                    self.set_core(cpu, CpuCore { core: key, sibling, epoch })?;
                }
            }
        }
        Ok(())
    }

    fn set_core(&mut self, cpu: u32, of: CpuCore) -> Result<(), KernelError> {
        self.core_of.set(cpu, of, 0).map_err(|e| KernelError::map("CORE_OF", e))
    }

    /// Makes CPUs siblings, and the others below `cpus` nobody's.
    pub(super) fn set_siblings(
        &mut self,
        cpus: u32,
        pairs: &[(u32, u32)],
    ) -> Result<(), KernelError> {
        let both = pairs.iter().flat_map(|(one, two)| [(*one, *two), (*two, *one)]);
        for (cpu, sibling) in (0..cpus).map(|cpu| (cpu, NO_SIBLING)).chain(both) {
            self.sibling.set(cpu, sibling, 0).map_err(|e| KernelError::map("SIBLING", e))?;
        }
        Ok(())
    }

    /// Hands CPUs' cycle counters to the programs on those CPUs.
    pub(super) fn set_cycles(
        &mut self,
        counters: &[(u32, BorrowedFd<'_>)],
    ) -> Result<(), KernelError> {
        let map = self.cycle_events.fd().as_fd();
        counters.iter().try_for_each(|(cpu, fd)| put_event(map, *cpu, *fd))
    }

    /// The same of misses of the last cache level.
    pub(super) fn set_misses(
        &mut self,
        counters: &[(u32, BorrowedFd<'_>)],
    ) -> Result<(), KernelError> {
        let map = self.miss_events.fd().as_fd();
        counters.iter().try_for_each(|(cpu, fd)| put_event(map, *cpu, *fd))
    }

    /// When the resync ran on a CPU last; `None` where it never did.
    pub(super) fn resynced(&self, cpu: u32) -> Option<u64> {
        self.slots.get(&cpu, 0).ok().map(|slot| slot.resync).filter(|t| *t != 0)
    }

    /// What a core counted, by who ran on it, in counter units.
    pub(super) fn core_book(&self, core: u32) -> Option<[u64; CONSUMERS]> {
        self.cores.get(&core, 0).ok().map(|state| state.book)
    }

    /// Makes a process a consumer's, with the time it has used so far. False when it has ended: then its
    /// entry is, or becomes, a dead one, which the kernel side folds when it frees the task or gives the
    /// number to another process. It is not removed here, as a dying process runs on for a while and
    /// would be entered anew, alive.
    ///
    /// `alive` is asked after the entry is written: a process that is alive then has its exit before it,
    /// and the exit hook will find the entry.
    pub(super) fn adopt(
        &mut self,
        tgid: u32,
        who: u32,
        alive: impl FnOnce() -> bool,
    ) -> Result<bool, KernelError> {
        let known = match self.processes.get(&tgid, 0) {
            Ok(known) => known,
            Err(MapError::KeyNotFound) => Process::default(),
            Err(error) => return Err(KernelError::map("PROCESSES", error)),
        };
        if known.dead != 0 {
            return Ok(false);
        }
        if known.who != who {
            self.put_process(tgid, Process { who, ..known })?;
        }
        if alive() {
            return Ok(true);
        }
        self.put_process(tgid, Process { who, dead: 1, ..known })?;
        Ok(false)
    }

    fn put_process(&mut self, tgid: u32, process: Process) -> Result<(), KernelError> {
        self.processes.insert(tgid, process, 0).map_err(|e| KernelError::map("PROCESSES", e))
    }

    pub(super) fn lost(&self) -> [u64; LOSSES] {
        let mut sums = [0; LOSSES];
        if let Ok(rows) = self.lost.get(&0, 0) {
            for row in rows.iter() {
                for (sum, n) in sums.iter_mut().zip(row) {
                    *sum += n;
                }
            }
        }
        sums
    }

    pub(super) fn books(&self, package: usize, slot: usize) -> Option<TickBooks> {
        let package = u32::try_from(package).ok()?;
        let index = package * MAX_COUNTERS as u32 + u32::try_from(slot).ok()?;
        let charged = self.books.get(&index, 0).ok()?;
        Some(TickBooks { tick: self.ticks.get(&package, 0).ok()?.number, charged })
    }

    pub(super) fn host(&self) -> HostBooks {
        // The table lives: an entry removed under the iterator makes it begin again, and nobody may count
        // twice.
        let listed: BTreeMap<u32, Process> = self.processes.iter().filter_map(Result::ok).collect();
        let mut books = HostBooks {
            processes: listed.len() as u64,
            listed_ns: listed.values().map(|process| process.ns).sum(),
            ..HostBooks::default()
        };
        for who in 0..CONSUMERS as u32 {
            books.exited_ns += self.exited.get(&who, 0).unwrap_or(0);
        }
        if let Ok(rows) = self.unbooked.get(&0, 0) {
            books.unlisted_ns = rows.iter().flatten().sum();
        }
        books
    }
}

/// `bpf(BPF_MAP_UPDATE_ELEM)` of a foreign perf event; aya has no call for it.
fn put_event(map: BorrowedFd<'_>, key: u32, event: BorrowedFd<'_>) -> Result<(), KernelError> {
    #[repr(C)]
    struct Attr {
        map_fd: u32,
        _pad: u32,
        key: u64,
        value: u64,
        flags: u64,
    }
    const BPF_MAP_UPDATE_ELEM: libc::c_long = 2;
    let value = event.as_raw_fd();
    let attr = Attr {
        map_fd: map.as_raw_fd().cast_unsigned(),
        _pad: 0,
        key: (&raw const key) as u64,
        value: (&raw const value) as u64,
        flags: 0,
    };
    // SAFETY: the attribute block is the prefix of `union bpf_attr` for this command; key and value
    // outlive the call.
    let done = unsafe {
        libc::syscall(libc::SYS_bpf, BPF_MAP_UPDATE_ELEM, &raw const attr, size_of::<Attr>())
    };
    if done == 0 {
        return Ok(());
    }
    Err(KernelError::System {
        what: "cannot hand a counter to the kernel program",
        source: std::io::Error::last_os_error(),
    })
}

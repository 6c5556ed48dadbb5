//! The loaded programs and their maps: load, read events, count losses.

use std::{
    collections::{BTreeMap, HashMap},
    os::fd::{BorrowedFd, OwnedFd},
    time::Duration,
};

use aya::{
    Btf, Ebpf, EbpfLoader,
    maps::{MapData, RingBuf},
    sys::{Stats, enable_stats},
};
use probe_common::{CONSUMERS, Conn, Control, LOSSES, MAX_CPUS, MAX_PACKAGES, SELF, SliceRecord};

use super::{
    alive::alive,
    boundary::BoundaryRung,
    decode,
    doorbell::Doorbell,
    error::KernelError,
    maps::{CoreCounter, KernelCounter, Maps, TickBooks},
    offsets::{self, Resolved},
    settings::{Also, Rung, Settings},
    timer::Timers,
    tracefs,
};
use crate::{
    boundary::Moved,
    event::{ConnId, Event},
    roots::Roots,
    snapshot::{HostBooks, ProgramCost},
    target::Socket,
};

static OBJECT: &[u8] = aya::include_bytes_aligned!("../../../probe-ebpf/wattprobe.bpf.o");

/// Connections that user space found open carry this bit in their id.
const SEEDED: u64 = 1 << 63;

/// So many buffers of captured bytes are kept for others, none larger than so many bytes: 2 MiB at most.
const BUFFERS: usize = 2048;
const BUFFER_BYTES: usize = 1024;

/// The loaded programs and their maps.
pub struct Probe {
    pub(super) bpf: Ebpf,
    pub(super) rung: Rung,
    pub(super) btf: Option<Btf>,
    pub(super) maps: Maps,
    events: RingBuf<MapData>,
    /// Buffers of captured bytes that wait for others.
    buffers: Vec<Vec<u8>>,
    doorbell: Doorbell,
    slices: RingBuf<MapData>,
    pub(super) control: Control,
    pub(super) tick_hz: u32,
    pub(super) resync: Timers,
    pub(super) switch_missed: bool,
    /// The program that ticks.
    pub(super) tick: &'static str,
    pub(super) ticks: Timers,
    pub(super) core_timers: Timers,
    /// The program that compares slices with tasks.
    pub(super) resyncs: &'static str,
    /// What else is done at a context switch.
    pub(super) also: Also,
    nr_cpus: u32,
    pub(super) roots: Roots,
    pub(super) boundary: BoundaryRung,
    /// Whether sockets say when data comes.
    pub(super) tells_arrivals: bool,
    /// What the kernel's types lack for the fentry rung.
    pub(super) functions_missing: Option<(&'static str, &'static str)>,
    /// What had been skipped when the sockets' hooks were detached.
    pub(super) skipped_before: u64,
    seeded: u64,
    undecodable: u64,
    /// What programs had cost when they were detached.
    pub(super) detached: BTreeMap<String, ProgramCost>,
    /// While open the kernel times every run of a program.
    _stats: Option<OwnedFd>,
}

impl Probe {
    /// Loads the object and fills its tables; nothing is attached yet.
    ///
    /// # Errors
    ///
    /// Missing privilege, a kernel without the features, a machine too large.
    pub fn load(settings: &Settings<'_>) -> Result<Self, KernelError> {
        let packages = settings.package_of.iter().max().map_or(1, |p| p + 1);
        check_size("CPUs", settings.package_of.len(), MAX_CPUS)?;
        check_size("packages", packages, MAX_PACKAGES)?;
        let types = settings.roots.sys("kernel/btf/vmlinux");
        let Resolved { offsets, tells_arrivals, functions_missing } = offsets::resolve(&types)?;
        tracefs::ensure()?;
        let btf = Btf::parse_file(&types, aya::Endianness::default()).ok();
        let nr_cpus = u32::try_from(settings.package_of.len()).unwrap_or(u32::MAX);
        let mut loader = EbpfLoader::new();
        loader.btf(btf.as_ref());
        loader.override_global("NR_CPUS", &nr_cpus, true);
        for (name, offset) in &offsets {
            loader.override_global(name, offset, true);
        }
        for name in ["CORE_OF", "CORE_ENERGY", "CORES", "CORE_CLOCKS"] {
            loader.map_max_entries(name, if settings.cores { nr_cpus } else { 1 });
        }
        let also = Also::of(settings);
        for name in ["SIBLING", "BESIDE"] {
            loader.map_max_entries(name, if also == Also::Beside { nr_cpus } else { 1 });
        }
        let misses = settings.misses && also == Also::Cycles;
        loader.map_max_entries("CYCLES", if also == Also::Cycles { nr_cpus } else { 1 });
        loader.map_max_entries("MISSES", if misses { nr_cpus } else { 1 });
        let misses = u32::from(misses);
        loader.override_global("READ_MISSES", &misses, true);
        let told = u32::from(tells_arrivals);
        loader.override_global("TELLS_ARRIVALS", &told, true);
        if let Some(bytes) = settings.slice_bytes {
            loader.map_max_entries("SLICES", bytes);
        }
        let mut bpf = loader.load(OBJECT).map_err(KernelError::object)?;
        let ring = |bpf: &mut Ebpf, name: &'static str| {
            let map = bpf.take_map(name).ok_or_else(|| KernelError::Mismatch(name.to_owned()))?;
            RingBuf::try_from(map).map_err(|e| KernelError::map(name, e))
        };
        let (events, slices) = (ring(&mut bpf, "EVENTS")?, ring(&mut bpf, "SLICES")?);
        let doorbell = Doorbell::of(&events).map_err(|e| KernelError::map("EVENTS", e.into()))?;
        let mut maps = Maps::take(&mut bpf)?;
        for (cpu, package) in (0u32..).zip(settings.package_of) {
            maps.set_package(cpu, u32::try_from(*package).unwrap_or(0))?;
        }
        let control = Control {
            idle_divisor: settings.idle_divisor,
            slices: u32::from(settings.slice_bytes.is_some()),
            linger_ns: 100_000_000,
            ..Control::default()
        };
        maps.set_control(control)?;
        if settings.cores {
            maps.no_cores(nr_cpus)?;
        }
        if also == Also::Beside {
            maps.set_siblings(nr_cpus, settings.siblings)?;
        }
        maps.adopt(std::process::id(), SELF, || true)?;
        Ok(Self {
            bpf,
            rung: settings.rung,
            btf,
            maps,
            events,
            buffers: Vec::new(),
            doorbell,
            slices,
            control,
            tick_hz: settings.tick_hz,
            resync: Timers::default(),
            switch_missed: false,
            tick: also.tick(),
            ticks: Timers::default(),
            core_timers: Timers::default(),
            resyncs: also.resync(),
            also,
            nr_cpus,
            roots: settings.roots.clone(),
            boundary: BoundaryRung::default(),
            tells_arrivals,
            functions_missing,
            skipped_before: 0,
            seeded: 0,
            undecodable: 0,
            detached: BTreeMap::new(),
            _stats: enable_stats(Stats::RunTime).ok(),
        })
    }

    /// Hands energy counters to the ticks before those begin; they must stay open as long as the probe.
    ///
    /// # Errors
    ///
    /// When the kernel refuses one.
    pub fn set_counters(&mut self, counters: &[KernelCounter<'_>]) -> Result<(), KernelError> {
        self.maps.set_counters(counters)
    }

    /// Lets the tick of a package not read a counter any more that its CPU has taken along: what the kernel shows of
    /// it then stands still. Best effort: those readings are distrusted anyway.
    pub fn drop_counter(&mut self, package: usize, slot: usize) {
        let _ = self.maps.drop_counter(package, slot);
    }

    /// Books a CPU that came online to its package.
    ///
    /// # Errors
    ///
    /// When there is no such CPU in the kernel's tables.
    pub fn set_package(&mut self, cpu: u32, package: usize) -> Result<(), KernelError> {
        self.maps.set_package(cpu, u32::try_from(package).unwrap_or(0))
    }

    /// Hands cores' energy counters to the kernel side, which was loaded for them, in the place of those that
    /// these cores had; they must stay open as long as the probe.
    ///
    /// # Errors
    ///
    /// When the kernel refuses one, or a core has more than two CPUs.
    pub fn set_cores(&mut self, cores: &[CoreCounter<'_>]) -> Result<(), KernelError> {
        self.maps.set_cores(cores)
    }

    /// Hands CPUs' cycle counters to the kernel side, which was loaded for them, in the place of those that these CPUs had;
    /// they must stay open as long as the probe.
    ///
    /// # Errors
    ///
    /// When the kernel refuses one.
    pub fn set_cycles(&mut self, counters: &[(u32, BorrowedFd<'_>)]) -> Result<(), KernelError> {
        self.maps.set_cycles(counters)
    }

    /// As [`Self::set_cycles`], of misses of the last cache level.
    ///
    /// # Errors
    ///
    /// When the kernel refuses one.
    pub fn set_misses(&mut self, counters: &[(u32, BorrowedFd<'_>)]) -> Result<(), KernelError> {
        self.maps.set_misses(counters)
    }

    /// Closes no window of these cores any more, so that they can have other counters. The cores are named by the
    /// CPUs that stand for them.
    ///
    /// # Errors
    ///
    /// When the kernel's table cannot be read or written.
    pub fn pause_cores(&mut self, keys: &[u32]) -> Result<(), KernelError> {
        /// A program that runs while its core is paused has ended by then.
        const IN_FLIGHT: Duration = Duration::from_millis(10);
        self.maps.pause_cores(keys, self.nr_cpus)?;
        std::thread::sleep(IN_FLIGHT);
        Ok(())
    }

    /// When the resync ran on a CPU last, `CLOCK_MONOTONIC` ns.
    #[must_use]
    pub fn resynced(&self, cpu: u32) -> Option<u64> {
        self.maps.resynced(cpu)
    }

    /// What the core that a CPU stands for has counted, by who ran on it, in counter units.
    #[must_use]
    pub fn core_book(&self, core: u32) -> Option<[u64; CONSUMERS]> {
        self.maps.core_book(core)
    }

    /// Gives back the memory that only loading needed: the kernel's types take tens of megabytes. No
    /// program can be attached afterwards.
    pub fn settle(&mut self) {
        self.btf = None;
        // SAFETY: asks the allocator to return free pages; touches nothing of ours.
        #[cfg(target_env = "gnu")]
        unsafe {
            libc::malloc_trim(0);
        }
    }

    /// Makes a process a consumer's. False when it has ended; of a process adopted while its exits are
    /// followed, the exit is always told.
    ///
    /// # Errors
    ///
    /// When the process table is full.
    pub fn adopt(&mut self, tgid: u32, who: u32) -> Result<bool, KernelError> {
        self.maps.adopt(tgid, who, || alive(tgid, &self.roots))
    }

    /// Watches connections accepted on a listening socket, by its inode number.
    ///
    /// # Errors
    ///
    /// When the table is full.
    pub fn listen(&mut self, inode: u64, who: u32) -> Result<(), KernelError> {
        self.maps.connections.listen(inode, who)
    }

    /// No longer.
    pub fn unlisten(&mut self, inode: u64) {
        self.maps.connections.unlisten(inode);
    }

    /// Watches a connection that was open before; `None` when it is watched already.
    ///
    /// # Errors
    ///
    /// When the table is full.
    pub fn watch(&mut self, socket: &Socket, who: u32) -> Result<Option<ConnId>, KernelError> {
        self.seeded += 1;
        let id = SEEDED | self.seeded;
        let conn = Conn { id, who, tgid: socket.tgid, ..Conn::default() };
        Ok(self.maps.connections.watch(self.key_of(socket), conn)?.then_some(ConnId(id)))
    }

    /// What every watched connection has moved by now; `None` where too much changes to tell.
    #[must_use]
    pub fn connections(&self) -> Option<HashMap<ConnId, Moved>> {
        self.maps.connections.moved()
    }

    /// Forgets the connections of a process that ended.
    pub fn unwatch_process(&mut self, tgid: u32) {
        if self.forgets_with_process() {
            for conn in self.maps.connections.forget_process(tgid) {
                self.maps.sessions.forget_connection(conn);
            }
        }
        self.maps.sessions.forget_process(tgid);
    }

    /// Tells the ticks whether requests are in flight, and what reads cycles.
    ///
    /// # Errors
    ///
    /// When the map cannot be written, or the kernel refuses a timer another rate.
    pub fn set_in_flight(&mut self, requests: u32) -> Result<(), KernelError> {
        if self.control.in_flight == requests {
            return Ok(());
        }
        self.control.in_flight = requests;
        self.maps.set_control(self.control)?;
        self.pace_resync()
    }

    /// Waits until much has come into the ring, or the time is over, or a signal came.
    pub fn wait(&self, timeout: Duration) {
        self.doorbell.wait(timeout);
    }

    /// Takes back the buffer of captured bytes that are read, for those of another event.
    pub fn reuse(&mut self, buffer: Vec<u8>) {
        if self.buffers.len() < BUFFERS && buffer.capacity() <= BUFFER_BYTES {
            self.buffers.push(buffer);
        }
    }

    /// Takes the next event; `None` when there is none now.
    pub fn next_event(&mut self) -> Option<Event> {
        while let Some(item) = self.events.next() {
            match decode::event(&item, || self.buffers.pop().unwrap_or_default()) {
                Some(event) => return Some(event),
                None => self.undecodable += 1,
            }
        }
        None
    }

    /// Takes the next slice of the slice stream.
    pub fn next_slice(&mut self) -> Option<SliceRecord> {
        while let Some(item) = self.slices.next() {
            match decode::slice(&item) {
                Some(slice) => return Some(slice),
                None => self.undecodable += 1,
            }
        }
        None
    }

    /// Records that were none: object and probe do not match.
    #[must_use]
    pub fn undecodable(&self) -> u64 {
        self.undecodable
    }

    /// Losses so far, by `probe_common::Loss`.
    #[must_use]
    pub fn lost(&self) -> [u64; LOSSES] {
        self.maps.lost()
    }

    /// Kernel books of one counter.
    #[must_use]
    pub fn books(&self, package: usize, slot: usize) -> Option<TickBooks> {
        self.maps.books(package, slot)
    }

    /// On-CPU time of all processes.
    #[must_use]
    pub fn host(&self) -> HostBooks {
        self.maps.host()
    }

    /// What the attached programs have cost so far.
    #[must_use]
    pub fn costs(&self) -> BTreeMap<String, ProgramCost> {
        let cost = |(name, program): (&str, &aya::programs::Program)| {
            let info = program.info().ok()?;
            let ns = u64::try_from(info.run_time().as_nanos()).unwrap_or(u64::MAX);
            Some((name.to_owned(), ProgramCost { runs: info.run_count(), ns }))
        };
        let mut costs = self.detached.clone();
        costs.extend(self.bpf.programs().filter_map(cost));
        costs
    }
}

fn check_size(what: &'static str, found: usize, limit: usize) -> Result<(), KernelError> {
    if found > limit { Err(KernelError::TooLarge { what, found, limit }) } else { Ok(()) }
}

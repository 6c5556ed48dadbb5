//! The loaded programs: attach in order, read events, count losses, detach.

use std::{collections::BTreeMap, os::fd::OwnedFd, path::Path, time::Duration};

use aya::{
    Btf, Ebpf, EbpfLoader,
    maps::{MapData, RingBuf},
    programs::{
        BtfTracePoint, PerfEvent, RawTracePoint, TracePoint,
        perf_event::{PerfEventConfig, PerfEventScope, SamplePolicy, SoftwareEvent},
    },
    sys::{Stats, enable_stats},
};
use probe_common::{
    Conn, ConnKey, Control, LOSSES, Loss, MAX_COUNTERS, MAX_CPUS, MAX_PACKAGES, SELF, SliceRecord,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{
    decode,
    error::KernelError,
    maps::{KernelCounter, Maps, TickBooks},
    offsets, tracefs,
};
use crate::{
    event::{ConnId, Event},
    snapshot::{HostBooks, ProgramCost},
};

static OBJECT: &[u8] = aya::include_bytes_aligned!("../../../probe-ebpf/wattprobe.bpf.o");

const PROCESS_HOOKS: [(&str, &str); 4] = [
    ("process_fork", "sched_process_fork"),
    ("process_exec", "sched_process_exec"),
    ("process_exit", "sched_process_exit"),
    ("process_free", "sched_process_free"),
];
const SWITCH_HOOK: (&str, &str) = ("sched_switch", "sched_switch");
const SOCKET_HOOKS: [(&str, &str); 14] = [
    ("on_listen", "sys_exit_listen"),
    ("on_close", "sys_enter_close"),
    ("on_shutdown", "sys_enter_shutdown"),
    ("on_read", "sys_exit_read"),
    ("on_readv", "sys_exit_readv"),
    ("on_recvfrom", "sys_exit_recvfrom"),
    ("on_recvmsg", "sys_exit_recvmsg"),
    ("on_write", "sys_exit_write"),
    ("on_writev", "sys_exit_writev"),
    ("on_sendto", "sys_exit_sendto"),
    ("on_sendmsg", "sys_exit_sendmsg"),
    ("on_sendfile", "sys_exit_sendfile64"),
    ("on_accept", "sys_exit_accept"),
    ("on_accept4", "sys_exit_accept4"),
];
/// Timer expiries a second of the resync while no switch was missed.
const RESYNC_HZ: u32 = 20;
/// Connections that user space found open carry this bit in their id.
const SEEDED: u64 = 1 << 63;

/// How the scheduler's tracepoints are hooked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rung {
    /// `tp_btf`, and `raw_tp` where the kernel refuses it.
    #[default]
    Best,
    /// `raw_tp` only.
    Raw,
}

/// How to load.
pub struct Settings<'a> {
    /// Hooks of the scheduler.
    pub rung: Rung,
    /// Package of every CPU that can be online, by CPU number.
    pub package_of: &'a [usize],
    /// The kernel's BTF.
    pub btf: &'a Path,
    /// Room of the slice stream in bytes, a power of two; `None`: no slice stream.
    pub slice_bytes: Option<u32>,
    /// Timer expiries a second.
    pub tick_hz: u32,
    /// Timer expiries per tick while nothing is in flight.
    pub idle_divisor: u32,
}

/// The loaded programs and their maps.
pub struct Probe {
    bpf: Ebpf,
    rung: Rung,
    btf: Option<Btf>,
    maps: Maps,
    events: RingBuf<MapData>,
    slices: RingBuf<MapData>,
    control: Control,
    tick_hz: u32,
    /// CPUs with a resync timer, and whether it runs as fast as the tick.
    resync: (Vec<u32>, bool),
    seeded: u64,
    undecodable: u64,
    /// What programs had cost when they were detached.
    detached: BTreeMap<String, ProgramCost>,
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
        let offsets = offsets::resolve(settings.btf)?;
        tracefs::ensure()?;
        let btf = Btf::parse_file(settings.btf, aya::Endianness::default()).ok();
        let nr_cpus = u32::try_from(settings.package_of.len()).unwrap_or(u32::MAX);
        let mut loader = EbpfLoader::new();
        loader.btf(btf.as_ref());
        loader.override_global("NR_CPUS", &nr_cpus, true);
        for (name, offset) in &offsets {
            loader.override_global(name, offset, true);
        }
        loader.map_max_entries("ENERGY", (MAX_PACKAGES * MAX_COUNTERS) as u32);
        if let Some(bytes) = settings.slice_bytes {
            loader.map_max_entries("SLICES", bytes);
        }
        let mut bpf = loader.load(OBJECT).map_err(KernelError::object)?;
        let ring = |bpf: &mut Ebpf, name: &'static str| {
            let map = bpf.take_map(name).ok_or_else(|| KernelError::Mismatch(name.to_owned()))?;
            RingBuf::try_from(map).map_err(|e| KernelError::map(name, e))
        };
        let (events, slices) = (ring(&mut bpf, "EVENTS")?, ring(&mut bpf, "SLICES")?);
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
        maps.adopt(std::process::id(), SELF)?;
        Ok(Self {
            bpf,
            rung: settings.rung,
            btf,
            maps,
            events,
            slices,
            control,
            tick_hz: settings.tick_hz,
            resync: (Vec::new(), false),
            seeded: 0,
            undecodable: 0,
            detached: BTreeMap::new(),
            _stats: enable_stats(Stats::RunTime).ok(),
        })
    }

    /// Hands energy counters to the ticks; they must stay open as long as the probe.
    ///
    /// # Errors
    ///
    /// When the kernel refuses one.
    pub fn set_counters(&mut self, counters: &[KernelCounter<'_>]) -> Result<(), KernelError> {
        self.maps.set_counters(counters)
    }

    /// Follows forks, execs and exits: from here on a target's children are the target's.
    ///
    /// # Errors
    ///
    /// When the kernel refuses a program.
    pub fn attach_processes(&mut self) -> Result<(), KernelError> {
        PROCESS_HOOKS.into_iter().try_for_each(|hook| self.attach_tracing(hook))
    }

    /// Starts the clocks.
    ///
    /// # Errors
    ///
    /// When the kernel refuses the program.
    pub fn attach_clocks(&mut self) -> Result<(), KernelError> {
        self.attach_tracing(SWITCH_HOOK)
    }

    /// `tp_btf` where the kernel takes it, else its `raw_tp` twin.
    fn attach_tracing(&mut self, (name, point): (&str, &str)) -> Result<(), KernelError> {
        if let (Rung::Best, Some(btf)) = (self.rung, &self.btf) {
            let typed: &mut BtfTracePoint = program(&mut self.bpf, name)?;
            // Why it was refused is of interest only if the twin is refused as well, and then the twin says.
            if typed.load(point, btf).and_then(|()| typed.attach()).is_ok() {
                return Ok(());
            }
        }
        let twin = format!("{name}_raw");
        let raw: &mut RawTracePoint = program(&mut self.bpf, &twin)?;
        raw.load()
            .and_then(|()| raw.attach(point))
            .map(|_| ())
            .map_err(|e| KernelError::program(&twin, e))
    }

    /// Starts the tick on one CPU of each package.
    ///
    /// # Errors
    ///
    /// When the kernel refuses program or timer.
    pub fn attach_ticks(&mut self, leaders: &[usize]) -> Result<(), KernelError> {
        let period = 1_000_000_000 / u64::from(self.tick_hz.max(1));
        let tick: &mut PerfEvent = program(&mut self.bpf, "tick")?;
        tick.load().map_err(|e| KernelError::program("tick", e))?;
        for cpu in leaders {
            let cpu = u32::try_from(*cpu).unwrap_or(u32::MAX);
            tick.attach(
                PerfEventConfig::Software(SoftwareEvent::CpuClock),
                PerfEventScope::AllProcessesOneCpu { cpu },
                SamplePolicy::Period(period),
                false,
            )
            .map_err(|e| KernelError::program("tick", e))?;
        }
        Ok(())
    }

    /// Starts the resync on every CPU, slowly: it must not keep idle CPUs awake.
    ///
    /// # Errors
    ///
    /// When the kernel refuses program or timer.
    pub fn attach_resync(&mut self, cpus: &[usize]) -> Result<(), KernelError> {
        self.resync = (cpus.iter().filter_map(|cpu| u32::try_from(*cpu).ok()).collect(), false);
        self.start_resync(RESYNC_HZ)
    }

    /// Runs the resync as fast as the tick from the first missed switch on.
    ///
    /// # Errors
    ///
    /// When the kernel refuses program or timer.
    pub fn quicken_resync(&mut self) -> Result<(), KernelError> {
        if self.resync.1 || self.maps.lost()[Loss::Switch as usize] == 0 {
            return Ok(());
        }
        self.resync.1 = true;
        self.start_resync(self.tick_hz)
    }

    fn start_resync(&mut self, hz: u32) -> Result<(), KernelError> {
        let error = |e| KernelError::program("resync", e);
        let resync: &mut PerfEvent = program(&mut self.bpf, "resync")?;
        let _ = resync.unload();
        resync.load().map_err(error)?;
        for cpu in &self.resync.0 {
            resync
                .attach(
                    PerfEventConfig::Software(SoftwareEvent::CpuClock),
                    PerfEventScope::AllProcessesOneCpu { cpu: *cpu },
                    SamplePolicy::Period(1_000_000_000 / u64::from(hz.max(1))),
                    false,
                )
                .map_err(error)?;
        }
        Ok(())
    }

    /// Hooks the socket system calls.
    ///
    /// # Errors
    ///
    /// When the kernel refuses one.
    pub fn attach_sockets(&mut self) -> Result<(), KernelError> {
        for (name, point) in SOCKET_HOOKS {
            let hook: &mut TracePoint = program(&mut self.bpf, name)?;
            hook.load()
                .and_then(|()| hook.attach("syscalls", point))
                .map_err(|e| KernelError::program(name, e))?;
        }
        Ok(())
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

    /// Detaches the socket hooks and the tick; clocks go on, so that open slices can still be closed.
    pub fn detach_sources(&mut self) {
        self.detached = self.costs();
        for (name, _) in SOCKET_HOOKS {
            if let Ok(hook) = program::<TracePoint>(&mut self.bpf, name) {
                let _ = hook.unload();
            }
        }
        if let Ok(tick) = program::<PerfEvent>(&mut self.bpf, "tick") {
            let _ = tick.unload();
        }
    }

    /// Makes a process a consumer's.
    ///
    /// # Errors
    ///
    /// When the process table is full.
    pub fn adopt(&mut self, tgid: u32, who: u32) -> Result<(), KernelError> {
        self.maps.adopt(tgid, who)
    }

    /// Watches connections accepted on a listening socket, by its inode number.
    ///
    /// # Errors
    ///
    /// When the table is full.
    pub fn listen(&mut self, inode: u64, who: u32) -> Result<(), KernelError> {
        self.maps.listen(inode, who)
    }

    /// No longer.
    pub fn unlisten(&mut self, inode: u64) {
        self.maps.unlisten(inode);
    }

    /// Watches a connection that was open before; `None` when it is watched already.
    pub fn watch(&mut self, tgid: u32, fd: i32, who: u32) -> Option<ConnId> {
        self.seeded += 1;
        let id = SEEDED | self.seeded;
        let conn = Conn { id, who, ..Conn::default() };
        self.maps.watch(ConnKey { tgid, fd }, conn).then_some(ConnId(id))
    }

    /// Forgets one connection.
    pub fn unwatch(&mut self, tgid: u32, fd: i32) {
        self.maps.unwatch(ConnKey { tgid, fd });
    }

    /// Forgets the connections of a process that ended.
    pub fn unwatch_process(&mut self, tgid: u32) {
        self.maps.unwatch_process(tgid);
    }

    /// Tells the ticks whether requests are in flight.
    ///
    /// # Errors
    ///
    /// When the map cannot be written.
    pub fn set_in_flight(&mut self, requests: u32) -> Result<(), KernelError> {
        if self.control.in_flight == requests {
            return Ok(());
        }
        self.control.in_flight = requests;
        self.maps.set_control(self.control)
    }

    /// Waits until the ring holds much, or the time is over, or a signal came.
    pub fn wait(&self, timeout: Duration) {
        let mut fds = [PollFd::new(&self.events, PollFlags::IN)];
        let timeout = Timespec {
            tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(timeout.subsec_nanos()),
        };
        let _ = poll(&mut fds, Some(&timeout));
    }

    /// Takes the next event; `None` when there is none now.
    pub fn next_event(&mut self) -> Option<Event> {
        while let Some(item) = self.events.next() {
            match decode::event(&item) {
                Ok(event) => return Some(event),
                Err(_) => self.undecodable += 1,
            }
        }
        None
    }

    /// Takes the next slice of the slice stream.
    pub fn next_slice(&mut self) -> Option<SliceRecord> {
        let item = self.slices.next()?;
        decode::slice(&item)
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

fn program<'a, P>(bpf: &'a mut Ebpf, name: &str) -> Result<&'a mut P, KernelError>
where
    &'a mut P: TryFrom<&'a mut aya::programs::Program>,
{
    bpf.program_mut(name)
        .and_then(|program| program.try_into().ok())
        .ok_or_else(|| KernelError::Mismatch(format!("program {name}")))
}

fn check_size(what: &'static str, found: usize, limit: usize) -> Result<(), KernelError> {
    if found > limit { Err(KernelError::TooLarge { what, found, limit }) } else { Ok(()) }
}

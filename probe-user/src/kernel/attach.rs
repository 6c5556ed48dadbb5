//! Attaching the programs and detaching them: which hook, in which form, on which CPU.

use aya::{
    Ebpf,
    programs::{
        BtfTracePoint, PerfEvent, RawTracePoint, TracePoint,
        perf_event::{PerfEventConfig, PerfEventScope, SamplePolicy, SoftwareEvent},
    },
};
use probe_common::Loss;

use super::{
    error::KernelError,
    probe::{Probe, Rung},
};

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
impl Probe {
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
}

fn program<'a, P>(bpf: &'a mut Ebpf, name: &str) -> Result<&'a mut P, KernelError>
where
    &'a mut P: TryFrom<&'a mut aya::programs::Program>,
{
    bpf.program_mut(name)
        .and_then(|program| program.try_into().ok())
        .ok_or_else(|| KernelError::Mismatch(format!("program {name}")))
}

//! Attaching the programs and detaching them: which hook, in which form, on which CPU.

use aya::{
    Ebpf,
    programs::{BtfTracePoint, PerfEvent, ProgramError, RawTracePoint},
};
use probe_common::Loss;

use super::{
    error::KernelError,
    maps::KernelCounter,
    probe::Probe,
    settings::{Also, Rung},
    timer::Timers,
};

const PROCESS_HOOKS: [(&str, &str); 4] = [
    ("process_fork", "sched_process_fork"),
    ("process_exec", "sched_process_exec"),
    ("process_exit", "sched_process_exit"),
    ("process_free", "sched_process_free"),
];
const SWITCH_HOOK: (&str, &str) = ("sched_switch", "sched_switch");
const CORE_HOOK: (&str, &str) = ("core_switch", "sched_switch");
const CORE_TIMER: &str = "core_timer";
const BESIDE_HOOK: (&str, &str) = ("beside_switch", "sched_switch");
const CYCLES_HOOK: (&str, &str) = ("cycles_switch", "sched_switch");
/// Timer expiries a second of the resync while no switch was missed.
const RESYNC_HZ: u32 = 20;
/// How often a core's energy window is closed at least. Switches close it too, and the ticks need no more than
/// rates; a quicker timer would keep idle cores awake for nothing.
const CORE_HZ: u32 = 20;
/// How long a core's energy window may last, ns.
pub const CORE_PERIOD_NS: u64 = 1_000_000_000 / CORE_HZ as u64;

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
        self.attach_tracing(SWITCH_HOOK)?;
        // After the clocks' hook: it takes its instant from there.
        match self.also {
            Also::Beside => self.attach_tracing(BESIDE_HOOK),
            Also::Cycles => self.attach_tracing(CYCLES_HOOK),
            Also::Nothing | Also::Cores => Ok(()),
        }
    }

    /// `tp_btf` where the kernel takes it, else its `raw_tp` twin.
    pub(super) fn attach_tracing(
        &mut self,
        (name, point): (&str, &str),
    ) -> Result<(), KernelError> {
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

    /// Detaches such a program, in whichever form.
    pub(super) fn detach_tracing(&mut self, name: &str) {
        if let Ok(typed) = program::<BtfTracePoint>(&mut self.bpf, name) {
            let _ = typed.unload();
        }
        if let Ok(raw) = program::<RawTracePoint>(&mut self.bpf, &format!("{name}_raw")) {
            let _ = raw.unload();
        }
    }

    /// Starts the tick on one CPU of each package.
    ///
    /// # Errors
    ///
    /// When the kernel refuses program or timer.
    pub fn attach_ticks(&mut self, leaders: &[u32]) -> Result<(), KernelError> {
        self.ticks = Timers::start(loaded(&mut self.bpf, self.tick)?, leaders, self.tick_hz)?;
        Ok(())
    }

    /// Prepares the tick on a CPU that it may have to move to.
    ///
    /// # Errors
    ///
    /// When the kernel refuses the timer.
    pub fn prepare_tick(&mut self, cpu: u32) -> Result<(), KernelError> {
        self.ticks.prepare(loaded(&mut self.bpf, self.tick)?, cpu)
    }

    /// Forgets the ticks, running or prepared, of CPUs that have gone.
    pub fn lose_ticks(&mut self, gone: impl Fn(u32) -> bool) {
        self.ticks.lose(gone);
    }

    /// Ticks for a package on this CPU from now on, with these counters instead of those in their places; the
    /// tick on the CPU it comes from, if any, is over.
    ///
    /// # Errors
    ///
    /// When the kernel refuses a counter or the timer.
    pub fn move_tick(
        &mut self,
        from: Option<u32>,
        to: u32,
        counters: &[KernelCounter<'_>],
    ) -> Result<(), KernelError> {
        // Before the counters change: user space writes the state of a package that nothing ticks for.
        if let Some(cpu) = from {
            self.ticks.stop(cpu);
        }
        self.maps.set_counters(counters)?;
        self.ticks.add(loaded(&mut self.bpf, self.tick)?, to)
    }

    /// Runs the resync on these CPUs from now on; on those that came back since it started it is started anew.
    ///
    /// # Errors
    ///
    /// When the kernel refuses a timer; those there were go on.
    pub fn move_resync(&mut self, cpus: &[u32], come: &[u32]) -> Result<(), KernelError> {
        self.resync.move_to(loaded(&mut self.bpf, self.resyncs)?, cpus, come)
    }

    /// Starts the resync on every CPU, slowly: it must not keep idle CPUs awake.
    ///
    /// # Errors
    ///
    /// When the kernel refuses program or timer.
    pub fn attach_resync(&mut self, cpus: &[u32]) -> Result<(), KernelError> {
        self.resync = Timers::start(loaded(&mut self.bpf, self.resyncs)?, cpus, RESYNC_HZ)?;
        Ok(())
    }

    /// Runs the resync as fast as the tick from the first missed switch on. This needs no privilege.
    ///
    /// # Errors
    ///
    /// When the kernel refuses another rate; the slow one goes on.
    pub fn quicken_resync(&mut self) -> Result<(), KernelError> {
        if !self.switch_missed {
            self.switch_missed = self.maps.lost()[Loss::Switch as usize] > 0;
        }
        self.pace_resync()
    }

    /// Runs the resync as fast as is needed: as the tick, if a switch was missed or it reads cycles while requests are in
    /// flight. Else a window of a millisecond could be shorter than what is only taken to be known of a slice in progress.
    pub(super) fn pace_resync(&mut self) -> Result<(), KernelError> {
        let reads = self.also == Also::Cycles && self.control.in_flight > 0;
        let hz = if self.switch_missed || reads { self.tick_hz } else { RESYNC_HZ };
        if self.resync.is_at(hz) {
            return Ok(());
        }
        let what = "cannot change the rate of a timer";
        self.resync.set_hz(hz).map_err(|source| KernelError::System { what, source })
    }

    /// Starts the windows of the cores' energy counters, with a timer on one CPU of each; the clocks are running.
    ///
    /// # Errors
    ///
    /// When the kernel refuses program or timer.
    pub fn attach_cores(&mut self, cpus: &[u32]) -> Result<(), KernelError> {
        // After the clocks' hook: it ends the window at the instant which that one has written down.
        self.attach_tracing(CORE_HOOK)?;
        let cores = loaded(&mut self.bpf, CORE_TIMER)?;
        self.core_timers = Timers::start(cores, cpus, CORE_HZ)?;
        Ok(())
    }

    /// Prepares the cores' timer on a CPU that it may have to move to.
    ///
    /// # Errors
    ///
    /// When the kernel refuses the timer.
    pub fn prepare_core(&mut self, cpu: u32) -> Result<(), KernelError> {
        self.core_timers.prepare(loaded(&mut self.bpf, CORE_TIMER)?, cpu)
    }

    /// Runs the cores' timer on these CPUs from now on; on those that were offline since it started it is started
    /// anew.
    ///
    /// # Errors
    ///
    /// When the kernel refuses a timer; those there were go on.
    pub fn move_cores(&mut self, cpus: &[u32], dead: &[u32]) -> Result<(), KernelError> {
        self.core_timers.move_to(loaded(&mut self.bpf, CORE_TIMER)?, cpus, dead)
    }

    /// Stops the tick: the last one that came is the last.
    pub fn detach_tick(&mut self) {
        self.detached = self.costs();
        self.ticks = Timers::default();
        if let Ok(tick) = program::<PerfEvent>(&mut self.bpf, self.tick) {
            let _ = tick.unload();
        }
    }

    /// Detaches the hooks of sockets and libraries; clocks go on, so that open slices can still be closed.
    pub fn detach_boundaries(&mut self) {
        self.detach_sockets();
        self.unhook_tls();
    }
}

/// A program for timers, loaded if it is not yet.
fn loaded<'a>(bpf: &'a mut Ebpf, name: &str) -> Result<&'a PerfEvent, KernelError> {
    let timed: &mut PerfEvent = program(bpf, name)?;
    match timed.load() {
        Ok(()) | Err(ProgramError::AlreadyLoaded) => Ok(timed),
        Err(error) => Err(KernelError::program(name, error)),
    }
}

pub(super) fn program<'a, P>(bpf: &'a mut Ebpf, name: &str) -> Result<&'a mut P, KernelError>
where
    &'a mut P: TryFrom<&'a mut aya::programs::Program>,
{
    bpf.program_mut(name)
        .and_then(|program| program.try_into().ok())
        .ok_or_else(|| KernelError::Mismatch(format!("program {name}")))
}

#[cfg(test)]
mod tests {
    use std::{thread::sleep, time::Duration};

    use super::*;
    use crate::{kernel::Settings, roots::Roots, topology::Topology};

    #[test]
    fn the_resync_is_quickened_without_a_gap_and_keeps_its_count() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("not run: only root may read tracefs and load programs");
            return;
        }
        let roots = Roots::default();
        let cpus: Vec<u32> =
            Topology::read(&roots).unwrap().packages.into_iter().flat_map(|p| p.cpus).collect();
        let package_of = vec![0; *cpus.iter().max().unwrap() as usize + 1];
        let settings = Settings::plain(&package_of, &roots);
        let mut probe = Probe::load(&settings).unwrap();
        // Runs in 200 ms, and how many had been before.
        let measure = |probe: &Probe| {
            let runs = || probe.costs()["resync"].runs;
            let before = runs();
            sleep(Duration::from_millis(200));
            (before, runs() - before)
        };
        probe.attach_resync(&cpus).unwrap();
        let (_, slow) = measure(&probe);
        assert!(slow > 0);
        probe.resync.set_hz(1000).unwrap();
        let (before, quick) = measure(&probe);
        assert!(before >= slow, "the count goes on");
        assert!(quick > 10 * slow, "{quick} runs after {slow}");
        // A CPU that the kernel refuses leaves the others alone.
        let more: Vec<u32> = cpus.iter().copied().chain([u32::MAX / 2]).collect();
        assert!(probe.move_resync(&more, &[]).is_err());
        let (before, still) = measure(&probe);
        assert!(before >= slow + quick && still > 10 * slow, "{still} runs after {quick}");
        // A CPU that came back gets a new timer, at the present rate.
        probe.move_resync(&cpus, &cpus).unwrap();
        let (_, anew) = measure(&probe);
        assert!(anew > 10 * slow, "{anew} runs after {still}");
        cpus.iter().for_each(|cpu| probe.resync.stop(*cpu));
        assert_eq!(measure(&probe).1, 0, "no timer, no run");
        // What was stopped is started without being opened.
        let resync = loaded(&mut probe.bpf, probe.resyncs).unwrap();
        cpus.iter().for_each(|cpu| probe.resync.add(resync, *cpu).unwrap());
        assert!(measure(&probe).1 > 10 * slow);
        probe.resync.lose(|_| true);
        assert_eq!(measure(&probe).1, 0, "no timer, no run");
    }
}

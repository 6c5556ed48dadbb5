//! CPUs, cores and tasks: who runs where, how fast, and what it draws.
//!
//! Every change goes through [`Machine::change`]: work done so far is taken off the tasks of the core, the change is
//! made, and the core's part in powers and clocks is counted anew.

mod core;
mod place;

use std::collections::VecDeque;

use self::core::Core;
use super::dice::Dice;
use super::host::Host;
use super::load::Use;
use super::meter::{Clocks, Meter};
use super::power::Levels;

/// Never.
pub(super) const NEVER: u64 = u64::MAX;

/// A thread.
#[derive(Clone, Debug)]
pub(super) struct Task {
    pub(super) consumer: usize,
    does: Use,
    /// Left to do, MHz·ns; `None`: it goes on until it is told otherwise.
    work: Option<u64>,
    cpu: usize,
    /// Wants to run.
    on: bool,
    /// Stays on its CPU, and runs before others.
    pinned: bool,
}

/// A hardware thread.
#[derive(Clone, Debug, Default)]
struct Cpu {
    /// The first runs.
    queue: VecDeque<usize>,
    /// Who ran when the core was last counted, and how fast, MHz.
    ran: Option<usize>,
    speed: u64,
    slice_end: u64,
}

/// The machine.
#[derive(Debug)]
pub(super) struct Machine {
    pub(super) now: u64,
    host: Host,
    levels: Levels,
    tasks: Vec<Task>,
    cpus: Vec<Cpu>,
    cores: Vec<Core>,
    /// When something happens on each CPU by itself.
    next: Vec<u64>,
    /// Packages, then their memories, then the device.
    pub(super) meters: Vec<Meter>,
    /// By package.
    pub(super) clocks: Vec<Clocks>,
    pub(super) device: Clocks,
}

impl Machine {
    pub(super) fn new(host: &Host, consumers: usize, begin: u64) -> Self {
        let packages = (0..host.packages).map(|_| Meter::new(consumers, host.uncore_mw));
        let memories = (0..host.packages).map(|_| Meter::new(consumers, host.memory_mw));
        let gpus = host.gpu.iter().map(|gpu| Meter::new(consumers, gpu.idle_mw));
        let levels = Levels::new(&host.core);
        let cores = host.packages * host.cores;
        let mut machine = Self {
            now: begin,
            levels: levels.clone(),
            tasks: Vec::new(),
            cpus: vec![Cpu::default(); host.cpus()],
            cores: vec![Core::new(consumers); cores],
            next: vec![NEVER; host.cpus()],
            meters: packages.chain(memories).chain(gpus).collect(),
            clocks: (0..host.packages).map(|_| Clocks::new(consumers)).collect(),
            device: Clocks::new(consumers),
            host: host.clone(),
        };
        for core in 0..cores {
            machine.cores[core].asleep = true;
            machine.count(core);
        }
        machine
    }

    pub(super) fn add(&mut self, consumer: usize, cpu: Option<usize>) -> usize {
        let does = Use { activity: 0, memory_mw: 0 };
        let pinned = cpu.is_some();
        let cpu = cpu.unwrap_or(self.tasks.len() % self.cpus.len());
        self.tasks.push(Task { consumer, does, work: None, cpu, on: false, pinned });
        self.tasks.len() - 1
    }

    /// Lets time pass: all integrals grow.
    pub(super) fn advance(&mut self, t: u64) {
        let ns = t - self.now;
        if ns == 0 {
            return;
        }
        self.now = t;
        self.meters.iter_mut().for_each(|m| m.advance(ns));
        self.clocks.iter_mut().for_each(|c| c.advance(ns));
        self.device.advance(ns);
    }

    /// When and on which CPU something happens next by itself.
    pub(super) fn next(&self) -> (u64, usize) {
        let mut first = (NEVER, 0);
        for (cpu, t) in self.next.iter().enumerate() {
            if *t < first.0 {
                first = (*t, cpu);
            }
        }
        first
    }

    /// It happens now: a slice ends, a core falls asleep, or a task has done its work, which is returned and goes on
    /// without any.
    pub(super) fn happen(&mut self, cpu: usize, dice: &mut Dice) -> Option<usize> {
        let core = self.core_of(cpu);
        if self.cores[core].idle() {
            self.settle(core);
            self.cores[core].asleep = true;
            self.count(core);
            return None;
        }
        self.settle(core);
        let front = self.cpus[cpu].queue.front().copied();
        let done = front.filter(|task| self.tasks[*task].work == Some(0));
        if let Some(task) = done {
            self.tasks[task].work = None;
        } else if self.cpus[cpu].slice_end <= self.now {
            self.cpus[cpu].queue.rotate_left(1);
            self.begin_slice(cpu, dice);
        }
        self.count(core);
        done
    }

    /// What a task does from now on; it wakes if it slept.
    pub(super) fn set(&mut self, task: usize, does: Use, work: Option<u64>, dice: &mut Dice) {
        if !self.tasks[task].on {
            let cpu = self.place(task);
            self.tasks[task].cpu = cpu;
        }
        let (cpu, on, pinned) = {
            let task = &self.tasks[task];
            (task.cpu, task.on, task.pinned)
        };
        self.change(cpu, |machine| {
            machine.tasks[task].does = does;
            // A piece of work of no length would never end.
            machine.tasks[task].work = work.map(|work| work.max(1));
            machine.tasks[task].on = true;
            let queue = &mut machine.cpus[cpu].queue;
            if !on && pinned {
                queue.push_front(task);
            } else if !on {
                queue.push_back(task);
            }
            let alone = queue.len() == 1;
            if !on && (alone || pinned) {
                machine.begin_slice(cpu, dice);
            } else if !on && queue_is_two(machine, cpu) {
                // Whoever was alone had no slice to end.
                machine.begin_slice(cpu, dice);
            }
        });
    }

    /// What a core has drawn so far, who has been on it, ns by consumer, and who is.
    pub(super) fn core(&mut self, core: usize) -> (u64, &[u64], [Option<usize>; 2]) {
        self.settle(core);
        let core = &self.cores[core];
        (core.pj, &core.ns, core.runs())
    }

    /// It wants nothing more.
    pub(super) fn sleep(&mut self, task: usize, dice: &mut Dice) {
        if !self.tasks[task].on {
            return;
        }
        let cpu = self.tasks[task].cpu;
        self.change(cpu, |machine| {
            machine.tasks[task].on = false;
            machine.tasks[task].work = None;
            machine.cpus[cpu].queue.retain(|t| *t != task);
            machine.begin_slice(cpu, dice);
        });
    }

    /// On-CPU time of each consumer on all CPUs.
    pub(super) fn on_cpu(&self, sums: &mut Vec<u64>) {
        sums.clear();
        sums.extend(
            (0..self.device.ns.len()).map(|k| self.clocks.iter().map(|c| c.ns[k]).sum::<u64>()),
        );
    }

    fn change(&mut self, cpu: usize, change: impl FnOnce(&mut Self)) {
        let core = self.core_of(cpu);
        self.settle(core);
        change(self);
        self.count(core);
    }

    /// Takes the work done since the core was last counted off its tasks.
    fn settle(&mut self, core: usize) {
        let ns = self.now - self.cores[core].counted;
        self.cores[core].counted = self.now;
        self.cores[core].pass(ns);
        for cpu in self.cpus_of(core) {
            let Some(task) = self.cpus[cpu].ran else { continue };
            let done = self.cpus[cpu].speed * ns;
            if let Some(work) = &mut self.tasks[task].work {
                *work = work.saturating_sub(done);
            }
        }
    }

    fn begin_slice(&mut self, cpu: usize, dice: &mut Dice) {
        let scheduler = &self.host.scheduler;
        let mean = if dice.chance(scheduler.cut_short) {
            // Somebody else wakes, or the device interrupts.
            dice.between(scheduler.shortest_ns, scheduler.slice_ns)
        } else {
            dice.around(scheduler.slice_ns, 0.5)
        };
        self.cpus[cpu].slice_end = self.now + mean.max(scheduler.shortest_ns);
    }

    fn core_of(&self, cpu: usize) -> usize {
        cpu / self.host.threads()
    }

    fn cpus_of(&self, core: usize) -> std::ops::Range<usize> {
        let threads = self.host.threads();
        core * threads..(core + 1) * threads
    }

    fn package_of(&self, core: usize) -> usize {
        core / self.host.cores
    }
}

fn queue_is_two(machine: &Machine, cpu: usize) -> bool {
    machine.cpus[cpu].queue.len() == 2
}

//! A core's part in its package's powers and clocks, and its frequency.

use super::{Machine, NEVER};

/// What a core draws and who is on it, as last counted.
#[derive(Clone, Debug)]
pub(super) struct Core {
    pub(super) level: usize,
    /// In its deepest idle state, if idle.
    pub(super) asleep: bool,
    pub(super) counted: u64,
    idle_since: u64,
    /// It was idle for so long the last time that the deepest state paid.
    sleeps: bool,
    /// Since the governor last looked.
    pub(super) busy_ns: u64,
    total_mw: u64,
    idle_mw: u64,
    on: [Option<On>; 2],
    /// Of all its time: what it drew, and who was on it, ns by consumer.
    pub(super) pj: u64,
    pub(super) ns: Vec<u64>,
}

/// A task on one of its threads.
#[derive(Clone, Copy, Debug)]
struct On {
    consumer: usize,
    mw: u64,
    memory_mw: u64,
    smt: u64,
    cycles: u64,
}

impl Core {
    pub(super) fn new(consumers: usize) -> Self {
        Self {
            level: 0,
            asleep: false,
            counted: 0,
            idle_since: 0,
            sleeps: true,
            busy_ns: 0,
            total_mw: 0,
            idle_mw: 0,
            on: [None; 2],
            pj: 0,
            ns: vec![0; consumers],
        }
    }

    /// Time has passed with whoever is on it.
    pub(super) fn pass(&mut self, ns: u64) {
        self.pj += self.total_mw * ns;
        for on in self.on.iter().flatten() {
            self.ns[on.consumer] += ns;
        }
        if !self.idle() {
            self.busy_ns += ns;
        }
    }

    /// Who is on its threads.
    pub(super) fn runs(&self) -> [Option<usize>; 2] {
        self.on.map(|on| on.map(|on| on.consumer))
    }

    pub(super) fn idle(&self) -> bool {
        self.on.iter().all(Option::is_none)
    }
}

impl Machine {
    /// Takes a core's part out and counts it anew. Work has been settled.
    pub(super) fn count(&mut self, core: usize) {
        self.book(core, false);
        let was_idle = self.cores[core].idle();
        self.look(core);
        let (now, pays) = (self.now, self.host.core.c6_after_ns);
        let this = &mut self.cores[core];
        if !this.idle() {
            if was_idle {
                this.sleeps = now - this.idle_since >= pays;
            }
            this.asleep = false;
        } else if !was_idle {
            this.idle_since = now;
            // As long as the last time, the governor thinks.
            this.asleep = this.sleeps;
        }
        self.draw(core);
        self.book(core, true);
        self.plan(core);
    }

    /// Who is on it, at which speed, drawing what.
    fn look(&mut self, core: usize) {
        let level = self.cores[core].level;
        let mhz = self.levels.mhz(level);
        let cpus = self.cpus_of(core);
        let mut fronts = [None; 2];
        for (thread, cpu) in cpus.clone().enumerate() {
            fronts[thread] = self.cpus[cpu].queue.front().copied();
        }
        let beside = fronts.iter().all(Option::is_some);
        let speed = if beside { mhz * self.host.core.smt_speed / 1_000 } else { mhz };
        let activity = |task: usize| self.tasks[task].does.activity;
        let (total, parts) = match fronts {
            [Some(a), Some(b)] => self.levels.busy(level, activity(a), Some(activity(b))),
            [Some(one), None] => self.levels.busy(level, activity(one), None),
            [None, Some(one)] => {
                let (total, [mw, _]) = self.levels.busy(level, activity(one), None);
                (total, [0, mw])
            }
            [None, None] => (0, [0, 0]),
        };
        let top = self.levels.mhz(self.levels.top());
        for (thread, cpu) in cpus.enumerate() {
            let on = fronts[thread].map(|task| On {
                consumer: self.tasks[task].consumer,
                mw: parts[thread],
                memory_mw: self.tasks[task].does.memory_mw * speed / top,
                smt: if beside { 6 } else { 10 },
                cycles: mhz,
            });
            self.cores[core].on[thread] = on;
            self.cpus[cpu].ran = fronts[thread];
            self.cpus[cpu].speed = speed;
        }
        self.cores[core].total_mw = total;
    }

    /// What is idle's.
    fn draw(&mut self, core: usize) {
        let powers = &self.host.core;
        let core = &mut self.cores[core];
        core.idle_mw =
            if core.idle() && !core.asleep { powers.c1_mw.max(powers.c6_mw) } else { powers.c6_mw };
        if core.idle() {
            core.total_mw = core.idle_mw;
        }
    }

    /// Adds its part to the package, or takes it out.
    fn book(&mut self, index: usize, add: bool) {
        let package = self.package_of(index);
        let memory = self.host.packages + package;
        let core = &self.cores[index];
        let put = |sum: &mut u64, part: u64| *sum = if add { *sum + part } else { *sum - part };
        put(&mut self.meters[package].total_mw, core.total_mw);
        put(&mut self.meters[package].idle_mw, core.idle_mw);
        for on in core.on.iter().flatten() {
            put(&mut self.meters[package].active_mw[on.consumer], on.mw);
            put(&mut self.meters[memory].active_mw[on.consumer], on.memory_mw);
            put(&mut self.meters[memory].total_mw, on.memory_mw);
            put(&mut self.clocks[package].running[on.consumer], 1);
            put(&mut self.clocks[package].smt.rate[on.consumer], on.smt);
            put(&mut self.clocks[package].cycles.rate[on.consumer], on.cycles);
        }
    }

    /// When something happens on its CPUs by itself.
    fn plan(&mut self, index: usize) {
        let core = &self.cores[index];
        let falls_asleep = if core.idle() && !core.asleep {
            core.idle_since + self.host.core.c6_after_ns
        } else {
            NEVER
        };
        let cpus = self.cpus_of(index);
        let first = cpus.start;
        for cpu in cpus {
            let Some(task) = self.cpus[cpu].queue.front() else {
                self.next[cpu] = if cpu == first { falls_asleep } else { NEVER };
                continue;
            };
            let speed = self.cpus[cpu].speed.max(1);
            let done = self.tasks[*task].work.map_or(NEVER, |work| self.now + work.div_ceil(speed));
            let slice =
                if self.cpus[cpu].queue.len() > 1 { self.cpus[cpu].slice_end } else { NEVER };
            self.next[cpu] = done.min(slice);
        }
    }

    /// Frequency follows load: a quarter more than was needed, at most what so many busy cores allow.
    pub(in super::super) fn govern(&mut self) {
        let period = self.host.core.governor_ns.max(1);
        for package in 0..self.host.packages {
            let cores = package * self.host.cores..(package + 1) * self.host.cores;
            let busy = cores.clone().filter(|core| !self.cores[*core].idle()).count();
            // Half of them: no step down. Every further quarter: one.
            let over = (4 * busy).saturating_sub(2 * self.host.cores);
            let cap = self.levels.top().saturating_sub(over.div_ceil(self.host.cores));
            for core in cores {
                self.settle(core);
                let part = (self.cores[core].busy_ns.min(period) * 5 / 4).min(period);
                self.cores[core].busy_ns = 0;
                let wanted = self.levels.mhz(self.levels.top()) * part / period;
                let level = self.levels.at_least(wanted, cap);
                if level != self.cores[core].level {
                    self.cores[core].level = level;
                    self.count(core);
                }
            }
        }
    }
}

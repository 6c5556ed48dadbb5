//! Where a task runs: at waking, and when a better place is free.

use super::Machine;
use crate::sim::dice::Dice;

impl Machine {
    /// For a task that wakes: where it was if that core is free, else a free core, a free CPU, the shortest queue.
    pub(super) fn place(&self, task: usize) -> usize {
        let last = self.tasks[task].cpu;
        if self.tasks[task].pinned {
            return last;
        }
        let cost = |cpu: usize| {
            let queue = self.cpus[cpu].queue.len();
            let core: usize =
                self.cpus_of(self.core_of(cpu)).map(|c| self.cpus[c].queue.len()).sum();
            (queue, core, cpu != last)
        };
        (0..self.cpus.len()).min_by_key(|cpu| cost(*cpu)).unwrap_or(last)
    }

    /// Moves one task from the longest queue to a free CPU, or from a shared core to a free one; now and then one
    /// moves for no reason.
    pub(in super::super) fn balance(&mut self, dice: &mut Dice) {
        let free = (0..self.cpus.len()).filter(|cpu| self.cpus[*cpu].queue.is_empty());
        let core_load =
            |core: usize| self.cpus_of(core).map(|c| self.cpus[c].queue.len()).sum::<usize>();
        let Some(to) = free.min_by_key(|cpu| core_load(self.core_of(*cpu))) else {
            return;
        };
        let waiting = (0..self.cpus.len())
            .filter(|cpu| self.cpus[*cpu].queue.len() > 1)
            .max_by_key(|cpu| self.cpus[*cpu].queue.len());
        let whole_core = core_load(self.core_of(to)) == 0;
        let shared = || {
            let both = |core: &usize| self.cpus_of(*core).all(|c| !self.cpus[c].queue.is_empty());
            let core = (0..self.cores.len()).find(both).filter(|_| whole_core)?;
            Some(self.cpus_of(core).end - 1).filter(|_| self.host.smt)
        };
        let restless = dice.chance(self.host.scheduler.restless);
        let any = dice.between(0, self.cpus.len() as u64 - 1) as usize;
        let busy = || Some(any).filter(|cpu| restless && !self.cpus[*cpu].queue.is_empty());
        if let Some(from) = waiting.or_else(shared).or_else(busy) {
            self.migrate(from, to, dice);
        }
    }

    fn migrate(&mut self, from: usize, to: usize, dice: &mut Dice) {
        let movable = self.cpus[from].queue.iter().rev().find(|task| !self.tasks[**task].pinned);
        let Some(task) = movable.copied() else { return };
        self.change(from, |machine| {
            machine.cpus[from].queue.retain(|t| *t != task);
            machine.begin_slice(from, dice);
        });
        self.tasks[task].cpu = to;
        self.change(to, |machine| {
            machine.cpus[to].queue.push_back(task);
            machine.begin_slice(to, dice);
        });
    }
}
